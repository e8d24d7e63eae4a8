"""The pool: what hangs or dies costs its own verdict only, from threads, from asyncio, without signals."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.verifiers.sample_verifiers import Misbehaving, Unpicklable
from verifiers import InputError, MathVerifier, Problem, VerifierPool, score, score_stream
from verifiers.pool import VerifierUnloadableError

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("misdeed", "status"),
    [
        ("spin", "timeout"),
        ("huge_power", "timeout"),
        ("sleep", "timeout"),
        ("alloc", "error"),
        ("exit", "error"),
        ("raise", "error"),
    ],
)
def test_a_misdeed_costs_one_verdict_and_the_next_is_right(misdeed: str, status: str) -> None:
    verifier = Misbehaving(wall_seconds=1.0) if misdeed == "sleep" else Misbehaving()
    with VerifierPool(verifier, workers=1) as pool:
        before, bad, after = (pool.submit(text, "gold") for text in ("first", misdeed, "second"))
        assert bad.result(timeout=60).status == status
        assert bad.result().detail
        assert (before.result(timeout=60).extracted, after.result(timeout=60).extracted) == (
            "first",
            "second",
        )


def test_a_death_while_the_pool_closes_keeps_its_reason() -> None:
    with VerifierPool(Misbehaving(), workers=1) as pool:
        futures = [pool.submit(text, "") for text in ("first", "alloc", "last")]
    assert [future.result().status for future in futures] == ["correct", "error", "correct"]
    assert "256 MiB" in futures[1].result().detail


def test_cpu_limit_ends_a_c_loop_within_the_stated_time() -> None:
    with VerifierPool(Misbehaving(), workers=1, timeout=0.5) as pool:
        pool.submit("warm", "").result(timeout=60)
        started = time.monotonic()
        verdict = pool.submit("huge_power", "").result(timeout=60)
        assert verdict.status == "timeout"
        assert "0.5 CPU-seconds" in verdict.detail
        assert time.monotonic() - started < 5


def test_what_a_verifier_prints_does_not_disturb_the_protocol() -> None:
    with VerifierPool(Misbehaving(), workers=1) as pool:
        assert pool.submit("print", "").result(timeout=60).extracted == "print"


def test_verdicts_from_many_threads_are_those_of_one() -> None:
    answers = [f"\\boxed{{{n}/7}}" for n in range(200)]
    golds = [f"\\frac{{{n - n % 2}}}{{7}}" for n in range(200)]
    with VerifierPool(MathVerifier(), workers=2) as pool, ThreadPoolExecutor(8) as threads:
        found = list(
            threads.map(lambda pair: pool.submit(*pair).result(timeout=60), zip(answers, golds, strict=True))
        )
    assert [verdict.correct for verdict in found] == [n % 2 == 0 for n in range(200)]


def test_the_host_s_signal_handlers_and_timers_are_untouched() -> None:
    delivered: list[int] = []

    def handler(number: int, frame: object) -> None:
        delivered.append(number)

    watched = (signal.SIGALRM, signal.SIGPROF, signal.SIGCHLD)
    before = {number: signal.signal(number, handler) for number in watched}
    signal.setitimer(signal.ITIMER_REAL, 100)
    try:
        with VerifierPool(Misbehaving(), workers=1) as pool:
            pool.submit("spin", "").result(timeout=60)
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 50
        assert [signal.getsignal(number) for number in watched] == [handler] * 3
        assert set(delivered) <= {signal.SIGCHLD}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, previous in before.items():
            signal.signal(number, previous)


def test_asyncio_and_a_thread_beside_the_main_one() -> None:
    async def judge() -> list[bool]:
        with VerifierPool("math", workers=1) as pool:
            waiting = [asyncio.wrap_future(pool.submit(f"\\boxed{{{n}}}", "2")) for n in range(4)]
            return [verdict.correct for verdict in await asyncio.gather(*waiting)]

    expected = [False, False, True, False]
    assert asyncio.run(judge()) == expected
    from_thread: list[list[bool]] = []
    thread = threading.Thread(target=lambda: from_thread.append(asyncio.run(judge())))
    thread.start()
    thread.join(60)
    assert from_thread == [expected]


def test_a_verifier_called_directly_is_safe_from_hangs_too() -> None:
    with ThreadPoolExecutor(1) as thread:
        assert (
            thread.submit(MathVerifier().verify, "\\boxed{\\sqrt{8}}", "2\\sqrt{2}")
            .result(timeout=60)
            .correct
        )


def test_a_script_without_a_main_guard_is_not_run_again(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from verifiers import score\n"
        "print('started')\n"
        "print([v.status for v in score(['\\\\boxed{1}', '\\\\boxed{2}'], ['1', '1'], workers=2)])\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.stdout.splitlines() == ["started", "['correct', 'incorrect']"], done.stderr


def test_workers_end_with_a_killed_parent(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys\n"
        "from tests.verifiers.sample_verifiers import Misbehaving\n"
        "from verifiers import VerifierPool\n"
        "pool = VerifierPool(Misbehaving(), workers=1)\n"
        "print(pool.submit('x', '').result().detail, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, env=environment, timeout=120
    )
    worker = int(done.stdout)
    deadline = time.monotonic() + 10
    while Path(f"/proc/{worker}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{worker}").exists() or "zombie" in Path(f"/proc/{worker}/status").read_text()


def test_a_pool_without_a_verifier_takes_each_problem_s_own() -> None:
    problems = [
        Problem(id="a", answer="1/2", verifier="math"),
        Problem(id="b", answer="1/2", verifier="exact"),
        Problem(id="c", answer="[0-9]+", verifier="regex"),
    ]
    with VerifierPool(workers=1) as pool:
        verdicts = [pool.submit("\\boxed{0.5}", problem).result(timeout=60) for problem in problems]
        assert [verdict.correct for verdict in verdicts] == [True, False, False]
        with pytest.raises(InputError, match="no verifier 'mth'"):
            pool.submit("1", Problem(id="d", answer="1", verifier="mth"))
        with pytest.raises(InputError, match="gold string"):
            pool.submit("1", "1")


def test_a_verifier_that_cannot_cross_is_an_input_error() -> None:
    with pytest.raises(InputError, match="stays here"):
        VerifierPool(Unpicklable())

    local = type("Local", (Misbehaving,), {"__module__": "tests.verifiers.sample_verifiers"})
    with pytest.raises(InputError):
        VerifierPool(local())


def test_a_verifier_unknown_to_the_worker_fails_the_future_and_nothing_hangs(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from tests.verifiers.sample_verifiers import Misbehaving\n"
        "from verifiers import VerifierPool\n"
        "class Mine(Misbehaving):\n    pass\n"
        "with VerifierPool(Mine(), workers=1) as pool:\n"
        "    try:\n        pool.submit('x', '').result(timeout=60)\n"
        "    except Exception as error:\n        print(type(error).__name__, error)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, env=environment, timeout=120
    )
    assert VerifierUnloadableError.__name__ in done.stdout
    assert "importable module" in done.stdout


def test_streaming_keeps_order_and_bounded_memory() -> None:
    pulled = 0

    def items():  # type: ignore[no-untyped-def]
        nonlocal pulled
        for n in range(3000):
            pulled += 1
            yield f"\\boxed{{{n}}}", "7"

    verdicts = score_stream(items(), workers=1, window=50)
    first = next(verdicts)
    assert first.extracted == "0"
    assert pulled <= 51
    assert [verdict.extracted for verdict in verdicts] == [str(n) for n in range(1, 3000)]


def test_score_refuses_lengths_that_differ() -> None:
    with pytest.raises(InputError, match="2 responses but 1 answers"):
        score(["1", "2"], ["1"])
