"""A script that runs once per case: every case is alone, judged as in a run of its own, and leaves nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox.cases import one_by_one
from sandbox.inside.syscalls import numbers
from sandbox.inside.watch import Cases
from sandbox.local import LocalSandbox
from sandbox.types import Execution, Limits, Program
from tests.processes import descendants

CALL = numbers()
LIMITS = Limits(cpu=1, wall=20, memory=256 << 20, output=1 << 20, threads=8)
COUNTED = ("exit_code", "signal", "limit", "stdout", "events")


def run(sandbox: LocalSandbox, source: str, stdins: str | list[str] = "abc") -> tuple[Execution, ...]:
    return sandbox.run_cases(Program(source=source), list(stdins), LIMITS)


def outputs(sandbox: LocalSandbox, source: str, stdins: str | list[str] = "abc") -> list[str]:
    runs = run(sandbox, source, stdins)
    assert all(each.ok for each in runs), runs
    return [each.stdout for each in runs]


def seen(execution: Execution) -> dict[str, object]:
    found = execution.model_dump(include=set(COUNTED))
    # Refused calls are known for all cases together.
    found["events"] = {n: c for n, c in execution.events.items() if not n.startswith("denied:")}
    return found


def test_the_fast_way_is_taken_here(sandbox: LocalSandbox) -> None:
    assert sandbox._runs_cases


def test_each_case_reads_its_own_input_and_writes_its_own_output(sandbox: LocalSandbox) -> None:
    assert outputs(sandbox, "print(input() * 2)", ["1", "22", "3\n"]) == ["11\n", "2222\n", "33\n"]


def test_globals_modules_and_environment_are_new(sandbox: LocalSandbox) -> None:
    source = (
        "import builtins, collections, math, os, sys\n"
        "print(getattr(math, 'left', None), getattr(builtins, 'left', None), os.environ.get('left'),\n"
        "      len(sys.argv), sys.getrecursionlimit(), getattr(collections.Counter, 'left', None))\n"
        "math.left = builtins.left = collections.Counter.left = input()\n"
        "os.environ['left'] = 'x'; sys.argv.append(1); sys.setrecursionlimit(77)\n"
    )
    first, *others = outputs(sandbox, source)
    assert others == [first, first]


def test_files_are_gone_and_their_times_too(sandbox: LocalSandbox) -> None:
    source = (
        "import os\nwhere = '/tmp' if os.access('/tmp', os.W_OK) else '.'\n"
        "try: print(sorted(os.listdir(where)), os.getcwd() == where)\nexcept OSError as error: print(error)\n"
        "try:\n    os.mkdir('d'); open('d/f', 'w').write('x' * 5000); open('g', 'w').close(); os.unlink('g')\n"
        "    os.utime('.', (1, 1)); os.chmod('.', 0o700)\n"
        "except OSError: pass\n"
    )
    first, *others = outputs(sandbox, source)
    assert others == [first, first]
    if sandbox.tier == "namespaces":
        assert first == "[] True\n"
        used = run(sandbox, source)
        assert [each.usage.files for each in used] == [2, 2, 2]


def test_given_files_are_there_in_every_case(sandbox: LocalSandbox) -> None:
    if sandbox.tier != "namespaces":
        pytest.skip("no scratch directory")
    program = Program(source="print(open('a/b').read()); open('a/b', 'w').write('no')", files={"a/b": "yes"})
    assert [each.stdout for each in sandbox.run_cases(program, ["", "", ""], LIMITS)] == ["yes\n"] * 3


def test_a_case_has_three_descriptors_and_none_of_another(sandbox: LocalSandbox) -> None:
    source = (
        "import os\nfor n in range(3000):\n    try: os.fstat(n); print(n, end=' ')\n    except OSError: pass\n"
        "os.dup2(0, 30); os.pipe()"
    )
    assert outputs(sandbox, source) == ["0 1 2 "] * 3


def test_threads_do_not_outlive_their_case(sandbox: LocalSandbox) -> None:
    source = (
        "import threading, time\nprint(threading.active_count())\n"
        "for _ in range(8): threading.Thread(target=time.sleep, args=(30,), daemon=True).start()\n"
    )
    assert outputs(sandbox, source) == ["1\n"] * 3
    assert [each.limit for each in run(sandbox, source.replace("range(8)", "range(60)"))] == ["processes"] * 3


@pytest.mark.parametrize("who", ["os.getppid()", "1", "0", "-1", "os.getpid() - 1", "os.getpid() + 1"])
def test_nobody_else_can_be_signalled(sandbox: LocalSandbox, who: str) -> None:
    source = (
        f"import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\nwho = {who}\n"
        f"print(libc.kill(who, 9), libc.syscall({CALL['tgkill']}, who, who, 9),\n"
        f"      libc.syscall({CALL['tkill']}, who, 9))\n"
        "print(libc.prlimit(who, 7, None, None) if who else -1, libc.ptrace(16, who, 0, 0))\n"
    )
    runs = run(sandbox, source)
    assert [each.stdout for each in runs] == ["-1 -1 -1\n-1 -1\n"] * 3, runs
    assert runs[-1].events["denied:kill"] == 3


def test_a_case_may_signal_itself(sandbox: LocalSandbox) -> None:
    source = (
        "import os, signal, threading\ngot = []\nsignal.signal(signal.SIGUSR1, lambda *_: got.append(1))\n"
        "os.kill(os.getpid(), signal.SIGUSR1); signal.raise_signal(signal.SIGUSR1)\nprint(len(got))\n"
        "if input() == 'b': os.abort()\n"
        "if True: os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    runs = run(sandbox, source)
    assert [each.signal for each in runs] == [15, 6, 15]
    assert not [name for each in runs for name in each.events if name.startswith("denied:")]


def test_a_case_can_not_make_processes_whatever_it_calls(sandbox: LocalSandbox) -> None:
    source = (
        "import ctypes, os\nlibc = ctypes.CDLL(None)\n"
        "try: os.fork(); print('forked')\nexcept OSError: pass\n"
        "for flags in (17, 0x01200011, 0x8011, 0x01208011):\n"
        f"    print(libc.syscall({CALL['clone']}, flags, 0, 0, 0, 0))\n"
        f"print(libc.syscall({CALL.get('fork', -1)}), libc.syscall({CALL['clone3']}, 0, 0))\n"
    )
    runs = run(sandbox, source)
    assert {each.stdout for each in runs} == {"-1\n-1\n-1\n-1\n-1 -1\n"}
    assert [each.events["fork"] for each in runs] == [1, 1, 1]
    assert runs[-1].events["denied:clone"] == 15


def test_a_hang_is_ended_by_its_own_limit_and_the_others_go_on(sandbox: LocalSandbox) -> None:
    source = "import time\nif input() == 'b':\n    {}\nprint(1)"
    for action, limit in (("while True: pass", "cpu"), ("time.sleep(60)", "wall")):
        limits = LIMITS.model_copy(update={"cpu": 0.3, "wall": 3 if limit == "wall" else 20})
        runs = sandbox.run_cases(Program(source=source.format(action)), list("abc"), limits)
        assert [each.limit for each in runs] == [None, limit, None]
        assert [each.stdout for each in runs] == ["1\n", "", "1\n"]


@pytest.mark.parametrize("hide", ["os.setsid()", "os.setpgid(0, 0)", "signal.alarm(0)", "libc.prctl(1, 0)"])
def test_no_case_can_escape_its_limits(sandbox: LocalSandbox, hide: str) -> None:
    source = (
        "import ctypes, os, signal\nlibc = ctypes.CDLL(None)\n"
        "for number in range(1, 65):\n    try: signal.signal(number, signal.SIG_IGN)\n"
        "    except (OSError, ValueError): pass\n"
        f"try: {hide}\nexcept OSError: pass\nif input() == 'b':\n    while True: pass\n"
    )
    runs = sandbox.run_cases(Program(source=source), list("abc"), Limits(cpu=0.3, wall=20))
    assert [each.limit for each in runs] == [None, "cpu", None]


def test_every_limit_holds_for_each_case_and_is_named(sandbox: LocalSandbox) -> None:
    actions = {"memory": "x = bytearray(1 << 30)", "output": "print('x' * (2 << 20))"}
    if sandbox.tier == "namespaces":
        actions["disk"] = "for i in range(9): open(str(i), 'wb').write(bytes(8 << 20))"
        actions["files"] = "for i in range(999): open(str(i), 'w').close()"
    for limit, action in actions.items():
        runs = run(sandbox, f"import sys\nif input() == 'b':\n    {action}\nprint(1)")
        named = "disk" if limit == "files" else limit
        assert [each.limit for each in runs] == [None, named, None], runs


def test_time_is_counted_case_by_case(sandbox: LocalSandbox) -> None:
    source = "import time\nend = time.process_time() + 0.25\nwhile time.process_time() < end: pass"
    limits = LIMITS.model_copy(update={"cpu": 0.6})
    runs = sandbox.run_cases(Program(source=source), list("abcdef"), limits)
    assert [each.limit for each in runs] == [None] * 6


def test_resources_used_by_one_case_are_unknown_to_the_next(sandbox: LocalSandbox) -> None:
    source = (
        "import os, resource\nprint(os.times()[2:4], resource.getrusage(resource.RUSAGE_CHILDREN)[:3])\n"
        "if input() == 'a': sum(range(3_000_000)); bytearray(60 << 20)\n"
    )
    assert outputs(sandbox, source) == ["(0.0, 0.0) (0.0, 0.0, 0)\n"] * 3


def test_the_end_of_a_case_is_in_no_memory_of_the_next(sandbox: LocalSandbox) -> None:
    """The process that forks them waits for each, and wipes what it was told."""
    source = (
        "import gc, os, sys\nif input() != 'b':\n    os._exit(177)\nseen, frame = [], sys._getframe()\n"
        "while frame:\n    seen += frame.f_locals.values()\n    frame = frame.f_back\n"
        "seen += [v for o in seen for v in getattr(o, '__dict__', {}).values()]\nseen += gc.get_objects()\n"
        "seen += [v for o in seen for v in getattr(o, '__dict__', {}).values()]\n"
        "print([str(o)[:80] for o in seen if isinstance(o, bytearray) and any(o)])\n"
        "print([o for o in seen if o == 177 << 8 or o == (177 << 8).to_bytes(4, 'little')])\n"
    )
    runs = run(sandbox, source, "aba")
    assert (runs[0].exit_code, runs[1].stdout) == (177, "[]\n[]\n"), runs


def test_a_case_that_floods_or_dies_leaves_the_others_alone(sandbox: LocalSandbox) -> None:
    source = (
        "import ctypes, os\nkind = input()\nif kind == 'flood':\n    while True: os.write(1, b'x' * 65536)\n"
        "if kind == 'crash': ctypes.string_at(0)\nif kind == 'early': os._exit(0)\n"
        "if kind == 'denied':\n    for _ in range(2000): ctypes.CDLL(None).memfd_create(b'', 0)\n"
        "print('fine')\n"
    )
    kinds = ["ok", "flood", "ok", "crash", "ok", "early", "ok", "denied", "ok", "ok"]
    runs = run(sandbox, source, kinds)
    assert [each.ok for each in runs] == [kind not in ("flood", "crash") for kind in kinds]
    assert [each.stdout for each in runs if each.ok] == ["fine\n"] * 3 + [""] + ["fine\n"] * 4
    assert [each.signal for each in runs][3] == 11
    assert runs[5].events["early_exit"] == 1
    assert 900 < sum(each.events.get("denied:memfd_create", 0) for each in runs) <= 1000


def test_a_program_that_the_compiler_dies_of(sandbox: LocalSandbox) -> None:
    deep = "x = " + "-" * 200_000 + "1"
    runs = run(sandbox, deep)
    alone = one_by_one(sandbox, Program(source=deep), list("abc"), LIMITS, None)
    assert [each.ok for each in runs] == [each.ok for each in alone] == [False] * 3


def test_what_a_process_says_first_is_left_to_the_one_who_begins() -> None:
    """A zygote that got no processor for a while took it for a case's, and nobody answered the first fork."""
    said = [(b".", os.getpid(), -1)]
    limits = LIMITS.model_dump() | {"wall": 20}
    watched = Cases(limits, False, lambda: said.pop() if said else None, lambda: None)
    watched.pause()
    assert said


def test_the_run_ends_where_one_says_so(sandbox: LocalSandbox) -> None:
    numbers: list[str] = []

    def enough(execution: Execution) -> bool:
        numbers.append(execution.stdout)
        return len(numbers) == 2

    endless = Program(source="n = input()\nprint(n)\nwhile n > '1': pass")
    runs = sandbox.run_cases(endless, list("01234"), Limits(cpu=30), on_execution=enough)
    assert [each.stdout for each in runs] == ["0\n", "1\n"]
    assert sandbox.run(Program(source="print(1)"), LIMITS).stdout == "1\n"


def test_nothing_is_left(sandbox: LocalSandbox) -> None:
    source = (
        "import threading, time\nopen('/dev/null')\nthreading.Thread(target=time.sleep, args=(9,)).start()\n"
    )
    run(sandbox, "pass")
    before, files = set(descendants()), len(list(Path("/proc/self/fd").iterdir()))
    stop = Limits(cpu=1, wall=0.5)
    for _ in range(5):
        sandbox.run_cases(Program(source="print(input())"), list("abc"), on_execution=lambda _: True)
        sandbox.run_cases(Program(source=source), list("abc"), stop, on_execution=lambda each: not each.ok)
    assert set(descendants()) <= before
    assert len(list(Path("/proc/self/fd").iterdir())) == files


PIECES = (
    "print(input())",
    "print(len(open(0).read()))",
    "import sys; sys.stdout.write(sys.stdin.readline())",
    "raise SystemExit(3)",
    "raise ValueError('x')",
    "import sys; print('e', file=sys.stderr)",
    "import atexit; atexit.register(print, 'bye')",
    "import os; os._exit(0)",
    "import os; os.getpid() and print(os.getcwd() != '')",
    "from collections import Counter; print(Counter('aab'))",
    "import random; print(random.random() < 1)",
    "def f(: pass",
    "x = [0] * 10; print(x[int('11')])",
    "import threading; threading.Thread(target=print, args=('t',)).start()",
    "print(__name__, __file__)",
    "assert len(input()) < 3",
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=4).map("\n".join),
    st.lists(st.text("ab\n é", max_size=5), min_size=3, max_size=4),
)
def test_what_is_seen_is_that_of_runs_of_their_own(
    sandbox: LocalSandbox, source: str, stdins: list[str]
) -> None:
    together = sandbox.run_cases(Program(source=source), stdins, LIMITS)
    alone = one_by_one(sandbox, Program(source=source), stdins, LIMITS, None)
    assert [seen(each) for each in together] == [seen(each) for each in alone]
    assert [each.stderr for each in together] == [each.stderr for each in alone]
