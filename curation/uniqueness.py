"""Whether the named integers of a form are settled by its value: 6/8 and 3/4 are one value, and two sums.

A model that rewrites answers is told to reduce; this holds it to that. What can't be seen to be unique (a product
of two names, a sum of two rational terms, logarithms that may be gathered) is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import gcd, isqrt

_NAME = r"(?<![\\a-zA-Z])[a-z](?![a-zA-Z])"
_ROOT = re.compile(r"\\sqrt\s*(?:\[\s*(\d+)\s*\])?\s*(?:\{([^{}]*)\}|([a-z0-9]))")
_FRACTION = re.compile(r"\\[dtc]?frac\s*\{((?:[^{}]|\{[^{}]*\})*)\}\s*\{((?:[^{}]|\{[^{}]*\})*)\}")
_SLASH = re.compile(rf"({_NAME}|\d+)\s*/\s*({_NAME}|\d+)")
_POWER = re.compile(rf"({_NAME})\s*\^\s*(?:\{{([^{{}}]*)\}}|(\S))")
_LOGARITHM = re.compile(rf"\\(?:ln|log)\b(?:_\{{?\w+\}}?)?\s*\(?\s*\{{?\s*({_NAME})")
_IRRATIONAL = re.compile(r"\\(?:sqrt|pi|ln|log|exp|sin|cos|tan|circ|text|mathrm)\b|(?<![a-zA-Z])[ei]\b")
_PRODUCT = re.compile(
    rf"{_NAME}\s*(?:\\cdot|\\times|\*)\s*(?:{_NAME}|\\[dtc]?frac)|{_NAME}\s+{_NAME}|{_NAME}\s*\\[dtc]?frac|"
    rf"\\[dtc]?frac\s*\{{[^{{}}]*\}}\s*\{{[^{{}}]*\}}\s*(?:\\cdot|\\times|\*)?\s*{_NAME}"
)


def settled(form: str, numbers: Mapping[str, int]) -> bool:
    """Whether no other numbers of the same kind give the form this value.

    Fractions must be in lowest terms, roots free of powers, bases of powers and of logarithms no powers
    themselves.

    Args:
        form: LaTeX with one-letter names.
        numbers: the integers by name.
    """
    if _PRODUCT.search(form) or ("," not in form and _rational_terms(form) > 1):
        return False
    for index, braced, bare in _ROOT.findall(form):
        inner = (braced or bare).strip()
        if inner in numbers and not _free_of_powers(numbers[inner], int(index or 2)):
            return False
    fractions = [*_FRACTION.findall(form), *_SLASH.findall(form)]
    if not all(_lowest(top, bottom, numbers) for top, bottom in fractions):
        return False
    for base, braced, bare in _POWER.findall(form):
        if re.search(_NAME, braced or bare) and _is_power(numbers.get(base, 2)):
            return False
    logarithms = _LOGARITHM.findall(form)
    return len(logarithms) <= 1 and not any(_is_power(numbers.get(name, 2)) for name in logarithms)


def _rational_terms(form: str) -> int:
    """Terms of the sum that hold a name and nothing irrational: two of them can pass value to each other."""
    flat, depth = "", 0
    for char in form:
        depth += (char in "{([") - (char in "})]")
        flat += "\n" if char in "+-" and depth == 0 else char
    terms = flat.split("\n")
    return sum(bool(re.search(_NAME, term)) and not _IRRATIONAL.search(term) for term in terms)


def _lowest(top: str, bottom: str, numbers: Mapping[str, int]) -> bool:
    """Whether the coefficients of a fraction's terms have no common factor with its denominator."""
    below = _coefficient(bottom, numbers)
    terms = [term for term in re.split(r"[+-]", top) if term.strip()]
    common = below
    for term in terms:
        common = gcd(common, _coefficient(term, numbers))
    return common == 1 or not re.search(_NAME, f"{top} {bottom}")


def _coefficient(term: str, numbers: Mapping[str, int]) -> int:
    """Product of the integers of a term that stand outside roots, powers and logarithms."""
    plain = _LOGARITHM.sub(" ", _POWER.sub(" ", _ROOT.sub(" ", term)))
    value = 1
    for token in re.findall(rf"{_NAME}|\d+", plain):
        value *= numbers.get(token, 1) if token.isalpha() else int(token)
    return abs(value)


def _free_of_powers(value: int, power: int) -> bool:
    """Whether a root of this index leaves the value under it as it is: above 1, and no factor to the power."""
    if value < 2:
        return False
    factor = 2
    while factor**power <= value:
        if value % factor**power == 0:
            return False
        factor += 1
    return True


def _is_power(value: int) -> bool:
    """Whether an integer is below 2 or a power (square, cube, ...) of another."""
    if value < 4:
        return value < 2
    if isqrt(value) ** 2 == value:
        return True
    exponents = range(3, value.bit_length())
    return any(round(value ** (1 / exponent)) ** exponent == value for exponent in exponents)
