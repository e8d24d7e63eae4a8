"""What one comparison may cost, counted and not timed, and what is raised where there is no value."""

from __future__ import annotations

import threading


class NotExactError(ValueError):
    """The value is no rational number, or not one that is found without algebra."""


class TooLargeError(ValueError):
    """The value is beyond what is computed; nothing is known about it."""


class ExhaustedError(Exception):
    """The comparison has used up its budget of work; nothing is known about it."""


class OutOfDomainError(ValueError):
    """No real value at this point."""


class NotNumericError(ValueError):
    """The tree holds something that has no number: a relation, a set, words."""


class _Budget(threading.local):
    """Work left for the comparison that this thread is doing."""

    steps = 0
    bits = 0


_budget = _Budget()

_STEPS = 60_000

_BITS = 8_000_000


def start_budget() -> None:
    """Begin a comparison: what follows in this thread may do a bounded amount of work."""
    _budget.steps, _budget.bits = _STEPS, _BITS


def spend(bits: int) -> None:
    """Take the work on numbers of so many bits from the budget.

    Raises:
        ExhaustedError: nothing is left.
    """
    _budget.bits -= bits
    if _budget.bits < 0:
        raise ExhaustedError


def step() -> None:
    """Take one operation from the budget.

    Raises:
        ExhaustedError: nothing is left.
    """
    _budget.steps -= 1
    if _budget.steps < 0:
        raise ExhaustedError
