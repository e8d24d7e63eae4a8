"""The parent's side of one worker process: start it, talk to it, end it, and say what its death means."""

from __future__ import annotations

import io
import json
import os
import pickle
import select
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

from verifiers._worker import HEADER, OUT_OF_MEMORY
from verifiers.limits import WorkerLimits, limits_of
from verifiers.types import InputError, Verdict, Verifier

_BOOT = "import sys, json; sys.path[:] = json.loads(sys.argv[1]); from verifiers._worker import main; main()"
LOADING_SECONDS = 60.0
"""What a process gets on top of the first verdict's limit, to start and to load a verifier."""


class VerifierUnloadableError(InputError):
    """A verifier can't be rebuilt in a worker process."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"the verifier can't be rebuilt in a worker process ({reason}); define it in an importable module, "
            "not in __main__ or a notebook"
        )


def worker_count(workers: int | None, timeout: float | None) -> int:
    """Number of worker processes; None takes the number of usable cores.

    Raises:
        InputError: fewer than one, or verdicts that may cost no CPU time.
    """
    if workers is not None and workers < 1:
        raise InputError(f"workers must be at least 1, got {workers}")
    if timeout is not None and timeout <= 0:
        raise InputError(f"timeout must be positive CPU seconds, got {timeout}")
    return workers or len(os.sched_getaffinity(0))


def pack_verifier(verifier: Verifier, timeout: float | None) -> tuple[bytes, WorkerLimits]:
    """A verifier as it goes to a worker process, and what a verdict may cost there.

    Args:
        verifier: the verifier.
        timeout: CPU seconds of a verdict; None takes what the verifier declares.

    Raises:
        InputError: the verifier can't be pickled.
    """
    try:
        pickled = pickle.dumps(verifier, protocol=pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        raise InputError(f"verifier {verifier!r} can't be sent to a worker process: {error}") from error
    limits = limits_of(verifier)
    return pickled, limits if timeout is None else replace(limits, cpu_seconds=timeout)


class ResultFile:
    """A file in memory that worker processes, one after the other, write the results of raw rows to.

    What is in there outlives the process. It is empty before each chunk; the processes inherit it open.
    """

    def __init__(self) -> None:
        self.handle = os.memfd_create("results")

    def clear(self) -> None:
        """Empty it; the process shares the position at which it writes on."""
        os.ftruncate(self.handle, 0)
        os.lseek(self.handle, 0, os.SEEK_SET)

    def size(self) -> int:
        """Bytes so far; grows with every row."""
        return os.fstat(self.handle).st_size

    def read(self) -> list[bytes]:
        """The results, each as far as it is whole."""
        data = os.pread(self.handle, self.size(), 0)
        found = []
        start, size = HEADER.size, len(data)
        while start <= size:
            end = start + HEADER.unpack_from(data, start - HEADER.size)[0]
            if end > size:
                break
            found.append(data[start:end])
            start = end + HEADER.size
        return found

    def close(self) -> None:
        """Give the memory back."""
        os.close(self.handle)


class WorkerProcess:
    """One worker process and its pipes, used by one thread at a time.

    Args:
        results: where the process puts the results of raw rows, if it is given any (`verifiers.rows`).
    """

    def __init__(self, results: ResultFile | None = None) -> None:
        path = [entry or str(Path.cwd()) for entry in sys.path]
        shared = () if results is None else (results.handle,)
        self.popen = subprocess.Popen(
            [sys.executable, "-c", _BOOT, json.dumps(path), *map(str, shared)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
            pass_fds=shared,
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )
        assert self.popen.stdin is not None
        assert self.popen.stdout is not None
        self.requests = cast(BinaryIO, io.BufferedWriter(cast(io.RawIOBase, self.popen.stdin), 1 << 16))
        self._answers = self.popen.stdout.fileno()
        self._buffer = bytearray()
        self.loaded: set[str] = set()
        self.served = 0
        """Verdicts so far: after the first one, a death may be owed to what the process did before."""

    def receive(self, deadline: float) -> Any:
        """Next message; EOFError when the process is gone, TimeoutError at `deadline` (monotonic seconds)."""
        while True:
            if len(self._buffer) >= HEADER.size:
                (length,) = HEADER.unpack_from(self._buffer)
                end = HEADER.size + length
                if len(self._buffer) >= end:
                    message = pickle.loads(memoryview(self._buffer)[HEADER.size : end])
                    del self._buffer[:end]
                    return message
            ready = select.poll()
            ready.register(self._answers, select.POLLIN)
            if not ready.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise TimeoutError
            chunk = os.read(self._answers, 1 << 16)
            if not chunk:
                raise EOFError
            self._buffer += chunk

    def end(self) -> int:
        """Kill the process and its group, and return its exit status (negative: the signal)."""
        if self.popen.poll() is None:
            try:
                os.killpg(self.popen.pid, signal.SIGKILL)
            except ProcessLookupError:
                self.popen.kill()
        status = self.popen.wait()
        for stream in (self.popen.stdin, self.popen.stdout):
            if stream is not None:
                stream.close()
        return status


def failure(status: Literal["timeout", "error"], detail: str) -> Verdict:
    """The verdict on a response whose worker process failed."""
    return Verdict(reward=-1.0, status=status, method="limits", detail=detail)


def verdict_of_death(status: int, limits: WorkerLimits, *, timed_out: bool, again: bool) -> Verdict | None:
    """The verdict on what a process was busy with that ended with `status`; None: try it once more.

    Args:
        status: exit status; negative: the signal.
        limits: what the response was allowed to cost.
        timed_out: whether the parent ended it because of `limits.wall_seconds`.
        again: whether another process may have more luck; time limits are not a matter of luck.
    """
    if timed_out:
        return failure("timeout", f"no verdict after {limits.wall_seconds:g} seconds")
    if status == -signal.SIGPROF:
        return failure("timeout", f"took more than {limits.cpu_seconds:g} CPU-seconds")
    if again:
        return None
    if status == OUT_OF_MEMORY:
        return failure("error", f"needed more than {limits.memory_mb} MiB of memory")
    return failure("error", f"the worker process ended with status {status}")
