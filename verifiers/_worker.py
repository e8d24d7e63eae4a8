"""The worker process of `VerifierPool`: reads tasks from a pipe, verifies each under limits, answers.

A message is a four-byte big-endian length and a pickle. The parent sends `(loads, tasks)`: newly needed
verifiers as pickles by key, and a list of `(key, response, problem, limits)`. The worker answers once for
every task, in order, so that the parent always knows which task a dead worker was busy with.

Instead of tasks the parent may send `RawRows`. Their results, each behind its length, go to a file in memory
that both share, which says just as well how far a dead worker came, and wakes nobody; the one answer, when all are
done, is the seconds they took.
"""

from __future__ import annotations

import os
import pickle
import resource
import signal
import struct
import sys
import time
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

from verifiers.limits import WorkerLimits
from verifiers.types import Problem, Verdict, Verifier

HEADER = struct.Struct(">I")
inside_worker = False
"""True in a worker process, where a verifier needs no further process of its own to be safe."""


class RowJob(Protocol):
    """What a worker makes of raw rows; picklable, and the same for the same row."""

    def ask(self, position: int, raw: Any) -> bytes | tuple[str, Problem | str, Any]:
        """Response, problem and the row as it was read, or the result of a row that needs no verdict."""
        ...

    def result(self, row: Any, verdict: Verdict) -> bytes:
        """The result of a row that was read, with its verdict."""
        ...


@dataclass(frozen=True, slots=True)
class RawRows:
    """Rows for the job and verifier that were loaded as "job" and "verifier"."""

    first: int
    """Position of the first one."""
    rows: list[Any]
    limits: WorkerLimits


def send(stream: BinaryIO, message: object) -> int:
    """Write one message; returns its bytes."""
    data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    stream.write(HEADER.pack(len(data)) + data)
    stream.flush()
    return len(data)


def receive(stream: BinaryIO) -> Any:
    """Read one message; EOFError where the other side is gone."""
    header = stream.read(HEADER.size)
    if len(header) < HEADER.size:
        raise EOFError
    (length,) = HEADER.unpack(header)
    data = stream.read(length)
    if len(data) < length:
        raise EOFError
    return pickle.loads(data)


def pack_verdict(verdict: Verdict) -> tuple[Any, ...] | Verdict:
    """A verdict without parts as a plain tuple: a tenth of the cost of pickling the model."""
    if verdict.parts:
        return verdict
    return (
        verdict.reward,
        verdict.status,
        verdict.extracted,
        verdict.method,
        verdict.detail,
        verdict.seconds,
    )


def unpack_verdict(packed: tuple[Any, ...] | Verdict) -> Verdict:
    """Undo `pack_verdict`."""
    if isinstance(packed, Verdict):
        return packed
    reward, status, extracted, method, detail, seconds = packed
    return Verdict(
        reward=reward,
        status=status,
        extracted=extracted,
        method=method,
        detail=detail,
        seconds=seconds,
    )


class _MemoryLimit:
    """Sets the limit on the heap, when it changes."""

    def __init__(self) -> None:
        self._megabytes: int | None = None

    def __call__(self, megabytes: int | None) -> None:
        if megabytes == self._megabytes:
            return
        self._megabytes = megabytes
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        soft = hard if megabytes is None else megabytes << 20
        if hard != resource.RLIM_INFINITY:
            soft = min(soft, hard) if soft != resource.RLIM_INFINITY else hard
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def verify_under_limits(
    verifier: Verifier, response: str, problem: Problem | str, limits: WorkerLimits
) -> Verdict:
    """Verify; the kernel ends the process when the CPU time is up (SIGPROF), whatever code it is in."""
    started = time.perf_counter()
    signal.setitimer(signal.ITIMER_PROF, limits.cpu_seconds)
    try:
        return verifier.verify(response, problem)
    except MemoryError:
        raise
    except Exception as error:
        # The one place where any error of a verifier becomes a verdict: status `error` keeps it out of rewards.
        detail = f"{type(error).__name__}: {error}"[:500]
        return Verdict(
            reward=-1.0,
            status="error",
            method="exception",
            detail=detail,
            seconds=time.perf_counter() - started,
        )
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _load(pickled: bytes) -> Any:
    loaded = pickle.loads(pickled)
    warm_up = getattr(loaded, "warm_up", None)
    if warm_up is not None:
        warm_up()
    return loaded


def serve(requests: BinaryIO, answers: BinaryIO, results: int | None) -> None:
    """Answer until the parent closes the pipe; `results` is the handle of the shared file, where there is one."""
    loaded: dict[str, Any] = {}
    limit_memory = _MemoryLimit()
    while True:
        try:
            new, tasks = receive(requests)
        except EOFError:
            return
        for key, pickled in new.items():
            try:
                loaded[key] = _load(pickled)
            except Exception as error:
                send(answers, ("unloadable", f"{type(error).__name__}: {error}"))
                return
        try:
            if isinstance(tasks, RawRows):
                assert results is not None
                limit_memory(tasks.limits.memory_mb)
                send(answers, _do_rows(loaded["job"], loaded["verifier"], tasks, results))
                continue
            for key, response, problem, limits in tasks:
                limit_memory(limits.memory_mb)
                verdict = verify_under_limits(loaded[key], response, problem, limits)
                send(answers, pack_verdict(verdict))
        except MemoryError:
            # What is left of the heap is not to be trusted: the parent starts another worker.
            os._exit(OUT_OF_MEMORY)


def _do_rows(job: RowJob, verifier: Verifier, chunk: RawRows, results: int) -> float:
    """Put the result of every row into the file `results`; returns the seconds that it took."""
    started = time.perf_counter()
    for position, raw in enumerate(chunk.rows, chunk.first):
        result = job.ask(position, raw)
        if not isinstance(result, bytes):
            response, problem, row = result
            result = job.result(row, verify_under_limits(verifier, response, problem, chunk.limits))
        # One call, so that a kill leaves whole results only.
        os.write(results, HEADER.pack(len(result)) + result)
    return time.perf_counter() - started


OUT_OF_MEMORY = 77


def main() -> None:
    """Run as a worker: requests on standard input, answers on what was standard output."""
    global inside_worker
    inside_worker = True
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGPROF})
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    # Whatever a verifier prints must not come between the messages.
    os.dup2(2, 1)
    requests = os.fdopen(os.dup(0), "rb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    results = int(sys.argv[2]) if len(sys.argv) > 2 else None
    if results is not None:
        # Programs that a verifier starts have no business there.
        os.set_inheritable(results, False)
    sys.setrecursionlimit(10_000)
    try:
        serve(requests, answers, results)
    except BrokenPipeError:
        return
