"""Settings of all tests: property tests have no time limit per example, since CI machines are shared."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
