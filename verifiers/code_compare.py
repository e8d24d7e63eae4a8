"""Compares what a program gave with what was expected, outside of the program.

Values are plain data without behaviour of their own. `True` is not 1, a string is never a number, and a list in
the expected JSON also stands for a tuple. Text is compared by tokens; a token that is not spelled alike counts
only where a tolerance was declared and both are plain ASCII numbers.
"""

from __future__ import annotations

import re
from collections import deque
from decimal import Decimal
from fractions import Fraction
from typing import Any

from sandbox.inside.codec import RawDict, RawSet
from verifiers.code_tests import Tolerance

_NUMBER = re.compile(rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?\Z")
_MAX_NUMBER = 400
_TOKEN = re.compile(r"\S+")
EXACT = Tolerance()


def same_value(value: Any, expected: Any, tolerance: Tolerance = EXACT) -> bool:
    """Whether `value`, decoded with raw sets and dicts, equals the JSON value `expected`."""
    if isinstance(expected, bool) or expected is None or isinstance(expected, str):
        return type(value) is type(expected) and value == expected
    if isinstance(expected, (int, float)):
        return _same_number(value, expected, tolerance)
    if isinstance(expected, dict):
        return _same_dict(value, expected, tolerance)
    if isinstance(expected, list) and isinstance(value, (list, tuple, deque)):
        if isinstance(value, (RawSet, RawDict)) or len(value) != len(expected):
            return False
        return all(same_value(mine, theirs, tolerance) for mine, theirs in zip(value, expected, strict=True))
    return False


def _same_number(value: Any, expected: float, tolerance: Tolerance) -> bool:
    if type(value) is int or (type(value) is float and tolerance == EXACT):
        if tolerance == EXACT:
            return bool(value == expected) or (value != value and expected != expected)
        if isinstance(expected, int):
            return bool(value == expected)
    if isinstance(value, Fraction) or (isinstance(value, Decimal) and not value.is_snan()):
        return bool(value == expected)
    if type(value) not in (int, float):
        return False
    try:
        return tolerance.admits(float(value), float(expected))
    except OverflowError:
        return False


def _same_dict(value: Any, expected: dict[str, Any], tolerance: Tolerance) -> bool:
    if not isinstance(value, RawDict) or len(value) != len(expected):
        return False
    seen = set()
    for key, item in value:
        # JSON knows only strings as keys: an integer key is meant where it spells the same.
        name = key if isinstance(key, str) else str(key) if type(key) is int and abs(key) < 1 << 64 else None
        if (
            name is None
            or name in seen
            or name not in expected
            or not same_value(item, expected[name], tolerance)
        ):
            return False
        seen.add(name)
    return True


def same_output(
    output: str,
    expected: str,
    *,
    compare: str = "lines",
    ignore_case: bool = False,
    tolerance: Tolerance = EXACT,
) -> str | None:
    """None where `output` agrees with `expected`, else where and how they differ."""
    if output == expected:
        return None
    if compare == "exact":
        return "the output differs"
    if ignore_case:
        output, expected = output.lower(), expected.lower()
    if compare == "tokens":
        return _same_tokens(output, expected.split(), tolerance, "")
    theirs, begin = _lines(expected), 0
    for number, wanted in enumerate(theirs, 1):
        if begin > len(output):
            return f"{number - 1} lines instead of {len(theirs)}"
        end = output.find("\n", begin)
        end = len(output) if end < 0 else end
        line, begin = output[begin:end], end + 1
        if line != wanted and (
            difference := _same_tokens(line, wanted.split(), tolerance, f"line {number}: ")
        ):
            return difference
    return f"more than {len(theirs)} lines" if _TOKEN.search(output, begin) else None


def _lines(text: str) -> list[str]:
    """The lines of a text of the tests, up to the last one that is not empty."""
    return text.rstrip().split("\n") if text.strip() else []


def _same_tokens(output: str, theirs: list[str], tolerance: Tolerance, where: str) -> str | None:
    """Compare the tokens of `output` one by one: no table is made of what a program wrote."""
    found = _TOKEN.finditer(output)
    for number, wanted in enumerate(theirs, 1):
        token = next(found, None)
        if token is None:
            return f"{where}{number - 1} tokens instead of {len(theirs)}"
        if token[0] != wanted and not _same_token(token[0], wanted, tolerance):
            return f"{where}token {number} is {_short(token[0])} instead of {_short(wanted)}"
    return f"{where}more than {len(theirs)} tokens" if next(found, None) else None


def _same_token(token: str, wanted: str, tolerance: Tolerance) -> bool:
    if tolerance == EXACT or max(len(token), len(wanted)) > _MAX_NUMBER:
        return False
    if not (_is_number(token) and _is_number(wanted)):
        return False
    return tolerance.admits(float(token), float(wanted))


def _is_number(token: str) -> bool:
    return token.isascii() and _NUMBER.match(token.encode()) is not None


def _short(token: str) -> str:
    return repr(token if len(token) <= 60 else token[:57] + "...")
