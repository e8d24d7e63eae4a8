"""Pass@k, intervals and the Beta posterior against closed forms, scipy and simulation."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from curation.statistics import (
    RatePrior,
    beta_mass,
    bootstrap_interval,
    clopper_pearson,
    credible_interval,
    fit_beta_prior,
    fit_rate_prior,
    mean_interval,
    paired_difference,
    pass_at_k,
    share_interval,
    wilson,
)


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_k_is_the_share_of_subsets_with_a_right_sample(case: tuple[int, int, int]) -> None:
    n, c, k = case
    assert pass_at_k(n, c, k) == pytest.approx(1 - comb(n - c, k) / comb(n, k), abs=1e-12)


def test_pass_at_k_counts_subsets_by_enumeration() -> None:
    right = [True, False, False, True, False]
    hits = [any(subset) for subset in combinations(right, 3)]
    assert pass_at_k(5, 2, 3) == pytest.approx(np.mean(hits))


def test_pass_at_k_is_vectorised_and_does_not_overflow() -> None:
    values = pass_at_k([10_000, 10_000, 4], [0, 1, 4], [5000, 5000, 1])
    assert values == pytest.approx([0.0, 0.5, 1.0])


@pytest.mark.parametrize(("n", "c", "k"), [(4, 5, 1), (4, -1, 1), (4, 2, 5), (4, 2, 0)])
def test_pass_at_k_refuses_impossible_counts(n: int, c: int, k: int) -> None:
    with pytest.raises(ValueError):
        pass_at_k(n, c, k)


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_proportion_intervals_agree_with_scipy(case: tuple[int, int]) -> None:
    successes, trials = case
    for ours, method in ((wilson, "wilson"), (clopper_pearson, "exact")):
        theirs = stats.binomtest(successes, trials).proportion_ci(0.95, method)
        assert ours(successes, trials) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_mean_interval_agrees_with_scipy_and_bootstrap_with_it() -> None:
    values = np.random.default_rng(0).beta(0.5, 0.5, 400)
    theirs = stats.t.interval(0.95, 399, loc=values.mean(), scale=stats.sem(values))
    assert mean_interval(values) == pytest.approx(theirs)
    assert bootstrap_interval(values) == pytest.approx(theirs, abs=0.01)


def test_more_samples_of_the_same_problem_do_not_narrow_the_interval() -> None:
    per_problem = np.array([0.0, 1.0, 0.5, 0.25])
    assert bootstrap_interval(np.repeat(per_problem[:, None], 64, axis=1)) == bootstrap_interval(per_problem)


def test_paired_difference_is_narrower_than_the_spread_of_the_problems() -> None:
    before = np.random.default_rng(1).uniform(0, 0.8, 200)
    after = before + 0.1
    after[0] += 0.05
    mean, (low, high) = paired_difference(before, after)
    assert mean == pytest.approx(0.10025)
    assert high - low < 0.002


def test_posterior_agrees_with_scipy() -> None:
    low, high = credible_interval([3.0, 0.5], [5.0, 0.5])
    assert low == pytest.approx(stats.beta.ppf(0.025, [3.0, 0.5], [5.0, 0.5]))
    assert high == pytest.approx(stats.beta.ppf(0.975, [3.0, 0.5], [5.0, 0.5]))
    assert beta_mass(3.0, 5.0, 0.2, 0.8) == pytest.approx(
        stats.beta.cdf(0.8, 3, 5) - stats.beta.cdf(0.2, 3, 5)
    )


@pytest.mark.parametrize(("alpha", "beta"), [(0.25, 0.25), (2.0, 6.0), (0.6, 0.2)])
def test_empirical_bayes_prior_is_recovered(alpha: float, beta: float) -> None:
    generator = np.random.default_rng(2)
    passed = generator.binomial(8, generator.beta(alpha, beta, 5000))
    assert fit_beta_prior(passed, np.full(5000, 8)) == pytest.approx((alpha, beta), rel=0.15)


def test_empirical_bayes_prior_stays_finite_when_all_problems_agree() -> None:
    prior = fit_beta_prior(np.full(100, 4), np.full(100, 8))
    assert np.isfinite(prior).all()
    assert prior.alpha / sum(prior) == pytest.approx(0.5, abs=0.02)


def test_points_of_mass_at_the_ends_are_found() -> None:
    generator = np.random.default_rng(3)
    rates = np.where(generator.random(8000) < 0.3, 0.0, generator.beta(1.5, 2.0, 8000))
    prior = fit_rate_prior(generator.binomial(12, rates), np.full(8000, 12))
    assert prior.zero == pytest.approx(0.3, abs=0.03)
    assert prior.one < 0.02
    assert (prior.alpha, prior.beta) == pytest.approx((1.5, 2.0), rel=0.15)


def test_posterior_mass_with_points_agrees_with_numerical_integration() -> None:
    prior = RatePrior(0.7, 1.3, 0.2, 0.1)
    grid = (np.arange(200_000) + 0.5) / 200_000
    density = (1 - 0.3) * stats.beta.pdf(grid, 0.7, 1.3) / grid.size
    for passed, trials in ((0, 6), (3, 6), (6, 6)):
        likelihood = grid**passed * (1 - grid) ** (trials - passed)
        points = 0.2 * (passed == 0) + 0.1 * (passed == trials)
        inside = (density * likelihood)[(grid >= 0.05) & (grid <= 0.95)].sum()
        expected = inside / ((density * likelihood).sum() + points)
        assert prior.mass(passed, trials, 0.05, 0.95) == pytest.approx(expected, abs=2e-3)


def test_the_interval_of_single_tries_is_wilsons() -> None:
    shares = [1.0] * 17 + [0.0] * 5
    assert share_interval(shares) == pytest.approx(wilson(17, 22))
    assert share_interval([1.0] * 22) == pytest.approx(wilson(22, 22))


@pytest.mark.parametrize(("alpha", "beta"), [(0.3, 0.3), (2.0, 2.0), (8.0, 0.2)])
def test_the_interval_of_avg_at_k_covers_the_mean(alpha: float, beta: float) -> None:
    random = np.random.default_rng(5)
    problems, k, repeats = 80, 4, 2000
    rates = random.beta(alpha, beta, (repeats, problems))
    shares = random.binomial(k, rates) / k
    mean = alpha / (alpha + beta)
    bounds = [share_interval(row) for row in shares]
    covered = np.mean([low <= mean <= high for low, high in bounds])
    assert 0.925 <= covered <= 0.985
