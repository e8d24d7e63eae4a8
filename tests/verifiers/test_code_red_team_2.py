# ruff: noqa: E501 - one attack on a line
"""A second pass of attacks, by someone who had not written the code. What each taught is in docs/sandbox.md."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from typing import Any

import pytest

from sandbox.local import LocalSandbox
from sandbox.types import Limits, Program
from tests.processes import descendants
from tests.sandbox.test_zygote import wait_for
from tests.verifiers import test_code_red_team as first_pass
from tests.verifiers.code_hostile import is_program, own_memory
from tests.verifiers.test_code_red_team import LIMITS, RIGHT, SEND, WRONG
from verifiers import Problem, Verdict
from verifiers.code import CodeVerifier, tried

verifier = first_pass.verifier

TESTS: dict[str, Any] = {
    **first_pass.TESTS,
    "number": {"kind": "calls", "entry_point": "solve", "cases": [{"args": [2], "expected": 4}]},
    "near": {
        "kind": "calls",
        "entry_point": "solve",
        "cases": [{"args": [2], "expected": 4.5}],
        "tolerance": {"absolute": 0.01},
    },
    "truth": {"kind": "asserts", "tests": ["assert solve(2) is True", "assert solve(3) is not True"]},
    "helper": {
        "kind": "asserts",
        "tests": ["def helper(x):\n    return solve([x], 1)[0] + 1\nassert helper(1) == 2"],
    },
    "property": {
        "kind": "asserts",
        "tests": [
            "r = solve([3, 1], 2)\nassert sorted(r) == [1, 3] and len(r) == 2 and r[0] <= r[1] and 1 in r"
        ],
    },
    "raises": {
        "kind": "unittest",
        "source": "import unittest\nclass T(unittest.TestCase):\n    def test_one(self):\n"
        "        with self.assertRaises(LookupError) as caught:\n            solve(-1)\n"
        "        self.assertEqual(caught.exception.args, (7,))\n",
    },
    "checker": {
        "kind": "checker",
        "checker": "def check(stdin, stdout, expected):\n    return int(stdout) == 6\n",
        "cases": [{"stdin": "3\n1 2 3\n", "stdout": "6\n"}],
    },
    "tokens": {
        "kind": "stdio",
        "compare": "tokens",
        "tolerance": {"relative": 1e-6},
        "cases": [{"stdout": "0.5 7\n"}],
    },
}
SAY = "import os\nos.write(3, b'{\"ready\":1}\\n' + %r + b'\\n')\n" + WRONG
ITS_OWN = "class Odd(Exception): pass\n"

ATTACKS: list[tuple[str, str, str]] = [
    # Replies that the reader's constructors choke on: each was an exception out of the verifier, and so no -1.
    *[
        ("number", f"a reply of {what}", SAY % (b'{"value":%s}' % reply))
        for what, reply in {
            "a decimal that is none": b'{"D":"abc"}',
            "a decimal with an exponent of twenty digits": b'{"D":"1e99999999999999999999"}',
            "a fraction over nothing": b'{"F":["1","0"]}',
            "a complex number out of range": b'{"c":[1' + b"0" * 400 + b",0]}",
            "a duration out of range": b'{"td":[1' + b"0" * 30 + b",0,0]}",
            "an object without a name": b'{"o":[]}',
            "an object with an infinite handle": b'{"o":["x",1e999]}',
            "an object whose name is no text": b'{"o":["\\ud800",0]}',
            "seven hundred lists": b"[" * 700 + b"]" * 700,
            "four hundred tuples": b'{"t":[' * 400 + b"]}" * 400,
            "a type that is none": b'{"T":"eval"}',
        }.items()
    ],
    ("number", "a number that can't be compared", "from decimal import Decimal\ndef solve(x): return Decimal('sNaN')"),
    ("near", "a number that is near nothing and everything", "def solve(x): return complex('nan')"),
    ("number", "arguments afterwards that can't be read", SAY % b'{"value":4,"after":[{"D":"x"}]}'),
    ("number", "an error of a type as deep as the reader", SAY % (b'{"error":{"types":[' + b"[" * 900 + b"]" * 900 + b'],"message":"","traceback":""}}')),
    ("number", "a text that can't be written down", "def solve(x): raise ValueError('\\ud800')"),
    ("literal", "a text that can't be written down, on loading", "raise ValueError('\\ud800')"),
    ("property", "a text that can't be written down, for the tests", "def solve(*_): raise ValueError('\\udfff')"),
    ("number", "a source that can't be written down", "x = '\udc80'\ndef solve(x): return x"),
    # Too much to read.
    ("number", "a flood of beginnings", SEND + WRONG + "while True: os.write(3, b'{\"ready\":1}\\n' * 5000)"),
    ("stdio", "a flood of results nobody asked for", "import os\nos.write(3, b'{\"ready\":1}\\n')\nwhile True: os.write(3, b'{\"value\":0}\\n' * 5000)"),
    ("number", "one byte at a time", "import os, time\nfor byte in b'{\"ready\":1}\\n{\"value\":' + b'4' * 4000:\n    os.write(3, bytes([byte])); time.sleep(1e-4)\nos._exit(0)"),
    ("number", "half a message, and the rest never", WRONG + "import os, time\nos.write(3, b'{\"ready\":1}\\n{\"value\":4'); time.sleep(99)"),
    ("number", "the right value behind a wrong one", SAY % b'{"value":3,"value":5}\n{"value":4}'),
    ("number", "a result before the beginning", "import os\nos.write(3, b'{\"value\":4}\\n{\"ready\":1}\\n'); os._exit(0)"),
    ("stdio", "bytes that are no text", "import os\nos.write(1, b'\\xff' * (1 << 20)); os.write(2, b'\\xfe' * (1 << 20))"),
    ("tokens", "a token to a byte", "print('1 ' * 500_000)"),
    ("stdio", "a line to a byte", "print('\\n' * 1_000_000 + '6')"),
    # Verdicts by other ways than a value.
    ("helper", "the name of the tests' helper", "def helper(x): return x + 1"),
    ("truth", "a number that says it is True", "class T(int):\n    __class__ = bool\ndef solve(x): return T(1)"),
    ("literal", "a string of the value's text", "def solve(nums, k): return str(sorted(nums)[-k:])"),
    ("property", "a list that is sorted otherwise", "class L(list):\n    def __len__(s): return 2\n    def __getitem__(s, i): return i\n    def __iter__(s): return iter([1, 3])\ndef solve(*_): return L()"),
    ("property", "items that stand in every relation", "class I:\n    def __iter__(s): return iter([I(), I()])\n    def __lt__(s, o): return True\n    def __eq__(s, o): return True\n    def __len__(s): return 2\n    def __getitem__(s, i): return I()\n    def __le__(s, o): return True\n    def __contains__(s, o): return True\ndef solve(*_): return I()"),
    ("property", "a handle of somebody else's", SEND + "send({'ready': 1})\nfor _ in range(9): send({'value': {'o': ['list', 0]}})\n" + WRONG),
    ("property", "an iterator that never gives", "class I:\n    def __iter__(s): return s\n    def __next__(s):\n        while True: pass\ndef solve(*_): return I()"),
    ("property", "an argument of the tests rewritten", SEND + "send({'ready': 1})\nfor _ in range(9): send({'value': [1, 3, 4], 'changed': {'0': [1, 3, 4], '-1': 2, '7': 1}})\n" + WRONG),
    ("raises", "an exception with a name that no class may have", ITS_OWN + "Odd.__qualname__ = 'a\\0b'\ndef solve(x): raise Odd(7)"),
    ("raises", "an exception that says it is another one", ITS_OWN + "Odd.__name__ = Odd.__qualname__ = 'LookupError'\nOdd.__module__ = 'builtins'\nOdd.__mro__\ndef solve(x): raise Odd(8)"),
    ("raises", "an exception with attributes of the tests' own", "def solve(x):\n    e = LookupError(8)\n    e.__dict__.update(args=(7,), __class__=int, program_traceback=5)\n    raise e"),
    ("raises", "an end by the kernel in place of an exception", "import os\ndef solve(x): os.abort()"),
    ("raises", "an exception group", "def solve(x): raise BaseExceptionGroup('x', [LookupError(7)])"),
    ("stdio", "a separator that only Python knows", "input(); a = sum(map(int, input().split())); print(f'{a}\\x1c\\x1d')  if a != 6 else print('6\\x1c7')"),
    ("stdio", "a sum in digits with a gap", "input(); print(f'{sum(map(int, input().split())) * 10 + 1:_}'.replace('61', '6_1'))"),
    ("tokens", "numbers that are near everything", "print('nan nan')"),
    ("tokens", "numbers beyond numbers", "print('1e99999 7')"),
    ("stdio", "an answer on standard error", "import sys; input(); print(sum(map(int, input().split())), file=sys.stderr)"),
    ("stdio", "an answer behind its end", "import os\nos.ftruncate(1, 1 << 20); os.lseek(1, 0, 2); input(); print(sum(map(int, input().split())))"),
    ("checker", "a number of nine million digits", "print('9' * 900_000)"),
    ("checker", "digits of another script, grown", "print('\\u0666' + '\\u0660' * 0 + '\\n1')"),
    # What the interpreter does before a program runs.
    ("number", "a constant that is folded", "def solve(x): return -1\nx = " + "9**" * 6 + "9"),
    ("number", "a constant longer than memory", WRONG + "x = lambda: ('a' * 4096, 'a' * 10**9, (0,) * 10**9, b'x' * 2**31)\nsolve = lambda x: len('a' * 10**10)"),
    ("number", "a nest of brackets", WRONG + "x = " + "(" * 5000 + ")" * 5000),
    ("number", "a nest of blocks", WRONG + "\n".join(" " * i + "if 1:" for i in range(150)) + "\n" + " " * 150 + "pass"),
    ("number", "a chain of additions", WRONG + "x = " + "+".join(["1"] * 60_000)),
    ("number", "a chain of calls", WRONG + "x = f" + "()" * 40_000),
    ("number", "a chain of prefixes", WRONG + "x = " + "-" * 100_000 + "1"),
    ("number", "a string of strings in formats", WRONG + "x = f'" + "{x:" * 400 + "}" * 400 + "'"),
    ("number", "a name that is normalised", WRONG + "x" + "\ufdfa" * 50_000 + " = 1"),
    ("number", "null bytes in the source", RIGHT + "\n\0"),
    ("number", "a coding that is no text", "# coding: zlib_codec\n" + WRONG),
    ("number", "an end in the parser", "import ast, sys\nsys.setrecursionlimit(10**9)\ndef solve(x): return ast.literal_eval('-' * 10**6 + '1')"),
    ("number", "a stack without an end", "import sys\nsys.setrecursionlimit(10**9)\nclass R:\n    def __repr__(s): return repr(s)\ndef solve(x): return repr(R())"),
    ("number", "an expression that goes on for ever", "import re\ndef solve(x): return re.match('(a*)*b', 'a' * 60)"),
    ("number", "a computation without an interruption", "def solve(x): return len(str(7 ** 7 ** 9))"),
    # Ends that are none.
    ("number", "a core dump", "import ctypes\ndef solve(x): return ctypes.string_at(1)"),
    ("number", "code of its own", "import ctypes, mmap\nm = mmap.mmap(-1, 4096, prot=7)\nm.write(b'\\xeb\\xfe')\ndef solve(x): return ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))()"),
    ("number", "all signals held back", "import signal, time\nsignal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\ndef solve(x): time.sleep(99)"),
    ("number", "a thread that outlives the main one", "import ctypes, threading, time\nthreading.Thread(target=time.sleep, args=(99,)).start()\ndef solve(x): ctypes.CDLL(None).syscall(60, 0)"),
    ("number", "a wait for itself", "import fcntl, os, threading\na = threading.Lock(); a.acquire()\ndef solve(x): a.acquire()"),
    ("stdio", "a right answer and no end", "import time\ninput(); print(sum(map(int, input().split())), flush=True); time.sleep(99)"),
    ("stdio", "a right answer and a thread without an end", "import threading, time\ninput(); print(sum(map(int, input().split())), flush=True)\nthreading.Thread(target=time.sleep, args=(99,)).start()"),
    ("stdio", "a right answer and a fault", "import ctypes\ninput(); print(sum(map(int, input().split())), flush=True); ctypes.string_at(1)"),
    # Kernel memory and counts that no limit of the process shows.
    ("number", "locks of bytes", WRONG + "import fcntl, struct\nfor i in range(200_000): fcntl.fcntl(1, fcntl.F_SETLK, struct.pack('hhqqi', fcntl.F_WRLCK, 0, 2 * i, 1, 0))"),
    ("number", "watches of watches", WRONG + "import os, select\nps = []\ntry:\n    while True: ps.append(select.epoll())\nexcept OSError: pass\nfor p in ps:\n    for q in ps:\n        try: p.register(q.fileno(), 1)\n        except OSError: pass"),
    ("number", "a reserve of the kernel's", WRONG + "import os\nfor f in (0, 1, 2):\n    for size in (1 << 30, 1 << 40, (1 << 63) - 1):\n        try: os.posix_fallocate(f, 0, size)\n        except OSError: pass\n        try: os.ftruncate(f, size)\n        except OSError: pass"),
    ("number", "memory of stacks", WRONG + "import threading, time\nthreading.stack_size(64 << 20)\nfor _ in range(500):\n    try: threading.Thread(target=time.sleep, args=(99,), daemon=True).start()\n    except (RuntimeError, MemoryError): break"),
    ("number", "memory of a file behind no name", WRONG + "import mmap, os\nkept = []\nwhile True:\n    try:\n        f = os.open('.', os.O_TMPFILE | os.O_RDWR); os.ftruncate(f, 4 << 20); kept.append(mmap.mmap(f, 4 << 20)); kept[-1][:] = b'x' * (4 << 20)\n    except (OSError, MemoryError, ValueError): break"),
]  # fmt: skip


@pytest.mark.parametrize(("protocol", "name", "source"), ATTACKS, ids=[f"{p}: {n}" for p, n, _ in ATTACKS])
def test_attack(verifier: CodeVerifier, protocol: str, name: str, source: str) -> None:
    before, worked = own_memory(), time.process_time()
    started = time.monotonic()
    verdict = verifier.verify(f"````python\n{source}\n````", problem(protocol))
    assert verdict.status == "incorrect", verdict
    assert verdict.model_dump_json()
    assert time.monotonic() - started < LIMITS.elapsed + 20
    assert time.process_time() - worked < 2
    assert own_memory() - before < 64 << 20
    assert verifier.verify(f"```python\n{RIGHT}\n```", problem("calls")).correct


def problem(name: str) -> Problem:
    return Problem(id=name, tests=TESTS[name], verifier="code")


def test_honest_programs_pass_the_same_tests(verifier: CodeVerifier) -> None:
    honest = {
        "number": "def solve(x): return x * x",
        "near": "def solve(x): return 4.499",
        "truth": "def solve(x): return x == 2",
        "helper": RIGHT,
        "property": RIGHT,
        "raises": "def solve(x): raise KeyError(7)",
        "checker": "print(6)",
        "tokens": "print('.50000001')\nprint(7.0)",
    }
    for name, source in honest.items():
        verdict = verifier.verify(f"```python\n{source}\n```", problem(name))
        assert verdict.correct, verdict


@pytest.mark.parametrize(
    ("name", "message"),
    [("tried denied:ptrace 7, denied", "3"), ("tried x" + " 111" * 70, "!"), ("a; tried fork 1, b", "2")],
)
def test_an_exceptions_name_is_no_telemetry(verifier: CodeVerifier, name: str, message: str) -> None:
    """Nor does it take long to see: the pattern that reads it had ways by the power of its groups."""
    source = f"raise type({name!r}, (Exception,), {{}})({message!r})"
    started = time.monotonic()
    assert not tried(verifier.verify(f"```python\n{source}\n```", problem("number")))
    assert time.monotonic() - started < 10


DOORS = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
room = ctypes.create_string_buffer(4096)
page = ctypes.addressof(room)
CALLS = {
    "io_uring_setup": (425, 8, page), "userfaultfd": (323, 1), "memfd_secret": (447, 0), "memfd_create": (319, page, 0),
    "pidfd_open": (434, os.getpid(), 0), "pidfd_getfd": (438, 0, 0, 0), "pidfd_send_signal": (424, 0, 0, 0, 0),
    "process_madvise": (440, 0, page, 1, 4, 0), "process_vm_readv": (310, os.getpid(), page, 1, page, 1, 0),
    "fsopen": (430, b"tmpfs", 0), "open_tree": (428, -100, b"/", 1), "move_mount": (429, -1, b"", -1, b"/tmp", 4),
    "mount_setattr": (442, -100, b"/", 0, page, 32), "keyctl": (250, 0, -3, 1), "add_key": (248, b"user", b"x", b"y", 1, -3),
    "perf_event_open": (298, page, 0, -1, -1, 0), "bpf": (321, 0, page, 48), "clone3": (435, page, 88), "vfork": (58,),
    "name_to_handle_at": (303, -100, b"/", page, page, 0), "open_by_handle_at": (304, -100, page, 0), "seccomp": (317, 1, 0, page),
    "landlock_create_ruleset": (444, 0, 0, 1), "personality": (135, 0x0040000), "sched_setaffinity": (203, 0, 8, page),
    "sched_setattr": (314, 0, page, 0), "setpriority": (141, 0, 0, 19), "ioprio_set": (251, 1, 0, 0), "mlockall": (151, 1),
    "mlock": (149, page, 4096), "timer_create": (222, 0, 0, page), "shmget": (29, 0, 4096, 0o1600), "msgget": (68, 0, 0o1600),
    "semget": (64, 0, 1, 0o1600), "mq_open": (240, b"q", 0o102, 0o600, 0), "inotify_init": (253,), "fanotify_init": (300, 0, 0),
    "splice": (275, 0, 0, 1, 0, 1, 0), "vmsplice": (278, 1, page, 1, 0), "setxattr": (188, b"/tmp", b"user.x", page, 1, 0),
    "chown": (92, b"/tmp", 0, 0), "mknod": (133, b"/tmp/n", 0o20666, 0x103), "chroot": (161, b"/tmp"), "unshare": (272, 0x10000000),
    "setns": (308, 0, 0), "ptrace": (101, 0, 0, 0, 0), "kcmp": (312, 1, 1, 0, 0, 0), "setuid": (105, 0), "capset": (126, page, page),
    "rt_sigqueueinfo": (129, os.getpid(), 10, page), "tkill": (200, 1, 0), "modify_ldt": (154, 0, page, 16), "iopl": (172, 3),
    "cachestat": (451, 0, page, page, 0), "map_shadow_stack": (453, 0, 4096, 0), "set_mempolicy": (238, 0, 0, 0),
    "prctl PR_SET_MM": (157, 35, 1, page, 0, 0), "prctl PR_SET_PTRACER": (157, 0x59616d61, -1, 0, 0, 0),
    "prctl PR_SET_DUMPABLE": (157, 4, 1, 0, 0, 0), "prctl PR_SET_PDEATHSIG": (157, 1, 0, 0, 0, 0),
    "prctl PR_SET_CHILD_SUBREAPER": (157, 36, 1, 0, 0, 0), "prctl PR_SET_SECUREBITS": (157, 28, 0, 0, 0, 0),
    "prctl PR_SET_TIMERSLACK": (157, 29, 1, 0, 0, 0), "prctl PR_CAP_AMBIENT": (157, 47, 2, 0, 0, 0),
    "clone of a namespace's thread": (56, 0x10000 | 0x10000000, 0, 0, 0, 0), "clone of a process by a wide flag": (56, 1 << 40, 0, 0, 0, 0),
    "x32 fork": (0x40000000 + 57,), "x32 execve": (0x40000000 + 520, b"/bin/true", 0, 0), "a number that is none": (1 << 30,),
}
for name, (number, *arguments) in CALLS.items():
    done = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) if type(a) is int else a for a in arguments])
    if done >= 0:
        print(name, done)
        if "fork" in name or "clone" in name:
            os._exit(0)
"""


def test_doors_into_the_kernel_are_shut(verifier: CodeVerifier) -> None:
    """By number, for whom the C library has no function: what came with later kernels, and what few have heard of."""
    run = verifier.sandbox.run(Program(source=DOORS), Limits(cpu=5, wall=30))
    assert (run.stdout, run.exit_code, run.signal) == ("", 0, None), run
    for case in verifier.sandbox.run_cases(Program(source=DOORS), [""] * 3, Limits(cpu=5, wall=30)):
        assert (case.stdout, case.exit_code, case.signal) == ("", 0, None), case


CALLS = "import time\ndef solve(nums, k):\n    time.sleep(0.4)\n    return sorted(nums)[-k:]"
SCRIPT = "import time\ntime.sleep(0.4)\nprint(input())"
ECHO = {"kind": "stdio", "cases": [{"stdin": f"{n}\n", "stdout": f"{n}\n"} for n in range(4)]}


@pytest.mark.parametrize(
    ("tests", "source"), [(TESTS["calls"], CALLS), (ECHO, SCRIPT)], ids=["calls", "stdio"]
)
def test_a_run_that_is_made_again_begins_again(
    verifier: CodeVerifier, tests: dict[str, Any], source: str
) -> None:
    """Results of the try that failed are none of the next one's: an honest program had too many, and -1."""
    asked = Problem(id="again", tests=tests, verifier="code")
    others = descendants().keys()
    done: list[Verdict] = []
    with LocalSandbox(1, tier=verifier.sandbox.tier) as sandbox:
        alone = CodeVerifier(sandbox=sandbox, limits=LIMITS)
        thread = threading.Thread(
            target=lambda: done.append(alone.verify(f"```python\n{source}\n```", asked))
        )
        thread.start()
        assert wait_for(lambda: [pid for pid in descendants().keys() - others if is_program(pid)])
        # After the first result and before the second.
        time.sleep(0.6)
        for pid in [pid for pid in descendants().keys() - others if not is_program(pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        thread.join()
    assert done[0].correct, done
    assert done[0].seconds > 1.2
