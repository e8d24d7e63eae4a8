"""The stopping policy is the best one: against brute force on small cases, and against simulation."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy import stats

from curation.statistics import RatePrior
from curation.stopping import Planner, decision_risk, fixed_risk, predictive

PRIOR = RatePrior(0.4, 0.7, 0.15, 0.05)
KEEP = (0.2, 0.8)
START = np.zeros(1, np.int64)


def test_predictive_probabilities_agree_with_scipy() -> None:
    plain = RatePrior(0.4, 0.7)
    got = predictive(plain, np.array([3]), 5, 4)[0]
    assert got == pytest.approx(stats.betabinom.pmf(np.arange(5), 4, 3.4, 2.7))
    assert predictive(PRIOR, np.arange(6), 5, 4).sum(axis=1) == pytest.approx(np.ones(6))


@pytest.mark.parametrize("price", [0.0005, 0.002, 0.01])
def test_no_other_policy_is_cheaper(price: float) -> None:
    step, most = 2, 12

    @cache
    def best(passed: int, judged: int) -> float:
        stop = float(decision_risk(PRIOR, KEEP, judged)[passed])
        if judged + step > most:
            return stop
        chances = predictive(PRIOR, np.array([passed]), judged, step)[0]
        onward = price * step + sum(chances[c] * best(passed + c, judged + step) for c in range(step + 1))
        return min(stop, onward)

    plan = Planner(PRIOR, KEEP, step, most).at_price(price)
    value = plan.expected_risk(START, START) + price * plan.expected_cost(START, START)
    assert value == pytest.approx(best(0, 0))


def test_the_policy_reaches_the_risk_of_n_rollouts_with_fewer() -> None:
    wanted = fixed_risk(PRIOR, KEEP, 32)
    plan = Planner(PRIOR, KEEP, 2, 128).at_risk(wanted, START, START)
    assert plan.expected_risk(START, START) <= wanted
    assert plan.expected_cost(START, START) < 0.6 * 32


def test_expected_risk_and_cost_are_those_of_a_simulation() -> None:
    generator = np.random.default_rng(0)
    rates = generator.beta(PRIOR.alpha, PRIOR.beta, 20_000)
    which = generator.random(20_000)
    rates[which < 0.15] = 0.0
    rates[which > 0.95] = 1.0
    plan = Planner(PRIOR, KEEP, 2, 64).at_price(0.001)
    passed, judged = np.zeros(20_000, np.int64), np.zeros(20_000, np.int64)
    while (more := plan.wants_more(passed, judged)).any():
        passed[more] += generator.binomial(2, rates[more])
        judged[more] += 2
    wrong = (PRIOR.mass(passed, judged, *KEEP) >= 0.5) != ((rates >= 0.2) & (rates <= 0.8))
    assert judged.mean() == pytest.approx(plan.expected_cost(START, START), rel=0.03)
    assert wrong.mean() == pytest.approx(plan.expected_risk(START, START), abs=0.006)
