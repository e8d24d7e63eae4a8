"""Attacks on the zygote: what a program inherits from it tells nothing of other runs, and reaches nobody."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from sandbox.local import LocalSandbox
from sandbox.types import Call, Limits, Program
from tests.processes import descendants, process_tree
from tests.verifiers.code_hostile import is_program

QUICK = Limits(cpu=2, wall=20, memory=256 << 20)
ROOT = Path(__file__).parents[2]
FRAMES = (
    "import gc, os, socket, sys\nseen, frame = [], sys._getframe()\n"
    "while frame:\n    seen += frame.f_locals.values()\n    frame = frame.f_back\n"
    "seen += [v for o in seen for v in getattr(o, '__dict__', {}).values()]\nseen += gc.get_objects()\n"
)
"""Everything that is in a frame up to the interpreter's first, and all that the collector knows."""


def stdout(sandbox: LocalSandbox, source: str) -> str:
    run = sandbox.run(Program(source=source), QUICK)
    assert run.exit_code == 0, run
    return run.stdout


def test_a_program_has_four_descriptors(sandbox: LocalSandbox) -> None:
    source = (
        "import os\nfor n in range(5000):\n    try: os.fstat(n); print(n, end=' ')\n    except OSError: pass"
    )
    assert stdout(sandbox, source).split() == ["0", "1", "2", "3"]


def test_sockets_in_the_zygotes_frames_lead_nowhere(sandbox: LocalSandbox) -> None:
    source = FRAMES + (
        "for o in seen:\n    if isinstance(o, socket.socket):\n"
        "        for text in (b'.', b'stop', b'{\"code\": 0}'):\n"
        "            try: o.send(text); print('sent', text)\n            except OSError: pass\n"
    )
    assert stdout(sandbox, source) == ""
    assert stdout(sandbox, "print(1)") == "1\n"


def test_nothing_live_tells_of_the_run_before(sandbox: LocalSandbox) -> None:
    look = FRAMES + (
        "for o in seen:\n"
        "    if isinstance(o, dict) and 'denied' in o or o == {'memfd_create': 7} or o == 177:\n"
        "        print(str(o)[:80])\n"
        "    if isinstance(o, (str, bytes)) and str(o).count('memfd_create\\\": 7'):\n"
        "        print(str(o)[:80])\n"
    )
    before = stdout(sandbox, look)
    leave = "import ctypes, os\nfor _ in range(7): ctypes.CDLL(None).memfd_create(b'x', 0)\nos._exit(177)"
    run = sandbox.run(Program(source=leave), QUICK)
    assert (run.exit_code, run.events["denied:memfd_create"]) == (177, 7)
    assert stdout(sandbox, look) == before


def test_random_numbers_are_not_those_of_the_run_before(sandbox: LocalSandbox) -> None:
    source = "import random, uuid\nprint(random.random(), random.getstate()[1][:3], uuid.uuid4())"
    assert len({stdout(sandbox, source) for _ in range(4)}) == 4


def test_the_harness_can_not_be_imported(sandbox: LocalSandbox) -> None:
    source = (
        "import sys\nprint([name for name in sys.modules if 'inside' in name or 'sandbox' in name])\n"
        "for name in ('inside', 'inside.zygote', 'sandbox'):\n"
        "    try: __import__(name); print(name)\n    except ImportError: pass\n"
    )
    assert stdout(sandbox, source) == "[]\n"


def test_a_pipe_has_nobody_signalled(sandbox: LocalSandbox) -> None:
    """With F_SETOWN and F_SETSIG the kernel sends any signal to any process of the same user."""
    source = (
        "import fcntl, os\nr, w = os.pipe()\n"
        "for command in (8, 10, 15):\n    for who in (os.getppid(), os.getpid(), -1):\n"
        "        try: fcntl.fcntl(r, command, who); print(command)\n        except OSError: pass\n"
        "fcntl.fcntl(r, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)\nos.write(w, b'x')\n"
    )
    assert stdout(sandbox, source) == ""


def test_refusals_and_an_end_cost_the_zygote_nothing(sandbox: LocalSandbox) -> None:
    """Neither a program that is refused a thousand times and waits, nor one that is slow to go, keeps it busy."""
    stdout(sandbox, "")
    before = processor_seconds()
    sleepy = (
        "import ctypes, time\nfor _ in range(1200): ctypes.CDLL(None).memfd_create(b'x', 0)\ntime.sleep(1.5)"
    )
    run = sandbox.run(Program(source=sleepy), QUICK)
    assert run.events["denied:memfd_create"] == 1000
    assert processor_seconds() - before - run.usage.cpu < 0.75


def processor_seconds() -> float:
    """What the living descendants used so far; a program's own time is its parent's when it has ended."""
    below = (fields for pid, fields in process_tree().items() if pid != os.getpid())
    return sum(int(fields[11]) + int(fields[12]) for fields in below) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("victim", ["supervisor", "zygote"])
def test_a_program_dies_with_those_above_it(sandbox: LocalSandbox, victim: str) -> None:
    """Also where it has no process namespace that ends with the zygote."""
    script = (
        "from sandbox import Limits, LocalSandbox, Program\n"
        f"with LocalSandbox(1, tier={sandbox.tier!r}) as sandbox:\n"
        "    program = Program(source='f = lambda: print(1) or __import__(\"time\").sleep(600)',\n"
        "        entry_point='f', calls=({}, {}))\n"
        "    sandbox.run(Program(source='pass'))\n"
        "    print('ready', flush=True)\n"
        "    sandbox.run(program, Limits(wall=600))\n"
    )
    supervisor = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT
    )
    assert supervisor.stdout is not None
    assert supervisor.stdout.readline() == b"ready\n"
    programs = wait_for(lambda: [pid for pid in descendants(supervisor.pid) if is_program(pid)])
    below = descendants(supervisor.pid)
    if victim == "supervisor":
        supervisor.kill()
    else:
        for pid in below.keys() - programs:
            # The zygote's own processes, and bubblewrap's, end with one another.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    assert wait_for(lambda: not [pid for pid in programs if alive(pid)])
    supervisor.kill()
    supervisor.wait()
    supervisor.stdout.close()
    assert wait_for(lambda: not [pid for pid in below if alive(pid)])


T = TypeVar("T")


def wait_for(condition: Callable[[], T]) -> T:
    """The first true answer, or the last one."""
    deadline = time.monotonic() + 60
    while not (answer := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return answer


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_standard_streams_are_new_in_every_run(sandbox: LocalSandbox) -> None:
    spoil = "import sys\nsys.stdout.write('left')\nsys.stdin.close(); sys.stdout.detach(); sys.stderr.close()"
    sandbox.run(Program(source=spoil), QUICK)
    run = sandbox.run(Program(source="import sys\nprint(input(), sys.stdin.read())", stdin="a\nb"), QUICK)
    assert (run.stdout, run.exit_code) == ("a b\n", 0)


def test_a_zygote_that_is_flooded_with_ends_stays_in_step(sandbox: LocalSandbox) -> None:
    """Runs that are stopped at once, and those that end at once, in turns: no answer is taken for another's."""
    for number in range(20):
        quick = Program(source=f"def f(): return {number}", entry_point="f", calls=(Call(), Call()))
        run = sandbox.run(quick, QUICK, on_result=lambda _: True)
        assert run.results[0].value == number
        assert stdout(sandbox, f"print({number})") == f"{number}\n"
