"""Verdicts for many responses: a list, or a stream in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future

from verifiers.pool import VerifierPool
from verifiers.types import InputError, Problem, Verdict, Verifier


def score_stream(
    items: Iterable[tuple[str, Problem | str]],
    verifier: Verifier | str | None = "math",
    *,
    workers: int | None = None,
    timeout: float | None = None,
    window: int = 4096,
) -> Generator[Verdict, None, None]:
    """Yield the verdict of every `(response, problem or gold)` in order; at most `window` are in memory.

    `verifier`, `workers` and `timeout` are those of `VerifierPool`. Closing the iterator ends the workers.
    """
    with VerifierPool(verifier, workers=workers, timeout=timeout) as pool:
        waiting: deque[Future[Verdict]] = deque()
        for response, problem in items:
            waiting.append(pool.submit(response, problem))
            if len(waiting) >= window:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def score(
    responses: Sequence[str],
    answers: Sequence[Problem | str],
    verifier: Verifier | str | None = "math",
    *,
    workers: int | None = None,
    timeout: float | None = None,
) -> list[Verdict]:
    """The verdict of every response against the answer (or problem) in the same place.

    Raises:
        InputError: the lengths differ, or the verifier is not known.
    """
    if len(responses) != len(answers):
        raise InputError(
            f"{len(responses)} responses but {len(answers)} answers; give one answer to each response"
        )
    items = zip(responses, answers, strict=True)
    return list(score_stream(items, verifier, workers=workers, timeout=timeout))
