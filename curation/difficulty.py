"""Pass rates of a reference model, with as few rollouts as the decision about each problem needs.

Rounds: every problem for which another batch is worth its price (`curation.stopping`) gets one, all in few calls,
so that the engine stays full. As counts come in, the prior is fitted again to all of them (empirical Bayes) and
the policy is made anew; a problem that an early, rough prior had settled may come back. Decisions depend on counts
only, so a stopped run that finds its rollouts in the store goes the same way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from curation.config import DifficultyConfig
from curation.rollouts import RolloutStore, judge_key, rollout_key
from curation.statistics import RatePrior, fit_beta_prior, fit_rate_prior
from curation.stopping import Mix, Planner, fixed_risk
from curation.types import PassRate
from rollout import Completion, Engine, EngineError, Prompt, Sampling
from rollout.types import PromptTooLongError
from verifiers import Problem, Verdict, VerifierPool

PROMPTS_PER_CALL = 512
FLUSH_COMPLETIONS = 64
FLUSH_SECONDS = 5.0
NEW_PLAN = 1.05
"""Growth of the number of rollouts after which the stopping policy is made anew."""

Counts = NDArray[np.int64]
Judged = tuple[str, int, Future[Verdict]]
"""Judge key, sample number, verdict to come."""
Progress = Callable[[int, int, str], None]
"""Called with rollouts done, rollouts expected at most, and one line of text."""


@dataclass
class Tally:
    """Counts per problem [problems]."""

    passed: Counts
    judged: Counts
    failed: Counts

    @classmethod
    def empty(cls, problems: int) -> Tally:
        """No rollouts yet."""
        return cls(*(np.zeros(problems, np.int64) for _ in range(3)))


class Sampler:
    """Draws rollouts of problems through the store, and judges them."""

    def __init__(
        self,
        engine: Engine,
        sampling: Sampling,
        problems: Sequence[Problem],
        store: RolloutStore,
        pool: VerifierPool,
    ) -> None:
        self.engine, self.sampling, self.problems = engine, sampling, problems
        self.store, self.pool = store, pool
        fingerprint = engine.fingerprint()
        self.keys = [rollout_key(fingerprint, cast(Prompt, problem.prompt), sampling) for problem in problems]
        self.judges = [judge_key(key, problem) for key, problem in zip(self.keys, problems, strict=True)]
        self.drawn = 0
        """Rollouts that were sampled, not found in the store."""
        self._too_long: dict[str, str] = {}

    def refused(self, index: int) -> str | None:
        """What the engine said about a problem whose prompt it found too long; None for all others."""
        return self._too_long.get(self.keys[index])

    def draw(self, indices: Sequence[int], first: int, count: int, progress: Callable[[int], None]) -> None:
        """Make sure that samples `first` to `first + count - 1` of these problems are stored and judged."""
        wanted = range(first, first + count)
        runs: dict[tuple[int, int], dict[str, int]] = {}
        stored = 0
        for index in indices:
            if self.keys[index] in self._too_long:
                continue
            have = self.store.samples.get(self.keys[index], set())
            lacking = [sample for sample in wanted if sample not in have]
            stored += count - len(lacking)
            for run in _runs(lacking):
                # Problems with the same prompt share its rollouts.
                runs.setdefault(run, {}).setdefault(self.keys[index], index)
        progress(stored)
        for (start, length), unique in sorted(runs.items()):
            chosen = list(unique.values())
            for at in range(0, len(chosen), PROMPTS_PER_CALL):
                self._generate(chosen[at : at + PROMPTS_PER_CALL], start, length, progress)
        self._judge_stored(indices, wanted)

    def _generate(
        self, indices: Sequence[int], first: int, count: int, progress: Callable[[int], None]
    ) -> None:
        """Sample and store; completions are judged while the next ones are sampled."""
        prompts = [cast(Prompt, self.problems[index].prompt) for index in indices]
        pending: list[tuple[str, Completion]] = []
        judging: list[Judged] = []
        flushed = time.monotonic()
        stream = self.engine.generate(prompts, count, self.sampling, first_sample=first)
        with closing(cast("Generator[Completion]", stream)):
            for completion in self._fitting(stream, indices):
                index = indices[completion.prompt_index]
                pending.append((self.keys[index], completion))
                future = self.pool.submit(completion.text, self.problems[index])
                judging.append((self.judges[index], completion.sample_index, future))
                self.drawn += 1
                if len(pending) >= FLUSH_COMPLETIONS or time.monotonic() - flushed > FLUSH_SECONDS:
                    self.store.add(pending)
                    judging = self._keep_verdicts(judging, wait=False)
                    progress(len(pending))
                    pending, flushed = [], time.monotonic()
        self.store.add(pending)
        self._keep_verdicts(judging, wait=True)
        progress(len(pending))

    def _fitting(self, stream: Iterable[Completion], indices: Sequence[int]) -> Iterator[Completion]:
        """All completions of a call; problems whose prompts the engine found too long are noted."""
        try:
            yield from stream
        except PromptTooLongError as error:
            self._too_long |= {self.keys[indices[place]]: why for place, why in error.prompts.items()}
            if len(self._too_long) == len(set(self.keys)):
                raise EngineError(
                    f"the engine finds every prompt too long; lower sampling.max_tokens? ({error})"
                ) from error

    def _keep_verdicts(self, judging: list[Judged], *, wait: bool) -> list[Judged]:
        """Store the verdicts that are there (all of them with `wait`); returns the rest."""
        ready = [
            (judge, sample, future.result()) for judge, sample, future in judging if wait or future.done()
        ]
        self.store.add_verdicts(ready)
        return (
            [] if wait else [item for item in judging if item[1] not in self.store.statuses.get(item[0], {})]
        )

    def _judge_stored(self, indices: Sequence[int], wanted: range) -> None:
        """Verify stored rollouts that have no verdict yet: those of a stopped run, or of another gold."""
        by_key: dict[str, list[int]] = {}
        lacking: dict[str, set[int]] = {}
        for index in indices:
            if self.keys[index] in self._too_long:
                continue
            known = self.store.statuses.get(self.judges[index], {})
            samples = {sample for sample in wanted if sample not in known}
            if samples:
                by_key.setdefault(self.keys[index], []).append(index)
                lacking.setdefault(self.keys[index], set()).update(samples)
        judging: list[Judged] = []
        for key, sample, text in self.store.texts(lacking):
            for index in by_key[key]:
                if sample not in self.store.statuses.get(self.judges[index], {}):
                    judging.append((self.judges[index], sample, self.pool.submit(text, self.problems[index])))
        self._keep_verdicts(judging, wait=True)

    def count(self, tally: Tally, drawn: Counts, indices: Sequence[int]) -> None:
        """Count the first `drawn[i]` samples of these problems anew."""
        for index in indices:
            statuses = self.store.statuses.get(self.judges[index], {})
            refused = self.keys[index] in self._too_long
            found = [] if refused else [statuses[sample] for sample in range(int(drawn[index]))]
            tally.failed[index] = sum(status in ("timeout", "error") for status in found)
            tally.judged[index] = len(found) - tally.failed[index]
            tally.passed[index] = found.count("correct")


def _runs(samples: Sequence[int]) -> list[tuple[int, int]]:
    """Ascending sample numbers as `(start, length)` runs."""
    runs: list[tuple[int, int]] = []
    for sample in samples:
        if runs and sum(runs[-1]) == sample:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((sample, 1))
    return runs


class _Meter:
    """Adds up what the rounds draw and reports it."""

    def __init__(self, most: int, report: Progress) -> None:
        self.done, self.most, self.text, self._report = 0, most, "", report

    def advance(self, rollouts: int) -> None:
        self.done += rollouts
        self._report(self.done, self.most, self.text)


@dataclass(frozen=True)
class Measurement:
    """What the rollouts say about every problem."""

    rates: list[PassRate]
    inside: NDArray[np.float64]
    """Posterior probability that the pass rate lies in the keep band [problems]."""
    prior: RatePrior
    """Fitted to all problems, with its points of mass; `rates` have the plain Beta."""


def measure(sampler: Sampler, config: DifficultyConfig, progress: Progress) -> Measurement:
    """Measure the pass rate of every problem of the sampler."""
    count = len(sampler.problems)
    drawn = np.zeros(count, np.int64)
    tally = Tally.empty(count)
    adaptive = config.mode == "adaptive"
    meter = _Meter(count * config.rollouts, progress)
    active, step, rounds = np.arange(count), config.rollouts, 0
    plan: Mix | None = None
    planned_at = 0
    while active.size:
        rounds += 1
        meter.text = f"round {rounds}, {active.size} problems"
        if adaptive:
            step = max(config.step, min(config.round_rollouts // active.size, config.rollouts))
        for first in np.unique(drawn[active]).tolist():
            chosen = active[drawn[active] == first]
            more = min(step, config.at_most - first)
            sampler.draw(chosen.tolist(), first, more, meter.advance)
            drawn[chosen] += more
        meter.done = int(drawn.sum())
        sampler.count(tally, drawn, active.tolist())
        if not adaptive:
            break
        if plan is None or meter.done >= NEW_PLAN * planned_at:
            plan = make_plan(tally, config, plan.price if plan is not None else None)
            planned_at = meter.done
        wanted = plan.wants_more(tally.passed, tally.judged) & (drawn < config.at_most)
        active = np.array(
            [index for index in np.flatnonzero(wanted).tolist() if sampler.refused(index) is None], np.int64
        )
        meter.most = max(meter.most, meter.done + config.step * active.size)
    prior, beta = fit_rate_prior(tally.passed, tally.judged), fit_beta_prior(tally.passed, tally.judged)
    rates = [
        PassRate(
            rollouts=int(judged),
            passed=int(passed),
            failed=int(failed),
            alpha=beta.alpha + int(passed),
            beta=beta.beta + int(judged - passed),
        )
        for passed, judged, failed in zip(tally.passed, tally.judged, tally.failed, strict=True)
    ]
    return Measurement(rates, prior.mass(tally.passed, tally.judged, *config.keep), prior)


def make_plan(tally: Tally, config: DifficultyConfig, price: float | None) -> Mix:
    """The stopping policy for the prior that the counts so far give; `price` is that of the plan before."""
    prior = fit_rate_prior(tally.passed, tally.judged)
    planner = Planner(prior, config.keep, config.step, config.at_most)
    wanted = fixed_risk(prior, config.keep, config.rollouts)
    return planner.at_risk(wanted, tally.passed, tally.judged, price)
