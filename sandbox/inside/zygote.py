"""The warm parent of all programs: it forks one process per run, watches it and cleans up behind it.

It never sees a program, its input or its output: those pass in files and pipes that the supervisor hands over,
so that no program finds in its memory what another one left. Requests and answers are JSON datagrams on a
socket; a request carries the descriptors of the run: standard input, output, error, the job, the channel.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import json
import os
import resource
import select
import signal
import site
import socket
import struct
import sys
import time
from typing import Any

from . import entry, jail, landlock, ledger, linux, seccomp
from .denials import Denials
from .watch import Single, Tree

PLACES = STDIN, STDOUT, STDERR, CHANNEL, JOB, LEDGER, PEER = range(7)
"""Where a program's process finds what it was given; the last is the tests' link to the program, if any."""
HIGH = 40
RESERVED = 8 << 30
# Stands in the filter for the number of the process that it will bind.
_ANY_PID = b"\xfe\xed\xfa\x7f"


class Zygote:
    """State of one zygote between runs."""

    def __init__(
        self, control: socket.socket, config: dict[str, Any], own_namespace: int, statm: int
    ) -> None:
        self.control = control
        self.tier: str = config["tier"]
        self.user: int | None = config["user"]
        # The kernel counts processes by user: where the user has others, this zygote counts itself.
        self.shared_user = self.tier != "namespaces" and self.user is None
        self.own_namespace = own_namespace
        self.scratch_size: tuple[int, int] | None = None
        self.clean: tuple[int, ...] = ()
        self.address_space = int(os.pread(statm, 200, 0).split()[0]) * resource.getpagesize()
        self.landlock = -1
        if self.tier == "landlock" or (self.tier == "namespaces" and landlock.version() >= 4):
            self.landlock = landlock.ruleset(None if self.tier == "namespaces" else _readable(config))
        single = seccomp.single_process_rules(struct.unpack("=I", _ANY_PID)[0])
        rules = [*seccomp.base_rules(), *(seccomp.process_tree_rules() if config["tools"] else single)]
        self.listens = self.tier != "none" and seccomp.can_listen()
        refuse = seccomp.RET_NOTIFY if self.listens else seccomp.RET_ERRNO | seccomp.EPERM
        self.filter = seccomp.assemble(rules, refuse)
        self.line = -1
        self.tools: bool = config["tools"]

    def serve(self) -> None:
        """Answer requests until the supervisor hangs up."""
        while True:
            data, descriptors, _, _ = socket.recv_fds(self.control, 65536, 16)
            if not data:
                return
            if data == b"stop":
                # It came when the run had already ended.
                continue
            request = json.loads(data)
            try:
                answer = self.run(request, descriptors)
            except OSError as error:
                answer = {"failed": f"{type(error).__name__}: {error}"}
            finally:
                for descriptor in descriptors:
                    with contextlib.suppress(OSError):
                        os.close(descriptor)
            self.control.send(json.dumps(answer).encode())

    def run(self, request: dict[str, Any], descriptors: list[int]) -> dict[str, Any]:
        """One run from fork to the last trace gone; OSError where the kernel gave no process."""
        limits = request["limits"]
        if self.tier == "namespaces":
            self._prepare_scratch(limits)
            linux.unshare(linux.CLONE_NEWPID)
        try:
            started = time.monotonic()
            ours, theirs = socket.socketpair()
            pid = os.fork()
            if pid == 0:
                self._child(request, descriptors, theirs)
        finally:
            if self.tier == "namespaces":
                linux.setns(self.own_namespace, linux.CLONE_NEWPID)
        for descriptor in descriptors:
            os.close(descriptor)
        descriptors.clear()
        theirs.close()
        with ours:
            answer = self._watch(pid, started, limits, ours)
        if self.tier == "namespaces":
            usage = os.statvfs(jail.SCRATCH)
            answer["disk"] = (usage.f_blocks - usage.f_bfree) * usage.f_frsize
            answer["files"] = usage.f_files - usage.f_ffree - 1
            answer["disk_full"] = usage.f_bfree == 0 or usage.f_ffree == 0
        return answer

    def _prepare_scratch(self, limits: dict[str, Any]) -> None:
        size = (limits["disk"], limits["files"])
        if size == self.scratch_size and jail.scratch_state() == self.clean:
            return
        if self.scratch_size is not None:
            linux.umount(jail.SCRATCH)
        jail.mount_scratch(*size)
        self.scratch_size, self.clean = size, jail.scratch_state()

    def _watch(self, pid: int, started: float, limits: dict[str, Any], line: socket.socket) -> dict[str, Any]:
        """Wait for the end of `pid`, and bring it about at a limit. OSError where it could not be locked up."""
        handle = os.pidfd_open(pid)
        poll = select.poll()
        for descriptor in (handle, self.control.fileno(), line.fileno()):
            poll.register(descriptor, select.POLLIN)
        watched = (Tree if self.tools else Single)(pid, started, limits, self.shared_user)
        locked = False
        denials = Denials()
        try:
            while True:
                ready = {descriptor for descriptor, _ in poll.poll(watched.pause())}
                if line.fileno() in ready:
                    # Once, before the program begins: it is locked up, and here is its filter's listener.
                    poll.unregister(line)
                    locked = _receive_lock(line, denials)
                    if denials.descriptor >= 0:
                        poll.register(denials.descriptor, select.POLLIN)
                if denials.descriptor in ready and not denials.answer():
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
            os.close(handle)
            denials.close()
            watched.kill(None)
            _, status, usage = os.wait4(pid, 0)
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

    def _child(self, request: dict[str, Any], descriptors: list[int], line: socket.socket) -> None:
        """Lock this process up, then run the program in it; does not return."""
        code = 125
        try:
            os.setsid()
            self._arrange_descriptors(descriptors, line.detach())
            self._limit(request["limits"])
            if self.tools:
                jail.hide_other_processes()
            if self.tier == "namespaces":
                os.chdir(jail.SCRATCH)
            self._lock_up()
            payload = json.loads(_read_all(JOB))
            count = ledger.start(LEDGER)
            for name in [name for name in sys.modules if name.partition(".")[0] == "inside"]:
                del sys.modules[name]
            code = entry.run(payload)
            count("finished")
        except BaseException as error:
            with contextlib.suppress(BaseException):
                os.write(2, f"sandbox: {type(error).__name__}: {error}\n".encode())
        finally:
            os._exit(code)

    def _arrange_descriptors(self, descriptors: list[int], line: int) -> None:
        """Put what the run was given at its fixed numbers, this process's own behind it, and close the rest."""
        # First out of the way: the numbers may overlap.
        own = [self.landlock, line] if self.landlock >= 0 else [line]
        own = [os.dup2(descriptor, HIGH + at) for at, descriptor in enumerate(own)]
        given = [os.dup2(descriptor, HIGH + 2 + at) for at, descriptor in enumerate(descriptors)]
        for target, source in zip(PLACES, given, strict=False):
            os.dup2(source, target)
        if len(given) < len(PLACES):
            linux.close_range(PEER, PEER)
        own = [os.dup2(descriptor, len(PLACES) + at) for at, descriptor in enumerate(own)]
        self.line = own[-1]
        self.landlock = own[0] if len(own) > 1 else -1
        linux.close_range(len(PLACES) + len(own))

    def _limit(self, limits: dict[str, Any]) -> None:
        stack = min(limits["memory"], 256 << 20)
        settings = {
            **self._limit_on_memory(limits["memory"]),
            resource.RLIMIT_CPU: int(limits["cpu"]) + 2,
            resource.RLIMIT_FSIZE: limits["file_size"],
            resource.RLIMIT_NOFILE: limits["open_files"],
            resource.RLIMIT_CORE: 0,
            resource.RLIMIT_MEMLOCK: 0,
            resource.RLIMIT_MSGQUEUE: 0,
            resource.RLIMIT_SIGPENDING: 256,
        }
        if not self.shared_user:
            settings[resource.RLIMIT_NPROC] = limits["threads"] + 1
        for kind, value in settings.items():
            hard = resource.getrlimit(kind)[1]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(kind, (value, value))
        hard = resource.getrlimit(resource.RLIMIT_STACK)[1]
        if hard != resource.RLIM_INFINITY:
            stack = min(stack, hard)
        resource.setrlimit(resource.RLIMIT_STACK, (stack, hard))

    def _limit_on_memory(self, memory: int) -> dict[int, int]:
        if self.tools:
            # Runtimes reserve gigabytes that they never touch: what a tree uses is counted from outside.
            return {resource.RLIMIT_DATA: memory + RESERVED}
        return {resource.RLIMIT_AS: memory + self.address_space}

    def _lock_up(self) -> None:
        kept = 0
        if self.user is not None:
            if self.tier == "landlock" and not jail.everybody_reads_interpreter():
                # Landlock decides what is read; the interpreter may lie in a folder of root's.
                linux.prctl(linux.PR_SET_KEEPCAPS, 1)
                kept = 1 << linux.CAP_DAC_READ_SEARCH
            os.setgroups([])
            os.setresgid(self.user, self.user, self.user)
            os.setresuid(self.user, self.user, self.user)
        linux.keep_capabilities(kept)
        linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
        if self.landlock >= 0:
            landlock.enter(self.landlock)
            os.close(self.landlock)
        listener = -1
        if self.tier != "none":
            program = self.filter.replace(_ANY_PID, struct.pack("=I", os.getpid()))
            listener = seccomp.install(program, listener=self.listens)
        with socket.socket(fileno=self.line) as line:
            socket.send_fds(line, [b"."], [listener] if self.listens else [])
        if self.listens:
            os.close(listener)


def _receive_lock(line: socket.socket, denials: Denials) -> bool:
    data, descriptors, _, _ = socket.recv_fds(line, 1, 1)
    if descriptors:
        denials.descriptor = descriptors[0]
    return bool(data)


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
    """Build the place that the tier asks for, load what programs will import; a zygote that can serve."""
    own_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY)
    statm = os.open("/proc/self/statm", os.O_RDONLY)
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
    gc.collect()
    gc.freeze()
    return Zygote(control, config, own_namespace, statm)


def main() -> int:
    """Set the place up, say so on the control socket, serve."""
    os.umask(0o022)
    control = socket.socket(fileno=int(sys.argv[2]))
    control.set_inheritable(False)
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
