"""Programs run as they would alone, and stay inside."""

from __future__ import annotations

import pickle
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sandbox.local import LocalSandbox
from sandbox.types import Call, CallResult, Execution, Limits, Program, SandboxError, Suite

QUICK = Limits(cpu=2, wall=10, memory=256 << 20)


def script(sandbox: LocalSandbox, source: str, stdin: str | bytes = "", limits: Limits = QUICK) -> Execution:
    return sandbox.run(Program(source=source, stdin=stdin), limits)


@pytest.mark.parametrize(
    "source",
    [
        "print(sum(map(int, input().split())))",
        "import sys; print(sum(map(int, sys.stdin.buffer.read().split())))",
        "print(sum(map(int, open(0).read().split())))",
        "import os; print(sum(map(int, os.read(0, os.fstat(0).st_size).split())))",
        "import atexit, os\natexit.register(lambda: os.write(1, b'%d' % sum(map(int, input().split()))))",
        "from __future__ import annotations\nn = 0\ndef f():\n    global n\n"
        "    n = sum(map(int, input().split()))\nf()\nprint(n)\nexit()",
        "import threading, sys\nsys.setrecursionlimit(1 << 20); threading.stack_size(64 << 20)\n"
        "threading.Thread(target=lambda: print(sum(map(int, input().split())))).start()",
        "import asyncio\nasync def f(): print(sum(map(int, input().split())))\nasyncio.run(f())",
        "import tempfile\nwith tempfile.TemporaryFile('w+') as f:\n    f.write(input()); f.seek(0)\n"
        "    print(sum(map(int, f.read().split())))",
    ],
)
def test_honest_scripts_print_the_sum(sandbox: LocalSandbox, source: str) -> None:
    if "tempfile" in source and sandbox.tier != "namespaces":
        pytest.skip("this tier has no directory to write to")
    run = script(sandbox, source, "1 2\n")
    assert (run.stdout.strip(), run.exit_code, run.limit, run.tier) == ("3", 0, None, sandbox.tier), run


SCRIPT_ENDS = (
    "raise SystemExit('bye')", "1 / 0", "import sys; sys.exit(7)", "x = (", "exit()", "input()",
    "import threading, time\nthreading.Thread(target=lambda: (time.sleep(0.2), print('late'))).start()\n"
    "print('first')",
    "from concurrent.futures import ThreadPoolExecutor as E\nimport time\n"
    "f = E(2).submit(lambda: (time.sleep(0.2), print('job')))\nprint('x')",
    "import _thread, time\n_thread.start_new_thread(lambda: time.sleep(60), ())\nprint('raw')",
    "import atexit\natexit.register(print, 'bye')\nraise SystemExit(3)",
)  # fmt: skip


def interpreter(source: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", source]
    return subprocess.run(command, input="", capture_output=True, text=True, check=False)


def test_end_of_a_script_is_the_interpreters() -> None:
    """Exit codes and standard error agree with those of a plain interpreter."""
    with LocalSandbox(1) as sandbox:
        for source in SCRIPT_ENDS:
            plain = interpreter(source)
            run = script(sandbox, source)
            assert (run.exit_code, run.stdout) == (plain.returncode, plain.stdout)
            assert run.stderr.strip().splitlines()[-1:] == plain.stderr.strip().splitlines()[-1:]


def test_calls_return_plain_data(sandbox: LocalSandbox) -> None:
    source = "def f(x):\n    print('noise')\n    x.append(1)\n"
    source += "    return {'k': (x, {3}, 1 << 300, float('inf'), b'b')}"
    calls = (Call(args=([0],), after=True), Call(args=(5,)), Call(kwargs={"x": [2]}))
    first, second, third = sandbox.run(Program(source=source, entry_point="f", calls=calls), QUICK).results
    assert first.value == [("k", ([0, 1], [3], 1 << 300, float("inf"), b"b"))]
    assert first.after == ([0, 1],)
    assert second.raised is not None
    assert second.raised.name == "AttributeError"
    assert third.value[0][1][0] == [2, 1]


def test_a_caller_that_has_seen_enough_ends_the_run(sandbox: LocalSandbox) -> None:
    seen: list[CallResult] = []
    source = "import time\ndef f(n):\n    time.sleep(n)\n    return n"
    program = Program(source=source, entry_point="f", calls=(Call(args=(0,)), Call(args=(9,))))
    run = sandbox.run(program, QUICK, on_result=lambda result: bool(seen.append(result) or True))
    assert [result.value for result in seen] == [0]
    assert run.limit == "stopped"
    assert run.usage.wall < 5


def test_a_suite_judges_from_another_process(sandbox: LocalSandbox) -> None:
    program = Program(
        source="class Node:\n    def __init__(self, v): self.v = v\n"
        "def f(x): return x + 1\ndef g(x): x.sort()\ndef h(node): return node.v\n"
        "def squares(n):\n    for i in range(n): yield i * i\nall = any = lambda *_: True"
    )
    good = (
        "assert f(1) == 2",
        "x = [3, 1]\ng(x)\nassert x == [1, 3]",
        "node = Node(5)\nnode.v = 7\nassert h(node) == 7",
        "assert list(squares(4)) == [0, 1, 4, 9]",
        "try:\n    f('a')\nexcept TypeError: pass\nelse: assert False",
    )
    bad = ("assert f(1) == 3", "assert all([False])", "assert missing(1) == 1", "assert Node(1) == 1")
    result = sandbox.run_suite(program, Suite(tests=good + bad, stop_at_failure=False), QUICK)
    assert [report.passed for report in result.reports] == [True] * len(good) + [False] * len(bad), (
        result.reports
    )


LIMITED = [
    ("cpu", "while True: pass", Limits(cpu=0.3, wall=20)),
    ("cpu", "sum(range(10 ** 13))", Limits(cpu=0.3, wall=20)),
    ("wall", "import time; time.sleep(100)", Limits(cpu=5, wall=0.4)),
    ("memory", "x = bytearray(200 << 20)", Limits(memory=64 << 20)),
    ("memory", "x = []\nwhile True: x.append(bytearray(1 << 20))", Limits(memory=64 << 20)),
    ("processes", "import threading, time\nfor _ in range(99):\n"
     "    threading.Thread(target=time.sleep, args=(9,), daemon=True).start()\ntime.sleep(0.3)",
     Limits(cpu=2, wall=8, threads=8)),
    ("output", "print('x' * 100_000)", Limits(output=1000)),
    ("output", "import sys; sys.stderr.write('x' * 100_000)", Limits(output=1000)),
    ("open_files", "import os\nf = [os.pipe() for _ in range(500)]", Limits()),
    ("disk", "for i in range(9): open(str(i), 'wb').write(bytes(1 << 20))", Limits(disk=1 << 21)),
    ("disk", "for i in range(99): open(str(i), 'w').close()", Limits(files=20)),
    ("file_size", "open('f', 'wb').write(bytes(1 << 20))", Limits(file_size=1000)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "source", "limits"), LIMITED)
def test_limits_are_reported_by_name(sandbox: LocalSandbox, name: str, source: str, limits: Limits) -> None:
    if name in ("disk", "file_size") and sandbox.tier != "namespaces":
        pytest.skip("this tier has no directory to write to")
    run = script(sandbox, source, limits=limits)
    assert run.limit == name, run
    assert not run.ok
    assert run.usage.memory < limits.memory * 1.1 + (32 << 20)


def test_a_hang_ends_at_its_limit(sandbox: LocalSandbox) -> None:
    """How soon is what the benchmark measures; a test can't know how busy the machine is."""
    script(sandbox, "")
    started = time.monotonic()
    run = script(sandbox, "import time; time.sleep(60)", limits=Limits(cpu=5, wall=0.5))
    assert run.limit == "wall"
    assert time.monotonic() - started < 20


def test_nothing_passes_from_one_run_to_the_next(sandbox: LocalSandbox) -> None:
    leave = "import os\nopen('/tmp/left', 'w').write('secret')\nos.remove('/tmp/left')\nos.environ['A'] = 'b'"
    look = "import os\ns = os.stat('/tmp')\nprint(os.listdir('/tmp'), os.environ.get('A'), s.st_mtime_ns)"
    if sandbox.tier != "namespaces":
        look = "import os\nprint(os.environ.get('A'))"
    before = script(sandbox, look).stdout
    for _ in range(3):
        script(sandbox, leave)
        after = script(sandbox, look).stdout
        assert after.split(" ")[:2] == before.split(" ")[:2]
        if sandbox.tier == "namespaces":
            assert abs(int(after.split()[-1]) - time.time_ns()) < 60e9


def test_a_zygote_keeps_nothing_of_the_programs_it_ran(sandbox: LocalSandbox) -> None:
    """The text of one program is not in the memory that the next one inherits."""
    for _ in range(4):
        script(sandbox, "x = 'needle-' + '7f3a' * 8\nprint(x)")
    hunt = (
        "import ctypes, sys, gc\nneedle = ('needle-' + '7f3' + 'a7f3a7f3').encode()[:15]\n"
        "found = [o for o in gc.get_objects() if isinstance(o, dict) and any("
        "isinstance(v, str) and needle.decode() in v for v in list(o.values()) if v is not needle)]\n"
        "print(len([d for d in found if d is not globals()]))"
    )
    assert script(sandbox, hunt).stdout.strip() == "0"


def test_refused_system_calls(sandbox: LocalSandbox) -> None:
    source = """
import ctypes, os, posix, socket
libc = ctypes.CDLL(None, use_errno=True)
calls = {
    "fork": posix.fork, "exec": lambda: os.execv("/bin/sh", ["sh"]), "socket": socket.socket,
    "kill": lambda: os.kill(os.getppid() or 7, 9), "setuid": lambda: os.setuid(0),
    "memfd": lambda: os.memfd_create("x"), "chroot": lambda: os.chroot("."),
    "mknod": lambda: os.mknod("/tmp/x"), "nice": lambda: os.nice(1),
    "affinity": lambda: os.sched_setaffinity(0, {0}),
}
for name, call in calls.items():
    try:
        call()
        print(name)
    except OSError:
        pass
for name, arguments in {"unshare": (0x10000000,), "ptrace": (0, 0, 0, 0), "keyctl": (0, -3, 1)}.items():
    if hasattr(libc, name) and getattr(libc, name)(*arguments) == 0:
        print(name)
"""
    run = script(sandbox, source)
    assert (run.stdout, run.exit_code) == ("", 0), run


def test_only_the_interpreter_is_readable(sandbox: LocalSandbox, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0o644)
    paths = [
        str(secret),
        "/etc/passwd",
        "/etc/hostname",
        "/proc/self/environ",
        "/proc/1/environ",
        "/sys/kernel",
        __file__,
    ]
    source = f"import os\nfor p in {paths!r}:\n    try: open(p).read(); print(p)\n    except OSError: pass"
    assert script(sandbox, source).stdout == ""


def test_no_process_outlives_its_sandbox() -> None:
    sandbox = LocalSandbox(1)
    script(sandbox, "print(1)")
    pids = [zygote.process.pid for idle in sandbox._idle.values() for zygote in idle]
    assert pids
    sandbox.close()
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    with pytest.raises(SandboxError, match="closed"):
        script(sandbox, "print(1)")


def test_a_dead_zygote_is_replaced_and_never_a_result(sandbox: LocalSandbox) -> None:
    script(sandbox, "")
    for idle in sandbox._idle.values():
        for zygote in idle:
            zygote.process.kill()
            zygote.process.wait()
    time.sleep(0.1)
    runs = [script(sandbox, "print(5)") for _ in range(4)]
    assert [run.stdout for run in runs] == ["5\n"] * 4


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_run_leaks_no_descriptor(sandbox: LocalSandbox) -> None:
    script(sandbox, "")
    before = open_descriptors()
    for source in ("print(1)", "1 / 0", "import os; os.abort()", "import ctypes; ctypes.string_at(0)"):
        script(sandbox, source)
    assert open_descriptors() == before


def test_a_sandbox_travels_to_another_process_as_its_settings(sandbox: LocalSandbox) -> None:
    with pickle.loads(pickle.dumps(sandbox)) as copy:
        assert copy.tier == sandbox.tier
        assert script(copy, "print(2)").stdout == "2\n"


def test_processes_run_where_they_can_be_limited_and_are_refused_elsewhere(sandbox: LocalSandbox) -> None:
    source = "import os\npid = os.fork()\nif pid == 0: os._exit(5)\nprint(os.waitpid(pid, 0)[1] >> 8)"
    limits = QUICK.model_copy(update={"processes": 8})
    if sandbox.tier == "namespaces":
        assert script(sandbox, source, limits=limits).stdout == "5\n"
    else:
        with pytest.raises(SandboxError, match=f"need the tier `namespaces`.*`{sandbox.tier}`"):
            script(sandbox, source, limits=limits)


def test_an_unsafe_sandbox_must_be_asked_for() -> None:
    with pytest.raises(SandboxError, match="allow_unsafe"):
        LocalSandbox(1, tier="none")
    with LocalSandbox(1, tier="none", allow_unsafe=True) as sandbox:
        assert script(sandbox, "print(3)").tier == "none"
