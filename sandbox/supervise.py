"""The supervisor's side of a zygote: its process, the files of one run, and the wait for its end."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Sequence
from pathlib import Path

from .collect import Collector, Frame, Taken
from .inside import jail, landlock, ledger
from .types import Limits, SandboxError


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


LEAN_PRELOADS = _names(
    "abc array atexit bisect builtins cmath collections collections.abc contextlib copy enum functools gc "
    "heapq io itertools json linecache math operator re signal string struct time traceback types typing "
    "warnings weakref"
)
"""What most programs import. A fork costs by what is loaded, so the rest is loaded for those that mention it."""
MORE_PRELOADS = _names(
    "ast calendar ctypes dataclasses datetime decimal fractions inspect numbers queue random statistics "
    "textwrap threading unicodedata unittest"
)
STANDARD_PRELOADS = (*LEAN_PRELOADS, *MORE_PRELOADS)

_INSIDE = Path(__file__).parent / "inside"
GRACE_SECONDS = 10.0
LEAVE_SECONDS = 0.5
START_SECONDS = 30.0
# By its path, for this folder on `sys.path` would shadow the standard module `types`.
_MAIN = """
import importlib.util, sys
path = sys.argv[1]
spec = importlib.util.spec_from_file_location("inside", path + "/__init__.py", submodule_search_locations=[path])
sys.modules["inside"] = importlib.util.module_from_spec(spec)
from inside.zygote import main
sys.exit(main())
"""
_FLAGS = ("-s", "-S", "-P", "-X", "utf8")
_ENVIRONMENT = {
    "PYTHONHASHSEED": "0",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",
    "LD_BIND_NOW": "1",
}


class Zygote:
    """One zygote process, seen from outside."""

    def __init__(
        self,
        tier: str,
        packages: dict[str, str],
        trees: Sequence[str] = (),
        *,
        commands: bool = False,
        lean: bool = False,
    ) -> None:
        around = _bubblewrap(packages) if tier == "bubblewrap" else []
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.errors = os.memfd_create("errors")
        with theirs:
            self.process = subprocess.Popen(
                [*around, _interpreter(tier), *_FLAGS, "-c", _MAIN, str(_INSIDE), str(theirs.fileno())],
                env=_ENVIRONMENT,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self.errors,
                start_new_session=True,
                cwd="/",
            )
        inner = tier if tier != "bubblewrap" else "landlock" if landlock.version() else "container"
        config = {
            "tier": inner,
            "packages": packages,
            "tools": bool(trees),
            "commands": commands,
            "trees": list(trees),
            "tests": not lean,
            "preload": [*(LEAN_PRELOADS if lean else STANDARD_PRELOADS), *packages],
            "user": None if around else own_user(self.process.pid),
        }
        self.control.settimeout(START_SECONDS)
        try:
            self.control.send(json.dumps(config).encode())
            answer = json.loads(self.control.recv(1 << 20) or b'{"failed": "it ended at once"}')
        except (OSError, ValueError) as error:
            answer = {"failed": f"no answer: {error}"}
        if "failed" in answer:
            said = os.pread(self.errors, 4000, 0).decode("utf-8", "replace").strip().rpartition("\n")[2]
            self.kill()
            raise SandboxError(f"the {tier} sandbox can't start here: {answer['failed']} {said}".rstrip())
        self.runs_cases: bool = answer["cases"]

    def start(self, limits: Limits, descriptors: Sequence[int], *, cases: bool = False) -> None:
        """Begin a run, of one process or of one for each case. SandboxError where the zygote is gone."""
        request = {"limits": {**limits.model_dump(), "wall": limits.elapsed}, "cases": cases}
        try:
            socket.send_fds(self.control, [json.dumps(request).encode()], descriptors)
        except OSError as error:
            raise SandboxError(f"the sandbox's zygote is gone: {error}") from error

    def stop(self) -> None:
        """End the current run early."""
        with contextlib.suppress(OSError):
            self.control.send(b"stop")

    def answer(self) -> Frame:
        """How the run ended. SandboxError where the zygote is gone or could not start the run."""
        try:
            data = self.control.recv(65536)
        except OSError as error:
            raise SandboxError(f"the sandbox's zygote does not answer: {error}") from error
        if not data:
            raise SandboxError("the sandbox's zygote died")
        answer: Frame = json.loads(data)
        if "failed" in answer:
            raise SandboxError(f"the sandbox could not start a process: {answer['failed']}")
        return answer

    def answer_within(self, seconds: float) -> Frame:
        """As `answer`, and SandboxError where nothing comes in time."""
        if not select.select([self.control], [], [], seconds)[0]:
            raise SandboxError("the sandbox's zygote did not end a run in time")
        return self.answer()

    def kill(self) -> None:
        """End the zygote and, by that, everything below it."""
        self.control.close()
        os.close(self.errors)
        # Hung up on, it waits for what it started; killed, it leaves that to the first process there is.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(LEAVE_SECONDS)
        self.process.kill()
        self.process.wait()


def _interpreter(tier: str) -> str:
    # In bubblewrap's root there is no virtual environment, only what it links to.
    return os.path.realpath(sys.executable) if tier == "bubblewrap" else sys.executable


def _bubblewrap(packages: dict[str, str]) -> list[str]:
    """The command that gives what follows a root with the interpreter alone, in namespaces of its own.

    SandboxError where `bwrap` is not installed. Its own environment is empty already: `--clearenv` would leave
    it readable as that of process 1.
    """
    program = shutil.which("bwrap")
    if program is None:
        raise SandboxError("no program `bwrap`: install the package bubblewrap")
    trees = [*jail.interpreter_trees(), os.path.realpath(sys.executable), str(_INSIDE)]
    library = sysconfig.get_config_var("LIBDIR")
    trees += [str(path) for path in Path(library).glob("libpython*")] if library else []
    command = [
        program,
        "--unshare-all",
        "--die-with-parent",
        "--new-session",
        "--uid",
        "65534",
        "--gid",
        "65534",
    ]
    links = [path for path in ("/lib", "/lib64", "/bin") if Path(path).is_symlink()]
    for link in links:
        command += ["--symlink", str(Path(link).readlink()), link]
    bound = tuple(dict.fromkeys(map(os.path.realpath, trees)))
    for tree in bound:
        command += ["--ro-bind", tree, tree]
        masked = Path(tree) / "site-packages"
        if masked.is_dir():
            command += ["--tmpfs", str(masked)]
    there = tuple(f"{tree}/" for tree in bound)
    for tree in trees:
        real = os.path.realpath(tree)
        # aarch64's /lib/ld-linux-aarch64.so.1 is a link in a folder that is a link, too.
        linked = next((link for link in links if tree.startswith(f"{link}/")), None)
        place = tree if linked is None else os.path.realpath(linked) + tree.removeprefix(linked)
        if place not in (real, *links) and not place.startswith(there):
            command += ["--symlink", real, place]
    for tree in packages.values():
        command += ["--ro-bind", tree, tree]
    return [*command, "--dev", "/dev", "--proc", "/proc", "--remount-ro", "/", "--"]


def own_user(pid: int) -> int | None:
    """A user id that nobody else has, so that limits per user count this zygote's processes only."""
    return 0x40000000 + pid if os.geteuid() == 0 else None


class Files:
    """Descriptors of anonymous files, all closed together."""

    def __init__(self) -> None:
        self.descriptors: list[int] = []

    def add(self, name: str, content: bytes = b"", size: int = 0) -> int:
        """A file that holds `content`, to be read from its start, or `size` zeros. OSError where none is left."""
        descriptor = os.memfd_create(name)
        self.descriptors.append(descriptor)
        if size:
            os.ftruncate(descriptor, size)
        if content:
            view = memoryview(content)
            while view:
                view = view[os.write(descriptor, view) :]
            os.lseek(descriptor, 0, os.SEEK_SET)
        return descriptor

    def close(self) -> None:
        """Close every descriptor of this side."""
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.descriptors.clear()


class Run(Files):
    """The files and pipes of one run."""

    def __init__(self, job: Frame, stdin: bytes, channel: int | None = None) -> None:
        super().__init__()
        try:
            self.stdin = self.add("stdin", stdin)
            self.stdout = self.add("stdout")
            self.stderr = self.add("stderr")
            self.job = self.add("job", json.dumps(job).encode())
            self.ledger = self.add("ledger", size=ledger.SIZE)
            if channel is None:
                self.reader, self.channel = os.pipe2(os.O_CLOEXEC)
                os.set_blocking(self.reader, False)
                self.descriptors += [self.reader, self.channel]
            else:
                self.reader, self.channel = -1, channel
                self.descriptors.append(channel)
        except OSError as error:
            self.close()
            raise SandboxError(f"no descriptors or memory for a run: {error}") from error

    def handed_over(self) -> list[int]:
        """What the program's process receives, in the zygote's order."""
        return [self.stdin, self.stdout, self.stderr, self.channel, self.job, self.ledger]

    def extra(self, content: bytes) -> list[int]:
        """A further file for the program's process, where there is content for one."""
        return [self.add("artifact", content)] if content else []

    def close_channel(self) -> None:
        """Drop this side's copy of the writing end, so that the reader sees the end."""
        self.descriptors.remove(self.channel)
        os.close(self.channel)

    def taken(self, limits: Limits) -> Taken:
        """What the program wrote."""
        return taken(self.stdout, self.stderr, self.ledger, limits)


def taken(stdout: int, stderr: int, page: int, limits: Limits, offset: int = 0) -> Taken:
    """What a process wrote, and its page of the ledger at `offset`."""
    return Taken(
        _written(stdout, limits.output + 1),
        _written(stderr, limits.output + 1),
        os.pread(page, ledger.SIZE, offset),
    )


def _written(descriptor: int, most: int) -> bytes:
    # A buffer is as large as what is asked for.
    return os.pread(descriptor, min(os.fstat(descriptor).st_size, most), 0)


def attend(zygote: Zygote, run: Run, limits: Limits, collector: Collector) -> Frame:
    """Read the channel until the run has ended; the zygote's answer."""
    poll = select.poll()
    poll.register(zygote.control, select.POLLIN)
    poll.register(run.reader, select.POLLIN)
    deadline = time.monotonic() + limits.elapsed + GRACE_SECONDS
    stopped = False
    answer: Frame | None = None
    while True:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise SandboxError("the sandbox's zygote did not end a run in time")
        ready = {
            descriptor for descriptor, _ in poll.poll(0 if answer is not None else int(1000 * remaining) + 1)
        }
        if run.reader in ready:
            data = os.read(run.reader, 1 << 20)
            if not data:
                poll.unregister(run.reader)
            elif collector.feed(data, limits.output) and not stopped:
                stopped = True
                zygote.stop()
            continue
        if answer is not None:
            return answer
        if zygote.control.fileno() in ready:
            answer = zygote.answer()
