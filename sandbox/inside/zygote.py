"""The warm parent of all programs: it forks one process per run, watches it and cleans up behind it.

It never sees a program, its input or its output: those pass in files and pipes that the supervisor hands over,
so that no program finds in its memory what another one left. Requests and answers are JSON datagrams on a
socket; a request carries the descriptors of the run: standard input, output, error, the job, the channel.
"""

from __future__ import annotations

import _random
import array
import contextlib
import errno
import fcntl
import gc
import json
import os
import random
import resource
import select
import signal
import site
import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import Any

from . import entry, jail, landlock, ledger, linux, runner, seccomp
from .denials import Denials
from .ends import Ends
from .watch import Single, Tree

STDIN, STDOUT, STDERR, CHANNEL, JOB, LEDGER, PEER = range(7)
"""Where a program's process finds what it was given; the last is the tests' link to the program, if any."""
FIRST_OWN = 16
"""The zygote keeps its own descriptors from here on, so that what it receives takes the places above."""
RESERVED = 8 << 30
MAX_STACK = 256 << 20
# What `json.loads` comes to, without the layers above it: they are pages to copy.
_SCAN = json.JSONDecoder().scan_once  # type: ignore[attr-defined]
_GENERATOR = random.seed.__self__  # type: ignore[attr-defined]
_ALWAYS = {
    resource.RLIMIT_CORE: 0,
    resource.RLIMIT_MEMLOCK: 0,
    resource.RLIMIT_MSGQUEUE: 0,
    resource.RLIMIT_SIGPENDING: 256,
}
# Stands in the filter for the number of the process that it will bind.
_ANY_PID = b"\xfe\xed\xfa\x7f"


class Zygote:
    """State of one zygote between runs."""

    def __init__(
        self, control: socket.socket, config: dict[str, Any], own_namespace: int, statm: int
    ) -> None:
        self.control = control
        self.line, self.childs_line = (socket.socket(fileno=own(end.detach())) for end in socket.socketpair())
        self.line.setblocking(False)
        self.tier: str = config["tier"]
        self.user: int | None = config["user"]
        # The kernel counts processes by user: where the user has others, this zygote counts itself.
        self.shared_user = self.tier != "namespaces" and self.user is None
        # Landlock decides what is read; the interpreter may lie in a folder of root's.
        self.keeps_reading = (
            self.user is not None and self.tier == "landlock" and not jail.everybody_reads_interpreter()
        )
        self.own_namespace = own_namespace
        self.ends = Ends()
        if self.ends.signals >= 0:
            self.ends.signals = own(self.ends.signals)
        self.clean: tuple[tuple[int, int], tuple[int, ...]] | None = None
        self.next_inode = 0
        self.address_space = int(os.pread(statm, 200, 0).split()[0]) * resource.getpagesize()
        self.drop_capabilities = linux.keep_capabilities(
            1 << linux.CAP_DAC_READ_SEARCH if self.keeps_reading else 0
        )
        self.gain_nothing = linux.prepared_prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
        self.die_with_zygote = linux.prepared_prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
        self.enter_landlock: Callable[[], int] | None = None
        if self.tier == "landlock" or (self.tier == "namespaces" and landlock.version() >= 4):
            rules = landlock.ruleset(None if self.tier == "namespaces" else _readable(config))
            self.enter_landlock = landlock.enter(own(rules))
        single = seccomp.single_process_rules(struct.unpack("=I", _ANY_PID)[0])
        profile = seccomp.process_tree_rules() if config["tools"] else single
        allowed = [*seccomp.base_rules(own_root=self.tier == "namespaces"), *profile]
        self.listens = self.tier != "none" and seccomp.can_listen()
        refuse = seccomp.RET_NOTIFY if self.listens else seccomp.RET_ERRNO | seccomp.EPERM
        self.filter = seccomp.Filter(seccomp.assemble(allowed, refuse), _ANY_PID, listener=self.listens)
        self.listener = array.array("i", [-1])
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, self.listener)]
        self.locked = ([b"."], rights if self.listens else [])
        self.ledger = ledger.Ledger()
        self.tools: bool = config["tools"]
        self.shows_processes: bool = config["commands"]

    def serve(self) -> None:
        """Answer requests until the supervisor hangs up."""
        while True:
            data, descriptors, _, _ = socket.recv_fds(self.control, 65536, 16)
            if not data:
                return
            if data == b"stop":
                # It came when the run had already ended.
                continue
            # In no variable: the next program can read this frame, and is told nothing of the one before.
            self.control.send(self._answer(data, descriptors))

    def _answer(self, data: bytes, descriptors: list[int]) -> bytes:
        try:
            answer = self.run(json.loads(data), descriptors)
        except OSError as error:
            answer = {"failed": f"{type(error).__name__}: {error}"}
        finally:
            for descriptor in descriptors:
                with contextlib.suppress(OSError):
                    os.close(descriptor)
        return json.dumps(answer).encode()

    def run(self, request: dict[str, Any], descriptors: list[int]) -> dict[str, Any]:
        """One run from fork to the last trace gone; OSError where the kernel gave no process."""
        limits = request["limits"]
        if descriptors != list(range(len(descriptors))):
            raise OSError(errno.EBADF, f"the run's descriptors came as {descriptors}")
        if self.tier == "namespaces":
            self._prepare_scratch(limits)
        settings = self._kernel_limits(limits)
        if self.tier == "namespaces":
            linux.unshare(linux.CLONE_NEWPID)
        try:
            started = time.monotonic()
            pid = linux.fork()
            if pid == 0:
                self._child(settings, len(descriptors))
        finally:
            if self.tier == "namespaces":
                linux.setns(self.own_namespace, linux.CLONE_NEWPID)
        linux.close_range(0, len(descriptors) - 1)
        descriptors.clear()
        answer = self._watch(pid, started, limits)
        if self.tier == "namespaces":
            usage = os.statvfs(jail.SCRATCH)
            answer["disk"] = (usage.f_blocks - usage.f_bfree) * usage.f_frsize
            answer["files"] = usage.f_files - usage.f_ffree - 1
            answer["disk_full"] = usage.f_bfree == 0 or usage.f_ffree == 0
        return answer

    def _prepare_scratch(self, limits: dict[str, Any]) -> None:
        size = (limits["disk"], limits["files"])
        # In this order, for what a program left may leave no room to look further.
        if (size, jail.scratch_state()) == self.clean and jail.next_inode() == self.next_inode:
            self.next_inode += 1
            return
        if self.clean is not None:
            linux.umount(jail.SCRATCH)
        jail.mount_scratch(*size)
        self.next_inode = jail.next_inode() + 1
        self.clean = size, jail.scratch_state()

    def _watch(self, pid: int, started: float, limits: dict[str, Any]) -> dict[str, Any]:
        """Wait for the end of `pid`, and bring it about at a limit. OSError where it could not be locked up."""
        line = self.line.fileno()
        handle, locked, denials = -1, False, Denials()
        try:
            handle = self.ends.of(pid)
            poll = select.poll()
            for descriptor in (handle, self.control.fileno(), line):
                poll.register(descriptor, select.POLLIN)
            watched = (Tree if self.tools else Single)(pid, started, limits, self.shared_user)
            while True:
                ready = dict(poll.poll(watched.pause()))
                if line in ready:
                    # Once, before the program begins: it is locked up, and here is its filter's listener.
                    poll.unregister(line)
                    locked = self._receive_lock(denials)
                    if denials.descriptor >= 0:
                        poll.register(denials.descriptor, select.POLLIN)
                # A listener whose program is going hangs up, again and again.
                asked = ready.get(denials.descriptor, 0)
                if asked and not (asked & select.POLLIN and denials.answer()):
                    poll.unregister(denials.descriptor)
                    denials.close()
                if handle in ready:
                    break
                if self.control.fileno() in ready:
                    # The only thing that comes during a run: stop it, or the end of the supervisor.
                    if not self.control.recv(65536):
                        os._exit(0)
                    watched.kill("stopped")
        finally:
            os.kill(pid, signal.SIGKILL)
            _, status, usage = os.wait4(pid, 0)
            if not locked:
                # Nothing of this run may be taken for the next one's.
                self._receive_lock(denials)
            denials.close()
            if handle >= 0:
                self.ends.forget(handle)
        code = os.waitstatus_to_exitcode(status)
        if not locked and watched.hit is None:
            raise OSError(errno.EPERM, f"a process could not be locked up (it ended with {code})")
        cpu = max(usage.ru_utime + usage.ru_stime, watched.cpu)
        if watched.hit is None and code in (-signal.SIGKILL, -signal.SIGXCPU) and cpu >= limits["cpu"]:
            watched.hit = "cpu"
        return {
            "code": code,
            "limit": watched.hit,
            "wall": time.monotonic() - started,
            "cpu": cpu,
            "memory": max(usage.ru_maxrss * 1024, watched.memory),
            "denied": denials.counts,
        }

    def _receive_lock(self, denials: Denials) -> bool:
        try:
            data, descriptors, _, _ = socket.recv_fds(self.line, 1, 1)
        except BlockingIOError:
            return False
        if descriptors:
            denials.descriptor = descriptors[0]
        return bool(data)

    def _child(self, settings: list[tuple[int, tuple[int, int]]], given: int) -> None:
        """Lock this process up, then run the program in it; does not return."""
        code = 125
        try:
            os.setsid()
            self.ends.leave_to_child()
            for kind, limit in settings:
                resource.setrlimit(kind, limit)
            if self.tools:
                jail.hide_other_processes(shows_own=self.shows_processes)
            if self.tier == "namespaces":
                os.chdir(jail.SCRATCH)
            self._lock_up(given)
            payload, _ = _SCAN(_read_all(JOB).decode("ascii"), 0)
            self.ledger.begin(LEDGER)
            # The map holds a copy of its descriptor, at the first free number.
            os.close(JOB)
            # The function that `random.seed` ends up in.
            _random.Random.seed(_GENERATOR)
            code = entry.run(payload)
            self.ledger.count("finished")
        except BaseException as error:
            with contextlib.suppress(BaseException):
                os.write(2, f"sandbox: {type(error).__name__}: {error}\n".encode())
        finally:
            os._exit(code)

    def _kernel_limits(self, limits: dict[str, Any]) -> list[tuple[int, tuple[int, int]]]:
        """Limits that differ from run to run, and that the kernel holds by itself."""
        settings = {
            **self._limit_on_memory(limits["memory"]),
            resource.RLIMIT_CPU: int(limits["cpu"]) + 2,
            resource.RLIMIT_FSIZE: limits["file_size"],
            resource.RLIMIT_NOFILE: limits["open_files"],
        }
        if not self.shared_user:
            settings[resource.RLIMIT_NPROC] = limits["threads"] + 1
        found = [(kind, (value := _at_most(kind, wanted), value)) for kind, wanted in settings.items()]
        hard = resource.getrlimit(resource.RLIMIT_STACK)[1]
        stack = _at_most(resource.RLIMIT_STACK, min(limits["memory"], MAX_STACK))
        return [*found, (resource.RLIMIT_STACK, (stack, hard))]

    def _limit_on_memory(self, memory: int) -> dict[int, int]:
        if self.tools:
            # Runtimes reserve gigabytes that they never touch: what a tree uses is counted from outside.
            return {resource.RLIMIT_DATA: memory + RESERVED}
        return {resource.RLIMIT_AS: memory + self.address_space}

    def _lock_up(self, given: int) -> None:
        if self.user is not None:
            if self.keeps_reading:
                linux.prctl(linux.PR_SET_KEEPCAPS, 1)
            os.setgroups([])
            os.setresgid(self.user, self.user, self.user)
            os.setresuid(self.user, self.user, self.user)
        self.drop_capabilities()
        self.gain_nothing()
        # Not earlier: a change of user takes it back.
        self.die_with_zygote()
        if self.enter_landlock is not None:
            self.enter_landlock()
        listener = self.filter.install(os.getpid()) if self.tier != "none" else -1
        self.listener[0] = listener
        self.childs_line.sendmsg(*self.locked)
        linux.close_range(given)


def _at_most(kind: int, value: int) -> int:
    hard = resource.getrlimit(kind)[1]
    return value if hard == resource.RLIM_INFINITY else min(value, hard)


def _readable(config: dict[str, Any]) -> list[str]:
    packages = list(config["packages"].values())
    return [*jail.interpreter_trees(), *packages, *(f"/dev/{name}" for name in jail.DEVICES)]


def _read_all(descriptor: int) -> bytes:
    data = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    os.close(descriptor)
    return data


def preload(names: list[str]) -> None:
    """Import what programs are likely to import, so that their process starts with it."""
    for name in names:
        with contextlib.suppress(ImportError):
            __import__(name)


def settle(control: socket.socket, config: dict[str, Any]) -> Zygote:
    """Build the place that the tier asks for, load what programs will import; a zygote that can serve.

    `control` and everything else that is to stay open must come from `own`.
    """
    own_namespace = own(os.open("/proc/self/ns/pid", os.O_RDONLY))
    statm = own(os.open("/proc/self/statm", os.O_RDONLY))
    inside_root = config["tier"] == "namespaces"
    if inside_root:
        jail.build_root(config)
    jail.set_import_path(config, inside_root=inside_root)
    preload(config["preload"])
    # `exit` and `quit`, and nothing else of what `site` does.
    site.setquit()
    os.environ.clear()
    sys.executable, sys.orig_argv = "", []
    linux.drop_bounding_set()
    for kind, value in _ALWAYS.items():
        # gVisor has no such limits as the last two, and says that they are too high.
        with contextlib.suppress(ValueError):
            resource.setrlimit(kind, (_at_most(kind, value),) * 2)
    _prepare_streams()
    linux.close_range(0, FIRST_OWN - 1)
    zygote = Zygote(control, config, own_namespace, statm)
    for name in [name for name in sys.modules if name.partition(".")[0] == "inside"]:
        del sys.modules[name]
    gc.collect()
    gc.freeze()
    return zygote


def own(descriptor: int) -> int:
    """The same file at a number that no run's descriptor takes."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, FIRST_OWN)
    os.close(descriptor)
    return moved


def _prepare_streams() -> None:
    """Python's standard streams for every program to come, over files of the kind that each will have."""
    for place in (STDIN, STDOUT, STDERR):
        stand_in = os.memfd_create("stand-in")
        os.dup2(stand_in, place)
        os.close(stand_in)
    runner.rebuild_standard_streams()
    runner.name_standard_streams()


def main() -> int:
    """Set the place up, say so on the control socket, serve."""
    os.umask(0o022)
    control = socket.socket(fileno=own(int(sys.argv[2])))
    config = json.loads(control.recv(1 << 20))
    try:
        if config["tier"] == "namespaces":
            jail.enter_namespaces()
            pid = os.fork()
            if pid:
                control.close()
                _, status = os.waitpid(pid, 0)
                return os.waitstatus_to_exitcode(status) & 0xFF
            linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
        zygote = settle(control, config)
    except Exception as error:
        control.send(json.dumps({"failed": f"{type(error).__name__}: {error}"}).encode())
        return 1
    control.send(json.dumps({"ready": config["tier"]}).encode())
    zygote.serve()
    return 0
