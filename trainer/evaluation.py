"""Held-out evaluation: greedy accuracy, avg@k and pass@k, each with its interval over the problems.

    from trainer import EvalOptions, evaluate, load_eval_set
    result = evaluate(engine, load_eval_set("aime24.jsonl"), EvalOptions.aime())

avg@k is the mean over problems of the share of right responses among k; its interval takes problems as the
independent unit, since samples of one problem are not.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from curation import CuratedProblem, load_curated, pass_at_k
from curation.fields import to_row
from curation.sources import Unreadable, read_source
from curation.statistics import share_interval, wilson
from rollout.types import Completion, Engine, Prompt, Sampling
from verifiers import InputError, Message, Problem, Verdict, VerifierPool


class EvalOptions(BaseModel):
    """What is measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    greedy: bool = Field(default=True, description="Measure greedy accuracy.")
    k: int = Field(default=4, ge=0, description="Samples per problem for avg@k and pass@k; 0: none.")
    temperature: float = Field(default=1.0, gt=0, description="Temperature of the k samples.")
    top_p: float = Field(default=0.7, gt=0, le=1, description="Nucleus mass of the k samples.")
    max_tokens: int = Field(default=20480, gt=0, description="Longest response, in tokens.")
    stop: tuple[str, ...] = Field(default=(), description="Strings that end a response, beside EOS.")
    seed: int = Field(default=0, description="Seed of the k samples.")

    @classmethod
    def aime(cls, max_tokens: int = 20480) -> Self:
        """The DAPO paper's AIME protocol: avg@32 at temperature 1.0 and top-p 0.7."""
        return cls(greedy=False, k=32, temperature=1.0, top_p=0.7, max_tokens=max_tokens)


@dataclass(frozen=True, slots=True)
class ProblemResult:
    """How one problem went. Samples whose verification failed count nowhere."""

    problem_id: str
    greedy_correct: bool | None
    """None where greedy was not asked for, or its verification failed."""
    correct: int
    judged: int
    lengths: tuple[int, ...]
    """Tokens of the k responses (of the greedy one where k is 0)."""


@dataclass(frozen=True, slots=True)
class EvalResult:
    """What an evaluation found; fields that were not asked for are None."""

    benchmark: str
    problems: int
    greedy_accuracy: float | None
    greedy_low: float | None
    greedy_high: float | None
    avg_at_k: float | None
    avg_low: float | None
    avg_high: float | None
    k: int
    pass_at_k: float | None
    length_mean: float
    truncated_share: float
    verifier_failures: int
    tokens_sampled: int
    seconds: float
    details: tuple[ProblemResult, ...] = ()

    @property
    def accuracy(self) -> float:
        """Greedy accuracy where it was measured, avg@k otherwise."""
        value = self.greedy_accuracy if self.greedy_accuracy is not None else self.avg_at_k
        assert value is not None
        return value

    def row(self, step: int) -> dict[str, Any]:
        """The row of `metrics.jsonl`."""
        names = [name for name in self.__dataclass_fields__ if name != "details"]
        return {"kind": "eval", "step": step, **{name: getattr(self, name) for name in names}}


def evaluate(
    engine: Engine,
    problems: Sequence[Problem | CuratedProblem],
    options: EvalOptions | None = None,
    *,
    name: str = "eval",
    pool: VerifierPool | None = None,
) -> EvalResult:
    """Sample responses to `problems`, verify them, and count.

    Args:
        engine: samples.
        problems: at least one; each is verified by the verifier that it names.
        options: what to measure.
        name: of the benchmark, for the result.
        pool: verifies; a pool of its own with default settings where none is given.

    Raises:
        InputError: there are no problems, or nothing is asked for.
    """
    options = options or EvalOptions()
    plain = [item.problem if isinstance(item, CuratedProblem) else item for item in problems]
    if not plain:
        raise InputError(f"evaluation {name}: there are no problems")
    if not options.greedy and not options.k:
        raise InputError(f"evaluation {name}: nothing to measure; ask for greedy, or k above 0")
    began = time.monotonic()
    with VerifierPool() if pool is None else nullcontext(pool) as judge:
        greedy = _judged(engine, plain, 1, _sampling(options, greedy=True), judge) if options.greedy else {}
        sampled = (
            _judged(engine, plain, options.k, _sampling(options, greedy=False), judge) if options.k else {}
        )
    details = [
        _problem_result(problem.id, greedy.get(index, ()), sampled.get(index, ()))
        for index, problem in enumerate(plain)
    ]
    responses = [pair for found in (greedy, sampled) for pairs in found.values() for pair in pairs]
    return _summary(name, options, details, responses, time.monotonic() - began)


def load_eval_set(
    path: Path | str, *, limit: int | None = None, prompt_template: str = "{problem}", chat: bool = False
) -> list[Problem]:
    """Problems of a benchmark: a curated folder, or a file of rows with problem and answer.

    Args:
        path: folder that `rlvr curate` wrote, or JSONL, JSON, Parquet or CSV.
        limit: take only the first so many.
        prompt_template: prompt made of a row's problem; curated problems have theirs.
        chat: whether that prompt is a user's chat message.

    Raises:
        InputError: a row can't be read or has no answer and no tests; names the row.
    """
    path = Path(path)
    if path.is_dir() and ((path / "data.parquet").exists() or (path / "data.jsonl").exists()):
        return [item.problem for item in load_curated(path)][:limit]
    problems: list[Problem] = []
    for position, value in read_source(str(path)):
        if limit is not None and len(problems) == limit:
            break
        row = to_row(value, len(problems), f"{path.name}:{position}", path.stem, {})
        if isinstance(row, Unreadable):
            raise InputError(f"{path}:{position}: {row.why}")
        if row.answer is None and row.tests is None:
            raise InputError(f"{path}:{position}: no answer and no tests; a benchmark row needs one")
        text = prompt_template.replace("{problem}", row.problem)
        prompt: str | tuple[Message, ...] = (Message(role="user", content=text),) if chat else text
        problems.append(
            Problem(
                id=row.raw_id,
                prompt=prompt,
                answer=row.answer,
                tests=row.tests,
                verifier=row.verifier,
                source=row.source,
            )
        )
    if not problems:
        raise InputError(f"{path}: no problems in it")
    return problems


Judged = Mapping[int, Sequence[tuple[Completion, Verdict]]]
"""Responses with their verdicts, by the problem's position."""


def _judged(
    engine: Engine, problems: Sequence[Problem], n: int, sampling: Sampling, pool: VerifierPool
) -> Judged:
    prompts = [cast(Prompt, problem.prompt) for problem in problems]
    coming: dict[int, list[tuple[Completion, Future[Verdict]]]] = {}
    for completion in engine.generate(prompts, n, sampling):
        future = pool.submit(completion.text, problems[completion.prompt_index])
        coming.setdefault(completion.prompt_index, []).append((completion, future))
    return {
        index: [(completion, future.result()) for completion, future in pairs]
        for index, pairs in coming.items()
    }


def _sampling(options: EvalOptions, *, greedy: bool) -> Sampling:
    return Sampling(
        temperature=0.0 if greedy else options.temperature,
        top_p=1.0 if greedy else options.top_p,
        max_tokens=options.max_tokens,
        stop=options.stop,
        seed=options.seed,
    )


def _problem_result(
    problem_id: str,
    greedy: Sequence[tuple[Completion, Verdict]],
    sampled: Sequence[tuple[Completion, Verdict]],
) -> ProblemResult:
    verdicts = [verdict for _, verdict in sampled if not verdict.failed]
    first = [verdict.correct for _, verdict in greedy if not verdict.failed]
    return ProblemResult(
        problem_id=problem_id,
        greedy_correct=first[0] if first else None,
        correct=sum(verdict.correct for verdict in verdicts),
        judged=len(verdicts),
        lengths=tuple(len(completion.token_ids) for completion, _ in sampled or greedy),
    )


def _summary(
    name: str,
    options: EvalOptions,
    details: Sequence[ProblemResult],
    responses: Sequence[tuple[Completion, Verdict]],
    seconds: float,
) -> EvalResult:
    greedy = [result.greedy_correct for result in details if result.greedy_correct is not None]
    sampled = [result for result in details if result.judged]
    shares = [result.correct / result.judged for result in sampled]
    greedy_bounds = wilson(sum(greedy), len(greedy)) if greedy else None
    chances = [
        float(pass_at_k(result.judged, result.correct, min(options.k, result.judged))) for result in sampled
    ]
    bounds = share_interval(shares) if shares else None
    return EvalResult(
        benchmark=name,
        problems=len(details),
        greedy_accuracy=sum(greedy) / len(greedy) if greedy else None,
        greedy_low=greedy_bounds.low if greedy_bounds else None,
        greedy_high=greedy_bounds.high if greedy_bounds else None,
        avg_at_k=float(np.mean(shares)) if shares else None,
        avg_low=bounds.low if bounds else None,
        avg_high=bounds.high if bounds else None,
        k=options.k,
        pass_at_k=float(np.mean(chances)) if chances else None,
        length_mean=float(np.mean([length for result in details for length in result.lengths])),
        truncated_share=float(np.mean([item.finish_reason == "length" for item, _ in responses])),
        verifier_failures=sum(verdict.failed for _, verdict in responses),
        tokens_sampled=sum(len(item.token_ids) for item, _ in responses),
        seconds=seconds,
        details=tuple(details),
    )
