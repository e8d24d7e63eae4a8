"""The worker process of `VerifierPool`: reads tasks from a pipe, verifies each under limits, answers.

A message is a four-byte big-endian length and a pickle. The parent sends `(verifiers, tasks)`: newly needed
verifiers as pickles by key, and a list of `(key, response, problem, limits)`. The worker answers once for
every task, in order, so that the parent always knows which task a dead worker was busy with.
"""

from __future__ import annotations

import os
import pickle
import resource
import signal
import struct
import sys
import time
from typing import Any, BinaryIO

from verifiers.limits import WorkerLimits
from verifiers.types import Problem, Verdict, Verifier

HEADER = struct.Struct(">I")
inside_worker = False
"""True in a worker process, where a verifier needs no further process of its own to be safe."""


def send(stream: BinaryIO, message: object) -> None:
    """Write one message."""
    data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    stream.write(HEADER.pack(len(data)) + data)
    stream.flush()


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
    return Verdict.model_construct(
        reward=reward,
        status=status,
        extracted=extracted,
        method=method,
        detail=detail,
        seconds=seconds,
        parts={},
    )


def _limit_memory(megabytes: int | None) -> None:
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


def _load(pickled: bytes) -> Verifier:
    verifier: Verifier = pickle.loads(pickled)
    warm_up = getattr(verifier, "warm_up", None)
    if warm_up is not None:
        warm_up()
    return verifier


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer tasks until the parent closes the pipe."""
    verifiers: dict[str, Verifier] = {}
    memory: int | None = None
    while True:
        try:
            new, tasks = receive(requests)
        except EOFError:
            return
        for key, pickled in new.items():
            try:
                verifiers[key] = _load(pickled)
            except Exception as error:
                send(answers, ("unloadable", f"{type(error).__name__}: {error}"))
                return
        for key, response, problem, limits in tasks:
            if limits.memory_mb != memory:
                memory = limits.memory_mb
                _limit_memory(memory)
            try:
                verdict = verify_under_limits(verifiers[key], response, problem, limits)
            except MemoryError:
                # What is left of the heap is not to be trusted: the parent starts another worker.
                os._exit(OUT_OF_MEMORY)
            send(answers, pack_verdict(verdict))


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
    sys.setrecursionlimit(10_000)
    try:
        serve(requests, answers)
    except BrokenPipeError:
        return
