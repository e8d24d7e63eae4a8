"""A pool of killable worker processes: a verification that hangs costs its own verdict and nothing else.

Workers are plain `python -c` subprocesses that speak length-prefixed pickles over pipes. They are safe to start in
a process that has threads or has loaded torch, never run the caller's `__main__` again, and have their time
limits from the kernel (`ITIMER_PROF` in the worker), so that no signal of the host process is touched.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType

from verifiers._process import (
    LOADING_SECONDS,
    VerifierUnloadableError,
    WorkerProcess,
    failure,
    pack_verifier,
    verdict_of_death,
    worker_count,
)
from verifiers._worker import send, unpack_verdict
from verifiers.limits import WorkerLimits
from verifiers.registry import get_verifier
from verifiers.types import InputError, Problem, Verdict, Verifier

_BATCH_SECONDS = 0.02
_LARGEST_BATCH = 128


@dataclass(slots=True)
class _Task:
    key: str
    response: str
    problem: Problem | str
    limits: WorkerLimits
    future: Future[Verdict]
    retried: bool = False


class VerifierPool:
    """Verifies in worker processes; use it as a context manager.

    Args:
        verifier: the verifier, its registered name, or None: each problem's own `problem.verifier`.
        workers: number of processes; None takes the number of usable cores.
        timeout: CPU seconds that one verdict may cost a worker; None takes what the verifier declares
            (`worker_limits`). A verifier that starts programs or calls servers has their time apart.

    `submit` may be called from any thread; from asyncio, `await asyncio.wrap_future(pool.submit(...))`. A
    verdict whose worker hung or died has status `timeout` or `error`. Verdicts do not depend on the load of the
    machine or on what a worker did before: a worker that dies on other than its first task is replaced, and the
    task tried once more.

    Raises:
        InputError: unknown verifier, or one that can't be pickled.
    """

    def __init__(
        self,
        verifier: Verifier | str | None = None,
        *,
        workers: int | None = None,
        timeout: float | None = None,
    ) -> None:
        self.timeout = timeout
        self.workers = worker_count(workers, timeout)
        self._fixed = "" if verifier is None else "pool"
        self._pickled: dict[str, tuple[bytes, WorkerLimits]] = {}
        if verifier is not None:
            self._add(self._fixed, get_verifier(verifier) if isinstance(verifier, str) else verifier)
        self._queue: deque[_Task] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._killed = False
        self._seconds_per_task = 0.001
        self._processes: dict[int, WorkerProcess] = {}
        self._threads: list[threading.Thread] = []
        self._idle = 0
        atexit.register(self._kill_all)

    def _add(self, key: str, verifier: Verifier) -> None:
        self._pickled[key] = pack_verifier(verifier, self.timeout)

    def submit(
        self, response: str, problem: Problem | str, *, verifier: Verifier | None = None
    ) -> Future[Verdict]:
        """Queue one response; the future gives its verdict. `verifier` overrides the pool's for this one.

        Raises:
            InputError: the problem names no known verifier, or is a string in a pool without a verifier.
        """
        key = self._fixed
        if verifier is not None:
            key = f"object:{verifier!r}"
            if key not in self._pickled:
                self._add(key, verifier)
        elif not key:
            if isinstance(problem, str):
                raise InputError(
                    "a gold string needs a pool with a verifier; give VerifierPool one, or a Problem"
                )
            key = f"name:{problem.verifier}"
            if key not in self._pickled:
                self._add(key, get_verifier(problem.verifier))
        task = _Task(key, response, problem, self._pickled[key][1], Future())
        with self._changed:
            if self._closing:
                raise RuntimeError("the pool is closed")
            self._queue.append(task)
            if self._idle == 0 and len(self._threads) < self.workers:
                thread = threading.Thread(target=self._work, args=(len(self._threads),), daemon=True)
                self._threads.append(thread)
                thread.start()
            else:
                self._changed.notify()
        return task.future

    def _take(self) -> list[_Task] | None:
        """Next batch: enough cheap tasks to fill 20 ms, one at a time where they are dear; None at the end."""
        with self._changed:
            self._idle += 1
            while not self._queue and not self._closing:
                self._changed.wait()
            self._idle -= 1
            if not self._queue:
                return None
            share = -(-len(self._queue) // self.workers)
            size = max(1, min(_LARGEST_BATCH, share, int(_BATCH_SECONDS / max(self._seconds_per_task, 1e-6))))
            batch = [self._queue.popleft() for _ in range(min(size, len(self._queue)))]
        return [task for task in batch if task.future.set_running_or_notify_cancel()]

    def _work(self, index: int) -> None:
        """Body of one thread: feed one worker process, replace it when it dies."""
        process: WorkerProcess | None = None
        try:
            while (batch := self._take()) is not None:
                while batch:
                    if process is None:
                        process = self._processes[index] = WorkerProcess()
                    batch = self._run(process, batch)
                    if batch or process.popen.returncode is not None:
                        self._processes.pop(index, None)
                        process = None
        finally:
            if process is not None:
                self._processes.pop(index, None)
                process.end()

    def _run(self, process: WorkerProcess, batch: list[_Task]) -> list[_Task]:
        """Have `process` verify `batch`; what is left when it died on the way has yet to be done."""
        new = {task.key: self._pickled[task.key][0] for task in batch if task.key not in process.loaded}
        try:
            send(
                process.requests,
                (new, [(task.key, task.response, task.problem, task.limits) for task in batch]),
            )
        except BrokenPipeError:
            return self._after_death(process, batch, timed_out=False)
        process.loaded |= new.keys()
        # Only a process that starts or loads a verifier gets time for its imports.
        loading = bool(new) or not process.served
        for done, task in enumerate(batch):
            started = time.monotonic()
            patience = task.limits.wall_seconds + (LOADING_SECONDS if loading and done == 0 else 0.0)
            try:
                answer = process.receive(started + patience)
            except TimeoutError:
                return self._after_death(process, batch[done:], timed_out=True)
            except EOFError:
                return self._after_death(process, batch[done:], timed_out=False)
            if isinstance(answer, tuple) and answer[0] == "unloadable":
                process.end()
                for waiting in batch[done:]:
                    waiting.future.set_exception(VerifierUnloadableError(answer[1]))
                return []
            verdict = unpack_verdict(answer)
            process.served += 1
            self._seconds_per_task += 0.05 * (verdict.seconds - self._seconds_per_task)
            task.future.set_result(verdict)
        return []

    def _after_death(self, process: WorkerProcess, rest: list[_Task], *, timed_out: bool) -> list[_Task]:
        """Judge the task that `process` was busy with, `rest[0]`; return the tasks still to be done."""
        status = process.end()
        task = rest[0]
        if self._killed and not timed_out:
            verdict: Verdict | None = failure("error", "the pool was closed")
        else:
            again = process.served > 0 and not task.retried
            verdict = verdict_of_death(status, task.limits, timed_out=timed_out, again=again)
        if verdict is None:
            task.retried = True
            return rest
        task.future.set_result(verdict)
        return rest[1:]

    def close(self, *, cancel: bool = False) -> None:
        """Finish what is queued (or, with `cancel`, drop and kill it), then end the workers."""
        with self._changed:
            self._closing = True
            self._killed = cancel
            dropped = list(self._queue) if cancel else []
            if cancel:
                self._queue.clear()
            self._changed.notify_all()
        for task in dropped:
            task.future.cancel()
        if cancel:
            self._kill_all()
        for thread in self._threads:
            thread.join()
        atexit.unregister(self._kill_all)

    def _kill_all(self) -> None:
        for process in list(self._processes.values()):
            if process.popen.poll() is None:
                process.popen.kill()

    def __enter__(self) -> VerifierPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(cancel=kind is not None)


_shared: tuple[int, VerifierPool] | None = None
_shared_lock = threading.Lock()


def shared_pool() -> VerifierPool:
    """The process-wide pool in which verifiers called directly do what may hang; made when first needed."""
    global _shared
    with _shared_lock:
        # After a fork the child holds the parent's threads and pipes in name only.
        if _shared is None or _shared[0] != os.getpid():
            _shared = (os.getpid(), VerifierPool())
        return _shared[1]
