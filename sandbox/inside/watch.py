"""Limits that the kernel does not hold by itself: time, and what a tree of processes uses together."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import time
from typing import Any

THREADS_SECONDS = 0.02
TREE_SECONDS = 0.005
_TICK = os.sysconf("SC_CLK_TCK")


class Single:
    """One process, its limits on time, and which one ended it."""

    def __init__(self, pid: int, started: float, limits: dict[str, Any], count_threads: bool) -> None:
        self.pid = pid
        self.started = started
        self.limits = limits
        self.count_threads = count_threads
        self.hit: str | None = None
        self.memory = 0
        self.cpu = 0.0
        self._clock = ~pid << 3 | 2

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
        with contextlib.suppress(OSError):
            self.cpu = time.clock_gettime(self._clock)
        if self.count_threads and _threads(self.pid) > self.limits["threads"] + 1:
            self.kill("processes")

    def _longest_pause(self) -> float:
        """Seconds after which to look again in any case."""
        return THREADS_SECONDS if self.count_threads else 3600.0

    def kill(self, hit: str | None) -> None:
        """End the process, for the limit `hit` unless another one came first."""
        self.hit = self.hit or hit
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


class Tree(Single):
    """A process with all that it started: everything in this process namespace but the zygote itself.

    The whole tree runs on one core, so what it can allocate between two looks is bounded.
    """

    def __init__(self, pid: int, started: float, limits: dict[str, Any], count_threads: bool) -> None:
        super().__init__(pid, started, limits, count_threads)
        self._past = 0.0
        os.sched_setaffinity(pid, {_free_core()})

    def _look(self) -> None:
        """Add up time, memory and number of all processes."""
        cpu, pages, count = 0, 0, 0
        for name in os.listdir("/proc"):
            if not name.isdigit() or name == "1":
                continue
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
                with open(f"/proc/{name}/statm", "rb") as file:
                    sizes = file.read().split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            count += 1
            cpu += sum(map(int, fields[11:15]))
            if len(sizes) > 2:
                pages += int(sizes[1]) - int(sizes[2])
        self.cpu = max(self.cpu, cpu / _TICK)
        memory = pages * resource.getpagesize()
        self.memory = max(self.memory, memory)
        if memory > self.limits["memory"]:
            self.kill("memory")
        elif count > self.limits["processes"]:
            self.kill("processes")

    def _longest_pause(self) -> float:
        """Seconds after which to look again in any case."""
        return TREE_SECONDS


def _threads(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/task"))
    except FileNotFoundError:
        return 0


def _free_core() -> int:
    """One of the cores that this process may use, another one for each zygote."""
    cores = sorted(os.sched_getaffinity(0))
    return cores[os.getpid() % len(cores)] if os.getpid() > 1 else cores[time.monotonic_ns() % len(cores)]
