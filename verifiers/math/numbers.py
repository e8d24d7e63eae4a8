"""Exact rational numbers out of plain text: integers, decimals, fractions, percentages, thousands separators."""

from __future__ import annotations

import re
from fractions import Fraction

from verifiers.math.syntax import Node, Num

_INTEGER = r"(?:\d{1,3}(?:(?:,|\{,\}|,\\!|\\,|\\ |~|,\s)\d{3})+|\d+)"
_PLAIN = re.compile(
    rf"(?P<sign>[-−–+]?)\s*(?:(?P<whole>{_INTEGER})(?P<decimals>\.\d*)?|(?P<bare>\.\d+))"
    rf"(?:\s*/\s*(?P<denominator>{_INTEGER}))?\s*(?P<percent>\\?%)?"
)
_LATEX_FRACTION = re.compile(
    r"(?P<sign>[-−–+]?)\s*\\[dt]?frac\s*(?:\{\s*(?P<up>-?\d+)\s*\}|(?P<up1>\d))\s*(?:\{\s*(?P<down>\d+)\s*\}|(?P<down1>\d))"
)
LONGEST = 4000
"""Digits of a number that is still read as one; longer ones are compared as text."""


def parse_rational(text: str) -> Fraction | None:
    """The number that `text` is, as a whole; None where it is anything else."""
    if len(text) > LONGEST:
        return None
    found = _PLAIN.fullmatch(text)
    if found is not None:
        sign, whole, decimals, bare, denominator, percent = found.groups()
        digits = re.sub(r"\D", "", whole) if whole else "0"
        value = (
            Fraction(digits + decimals if decimals and decimals != "." else digits)
            if whole
            else Fraction("0" + bare)
        )
        if denominator:
            below = int(re.sub(r"\D", "", denominator))
            if below == 0:
                return None
            value /= below
        if percent:
            value /= 100
        return -value if sign in ("-", "−", "–") else value
    found = _LATEX_FRACTION.fullmatch(text)
    if found is not None:
        up = int(found["up"] or found["up1"])
        down = int(found["down"] or found["down1"])
        if down == 0:
            return None
        return Fraction(-up if found["sign"] in ("-", "−", "–") else up, down)
    return None


def rounds_to(value: Fraction, gold: Node) -> bool:
    """Whether `value`, rounded or cut off at the last digit that the gold shows, is the gold.

    A whole gold may be a rounded one only where it ends in zeros (5040 for 5042.03), and a value with no more
    decimals than the gold was not rounded to it: it is another number.
    """
    if not isinstance(gold, Num) or (gold.value.denominator != 1 and not gold.decimals):
        return False
    if (value * 10**gold.decimals).denominator == 1:
        return value == gold.value
    step = Fraction(1, 10**gold.decimals)
    if not gold.decimals:
        while gold.value and gold.value % (step * 10) == 0:
            step *= 10
        if step == 1 or abs(gold.value) < 100 * step:
            return False
    difference = abs(value - gold.value)
    return (difference < step and abs(value) >= abs(gold.value)) or difference * 2 <= step
