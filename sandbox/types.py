"""What the sandbox takes and gives: a program, its limits, and what happened when it ran."""

from __future__ import annotations
