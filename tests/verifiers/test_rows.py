"""Rows that workers read and write up: in order, each once, and what hangs or dies costs its own row only."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from itertools import chain
from pathlib import Path

import pytest

from tests.verifiers.sample_verifiers import Counting, Lines, Misbehaving, Unpicklable
from verifiers import InputError
from verifiers.rows import verify_rows


def test_results_come_in_order_with_their_positions() -> None:
    rows = [f"r{n}" if n % 7 else "" for n in range(2000)]
    results = list(chain.from_iterable(verify_rows(Lines(), Misbehaving(), rows, first=5, workers=2)))
    assert results == [
        f"{n} {row} correct".encode() if row else b"empty" for n, row in enumerate(rows, start=5)
    ]


@pytest.mark.parametrize(
    ("misdeed", "status", "tries", "place", "times"),
    [
        ("spin", "timeout", 1, 0, 2),
        ("spin", "timeout", 1, 700, 2),
        ("alloc", "error", 2, 0, 2),
        ("alloc", "error", 2, 700, 2),
        ("exit", "error", 2, 700, 2),
        ("sleep", "timeout", 1, 700, 1),  # the first verdict of a process gets the time to load, too
    ],
)
def test_a_misdeed_costs_its_own_row_and_no_other_is_done_twice(
    misdeed: str, status: str, tries: int, place: int, times: int, tmp_path: Path
) -> None:
    calls = tmp_path / "calls"
    verifier = Counting(path=str(calls), wall_seconds=1.0 if misdeed == "sleep" else 60.0)
    rows = [f"r{n}" for n in range(1000)]
    expected = ["correct"] * 1000
    # Where it comes twice, the second one is the first verdict of a new process.
    rows[place : place + times] = [misdeed] * times
    expected[place : place + times] = [status] * times
    results = list(chain.from_iterable(verify_rows(Lines(), verifier, rows, workers=1)))
    assert [result.decode().split() for result in results] == [
        [str(n), row, state] for n, (row, state) in enumerate(zip(rows, expected, strict=True), start=1)
    ]
    counts = Counter(calls.read_text().splitlines())
    # A death that may be owed to earlier rows is tried again in a new process.
    assert counts.pop(misdeed) <= times * tries
    assert set(counts.values()) == {1}


def test_rows_are_read_ahead_in_bounded_memory() -> None:
    pulled = 0

    def rows() -> Iterator[str]:
        nonlocal pulled
        for _ in range(300):
            pulled += 1
            yield "x" * (1 << 20)

    with closing(verify_rows(Lines(), Misbehaving(), rows(), workers=1)) as chunks:
        next(chunks)
        before = -1
        while before != pulled:
            before = pulled
            time.sleep(0.5)
        assert pulled < 100
        assert sum(map(len, chunks)) == 299


def test_a_source_that_breaks_raises_behind_the_rows_before_it() -> None:
    def rows() -> Iterator[str]:
        yield from map(str, range(100))
        raise InputError("the file ends here")

    found: list[bytes] = []
    chunks = chain.from_iterable(verify_rows(Lines(), Misbehaving(), rows(), workers=2))
    with pytest.raises(InputError, match="ends here"):
        found.extend(chunks)
    assert found == [f"{n + 1} {n} correct".encode() for n in range(100)]


def test_closing_ends_what_is_going_on() -> None:
    chunks = verify_rows(Lines(), Misbehaving(), chain(["first"], ["sleep"] * 10), workers=2)
    next(chunks)
    started = time.monotonic()
    chunks.close()
    assert time.monotonic() - started < 10


def test_a_broken_job_raises_here() -> None:
    with pytest.raises(ValueError, match="the job is broken"):
        list(verify_rows(Lines(), Misbehaving(), ["a", "broken", "b"], workers=1))


def test_wrong_arguments_are_input_errors() -> None:
    for options in ({"workers": 0}, {"timeout": 0.0}):
        with pytest.raises(InputError):
            list(verify_rows(Lines(), Misbehaving(), ["a"], **options))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="stays here"):
        list(verify_rows(Lines(), Unpicklable(), ["a"]))
