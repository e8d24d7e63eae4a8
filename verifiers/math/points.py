"""Points at which expressions are compared: of every sign and size, and on both sides of where a branch begins."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import lru_cache

from verifiers.math.exact import exact
from verifiers.math.syntax import Call, Node, Num, walk
from verifiers.math.work import NotExactError, TooLargeError

_RANGES = (
    (1.2, 2.8), (-0.85, -0.15), (0.15, 0.85), (3.1, 7.9), (0.1, 0.9), (-4.5, -1.2), (0.4, 1.9),
    (11.0, 19.0), (0.02, 0.3),
)  # fmt: skip


@lru_cache(maxsize=4096)
def _coordinate(name: str, index: int, low: float, high: float) -> Fraction:
    generator = random.Random(zlib.crc32(f"{name}/{index}".encode()))
    return Fraction(generator.randint(int(low * 10**6), int(high * 10**6)), 10**6) + Fraction(1, 7919)


def points(names: Sequence[str]) -> Iterator[dict[str, Fraction]]:
    """Points with real coordinates, of one sign and of mixed signs by turns: sqrt(x^2 y^2) is no xy."""
    for index, (low, high) in enumerate(_RANGES):
        yield {name: _coordinate(name, index, low, high) for name in names}
        if index < 2 and len(names) > 1:
            yield {
                name: _coordinate(name, 30 + index, 0.5, 3.0) * (-1 if (place + index) % 2 else 1)
                for place, name in enumerate(names)
            }
    for index in range(20, 23):
        yield {name: _coordinate(name, index, -3.0, 3.0) for name in names}


def more_points(names: Sequence[str]) -> Iterator[dict[str, Fraction]]:
    """Points near zero, one and far out, for expressions with a small domain."""
    for index in range(100, 160):
        size = (0.2, 1.0, 3.0, 10.0, 100.0, 1000.0)[index % 6]
        yield {name: _coordinate(name, index, -size, size) for name in names}


_LARGE = 4
_MOST_BREAKS = 6


def breaks(*nodes: Node) -> list[Fraction]:
    """Where a branch may begin beyond the usual points: the larger constants of the expressions."""
    sizes = {
        abs(value)
        for node in nodes
        for n in walk(node)
        if (value := _constant(n)) is not None and abs(value) > _LARGE
    }
    return sorted(sizes)[:_MOST_BREAKS]


def _constant(node: Node) -> Fraction | None:
    """The value of a number, or of a power or product of numbers such as 10^6."""
    if isinstance(node, Num):
        return node.value
    if isinstance(node, Call) and node.head in ("pow", "mul") and all(isinstance(a, Num) for a in node.args):
        try:
            value = exact(node)
        except (NotExactError, TooLargeError):
            return None
        return value if value.numerator.bit_length() < 200 else None
    return None


def branch_points(names: Sequence[str], at: Sequence[Fraction] = ()) -> Iterator[dict[str, Fraction]]:
    """Many points of both signs, in every order of the coordinates: each branch of a min or max is met.

    `at` are sizes at which a branch may begin; both sides of each, and of minus each, are tried.
    """
    yield from points(names)
    for place in at:
        for factor in (Fraction(7, 6), Fraction(5, 6), Fraction(-5, 6), Fraction(-7, 6)):
            yield {name: place * factor + _coordinate(name, 70, 0.01, 0.02) for name in names}
    for index in range(40, 64):
        yield {name: _coordinate(name, index, -9.0, 9.0) for name in names}


def integer_points(names: Sequence[str]) -> Iterator[dict[str, Fraction]]:
    """Points with positive whole coordinates."""
    for index in range(6):
        yield {
            name: Fraction(1 + (index + 2 * position * (index % 3)) % 9)
            for position, name in enumerate(names)
        }
