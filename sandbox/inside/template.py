"""The process that all programs are forked from, and what happens between a fork and a program's first line.

It knows nothing of a run but its limits: the zygote sends them as it is to begin, with the descriptors that the
run's process finds in their places. It forks, waits, and says how that process ended. Whatever watches a run
lives in the zygote, for a program can read all that was ever in this process's memory, and each page that is
written here after a fork has to be copied.
"""

from __future__ import annotations

import _random
import array
import contextlib
import errno
import functools
import gc
import json
import os
import resource
import signal
import site
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any

from . import cases, entry, jail, landlock, ledger, linux, runner, seccomp

STDIN, STDOUT, STDERR, CHANNEL, JOB, LEDGER = range(6)
"""Where a program's process finds what it was given; behind it, the tests' link to the program or an archive."""
MAX_GIVEN = 16
ORDER = struct.Struct("=?6q")
"""Whether it is to run cases; limits on memory, CPU, file size, open files, stack and processes (or -1)."""
FAILED = struct.Struct("=i")
"""Number of the error that kept a process from being; where there was one, the answer is how it ended."""
READY = struct.Struct("=?q")
"""True, and the bytes of address space that every process starts with; another answer is a sentence."""
# What `json.loads` comes to, without the layers above it: they are pages to copy.
_SCAN = json.JSONDecoder().scan_once  # type: ignore[attr-defined]
_ROUNDS = 20
"""The interpreter begins to adapt a function at its eighth call."""
_WARM_UP: dict[str, Any] = {
    "sources": ["def f(x): return sorted(x)\nif __name__ == '__main__': print(f('ab'))"],
    "files": {},
    "arguments": [],
    "entry_point": "f",
    "one_instance": True,
    "calls": [{"args": [[2, 1]], "kwargs": {"d": []}}],
}
# Stands in the filter for the number of the process that it will bind.
_ANY_PID = b"\xfe\xed\xfa\x7f"
_NO_PID = 0x7FFFFFFE
_SPACE = socket.CMSG_SPACE(4 * MAX_GIVEN)
_PLACES = [array.array("i", range(count)).tobytes() for count in range(MAX_GIVEN + 1)]


class Template:
    """Forks one process per order, ready to be locked up: all that the locks need was made before."""

    def __init__(
        self, orders: socket.socket, line: socket.socket, config: dict[str, Any], own_namespace: int
    ) -> None:
        self.orders = orders
        self.line = line
        self.tier: str = config["tier"]
        self.user: int | None = config["user"]
        self.tools: bool = config["tools"]
        self.shows_processes: bool = config["commands"]
        self.own_namespace = own_namespace
        # Landlock decides what is read; the interpreter may lie in a folder of root's.
        self.keeps_reading = (
            self.user is not None and self.tier == "landlock" and not jail.everybody_reads_interpreter()
        )
        self.memory_limit = resource.RLIMIT_DATA if self.tools else resource.RLIMIT_AS
        self.drop_capabilities = linux.keep_capabilities(
            1 << linux.CAP_DAC_READ_SEARCH if self.keeps_reading else 0
        )
        self.gain_nothing = linux.prepared_prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
        self.die_with_parent = linux.prepared_prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
        self.enter_landlock: Callable[[], int] | None = None
        if self.tier == "landlock" or (self.tier == "namespaces" and landlock.version() >= 4):
            rules = landlock.ruleset(None if self.tier == "namespaces" else _readable(config))
            self.enter_landlock = landlock.enter(linux.own(rules))
        listens = self.tier != "none" and seccomp.can_listen()
        refuse = seccomp.RET_NOTIFY if listens else seccomp.RET_ERRNO | seccomp.EPERM
        single = seccomp.single_process_rules(struct.unpack("=I", _ANY_PID)[0])
        profile = seccomp.process_tree_rules(refuse) if self.tools else single
        allowed = [*profile, *seccomp.base_rules(own_root=self.tier == "namespaces")]
        self.filter = seccomp.Filter(seccomp.assemble(allowed, refuse), _ANY_PID, listener=listens)
        self.listener = array.array("i", [-1])
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, self.listener)]
        self.locked = ([b"."], rights if listens else [])
        self.ledger = ledger.Ledger()
        self.ended, self.orphan = linux.Ended(), linux.Ended()
        # What `random.seed` ends up in; a program that imports the module has it seeded by that.
        loaded = sys.modules.get("random")
        self.seed: Callable[[], None] | None = (
            functools.partial(_random.Random.seed, loaded._inst) if loaded else None
        )
        # A process namespace ends with its first process; elsewhere orphans are killed, and come here.
        self.adopts = self.tier != "namespaces" and cases.possible(config)
        if self.adopts:
            linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
        self.cases = cases.Cases(self.die_with_parent if self.adopts else None)
        self.hard_stack = resource.getrlimit(resource.RLIMIT_STACK)[1]

    def serve(self) -> None:
        """Fork for each order until the zygote hangs up."""
        while True:
            order, rights, _, _ = self.orders.recvmsg(ORDER.size, _SPACE)
            if not order:
                return
            self._run(order, rights)

    def _run(self, order: bytes, rights: list[Any]) -> None:
        given = len(rights[0][2]) // 4 if rights else 0
        try:
            if given == 0 or rights[0][2] != _PLACES[given]:
                raise OSError(errno.EBADF, "the run's descriptors came in other places")
            pid = self._fork(order, given)
        except OSError as error:
            self.orders.send(FAILED.pack(error.errno or errno.EIO))
            return
        finally:
            os.closerange(0, linux.FIRST_OWN)
        # A case that was left may be heard of first.
        while self.ended.wait() != pid:
            pass
        if self.adopts and order[0]:
            self._bury()
        self.orders.send(self.ended.buffer)
        self.ended.wipe()

    def _bury(self) -> None:
        """Wait until the case that was left has ended as well."""
        with contextlib.suppress(ChildProcessError):
            while True:
                self.orphan.wait()
        self.orphan.wipe()

    def _fork(self, order: bytes, given: int) -> int:
        if self.tier == "namespaces":
            linux.unshare(linux.CLONE_NEWPID)
        try:
            pid = linux.fork()
            if pid == 0:
                self._child(order, given)
            return pid
        finally:
            if self.tier == "namespaces":
                linux.setns(self.own_namespace, linux.CLONE_NEWPID)

    def _child(self, order: bytes, given: int) -> None:
        """Lock this process up, then run the program in it; does not return."""
        code = 125
        try:
            os.setsid()
            with_cases, *limits = ORDER.unpack(order)
            self._limit(limits)
            if self.tools:
                jail.hide_other_processes(shows_own=self.shows_processes)
            self._lock_up(given, with_cases)
            payload, _ = _SCAN(_read_all(JOB).decode("ascii"), 0)
            work = entry.prepare(payload)
            number = self.cases.fork_each() if with_cases else 0
            if self.tier == "namespaces":
                os.chdir(jail.SCRATCH)
            self.ledger.begin(LEDGER, number)
            # The map holds a copy of its descriptor, at the first free number.
            if with_cases:
                os.closerange(CHANNEL, cases.LINE + 1)
            else:
                os.close(JOB)
            if self.seed is not None:
                self.seed()
            code = work()
            self.ledger.count("finished")
        except BaseException as error:
            with contextlib.suppress(BaseException):
                os.write(2, f"sandbox: {type(error).__name__}: {error}\n".encode())
        finally:
            os._exit(code)

    def _limit(self, limits: list[int]) -> None:
        memory, cpu, file_size, open_files, stack, processes = limits
        resource.setrlimit(self.memory_limit, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu))
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
        resource.setrlimit(resource.RLIMIT_NOFILE, (open_files, open_files))
        resource.setrlimit(resource.RLIMIT_STACK, (stack, self.hard_stack))
        if processes >= 0:
            resource.setrlimit(resource.RLIMIT_NPROC, (processes, processes))

    def _lock_up(self, given: int, with_cases: bool) -> None:
        if self.user is not None:
            if self.keeps_reading:
                linux.prctl(linux.PR_SET_KEEPCAPS, 1)
            os.setgroups([])
            os.setresgid(self.user, self.user, self.user)
            os.setresuid(self.user, self.user, self.user)
        self.drop_capabilities()
        self.gain_nothing()
        # Not earlier: a change of user takes it back.
        self.die_with_parent()
        if self.enter_landlock is not None:
            self.enter_landlock()
        listener = self.filter.install(_NO_PID if with_cases else os.getpid()) if self.tier != "none" else -1
        self.listener[0] = listener
        self.line.sendmsg(*self.locked)
        if with_cases:
            os.dup2(self.line.fileno(), cases.LINE)
            given = cases.LINE + 1
        linux.close_range(given)


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


def main(
    orders: socket.socket, line: socket.socket, config: dict[str, Any], own_namespace: int, processes: int
) -> None:
    """Load what programs will import, say so, and serve; `processes` is the host's /proc."""
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        _warm_up()
        preload(config["preload"])
        # `exit` and `quit`, and nothing else of what `site` does.
        site.setquit()
        _prepare_streams()
        linux.close_range(0, linux.FIRST_OWN - 1)
        template = Template(orders, line, config, own_namespace)
        for name in [name for name in sys.modules if name.partition(".")[0] == "inside"]:
            del sys.modules[name]
        gc.collect()
        gc.freeze()
        size = _address_space(processes)
    except Exception as error:
        orders.send(f"{type(error).__name__}: {error}".encode())
        return
    orders.send(READY.pack(1, size))
    template.serve()


def _address_space(processes: int) -> int:
    statm = os.open("self/statm", os.O_RDONLY, dir_fd=processes)
    pages = int(os.read(statm, 200).split()[0])
    os.close(statm)
    os.close(processes)
    return pages * resource.getpagesize()


def _warm_up() -> None:
    """Have the interpreter adapt our own code as it does with what runs often: in a run's process it runs once."""
    main_module, arguments = sys.modules["__main__"], sys.argv
    _stand_in(STDIN, STDOUT, STDERR, CHANNEL)
    runner.rebuild_standard_streams()
    for _ in range(_ROUNDS):
        for mode in ("script", "calls"):
            entry.prepare({**_WARM_UP, "mode": mode})()
    runner.forget()
    sys.modules["__main__"], sys.argv = main_module, arguments


def _stand_in(*places: int) -> None:
    """Files of the kind that each run will have, in their places."""
    for place in places:
        stand_in = os.memfd_create("stand-in")
        if stand_in != place:
            os.dup2(stand_in, place)
            os.close(stand_in)


def _prepare_streams() -> None:
    """Python's standard streams for every program to come."""
    _stand_in(STDIN, STDOUT, STDERR)
    runner.rebuild_standard_streams()
    runner.name_standard_streams()
