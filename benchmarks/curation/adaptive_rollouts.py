"""Rollouts that adaptive measurement saves against a fixed number, at the same rate of wrong decisions.

    python -m benchmarks.curation.adaptive_rollouts [--series FILE] [--problems N] [--seeds N]

Three banks of true pass rates: Beta(.25, .25); a mirrored J with 30 % of problems at exactly 0; and real
accuracies, the mean over training of the series in FILE (JSONL with `meta.acc_by_epoch`). Outcomes are simulated
from the true rates; the code under test is `curation.difficulty.measure` as `rlvr curate` calls it. A decision is
wrong when a problem is kept whose true rate lies outside the keep band, or dropped although it lies inside. The
fixed baseline is given the better of two rules: the Bayes decision with the same empirical-Bayes prior, and the
plain share. Figures are means over the seeds.

`bound`: what the best policy of all saves that knows the bank's distribution, asks for one rollout at a time
and is as often wrong as the fixed number (by backward induction).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from curation.config import DifficultyConfig
from curation.difficulty import Sampler, Tally, measure
from curation.files import read_jsonl
from curation.statistics import RatePrior, fit_rate_prior, wilson
from curation.stopping import Planner, fixed_risk

GOALS = {16: 0.35, 32: 0.50, 64: 0.60}
PRIORS = {"Beta(.25, .25)": RatePrior(0.25, 0.25), "mirrored J, 30 % at 0": RatePrior(0.6, 1.6, zero=0.3)}


class Bank:
    """Problems with known pass rates, in the place of a sampler."""

    def __init__(self, rates: NDArray[np.float64], seed: int, most: int = 4 * max(GOALS)) -> None:
        generator = np.random.default_rng(seed)
        self.rates, self.problems = rates, rates
        self.outcomes = (generator.random((rates.size, most)) < rates[:, None]).cumsum(axis=1)

    def draw(self, indices: Sequence[int], first: int, count: int, progress: Callable[[int], None]) -> None:
        """All outcomes are there from the start."""
        progress(len(indices) * count)

    def refused(self, index: int) -> None:
        """No prompt is too long."""

    def count(self, tally: Tally, drawn: NDArray[np.int64], indices: Sequence[int]) -> None:
        """Counts of the first `drawn` outcomes."""
        at = np.asarray(indices)
        tally.judged[at] = drawn[at]
        tally.passed[at] = self.passed(drawn)[at]

    def passed(self, drawn: NDArray[np.int64]) -> NDArray[np.int64]:
        """Passes among the first `drawn` outcomes."""
        return self.outcomes[np.arange(drawn.size), np.maximum(drawn, 1) - 1]


def banks(problems: int, series: Path | None) -> dict[str, NDArray[np.float64]]:
    generator = np.random.default_rng(0)
    found = {
        "Beta(.25, .25)": generator.beta(0.25, 0.25, problems),
        "mirrored J, 30 % at 0": np.where(
            generator.random(problems) < 0.3, 0.0, generator.beta(0.6, 1.6, problems)
        ),
    }
    if series is not None:
        rows = (row.get("meta", {}).get("acc_by_epoch") for row in read_jsonl(series))
        real = np.array([float(np.mean(row)) for row in rows if row])
        found[f"real ({real.size} problems)"] = np.resize(real, problems)
    return found


def compare(rates: NDArray[np.float64], n: int, keep: tuple[float, float], seed: int) -> dict[str, Any]:
    bank = Bank(rates, seed)
    truth = (rates >= keep[0]) & (rates <= keep[1])
    passed = bank.passed(np.full(rates.size, n))
    prior = fit_rate_prior(passed, np.full(rates.size, n))
    bayes = (prior.mass(passed, n, *keep) >= 0.5) != truth
    share = ((passed / n >= keep[0]) & (passed / n <= keep[1])) != truth
    config = DifficultyConfig(mode="adaptive", rollouts=n, keep=keep)
    measured = measure(cast(Sampler, bank), config, lambda *_: None)
    adaptive = (measured.inside >= 0.5) != truth
    used = sum(rate.rollouts for rate in measured.rates)
    return {
        "fixed": min(int(bayes.sum()), int(share.sum())),
        "adaptive": int(adaptive.sum()),
        "rollouts": used / rates.size,
        "saved": 1 - used / (n * rates.size),
    }


def bound(prior: RatePrior, n: int, keep: tuple[float, float]) -> float:
    """Share of the rollouts that the best policy saves which knows the prior."""
    start = np.zeros(1, np.int64)
    plan = Planner(prior, keep, 1, 4 * n).at_risk(fixed_risk(prior, keep, n), start, start)
    return 1 - plan.expected_cost(start, start) / n


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--series", type=Path, help="JSONL whose rows hold meta.acc_by_epoch")
    parser.add_argument("--problems", type=int, default=20_000, help="problems per bank")
    parser.add_argument("--seeds", type=int, default=1, help="simulations per cell")
    options = parser.parse_args()
    print(
        f"{options.problems} problems per bank, {options.seeds} seeds; share of wrong decisions with 95 % interval"
    )
    print(
        f"{'keep band':>9} {'bank':22} {'n':>3} {'fixed':>22} {'adaptive':>22} "
        f"{'rollouts':>8} {'saved':>6} {'bound':>6} {'goal':>5}"
    )
    for keep in ((0.05, 0.95), (0.2, 0.8)):
        for name, rates in banks(options.problems, options.series).items():
            for n, goal in GOALS.items():
                report(keep, name, rates, n, goal, options.seeds)


def report(
    keep: tuple[float, float], name: str, rates: NDArray[np.float64], n: int, goal: float, seeds: int
) -> None:
    results = [compare(rates, n, keep, seed=n + 1000 * seed) for seed in range(seeds)]
    cells = []
    for kind in ("fixed", "adaptive"):
        wrong, of = sum(result[kind] for result in results), seeds * rates.size
        low, high = wilson(wrong, of)
        cells.append(f"{wrong / of:.4f} ({low:.4f}-{high:.4f})")
    saved = float(np.mean([result["saved"] for result in results]))
    rollouts = float(np.mean([result["rollouts"] for result in results]))
    best = f"{bound(PRIORS[name], n, keep):>6.1%}" if name in PRIORS else f"{'-':>6}"
    verdict = "met" if saved >= goal else "missed"
    print(
        f"{keep[0]:g}-{keep[1]:g}".rjust(9),
        f"{name:22} {n:>3} {cells[0]:>22} {cells[1]:>22} {rollouts:>8.1f} {saved:>6.1%} {best}",
        f"{goal:>5.0%} {verdict}",
        flush=True,
    )


if __name__ == "__main__":
    main()
