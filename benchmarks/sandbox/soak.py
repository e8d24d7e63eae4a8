"""Many runs, one in twenty of them hostile: nothing may leak, and no honest verdict may change.

    python -m benchmarks.sandbox.soak [--runs 100000] [--workers N] [--tier namespaces]

Prints memory, descriptors and processes of this process and of all below it at every tenth of the way, and ends
with exit code 1 where an honest verdict changed, a hostile program passed or something grew.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sandbox import Limits
from tests.processes import descendants
from verifiers import Problem
from verifiers.code import CodeVerifier

CALLS = Problem(
    id="calls",
    tests={
        "kind": "calls",
        "entry_point": "f",
        "cases": [{"args": [[n, 1]], "expected": sorted([n, 1])} for n in range(5)],
    },
)
# More than asserts: the tests have a process of their own.
ASSERTS = Problem(id="asserts", tests=[f"x = [{n}, 1]\nassert f(x) == sorted(x)" for n in range(2)])
STDIO = Problem(
    id="stdio",
    tests={
        "kind": "stdio",
        "cases": [{"stdin": f"{n} 1\n", "stdout": f"{sorted([n, 1])}\n"} for n in range(5)],
    },
)
PROBLEMS = (CALLS, CALLS, STDIO, STDIO, ASSERTS)
SCRIPT = "print(f([int(word) for word in input().split()]))\n"
"""Ends a program that is to read and print."""
RIGHT = "def f(x):\n    return sorted(x)\n"
WRONG = "def f(x):\n    return x[::-1]\n"
HOSTILE = (
    "while True: pass",
    "import os; os._exit(0)",
    "import ctypes; ctypes.string_at(0)",
    "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "x = []\nwhile True: x.append(bytearray(1 << 20))",
    "import os\nwhile True: os.write(1, b'x' * 65536)",
    "import os\nwhile True: os.write(3, b'[' * 65536)",
    "import os\nfor i in range(200):\n    os.mkdir(str(i))\n    open(f'{i}/f', 'wb').write(bytes(10000))",
    "import os\ntry:\n    while True: os.fork()\nexcept OSError: pass",
    "import array, socket\na, b = socket.socketpair()\n"
    "a.sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [a.fileno(), b.fileno()]))])",
    "import threading, time\nfor _ in range(99): threading.Thread(target=time.sleep, args=(9,)).start()",
)
LIMITS = Limits(cpu=0.3, wall=30, memory=128 << 20, output=1 << 20)


def state() -> dict[str, int]:
    """What could leak, of this process, of all below it, and of the kernel's sockets."""
    below = descendants()
    files = len(list(Path("/proc/self/fd").iterdir()))
    own = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    sockets = int(Path("/proc/net/sockstat").read_text().split()[2])
    return {
        "MiB": own >> 20,
        "MiB below": sum(below.values()) >> 20,
        "files": files,
        "processes": len(below),
        "sockets": sockets,
    }


def main() -> int:
    """Run, print, and say by the exit code whether all held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--tier", default="auto")
    options = parser.parse_args()
    verifier = CodeVerifier(workers=options.workers, tier=options.tier, limits=LIMITS)
    choose = random.Random(0)
    wrong: Counter[str] = Counter()

    def one(kind: float) -> None:
        source, expected = (RIGHT, "correct") if kind < 0.6 else (WRONG, "incorrect")
        if kind >= 0.95:
            source, expected = HOSTILE[int(kind * 1e6) % len(HOSTILE)] + "\n" + WRONG, "incorrect"
        problem = PROBLEMS[int(kind * 1e5) % len(PROBLEMS)]
        if problem is STDIO:
            source += SCRIPT
        verdict = verifier.verify(f"```python\n{source}```", problem)
        if verdict.status != expected:
            wrong[f"{verdict.status} instead of {expected}: {verdict.detail[:200]}"] += 1

    started = time.monotonic()
    tenth = max(1, options.runs // 10)
    first: dict[str, int] = {}
    with ThreadPoolExecutor(options.workers) as threads:
        for done in range(tenth, options.runs + 1, tenth):
            list(threads.map(one, [choose.random() for _ in range(tenth)]))
            now = state()
            first = first or now
            print(
                f"{done:7} runs {time.monotonic() - started:7.0f} s  {now}  wrong: {sum(wrong.values())}",
                flush=True,
            )
    grown = [name for name in ("MiB", "files", "processes") if now[name] > first[name] * 1.2 + 4]
    print(f"wrong verdicts: {dict(wrong) or 'none'}; grown: {', '.join(grown) or 'nothing'}")
    verifier.close()
    return 1 if wrong or grown else 0


if __name__ == "__main__":
    sys.exit(main())
