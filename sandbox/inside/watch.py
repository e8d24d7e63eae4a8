"""Limits that the kernel does not hold by itself: time, and what a tree of processes uses together."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

THREADS_SECONDS = 0.02
TREE_SECONDS = 0.005
_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Single:
    """One process, its limits on time, and which one ended it. It is known from its `begin` on."""

    def __init__(self, limits: dict[str, Any], count_threads: bool) -> None:
        self.pid = 0
        self.started = time.monotonic()
        self.limits = limits
        self.count_threads = count_threads
        self.hit: str | None = None
        self.memory = 0
        self.cpu = 0.0
        self._handle = -1
        self._number = 0

    def begin(self, pid: int) -> None:
        """The process is locked up and about to run the program."""
        self.pid = pid
        try:
            self._handle = os.pidfd_open(pid)
        except ProcessLookupError:
            # It has ended by now.
            pass
        except OSError:
            # gVisor has no such descriptors, and there a number is another's only after all others were.
            self._number = pid
        if self.hit is not None:
            self.kill(self.hit)

    def pause(self) -> int:
        """Milliseconds until the next limit could be reached; ends the process where one is."""
        if self.hit is not None:
            return 1000
        self._look()
        cpu = self.limits["cpu"] - self.cpu
        wall = self.limits["wall"] - (time.monotonic() - self.started)
        if min(cpu, wall) <= 0:
            self.kill("cpu" if cpu <= 0 else "wall")
            return 1000
        return int(1000 * min(cpu, wall, self._longest_pause())) + 1

    def _look(self) -> None:
        """Read the processor time, and the number of threads where the kernel does not limit it."""
        self._look_at(self.pid)

    def _look_at(self, pid: int) -> None:
        if pid == 0:
            return
        with contextlib.suppress(OSError):
            self.cpu = time.clock_gettime(~pid << 3 | 2)
        if self.count_threads and _threads(pid) > self.limits["threads"] + 1:
            self.kill("processes")

    def _longest_pause(self) -> float:
        """Seconds after which to look again in any case."""
        return THREADS_SECONDS if self.count_threads else 3600.0

    def kill(self, hit: str) -> None:
        """End the process, for the limit `hit` unless another one came first."""
        self.hit = self.hit or hit
        with contextlib.suppress(ProcessLookupError):
            if self._handle >= 0:
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)
            elif self._number > 0:
                os.kill(self._number, signal.SIGKILL)

    def allows(self, name: str, caller: int, arguments: tuple[int, ...]) -> bool:
        """Whether a call that programs are refused is one that this run may make."""
        return False

    def seconds(self, used: float) -> float:
        """Processor time, where the kernel says that `used` is what it was."""
        return max(used, self.cpu)

    def more(self) -> dict[str, Any]:
        """What else there is to say of the run."""
        return {}

    def close(self) -> None:
        """Let go of the process."""
        if self._handle >= 0:
            os.close(self._handle)
        self._handle, self._number = -1, 0


class Cases(Single):
    """A process that forks one more for each case, and only when asked here; each case has its own time.

    At a limit that process is killed, and the case dies with it: of the case itself only a number is known, which
    another process may have by then.
    """

    TO_ITSELF = ("kill", "tgkill", "prlimit64")

    def __init__(
        self,
        limits: dict[str, Any],
        count_threads: bool,
        hear: Callable[[], tuple[bytes, int, int] | None],
        clean_up: Callable[[], dict[str, Any] | None],
    ) -> None:
        """`clean_up` leaves a clean scratch directory, and says what was used of one that was not clean."""
        super().__init__(limits, count_threads)
        self.begun = 0
        self.scratch: dict[int, dict[str, Any]] = {}
        self._hear = hear
        self._clean_up = clean_up
        self._case = self._case_own = 0

    def allows(self, name: str, caller: int, arguments: tuple[int, ...]) -> bool:
        """Whether a call that programs are refused is one that this run needs.

        The process that forks the cases may fork, and only in the way that makes another process of its kind; a
        case may do to itself what it may not do to others. The call's first argument is in the caller's own
        numbers of processes. Nothing here depends on memory that the caller could change meanwhile.
        """
        first = arguments[0]
        if caller == self.pid:
            if self.hit is not None or not _plain_fork(name, first):
                return False
            if self.begun and (used := self._clean_up()) is not None:
                self.scratch[self.begun - 1] = used
            self.begun += 1
            self.started, self.cpu = time.monotonic(), 0.0
            self._case = self._case_own = 0
            return True
        self._catch_up()
        return name in self.TO_ITSELF and first == self._case_own > 0

    def _look(self) -> None:
        """Read the processor time of the case, or of the compilation before the first."""
        if self.pid == 0:
            # What is said first brings the listener, and is for the one who calls `begin`.
            return
        self._catch_up()
        self._look_at(self._case if self.begun else self.pid)

    def _catch_up(self) -> None:
        while (heard := self._hear()) is not None:
            said, self._case, _ = heard
            self._case_own = int.from_bytes(said, sys.byteorder)

    def seconds(self, used: float) -> float:
        """Of the case at work; what all together used says nothing of it."""
        return self.cpu

    def more(self) -> dict[str, Any]:
        """How many cases were begun; by the number of the case, what was left in the scratch directory."""
        return {"begun": self.begun, "scratch": self.scratch}


def _plain_fork(name: str, flags: int) -> bool:
    """Whether a call makes a process like its caller.

    The C library adds the flags CLONE_CHILD_SETTID and CLONE_CHILD_CLEARTID.
    """
    return name == "fork" or (name == "clone" and flags & ~0x01200000 == signal.SIGCHLD)


class Tree(Single):
    """A process with all that it started: everything in this process namespace but the zygote's own processes.

    The whole tree runs on one core, so what it can allocate between two looks is bounded.
    """

    def __init__(self, limits: dict[str, Any], count_threads: bool, not_counted: tuple[int, ...]) -> None:
        super().__init__(limits, count_threads)
        self._not_counted = {str(pid) for pid in not_counted}
        self._shared = 0

    def begin(self, pid: int) -> None:
        """As of a single process; it is bound to one core."""
        super().begin(pid)
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(pid, {_free_core()})

    def allows(self, name: str, caller: int, arguments: tuple[int, ...]) -> bool:
        """Whether a call that programs are refused is one that this run may make: shared memory, up to its limit.

        What was asked for counts until the run ends: it may be in use although no process maps it any more.
        """
        if name != "mmap":
            return False
        self._shared += -(-arguments[1] // _PAGE) * _PAGE
        if self._shared > self.limits["memory"]:
            self.kill("memory")
        return self.hit is None

    def _look(self) -> None:
        """Add up time, memory and number of all processes."""
        cpu, own, tables, found = 0, 0, 0, []
        for name in os.listdir("/proc"):
            if not name.isdigit() or name in self._not_counted:
                continue
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
                with open(f"/proc/{name}/status", "rb") as file:
                    status = file.read()
            except (FileNotFoundError, ProcessLookupError):
                continue
            found.append(name)
            cpu += sum(map(int, fields[11:15]))
            own += _size(status, b"RssAnon:")
            tables += _size(status, b"VmPTE:")
        self.cpu = max(self.cpu, cpu / _TICK)
        others = tables + self._shared
        memory = own + others
        if memory > self.limits["memory"]:
            # Pages that processes have had in common since a fork were counted for each of them.
            memory = (_shared_out(found) or own) + others
        self.memory = max(self.memory, memory)
        if len(found) > self.limits["processes"]:
            self.kill("processes")
        elif memory > self.limits["memory"]:
            self.kill("memory")

    def _longest_pause(self) -> float:
        """Seconds after which to look again in any case."""
        return TREE_SECONDS


def _threads(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/task"))
    except FileNotFoundError:
        return 0


def _size(status: bytes, name: bytes) -> int:
    """Bytes that a line of a file in /proc speaks of; 0 for a process that has just ended."""
    line = status.partition(b"\n" + name)[2].split(maxsplit=1)
    return int(line[0]) * 1024 if line else 0


def _shared_out(processes: list[str]) -> int:
    """Bytes of memory with no file behind, each page shared out among all that have it; 0 where unknown."""
    total = 0
    for name in processes:
        try:
            with open(f"/proc/{name}/smaps_rollup", "rb") as file:
                total += _size(file.read(), b"Pss_Anon:")
        except (FileNotFoundError, ProcessLookupError):
            continue
        except OSError:
            return 0
    return total


def _free_core() -> int:
    """One of the cores that this process may use, another one for each zygote."""
    cores = sorted(os.sched_getaffinity(0))
    return cores[os.getpid() % len(cores)] if os.getpid() > 1 else cores[time.monotonic_ns() % len(cores)]
