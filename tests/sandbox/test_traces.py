"""What a run leaves: nothing that the next one sees, nothing on the host, nor on times and modes of its files."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.inside.seccomp import EPERM, RET_ALLOW, RET_ERRNO, assemble, base_rules, interpret
from sandbox.inside.syscalls import AUDIT_ARCH, numbers
from sandbox.local import LocalSandbox
from sandbox.types import Limits, Program
from tests.processes import descendants

QUICK = Limits(cpu=2, wall=20, memory=256 << 20)
TRACES = {
    "a file without a name": "f = os.open('/tmp', os.O_TMPFILE | os.O_RDWR); print(os.fstat(f).st_ino)",
    "a look at the scratch directory": "s = os.stat('/tmp'); os.listdir('/tmp'); "
    "print(s.st_atime_ns - s.st_mtime_ns)",
    "a time of the scratch directory": "print(os.stat('/tmp').st_atime_ns == 1); "
    "os.utime('/tmp', ns=(1, os.stat('/tmp').st_mtime_ns))",
    "a mode of a directory of devices": "print(oct(os.stat('/dev/shm').st_mode)); os.chmod('/dev/shm', 0o1703)",
    "a name among semaphores": "print(os.listdir('/dev/shm')); open('/dev/shm/x', 'w')",
    "a time of a device": "print(os.stat('/dev/null').st_mtime_ns); os.utime('/dev/null')",
}


def said(sandbox: LocalSandbox, source: str) -> str:
    run = sandbox.run(
        Program(source=f"import os\ntry:\n    {source}\nexcept OSError as e:\n    print(e.errno)"), QUICK
    )
    assert run.exit_code == 0, run
    return run.stdout


@pytest.mark.parametrize("trace", TRACES)
def test_the_next_run_sees_the_same(sandbox: LocalSandbox, trace: str) -> None:
    with LocalSandbox(1, tier=sandbox.tier) as fresh:
        assert said(fresh, TRACES[trace]) == said(fresh, TRACES[trace])


@pytest.mark.parametrize("trace", TRACES)
def test_the_next_case_sees_the_same(sandbox: LocalSandbox, trace: str) -> None:
    source = f"import os\ntry:\n    {TRACES[trace]}\nexcept OSError as e:\n    print(e.errno)"
    with LocalSandbox(1, tier=sandbox.tier) as fresh:
        runs = fresh.run_cases(Program(source=source), [""] * 4, QUICK)
        assert [run.exit_code for run in runs] == [0] * 4, runs
        assert {run.stdout for run in runs} == {said(fresh, TRACES[trace])}


def test_devices_of_the_host_keep_their_times_and_modes(sandbox: LocalSandbox) -> None:
    """Bubblewrap's user is root outside, where root starts it: there a program owns them."""
    devices = [Path("/dev", name) for name in ("null", "zero", "full", "random", "urandom")]

    def state() -> list[tuple[int, int]]:
        return [(device.stat().st_mode, device.stat().st_mtime_ns) for device in devices]

    source = (
        f"import os\nfor p in {[str(device) for device in devices]!r}:\n"
        "    mode = os.stat(p).st_mode & 0o7777\n"
        "    for change in (lambda: os.utime(p), lambda: os.utime(p, (1, 1)), lambda: os.chmod(p, mode)):\n"
        "        try: change(); print('changed', p)\n        except OSError: pass\n"
    )
    before = state()
    assert sandbox.run(Program(source=source), QUICK).stdout == ""
    assert state() == before
    if sandbox.tier == "namespaces":
        assert sandbox.run(Program(source="open('/dev/null', 'w').write('x')"), QUICK).ok


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_where_files_are_only_shut_nobody_changes_what_they_are(machine: str) -> None:
    """Landlock refuses neither modes nor times to a file's owner, nor, before Linux 6.2, to cut it off."""
    program = assemble(base_rules(own_root=False), RET_ERRNO | EPERM, machine)
    own = assemble(base_rules(own_root=True), RET_ERRNO | EPERM, machine)
    names = "truncate chmod fchmod fchmodat fchmodat2 utime utimes futimesat utimensat"
    for number in [numbers(machine)[name] for name in names.split() if name in numbers(machine)]:
        assert interpret(program, number, architecture=AUDIT_ARCH[machine]) == RET_ERRNO | EPERM
        assert interpret(own, number, architecture=AUDIT_ARCH[machine]) == RET_ALLOW


def test_a_scratch_directory_left_full_is_the_next_ones_empty(sandbox: LocalSandbox) -> None:
    said(sandbox, "print(1)")
    before = descendants().keys()
    full = "[open(f'f{n}', 'w') and None for n in range(10_000)]"
    for _ in range(2):
        said(sandbox, full)
        assert said(sandbox, "print(os.listdir('.') if os.getcwd() == '/tmp' else [])") == "[]\n"
    source = "import os\nprint(os.listdir('.') if os.getcwd() == '/tmp' else [])\n"
    source += f"try: {full}\nexcept OSError: pass"
    runs = sandbox.run_cases(Program(source=source), [""] * 4, QUICK)
    assert [run.stdout for run in runs] == ["[]\n"] * 4
    # The same zygote: it did not fail at what it found.
    assert descendants().keys() == before


def test_the_interpreter_is_out_of_reach(sandbox: LocalSandbox) -> None:
    """Through /proc/self/exe a program has a file of the host in its hands, that may be its user's."""
    limits = QUICK.model_copy(update={"processes": 4}) if sandbox.tier == "namespaces" else QUICK
    source = (
        "import os\nfor change in (lambda: os.chmod(p, 0o755), lambda: os.utime(p), lambda: open(p, 'r+')):\n"
    )
    source = (
        "p = '/proc/self/exe'\n" + source + "    try: change(); print('changed')\n    except OSError: pass"
    )
    assert sandbox.run(Program(source=source), limits).stdout == ""


def test_nothing_is_written_on_the_host() -> None:
    assert not [name for name in ("/dev/shm/x", "/tmp/f0") if Path(name).exists()]


def test_nothing_is_seen_of_what_warmed_the_interpreter_up(sandbox: LocalSandbox) -> None:
    source = (
        "import linecache, sys\n"
        "names = [n for n in globals() if n[0] != '_']\n"
        "print(list(linecache.cache), 'solution' in sys.modules, sys.argv, names)\n"
        "print(type(open).__name__, type(open._open).__name__, sys.stdin.read(), sys.stdout.tell())\n"
    )
    run = sandbox.run(Program(source=source, stdin="in"), QUICK)
    first, second = run.stdout.splitlines()
    assert first == "['solution.py'] False ['solution.py'] ['linecache', 'sys']", run
    assert second == f"_Open builtin_function_or_method in {len(first) + 1}"
