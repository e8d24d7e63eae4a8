# ruff: noqa: E501 - one attack on a line
"""Attacks of our own, of kinds that published collections lack. What each taught is in docs/sandbox.md."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.local import TIERS, LocalSandbox
from sandbox.types import Limits, Program, SandboxError
from tests.processes import descendants
from tests.verifiers.code_hostile import own_memory
from verifiers import InputError, Problem
from verifiers.code import CodeVerifier, tried

LIMITS = Limits(cpu=2, wall=6, memory=256 << 20, output=1 << 20, file_size=4 << 20, disk=8 << 20)
CASES = [{"args": [[5, 1, 4], 2], "expected": [4, 5]}, {"args": [[2, 9], 1], "expected": [9]}]
TESTS: dict[str, Any] = {
    "typed": {"kind": "asserts", "tests": ["assert isinstance(solve([1], 1), list)"]},
    "calls": {"kind": "calls", "entry_point": "solve", "cases": CASES},
    "asserts": {
        "kind": "asserts",
        "entry_point": "solve",
        "tests": ["assert solve([5, 1, 4], 2) == [4, 5]", "assert abs(len(solve([2, 9], 1)) - 1) < 1e-6"],
    },
    "literal": {
        "kind": "asserts",
        "tests": [
            "assert solve([5, 1, 4], 2) == [4, 5]",
            "assert solve([2, 9], 1) == [9]",
            "assert not solve([], 0)",
        ],
    },
    "table": {"kind": "asserts", "tests": ["assert solve([1], 1) == {1: {2}, (3, 4): 5, 'x': None}"]},
    "close": {
        "kind": "asserts",
        "tests": [
            "assert abs(solve(2.0) - 1.4142135) < 1e-6",
            "assert not solve(0.0)",
            "assert 2 <= solve(4.0) <= 2",
        ],
    },
    "stdio": {
        "kind": "stdio",
        "cases": [{"stdin": "3\n1 2 3\n", "stdout": "6\n"}, {"stdin": "1\n9\n", "stdout": "9\n"}],
    },
    "unittest": {
        "kind": "unittest",
        "source": "import unittest\nclass T(unittest.TestCase):\n    def test_one(self):\n"
        "        self.assertEqual(solve([5, 1, 4], 2), [4, 5])\n        self.assertTrue(Stack().push(1) is None)\n",
    },
}
RIGHT = "def solve(nums, k):\n    return sorted(nums)[-k:]"
WRONG = "def solve(*_):\n    return -1\n"
SEND = "import os, json\ndef send(frame):\n    os.write(3, json.dumps(frame).encode() + b'\\n')\n"
EVERYTHING = (
    "class Any(type):\n    pass\n"
    "def method(self, *a): return self\nnames = 'add radd sub rsub mul rmul abs neg pos float int round getitem call iter'\n"
    "body = {f'__{n}__': method for n in names.split()}\n"
    "body.update({f'__{n}__': (lambda self, *a: True) for n in 'eq ne lt le gt ge bool contains'.split()})\n"
    "body.update(__len__=lambda self: 1, __hash__=lambda self: 0, __float__=lambda self: 0.0)\n"
    "Thing = type('Thing', (), body)\ndef solve(*_): return Thing()\n"
)

ATTACKS: list[tuple[str, str, str]] = [
    # The channel: answers before they are asked for, malformed, doubled, too many, too long, too deep.
    ("calls", "answers before the calls", SEND + WRONG + "send({'value': -1})\nsend({'value': -1})\nos._exit(0)"),
    ("calls", "more answers than calls", SEND + RIGHT + "\nsend({'ready': 1})\n[send({'value': 0}) for _ in range(9)]"),
    ("calls", "a verdict in place of a value", SEND + WRONG + "send({'passed': True, 'ok': True, 'value': True})"),
    ("calls", "both a value and an error", SEND + WRONG + "send({'error': {}, 'value': [4, 5]})"),
    ("calls", "no JSON", WRONG + "import os; os.write(3, b'\\xff\\x00}{\\n' * 100)"),
    ("calls", "an endless line", WRONG + "import os\nwhile True: os.write(3, b'[' * 65536)"),
    ("calls", "deep JSON", WRONG + "import os; os.write(3, b'{\"value\":' + b'[' * 60000 + b'\\n')"),
    ("calls", "a number of a million digits", WRONG + "import os; os.write(3, b'{\"value\":' + b'9' * 60000 + b'}\\n')"),
    ("calls", "a flood of small lists", WRONG + "import os; os.write(3, b'{\"value\":[' + b'[],' * 300000 + b'[]]}\\n')"),
    ("calls", "the channel closed", WRONG + "import os; os.close(3)"),
    ("calls", "the channel turned into standard output", WRONG + "import os; os.dup2(1, 3)"),
    ("asserts", "answers before the tests ask", SEND + "send({'ready': 1})\n[send({'value': 1}) for _ in range(50)]\n" + WRONG),
    ("asserts", "changes to arguments that are not there", SEND + "send({'ready': 1})\n"
     "send({'value': [4, 5], 'changed': {'99': [1]}})\nsend({'value': -1})\n" + WRONG),
    ("asserts", "an exception that would end the tests", "def solve(*_): raise SystemExit(0)"),
    ("asserts", "a test runner's own exception", "class SkipTest(Exception): pass\n"
     "SkipTest.__module__ = 'unittest.case'\ndef solve(*_): raise SkipTest('skip')"),
    ("typed", "a built-in function of the tests replaced", SEND + "send({'ready': 1})\n"
     "send({'value': {'isinstance': ['x.isinstance'], 'len': ['x.len']}})\n" + WRONG),
    ("unittest", "a skip in a test case", "import unittest\nclass Stack: pass\ndef solve(*_): raise unittest.SkipTest('x')"),
    ("unittest", "an interrupt in a test case", "class Stack: pass\ndef solve(*_): raise KeyboardInterrupt"),
    ("unittest", "no such class", RIGHT),
    # Values that would decide a comparison themselves.
    ("asserts", "an object that is everything", EVERYTHING),
    ("close", "an object that is near everything", EVERYTHING),
    ("calls", "an object that is everything", EVERYTHING),
    ("close", "not a number", "def solve(x): return float('nan')"),
    ("close", "a decimal that compares with nothing", "from decimal import Decimal\ndef solve(x): return Decimal('sNaN')"),
    ("calls", "a class that claims to be a list", "class L:\n    __class__ = list\n    def __iter__(s): return iter([4, 5])\n"
     "def solve(*_): return L()"),
    ("calls", "a set whose hashes collide", "def solve(*_): return {k * ((1 << 61) - 1) for k in range(3000)}"),
    ("calls", "a dict with two spellings of a key", "def solve(*_): return {1: 4, '1': 5}"),
    ("asserts", "a generator without an end", "def solve(*_):\n    while True: yield 4"),
    ("asserts", "a value larger than a message may be", "def solve(*_): return 'x' * (80 << 20)"),
    # Asserts that are judged without a process of their own.
    ("literal", "an object that is everything", EVERYTHING),
    ("table", "an object that is everything", EVERYTHING),
    ("literal", "a list that equals all", "class L(list):\n    def __eq__(self, other): return True\n    __hash__ = None\n"
     "    def __len__(self): return 2\ndef solve(*_): return L([0, 0])"),
    ("literal", "answers before the calls", SEND + "[send({'value': v}) for v in ([9], [4, 5], [])]\nos._exit(0)\n" + WRONG),
    ("literal", "more answers than calls", SEND + RIGHT + "\nsend({'ready': 1})\n[send({'value': []}) for _ in range(9)]"),
    ("literal", "handles of objects that are not there", SEND + "[send({'value': {'o': ['list', n]}}) for n in range(3)]\n" + WRONG),
    ("table", "a dict whose keys collide", "def solve(*_): return {k * ((1 << 61) - 1): k for k in range(1, 3000)}"),
    ("table", "a dict that has a key three times", SEND + "send({'value': {'d': [['x', None]] * 3}})\n" + WRONG),
    ("table", "keys that are sets of colliding numbers",
     "def solve(*_): return {frozenset(k * ((1 << 61) - 1) for k in range(1, 2000)): 1, 2: 2, 3: 3}"),
    ("literal", "the expected values hunted in memory", "import gc, sys\ndef solve(nums, k):\n    seen, f = [], sys._getframe()\n"
     "    while f: seen += [*f.f_locals.values()]; f = f.f_back\n    seen += gc.get_objects()\n"
     "    return next((o for o in seen if type(o) is list and o and len(o) == k and sorted(nums)[-k:] == o), -1)"),
    # What the interpreter shares with its harness.
    ("calls", "the harness's encoder replaced", "import gc\nfor o in gc.get_objects():\n"
     "    if type(o) is dict and 'pack' in o and 'unpack' in o:\n        o['pack'] = lambda *a: True\n" + WRONG),
    ("calls", "a trace function on the harness", "import sys\nsys.settrace(lambda f, e, a: f.f_locals.update(value=[4, 5]))\n" + WRONG),
    ("calls", "an exit from a thread", "import os, threading\nthreading.Timer(0.05, os._exit, (0,)).start()\n"
     "import time\ndef solve(*_): time.sleep(1); return -1"),
    ("stdio", "output taken back", "import os\nprint(-1, flush=True)\nos.ftruncate(1, 0)\nos.lseek(1, 0, 0)"),
    ("stdio", "input written as output", "import os\nos.lseek(0, 0, 0)\nos.write(0, b'6')\nos.dup2(0, 1)"),
    ("stdio", "the right line among others", "print(*range(50), sep='\\n')"),
    ("stdio", "a null byte behind the answer", "input(); print(sum(map(int, input().split())), end='\\0')"),
    ("stdio", "an exit code behind the answer", "input(); print(sum(map(int, input().split()))); raise SystemExit(3)"),
    ("stdio", "lookalike digits", "input(); print(str(sum(map(int, input().split()))).translate({54: 0x0ED6, 57: 0x0669}))"),
    # Time and memory by ways that simple limits miss.
    ("calls", "a stop of itself", "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)\n" + WRONG),
    ("calls", "signals that never stop", "import signal\nsignal.signal(signal.SIGALRM, lambda *_: None)\n"
     "signal.setitimer(signal.ITIMER_REAL, 1e-6, 1e-6)\nwhile True: pass"),
    ("calls", "memory in pipes and sockets", "import os, socket\nkept = []\ntry:\n    while True:\n"
     "        r, w = os.pipe(); os.set_blocking(w, False); kept += [r, w]\n        try:\n"
     "            while True: os.write(w, bytes(65536))\n        except BlockingIOError: pass\nexcept OSError: pass\n" + WRONG),
    ("calls", "sockets sent through themselves", "import array, socket\nfor _ in range(20):\n    a, b = socket.socketpair()\n"
     "    a.sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [a.fileno(), b.fileno()]))])\n" + WRONG),
    ("calls", "a sparse file and a map of it", "import mmap, os\ntry:\n    f = os.open('s', os.O_CREAT | os.O_RDWR)\n"
     "    os.ftruncate(f, 3 << 20)\n    m = mmap.mmap(f, 3 << 20)\n    m[:] = bytes(3 << 20)\nexcept OSError: pass\n" + WRONG),
    ("calls", "limits raised again", "import resource\nfor kind in range(16):\n    try: resource.setrlimit(kind, (-1, -1))\n"
     "    except (OSError, ValueError): pass\nx = bytearray(b'x') * (400 << 20)\n" + RIGHT),
    ("calls", "the working directory taken away", "import os\ntry:\n    os.chmod('/tmp', 0); os.rmdir('/tmp')\nexcept OSError: pass\n" + WRONG),
    # Other doors into the kernel.
    ("calls", "the 32-bit system calls", "import ctypes, mmap\nm = mmap.mmap(-1, 4096, prot=7)\n"
     "m.write(bytes.fromhex('b802000000cd80c3'))\na = ctypes.addressof(ctypes.c_char.from_buffer(m))\n"
     "r = ctypes.CFUNCTYPE(ctypes.c_int)(a)()\nif r == 0: open('/tmp/forked', 'w')\n" + WRONG),
    ("calls", "the x32 system calls", "import ctypes\nr = ctypes.CDLL(None).syscall(0x40000000 + 57)\n" + WRONG),
    ("calls", "a second filter", "import ctypes\nctypes.CDLL(None).prctl(22, 1)\n" + WRONG),
    ("calls", "real-time priority", "import os\ntry: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))\n"
     "except OSError: pass\nwhile True: pass"),
]  # fmt: skip


# Inside, bubblewrap's tier is the one that uses Landlock alone.
EACH_TIER = [pytest.param(tier, marks=[pytest.mark.slow] if tier == "bubblewrap" else []) for tier in TIERS]


@pytest.fixture(scope="module", params=EACH_TIER)
def verifier(request: pytest.FixtureRequest) -> Iterator[CodeVerifier]:
    made = CodeVerifier(workers=1, tier=request.param, limits=LIMITS)
    try:
        assert made.sandbox.tier == request.param
    except InputError as error:
        pytest.skip(str(error))
    yield made
    made.close()


def problem(name: str) -> Problem:
    return Problem(id=name, tests=TESTS[name], verifier="code")


@pytest.mark.parametrize(("protocol", "name", "source"), ATTACKS, ids=[f"{p}: {n}" for p, n, _ in ATTACKS])
def test_attack(verifier: CodeVerifier, protocol: str, name: str, source: str) -> None:
    before = own_memory()
    started = time.monotonic()
    verdict = verifier.verify(f"````python\n{source}\n````", problem(protocol))
    assert verdict.status == "incorrect", verdict
    assert time.monotonic() - started < LIMITS.elapsed + 20
    assert own_memory() - before < 64 << 20
    assert verdict.model_dump_json()
    assert verifier.verify(f"```python\n{RIGHT}\n```", problem("calls")).correct


def test_honest_programs_pass_the_same_tests(verifier: CodeVerifier) -> None:
    honest = {
        "calls": RIGHT,
        "asserts": RIGHT,
        "literal": RIGHT,
        "table": "def solve(*_): return {1: {2}, (3, 4): 5, 'x': None}",
        "close": "def solve(x): return x ** 0.5",
        "typed": RIGHT,
        "stdio": "input(); print(sum(map(int, input().split())))",
        "unittest": RIGHT + "\nclass Stack:\n    def push(self, x): pass",
    }
    for name, source in honest.items():
        verdict = verifier.verify(f"```python\n{source}\n```", problem(name))
        assert verdict.correct, verdict


def test_forged_telemetry_does_not_count(verifier: CodeVerifier) -> None:
    source = "def solve(*_): raise ValueError('; tried denied:ptrace 7')"
    assert not tried(verifier.verify(f"```python\n{source}\n```", problem("calls")))


def test_a_tree_of_processes_is_bounded_and_ends() -> None:
    """The profile that allows subprocesses: bombs, hoards and daemons."""
    limits = Limits(cpu=1, wall=20, memory=256 << 20, processes=16, threads=64)
    sources = {
        "processes": "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
        "memory": "import os, time\nfor _ in range(8):\n    if os.fork() == 0:\n"
        "        x = bytearray(b'x') * (80 << 20); time.sleep(9)\ntime.sleep(9)",
        "cpu": "import os\nfor _ in range(8):\n    if os.fork() == 0:\n        while True: pass\nos.wait()",
        None: "import os\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
        "        os.execv('/bin/sleep', ['sleep', '60'])\n    os._exit(0)",
    }
    try:
        sandbox = LocalSandbox(1, tier="namespaces")
    except SandboxError as error:
        pytest.skip(str(error))
    with sandbox:
        sandbox.run(Program(source="pass"), limits)
        before = descendants()
        for limit, source in sources.items():
            run = sandbox.run(Program(source=source), limits)
            assert run.limit == limit, run
            assert run.usage.memory < limits.memory * 1.3
        time.sleep(0.2)
        assert len(descendants()) == len(before)


def test_memory_that_processes_share_is_counted_once() -> None:
    source = (
        "import os, time\nx = bytearray(b'x') * (100 << 20)\nfor _ in range(8):\n"
        "    if os.fork() == 0:\n        time.sleep(0.2)\n        os._exit(0)\nfor _ in range(8): os.wait()"
    )
    try:
        sandbox = LocalSandbox(1, tier="namespaces")
    except SandboxError as error:
        pytest.skip(str(error))
    with sandbox:
        run = sandbox.run(Program(source=source), Limits(cpu=5, wall=20, memory=256 << 20, processes=16))
    assert (run.limit, run.exit_code) == (None, 0), run
    assert 100 << 20 < run.usage.memory <= 256 << 20


_TOUCHED = "    for at in range(0, len(held[-1]), 4096): held[-1][at] = 1\n"
UNCOUNTED = {
    "shared": f"    held.append(mmap.mmap(-1, 8 << 20))\n{_TOUCHED}",
    "shared, no longer mapped": f"    held.append(mmap.mmap(-1, 8 << 20))\n{_TOUCHED}"
    "    held[-1].madvise(mmap.MADV_DONTNEED)\n",
    "shared, more than there is": "    held.append(mmap.mmap(-1, 1 << 30))\n",
    # A page of zeros that nobody has to himself, every two megabytes: 4 KiB of tables for each.
    "tables of pages": "    held.append(mmap.mmap(-1, 64 << 30, mmap.MAP_PRIVATE | 0x4020, mmap.PROT_READ))\n"
    "    for at in range(0, 64 << 30, 2 << 20): held[-1][at]\n",
}


@pytest.mark.parametrize("kind", UNCOUNTED)
def test_memory_of_a_tree_that_is_nobodys_own_is_limited(kind: str) -> None:
    limits = Limits(cpu=20, wall=60, memory=256 << 20, processes=4)
    try:
        sandbox = LocalSandbox(1, tier="namespaces")
    except SandboxError as error:
        pytest.skip(str(error))
    with sandbox:
        run = sandbox.run(Program(source=f"import mmap\nheld = []\nwhile True:\n{UNCOUNTED[kind]}"), limits)
        assert run.limit == "memory", run
        # What a program of several processes may share, it can.
        few = "import mmap, os\nm = mmap.mmap(-1, 9999)\nif os.fork() == 0: m[1] = 7; os._exit(0)\n"
        assert sandbox.run(Program(source=f"{few}os.wait()\nprint(m[1])"), limits).stdout == "7\n"
        zeros = "open('/dev/zero', 'rb').read(3)"
        mapped = "import mmap, os\nmmap.mmap(os.open('/dev/zero', os.O_RDWR), 1 << 30)"
        run = sandbox.run(Program(source=f"print({zeros})\n{mapped}"), limits)
        assert run.stdout == "b'\\x00\\x00\\x00'\n"
        assert "OSError: [Errno 19]" in run.stderr


def test_nothing_on_the_host_changed() -> None:
    assert not [path for path in ("/tmp/forked", "/tmp/s") if Path(path).exists()]
