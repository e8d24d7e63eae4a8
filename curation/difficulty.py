"""Pass rates of a reference model, with as few rollouts as the decision about each problem needs.

Rounds: every undecided problem gets `step` more rollouts, all in one call, so that the engine stays full. After a
round the prior is fitted again to all counts (empirical Bayes) and problems whose side of the keep band is
settled leave. Decisions depend on counts only, so a stopped run that finds its rollouts in the store goes the
same way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from curation.config import DifficultyConfig
from curation.rollouts import RolloutStore, judge_key, rollout_key
from curation.statistics import JEFFREYS, BetaPrior, beta_mass, fit_beta_prior
from curation.types import PassRate
from rollout import Completion, Engine, Prompt, Sampling
from verifiers import Problem, Verdict, VerifierPool

PROMPTS_PER_CALL = 512
FLUSH_COMPLETIONS = 64
FLUSH_SECONDS = 5.0

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


def keep_probability(
    passed: Counts, judged: Counts, prior: BetaPrior, keep: tuple[float, float]
) -> NDArray[np.float64]:
    """Posterior probability that each problem's pass rate lies in the keep band."""
    return beta_mass(prior.alpha + passed, prior.beta + judged - passed, *keep)


def undecided(tally: Tally, prior: BetaPrior, config: DifficultyConfig) -> NDArray[np.bool_]:
    """Problems that need more rollouts: the chance to keep or drop them wrongly is still above `error`."""
    inside = keep_probability(tally.passed, tally.judged, prior, config.keep)
    drawn = tally.judged + tally.failed
    return (np.minimum(inside, 1 - inside) > config.error) & (drawn < config.rollouts)


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

    def draw(self, indices: Sequence[int], first: int, count: int, progress: Callable[[int], None]) -> None:
        """Make sure that samples `first` to `first + count - 1` of these problems are stored and judged."""
        wanted = range(first, first + count)
        runs: dict[tuple[int, int], dict[str, int]] = {}
        stored = 0
        for index in indices:
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
            for completion in stream:
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

    def tally(self, drawn: Counts) -> Tally:
        """Counts over the first `drawn[i]` samples of each problem."""
        tally = Tally.empty(len(self.problems))
        for index, judge in enumerate(self.judges):
            statuses = self.store.statuses.get(judge, {})
            for sample in range(int(drawn[index])):
                status = statuses[sample]
                if status in ("timeout", "error"):
                    tally.failed[index] += 1
                else:
                    tally.judged[index] += 1
                    tally.passed[index] += status == "correct"
        return tally


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


def measure(sampler: Sampler, config: DifficultyConfig, progress: Progress) -> list[PassRate]:
    """Measure the pass rate of every problem of the sampler."""
    count = len(sampler.problems)
    drawn = np.zeros(count, np.int64)
    tally = Tally.empty(count)
    prior = JEFFREYS
    active = np.arange(count)
    adaptive = config.mode == "adaptive"
    meter = _Meter(count * config.rollouts, progress)
    rounds = 0
    while active.size:
        first = int(drawn[active[0]])
        step = min(config.step if adaptive else config.rollouts, config.rollouts - first)
        rounds += 1
        meter.text = f"round {rounds}, {active.size} problems"
        sampler.draw(active.tolist(), first, step, meter.advance)
        drawn[active] += step
        meter.done = int(drawn.sum())
        tally = sampler.tally(drawn)
        if adaptive:
            prior = fit_beta_prior(tally.passed, tally.judged)
            active = active[undecided(tally, prior, config)[active]]
            meter.most = meter.done + int((config.rollouts - drawn[active]).sum())
        else:
            active = np.flatnonzero(drawn < config.rollouts)
    return [
        PassRate(
            rollouts=int(judged),
            passed=int(passed),
            failed=int(failed),
            alpha=prior.alpha + int(passed),
            beta=prior.beta + int(judged - passed),
        )
        for passed, judged, failed in zip(tally.passed, tally.judged, tally.failed, strict=True)
    ]
