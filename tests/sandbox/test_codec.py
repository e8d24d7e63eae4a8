"""Plain data crosses unchanged, and nothing else crosses at all."""

from __future__ import annotations

import json
from collections import Counter, OrderedDict, deque
from contextlib import suppress
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.inside.codec import CodecError, Opaque, RawDict, RawSet, decode, encode

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
    | st.complex_numbers(allow_nan=False) | st.fractions() | st.decimals(allow_nan=False)
    | st.dates() | st.datetimes() | st.timedeltas()
)  # fmt: skip
hashable = st.recursive(scalars, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3))
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner)
        | st.dictionaries(hashable, inner, max_size=4)
        | st.sets(hashable, max_size=4)
    ),
    max_leaves=20,
)


def same(left: Any, right: Any) -> bool:
    return type(left) is type(right) and (
        left == right if isinstance(left, dict) else repr(left) == repr(right)
    )


@given(values)
def test_plain_data_come_back_equal_and_of_the_same_type(value: Any) -> None:
    line = encode(value)
    assert b"\n" not in line
    assert type(decode(line)) is type(value)
    assert decode(line) == value


@pytest.mark.parametrize(
    "value",
    [True, 1, 1.0, "1", -0.0, 1 << 5000, -(1 << 5000), "\ud800\udfff\x00", [1, [2, (3,)]], {1: {2}}, range(3),
     deque([1]), Decimal("1.10"), Fraction(1, 3), date(2024, 2, 29),
     datetime(2024, 1, 1, 1), timedelta(1, 2, 3), int, ValueError],
)  # fmt: skip
def test_types_are_kept_apart(value: Any) -> None:
    assert same(decode(encode(value)), value)


def test_subclasses_cross_as_their_plain_base_without_their_own_methods() -> None:
    class Liar(list[int]):
        def __eq__(self, other: object) -> bool:
            return True

        def __iter__(self) -> Any:
            raise AssertionError("asked the liar")

        __hash__ = None  # type: ignore[assignment]

    class Level(IntEnum):
        LOW = 1

    assert decode(encode(Liar([1, 2]))) == [1, 2]
    assert same(decode(encode(Level.LOW)), 1)
    assert decode(encode(Counter("aab"))) == {"a": 2, "b": 1}
    assert type(decode(encode(OrderedDict(a=1)))) is dict


@pytest.mark.parametrize("value", [object(), lambda: 1, (x for x in ()), json, open])
def test_what_is_no_plain_data_equals_nothing(value: Any) -> None:
    crossed = decode(encode(value))
    assert isinstance(crossed, Opaque)
    assert crossed != value
    assert crossed != decode(encode(value))


def test_depth_is_bounded_on_both_sides() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(CodecError, match="deep"):
        encode(deep)
    for line in (b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000, b'{"t":[' * 50_000):
        with pytest.raises(CodecError):
            decode(line)


@pytest.mark.parametrize(
    "line",
    [b"", b"{", b"{}", b'{"t":1}', b'{"s":[[]]}', b'{"d":[1]}', b'{"x":[]}', b'{"t":[],"s":[]}', b'{"i":"zz"}',
     b'{"F":["1","0"]}', b'{"F":["' + b"f" * 20_000 + b'","3"]}', b'{"o":[]}', b'{"T":"eval"}', b'{"dt":"x"}',
     b"9" * 5000, b"\xff", b'{"td":[99999999999,0,0]}', b'{"b":"!"}'],
)  # fmt: skip
def test_malformed_lines_are_refused(line: bytes) -> None:
    with pytest.raises(CodecError):
        decode(line)


@given(st.binary(max_size=60))
def test_no_line_does_more_than_raise_its_error(line: bytes) -> None:
    with suppress(CodecError):
        decode(line, hashed=False)


def test_raw_reading_hashes_nothing() -> None:
    colliding = [k * ((1 << 61) - 1) for k in range(50_000)]
    line = json.dumps({"s": colliding}).encode()
    assert isinstance(decode(line, hashed=False), RawSet)
    pairs = json.dumps({"d": [[k, 0] for k in colliding]}).encode()
    assert isinstance(decode(pairs, hashed=False), RawDict)
