"""Verifiers that misbehave in one known way each; importable, so that worker processes can rebuild them."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from verifiers import Problem, Verdict
from verifiers.limits import WorkerLimits


@dataclass(frozen=True)
class Misbehaving:
    """Does what the response says: spin, sleep, alloc, exit, raise, huge_power; else echoes its process id."""

    wall_seconds: float = 60.0
    name: str = "misbehaving"

    @property
    def worker_limits(self) -> WorkerLimits:
        """Little of everything but, on a busy machine, of wall time."""
        return WorkerLimits(cpu_seconds=0.3, wall_seconds=self.wall_seconds, memory_mb=256)

    def verify(self, response: str, problem: Problem | str) -> Verdict:
        if response == "spin":
            while True:
                pass
        elif response == "huge_power":
            pow(9, 9**9)
        elif response == "sleep":
            time.sleep(60)
        elif response == "alloc":
            bytearray(1 << 30)
        elif response == "exit":
            os._exit(3)
        elif response == "print":
            print("between the messages")
        elif response == "raise":
            raise ValueError("broken on purpose")
        return Verdict(reward=1.0, status="correct", extracted=response, detail=str(os.getpid()))


class Unpicklable(Misbehaving):
    """Can't cross to another process."""

    def __reduce__(self) -> str:
        raise TypeError("stays here")


@dataclass(frozen=True)
class Counting(Misbehaving):
    """As `Misbehaving`, and adds each response that it is given to a file; takes its time."""

    path: str = ""
    pause: float = 0.0

    def verify(self, response: str, problem: Problem | str) -> Verdict:
        with Path(self.path).open("a") as file:
            file.write(response + "\n")
        time.sleep(self.pause)
        return super().verify(response, problem)


@dataclass(frozen=True)
class Lines:
    """A row job: a row is a response; an empty one needs no verdict, and "broken" can't be read."""

    def ask(self, position: int, raw: str) -> bytes | tuple[str, str, tuple[int, str]]:
        if raw == "broken":
            raise ValueError("the job is broken")
        return (raw, "gold", (position, raw)) if raw else b"empty"

    def result(self, row: tuple[int, str], verdict: Verdict) -> bytes:
        return f"{row[0]} {row[1]} {verdict.status}".encode()
