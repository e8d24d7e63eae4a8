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
    if isinstance(value, (Decimal, Fraction)):
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
    if compare == "exact":
        return None if output == expected else "the output differs"
    if ignore_case:
        output, expected = output.lower(), expected.lower()
    if compare == "tokens":
        return _same_tokens(output.split(), expected.split(), tolerance, "")
    mine, theirs = _lines(output), _lines(expected)
    for number, (line, wanted) in enumerate(zip(mine, theirs, strict=False), 1):
        difference = _same_tokens(line.split(), wanted.split(), tolerance, f"line {number}: ")
        if difference:
            return difference
    if len(mine) != len(theirs):
        return f"{len(mine)} lines instead of {len(theirs)}"
    return None


def _lines(text: str) -> list[str]:
    lines = [line.rstrip() for line in text.replace("\r\n", "\n").split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _same_tokens(mine: list[str], theirs: list[str], tolerance: Tolerance, where: str) -> str | None:
    for number, (token, wanted) in enumerate(zip(mine, theirs, strict=False), 1):
        if token != wanted and not _same_token(token, wanted, tolerance):
            return f"{where}token {number} is {_short(token)} instead of {_short(wanted)}"
    if len(mine) != len(theirs):
        return f"{where}{len(mine)} tokens instead of {len(theirs)}"
    return None


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
