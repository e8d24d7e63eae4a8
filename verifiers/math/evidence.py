"""What the comparison of one answer with one gold rested on: exact arithmetic, a proof, or agreement of digits."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from fractions import Fraction
from typing import Any


class Evidence(threading.local):
    """Record of the comparison that this thread is doing; `start` empties it."""

    proven = False
    """A symbolic proof decided."""
    points = 0
    """The fewest points at which an accepted equality was checked; 0 where none rests on points."""
    constants = False
    """An accepted equality rests on the digits of constants."""
    differences = 0
    difference = ""
    """The last difference that was found: where, and the two values."""
    domain = ""
    """A point at which only one side has a value."""
    proofs_tried = 0

    def start(self) -> None:
        """Begin a comparison."""
        self.proven = self.constants = False
        self.points = self.differences = self.proofs_tried = 0
        self.difference = self.domain = ""

    def agreed(self, points: int, *, constant: bool) -> None:
        """Two expressions agreed to 46 digits at every one of so many points, or as constants."""
        if constant:
            self.constants = True
        else:
            self.points = min(self.points, points) if self.points else points

    def differed(self, point: Mapping[str, Fraction], ours: Any, theirs: Any) -> None:
        """Two expressions differ at a point."""
        self.differences += 1
        values = f"{_short(ours)} is not {_short(theirs)}"
        self.difference = f"at {_place(point)} {values}" if point else values

    def one_sided(self, point: Mapping[str, Fraction]) -> None:
        """Only one side has a value at a point."""
        self.domain = self.domain or _place(point)

    def of_equality(self) -> str:
        """What an accepted equality rests on."""
        if self.proven:
            basis = "proven symbolically"
        elif self.points:
            basis = f"the same to 46 digits at {self.points} points"
        elif self.constants:
            basis = "the same to 46 digits"
        else:
            basis = "exactly"
        where = f", wherever both are defined; only one of them is at {self.domain}" if self.domain else ""
        return basis + where

    def of_difference(self) -> str:
        """Where the only difference that was found lies, or nothing."""
        return self.difference if self.differences == 1 else ""


def _place(point: Mapping[str, Fraction]) -> str:
    return ", ".join(f"{name} = {float(value):.6g}" for name, value in point.items())


def _short(value: Any) -> str:
    text = str(complex(value)) if getattr(value, "imag", 0) else f"{float(value.real):.10g}"
    return text.strip("()")


evidence = Evidence()
