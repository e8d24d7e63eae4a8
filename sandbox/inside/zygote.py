"""The warm parent of all programs, in two processes: this one watches runs, its template forks them.

Neither sees a program, its input or its output: those pass in files and pipes that the supervisor hands over,
so that no program finds in its memory what another one left. Requests and answers are JSON datagrams on a
socket; a request carries the descriptors of the run: standard input, output, error, the channel, the job, the
ledger. What a run did is known here, and programs are forked from the template, which does not know it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
import select
import signal
import socket
import struct
import sys
import time
from typing import Any

from . import cases, entry, jail, linux, template
from .denials import Denials
from .watch import Cases, Single, Tree

MAX_STACK = 256 << 20
RESERVED = 8 << 30
_ALWAYS = {
    resource.RLIMIT_CORE: 0,
    resource.RLIMIT_MEMLOCK: 0,
    resource.RLIMIT_MSGQUEUE: 0,
    resource.RLIMIT_SIGPENDING: 256,
}
_CREDENTIALS = struct.Struct("=3i")
_LINE_SPACE = socket.CMSG_SPACE(_CREDENTIALS.size) + socket.CMSG_SPACE(4)


class Zygote:
    """State of one zygote between runs."""

    def __init__(
        self,
        control: socket.socket,
        orders: socket.socket,
        line: socket.socket,
        config: dict[str, Any],
        forker: int,
    ) -> None:
        self.control = control
        self.orders = orders
        self.line = line
        self.line.setblocking(False)
        self.line.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.tier: str = config["tier"]
        self.tools: bool = config["tools"]
        self.user: int | None = config["user"]
        self.template = forker
        # The kernel counts processes by user: where the user has others, this zygote counts itself.
        self.shared_user = self.tier != "namespaces" and self.user is None
        self.clean: tuple[tuple[int, int], tuple[int, ...]] | None = None
        self.next_inode = 0
        self.address_space = 0
        self.runs_cases = cases.possible(config)

    def await_template(self) -> None:
        """Wait until programs can be forked. OSError with the template's words where it can't."""
        said = self.orders.recv(4096)
        if len(said) != template.READY.size or said[0] != 1:
            raise OSError(said.decode("utf-8", "replace") or "the template of programs ended at once")
        self.address_space = template.READY.unpack(said)[1]

    def serve(self) -> None:
        """Answer requests until the supervisor hangs up."""
        while True:
            data, descriptors, _, _ = socket.recv_fds(self.control, 65536, template.MAX_GIVEN)
            if not data:
                self._end_template()
                return
            if data == b"stop":
                # It came when the run had already ended.
                continue
            try:
                answer = self.run(json.loads(data), descriptors)
            except OSError as error:
                answer = {"failed": f"{type(error).__name__}: {error}"}
            self.control.send(json.dumps(answer).encode())

    def run(self, request: dict[str, Any], descriptors: list[int]) -> dict[str, Any]:
        """One run from fork to the last trace gone; OSError where the kernel gave no process."""
        limits = request["limits"]
        with_cases = bool(request.get("cases"))
        try:
            if self.tier == "namespaces":
                self._prepare_scratch(limits)
            order = self._order(limits, with_cases)
            socket.send_fds(self.orders, [order], descriptors)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        watched: Single = (
            Cases(limits, self.shared_user, self._hear, lambda: self._clean_up(limits))
            if with_cases
            else Tree(limits, self.shared_user, (os.getpid(), self.template))
            if self.tools
            else Single(limits, self.shared_user)
        )
        answer = self._watch(watched, limits)
        if self.tier == "namespaces":
            answer.update(_used_scratch())
        return answer

    def _prepare_scratch(self, limits: dict[str, Any]) -> bool:
        """Mount a clean scratch directory, unless what is there is clean and of the size; whether it was not."""
        size = (limits["disk"], limits["files"])
        # In this order, for what a program left may leave no room to look further.
        if (size, jail.scratch_state()) == self.clean and jail.next_inode() == self.next_inode:
            self.next_inode += 1
            return False
        if self.clean is not None:
            linux.umount(jail.SCRATCH)
        jail.mount_scratch(*size)
        self.next_inode = jail.next_inode() + 1
        self.clean = size, jail.scratch_state()
        return True

    def _order(self, limits: dict[str, Any], with_cases: bool) -> bytes:
        """Limits that differ from run to run, and that the kernel holds by itself."""
        if self.tools:
            # Runtimes reserve gigabytes that they never touch: what a tree uses is counted from outside.
            memory = _at_most(resource.RLIMIT_DATA, limits["memory"] + RESERVED)
        else:
            memory = _at_most(resource.RLIMIT_AS, limits["memory"] + self.address_space)
        # The process that forks the cases counts, too; so do the zygote's own three where they have the same user.
        others = with_cases + (3 if self.user is None else 0)
        processes = -1 if self.shared_user else limits["threads"] + 1 + others
        return template.ORDER.pack(
            with_cases,
            memory,
            _at_most(resource.RLIMIT_CPU, int(limits["cpu"]) + 2),
            _at_most(resource.RLIMIT_FSIZE, limits["file_size"]),
            _at_most(resource.RLIMIT_NOFILE, limits["open_files"]),
            _at_most(resource.RLIMIT_STACK, min(limits["memory"], MAX_STACK)),
            processes if processes < 0 else _at_most(resource.RLIMIT_NPROC, processes),
        )

    def _watch(self, watched: Single, limits: dict[str, Any]) -> dict[str, Any]:
        """Wait for the end of the run, and bring it about at a limit. OSError where it could not be locked up."""
        line, orders, control = self.line.fileno(), self.orders.fileno(), self.control.fileno()
        denials = Denials()
        try:
            poll = select.poll()
            for descriptor in (orders, control, line):
                poll.register(descriptor, select.POLLIN)
            while True:
                ready = dict(poll.poll(watched.pause()))
                if line in ready:
                    # Once, before the program begins: it is locked up, and here is its filter's listener.
                    poll.unregister(line)
                    self._receive_lock(watched, denials)
                    if denials.descriptor >= 0:
                        poll.register(denials.descriptor, select.POLLIN)
                # A listener whose program is going hangs up, again and again.
                asked = ready.get(denials.descriptor, 0)
                if asked and not (asked & select.POLLIN and denials.answer(watched.allows)):
                    poll.unregister(denials.descriptor)
                    denials.close()
                if orders in ready:
                    break
                if control in ready:
                    # The only thing that comes during a run: stop it, or the end of the supervisor.
                    if not self.control.recv(65536):
                        self._end_template()
                        os._exit(0)
                    watched.kill("stopped")
            status, user, user_part, system, system_part, peak = self._end()
            if watched.pid == 0:
                # It came before the end, for its sender waited for nothing in between.
                self._receive_lock(watched, denials)
        finally:
            watched.close()
            denials.close()
            # Nothing of this run may be taken for the next one's.
            while (left := self._hear()) is not None:
                if left[2] >= 0:
                    os.close(left[2])
        code = os.waitstatus_to_exitcode(status)
        if watched.pid == 0 and watched.hit is None:
            raise OSError(errno.EPERM, f"a process could not be locked up (it ended with {code})")
        cpu = watched.seconds(user + system + (user_part + system_part) / 1e6)
        if watched.hit is None and code in (-signal.SIGKILL, -signal.SIGXCPU) and cpu >= limits["cpu"]:
            watched.hit = "cpu"
        return {
            "code": code,
            "limit": watched.hit,
            "wall": time.monotonic() - watched.started,
            "cpu": cpu,
            "memory": max(peak * 1024, watched.memory),
            "denied": denials.counts,
            **watched.more(),
        }

    def _end_template(self) -> None:
        """End the template, and wait for it: a container's first process may never do so."""
        os.kill(self.template, signal.SIGKILL)
        os.waitpid(self.template, 0)

    def _end(self) -> tuple[int, ...]:
        data = self.orders.recv(linux.Ended.SIZE)
        if len(data) == template.FAILED.size:
            code = template.FAILED.unpack(data)[0]
            raise OSError(code, f"no process for a run: {os.strerror(code)}")
        if len(data) != linux.Ended.SIZE:
            raise OSError(errno.EPIPE, "the template of programs died")
        return linux.Ended.LAYOUT.unpack(data)

    def _receive_lock(self, watched: Single, denials: Denials) -> None:
        heard = self._hear()
        if heard is not None:
            _, pid, denials.descriptor = heard
            watched.begin(pid)

    def _hear(self) -> tuple[bytes, int, int] | None:
        """What a run's process says, its number as seen from here, and what it handed over (or -1)."""
        try:
            said, ancillary, _, _ = self.line.recvmsg(16, _LINE_SPACE)
        except BlockingIOError:
            return None
        pid, descriptor = 0, -1
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                pid = _CREDENTIALS.unpack(content)[0]
            elif level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                descriptor = struct.unpack("=i", content)[0]
        return said, pid, descriptor

    def _clean_up(self, limits: dict[str, Any]) -> dict[str, Any] | None:
        """A clean scratch directory in place of one that was used; what was used, or None."""
        if self.tier != "namespaces":
            return None
        used = _used_scratch()
        return used if self._prepare_scratch(limits) else None


def _used_scratch() -> dict[str, Any]:
    usage = os.statvfs(jail.SCRATCH)
    return {
        "disk": (usage.f_blocks - usage.f_bfree) * usage.f_frsize,
        "files": usage.f_files - usage.f_ffree - 1,
        "disk_full": usage.f_bfree == 0 or usage.f_ffree == 0,
    }


def _at_most(kind: int, value: int) -> int:
    hard = resource.getrlimit(kind)[1]
    return value if hard == resource.RLIM_INFINITY else min(value, hard)


def settle(control: socket.socket, config: dict[str, Any]) -> Zygote:
    """Build the place that the tier asks for and a template of programs in it; a zygote that can serve.

    `control` and all else that is to stay open must come from `linux.own`. OSError where the kernel refuses.
    """
    # While our own folder is still there.
    entry.load(config)
    own_namespace = linux.own(os.open("/proc/self/ns/pid", os.O_RDONLY))
    processes = linux.own(os.open("/proc", os.O_RDONLY | os.O_DIRECTORY))
    inside_root = config["tier"] == "namespaces"
    if inside_root:
        jail.build_root(config)
    jail.set_import_path(config, inside_root=inside_root)
    os.environ.clear()
    sys.executable, sys.orig_argv = "", []
    linux.drop_bounding_set()
    for kind, value in _ALWAYS.items():
        # gVisor has no such limits as the last two, and says that they are too high.
        with contextlib.suppress(ValueError):
            resource.setrlimit(kind, (_at_most(kind, value),) * 2)
    orders, theirs = _pair()
    line, childs = _pair()
    forker = os.fork()
    if forker == 0:
        for ours in (control, orders, line):
            ours.close()
        try:
            template.main(theirs, childs, config, own_namespace, processes)
        finally:
            os._exit(0)
    theirs.close()
    childs.close()
    zygote = Zygote(control, orders, line, config, forker)
    zygote.await_template()
    return zygote


def _pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of a line of messages, at numbers that no run's descriptors take."""
    first, second = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return tuple(socket.socket(fileno=linux.own(end.detach())) for end in (first, second))  # type: ignore[return-value]


def main() -> int:
    """Set the place up, say so on the control socket, serve."""
    os.umask(0o022)
    # All of ours is imported by now.
    sys.dont_write_bytecode = True
    control = socket.socket(fileno=linux.own(int(sys.argv[2])))
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
    control.send(json.dumps({"ready": config["tier"], "cases": zygote.runs_cases}).encode())
    zygote.serve()
    return 0
