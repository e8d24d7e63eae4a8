"""The math verifier gives the same verdicts from threads, asyncio and processes, and leaves its host as is."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.verifiers.math_pairs import DIFFERENT, EQUAL
from verifiers import MathVerifier, VerifierPool

WHOLE = MathVerifier("whole")
PAIRS = [
    *EQUAL,
    *DIFFERENT,
    # Settled by a proof in a worker process.
    ("\\ln(x-10^7)+\\ln 2", "\\ln(2x-2\\cdot 10^7)"),
    ("9^{9^{9^9}}", "1"),
    ("100000000!", "1"),
]


def said(pair: tuple[str, str]) -> tuple[str, str, str]:
    verdict = WHOLE.verify(*pair)
    return verdict.status, verdict.method, verdict.detail


@pytest.fixture(scope="module")
def alone() -> list[tuple[str, str, str]]:
    return [said(pair) for pair in PAIRS]


def test_threads_give_the_same_verdicts(alone: list[tuple[str, str, str]]) -> None:
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(said, PAIRS)) == alone
        assert list(threads.map(said, PAIRS[::-1])) == alone[::-1]


def test_asyncio_gives_the_same_verdicts(alone: list[tuple[str, str, str]]) -> None:
    async def main() -> list[tuple[str, str, str]]:
        return await asyncio.gather(*(asyncio.to_thread(said, pair) for pair in PAIRS))

    assert asyncio.run(main()) == alone


def test_worker_processes_give_the_same_verdicts(alone: list[tuple[str, str, str]]) -> None:
    with VerifierPool(WHOLE, workers=2) as pool:
        futures = [pool.submit(answer, gold) for answer, gold in PAIRS]
        found = [(v.status, v.method, v.detail) for v in (future.result() for future in futures)]
    assert found == alone


@pytest.mark.parametrize("without", ["MPMATH_NOGMPY", "SYMPY_GROUND_TYPES"])
def test_the_arithmetic_library_does_not_matter(alone: list[tuple[str, str, str]], without: str) -> None:
    code = (
        "import json; from tests.verifiers.test_math_hosts import PAIRS, said; "
        "print(json.dumps([said(pair) for pair in PAIRS]))"
    )
    environment = {**os.environ, without: "python" if without.startswith("SYMPY") else "1"}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert [tuple(found) for found in json.loads(run.stdout)] == alone


def test_signals_and_timers_of_the_host_are_as_before() -> None:
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    signal.setitimer(signal.ITIMER_REAL, 3600)
    try:
        for pair in PAIRS:
            said(pair)
        remaining, interval = signal.getitimer(signal.ITIMER_REAL)
        assert 3000 < remaining <= 3600
        assert interval == 0
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    assert signal.getitimer(signal.ITIMER_PROF) == (0, 0)
    assert {number: signal.getsignal(number) for number in signal.valid_signals()} == handlers
