"""Verdicts for the rows of a file, where worker processes also read each row and write up its result.

The calling process only hands raw rows out, in chunks, and takes results back in order; so the rate grows with the
workers until handing out is all that it does. What hangs or dies costs its own row, as in `VerifierPool`.
"""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

from verifiers._process import (
    LOADING_SECONDS,
    ResultFile,
    VerifierUnloadableError,
    WorkerProcess,
    pack_verifier,
    verdict_of_death,
    worker_count,
)
from verifiers._worker import RawRows, RowJob, send
from verifiers.types import Verifier

__all__ = ["RowJob", "verify_rows"]

_CHUNK_SECONDS = 0.02
_CHUNK_BYTES = 1 << 20
_LARGEST_CHUNK = 1024
_HELD_BYTES = 32 << 20
"""Of raw rows and results that wait for an earlier chunk: a row that hangs for two seconds stops nobody."""


def verify_rows(
    job: RowJob,
    verifier: Verifier,
    rows: Iterable[Any],
    *,
    first: int = 1,
    workers: int | None = None,
    timeout: float | None = None,
) -> Generator[list[bytes], None, None]:
    """Yield the results of `rows` in order, those of a chunk of neighbours at a time; closing ends the workers.

    Args:
        job: reads a row and writes up its result, in a worker process.
        verifier: judges what the job asks.
        rows: raw rows, which can be pickled; read ahead in bounded memory, by one thread at a time.
        first: position of the first row.
        workers: number of processes; None takes the number of usable cores.
        timeout: CPU seconds that one verdict may cost; None takes what the verifier declares.

    Raises:
        InputError: the verifier can't be sent to a worker or rebuilt there.
    """
    work = _Work(job, verifier, rows, first, worker_count(workers, timeout), timeout)
    try:
        yield from work.results()
    finally:
        work.stop()


@dataclass(slots=True, eq=False)
class _Chunk:
    index: int
    first: int
    rows: list[Any]
    results: list[bytes]
    bytes: int = 0
    retried: int | None = None
    """Place of the row that a worker died of, but not on its first verdict."""


class _Work:
    """Threads that feed one worker process each, and the results that wait for their turn."""

    def __init__(
        self,
        job: RowJob,
        verifier: Verifier,
        rows: Iterable[Any],
        first: int,
        workers: int,
        timeout: float | None,
    ) -> None:
        self._job = job
        packed, self._limits = pack_verifier(verifier, timeout)
        self._loads = {"verifier": packed, "job": pickle.dumps(job, protocol=pickle.HIGHEST_PROTOCOL)}
        self._rows = iter(rows)
        self._position = first
        self._chunks = 0
        self._held = 0
        self._row_seconds = _CHUNK_SECONDS
        self._row_bytes = 1.0
        self._done: dict[int, _Chunk | BaseException] = {}
        self._ended = False
        self._stopped = False
        self._changed = threading.Condition()
        self._processes: set[WorkerProcess] = set()
        self._threads = [
            threading.Thread(target=self._work, args=(ResultFile(),), daemon=True) for _ in range(workers)
        ]

    def results(self) -> Generator[list[bytes], None, None]:
        """Results by chunk, in order; raises what reading the rows or a worker's thread raised, in its turn."""
        for thread in self._threads:
            thread.start()
        index = 0
        while True:
            with self._changed:
                while index not in self._done:
                    if self._ended and index == self._chunks:
                        return
                    self._changed.wait()
                found = self._done.pop(index)
                if isinstance(found, BaseException):
                    raise found
                self._held -= found.bytes
                self._changed.notify_all()
            yield found.results
            index += 1

    def stop(self) -> None:
        """End the processes and threads, whatever they are busy with."""
        with self._changed:
            self._stopped = self._ended = True
            self._changed.notify_all()
            for process in self._processes:
                if process.popen.poll() is None:
                    process.popen.kill()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def _take(self) -> _Chunk | None:
        """Next chunk: cheap rows for 20 ms, dear ones one at a time; None at the end."""
        with self._changed:
            while self._held >= _HELD_BYTES and not self._ended:
                self._changed.wait()
            if self._ended:
                return None
            wanted = min(_CHUNK_SECONDS / self._row_seconds, _CHUNK_BYTES / self._row_bytes, _LARGEST_CHUNK)
            rows: list[Any] = []
            broken: BaseException | None = None
            try:
                rows.extend(islice(self._rows, max(1, int(wanted))))
            except BaseException as error:
                # The rows before the break are whole, and come first.
                broken = error
            chunk = _Chunk(self._chunks, self._position, rows, [])
            self._chunks += bool(rows)
            self._position += len(rows)
            if broken is not None:
                self._done[self._chunks] = broken
                self._chunks += 1
            if broken is not None or not rows:
                self._ended = True
                self._changed.notify_all()
            return chunk if rows else None

    def _give(self, index: int, found: _Chunk | BaseException) -> None:
        with self._changed:
            self._done[index] = found
            self._changed.notify_all()

    def _work(self, shared: ResultFile) -> None:
        """Body of one thread: feed one worker process, replace it when it dies."""
        process: WorkerProcess | None = None
        try:
            while (chunk := self._take()) is not None:
                try:
                    while len(chunk.results) < len(chunk.rows):
                        process = process or self._start(shared)
                        if process is None:
                            return
                        process = self._run(process, shared, chunk)
                except BaseException as error:
                    self._give(chunk.index, error)
                    return
                chunk.rows = []
                self._give(chunk.index, chunk)
        finally:
            if process is not None:
                self._end(process)
            shared.close()

    def _start(self, shared: ResultFile) -> WorkerProcess | None:
        with self._changed:
            if self._stopped:
                return None
            process = WorkerProcess(shared)
            self._processes.add(process)
            return process

    def _end(self, process: WorkerProcess) -> int:
        with self._changed:
            self._processes.discard(process)
        return process.end()

    def _run(self, process: WorkerProcess, shared: ResultFile, chunk: _Chunk) -> WorkerProcess | None:
        """Have `process` do what is left of `chunk`; returns it, or None when it died on the way."""
        shared.clear()
        done = len(chunk.results)
        loads = {} if process.served else self._loads
        rest = RawRows(chunk.first + done, chunk.rows[done:], self._limits)
        try:
            size = send(process.requests, (loads, rest))
            if not chunk.bytes:
                self._count(chunk, size)
            seconds = self._await(process, shared)
        except (BrokenPipeError, EOFError):
            self._after_death(process, shared, chunk, timed_out=False)
            return None
        except TimeoutError:
            self._after_death(process, shared, chunk, timed_out=True)
            return None
        chunk.results += shared.read()
        process.served += len(rest.rows)
        self._row_seconds = max(1e-6, (self._row_seconds + seconds / len(rest.rows)) / 2)
        return process

    def _count(self, chunk: _Chunk, size: int) -> None:
        with self._changed:
            chunk.bytes = size
            self._held += size
            self._row_bytes = max(1.0, (self._row_bytes + size / len(chunk.rows)) / 2)

    def _await(self, process: WorkerProcess, shared: ResultFile) -> float:
        """Seconds that the chunk took; TimeoutError where no row was done in the wall time of a verdict."""
        wall = self._limits.wall_seconds
        deadline = time.monotonic() + wall + (0.0 if process.served else LOADING_SECONDS)
        size = 0
        while True:
            try:
                answer = process.receive(min(deadline, time.monotonic() + min(1.0, wall / 10)))
            except TimeoutError:
                if shared.size() != size:
                    size = shared.size()
                    deadline = time.monotonic() + wall
                elif time.monotonic() >= deadline:
                    raise
                continue
            if isinstance(answer, tuple):
                raise VerifierUnloadableError(answer[1])
            return float(answer)

    def _after_death(
        self, process: WorkerProcess, shared: ResultFile, chunk: _Chunk, *, timed_out: bool
    ) -> None:
        """Keep the results that `process` left, and judge the row that it was busy with, or have it done again."""
        status = self._end(process)
        before = len(chunk.results)
        chunk.results += shared.read()
        place = len(chunk.results)
        if self._stopped or place == len(chunk.rows):
            return
        again = process.served + place - before > 0 and chunk.retried != place
        verdict = verdict_of_death(status, self._limits, timed_out=timed_out, again=again)
        if verdict is None:
            chunk.retried = place
            return
        asked = self._job.ask(chunk.first + place, chunk.rows[place])
        chunk.results.append(asked if isinstance(asked, bytes) else self._job.result(asked[2], verdict))
