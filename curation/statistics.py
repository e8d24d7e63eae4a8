"""Statistics of pass rates: unbiased pass@k, intervals for proportions and means, the Beta posterior.

Everything is vectorised: scalars and arrays of counts both work, and arrays broadcast.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


class Interval(NamedTuple):
    """Lower and upper end, in the unit of what they bound."""

    low: float
    high: float


def _counts(successes: ArrayLike, trials: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    passed, total = np.broadcast_arrays(np.asarray(successes, np.int64), np.asarray(trials, np.int64))
    if np.any(passed < 0) or np.any(passed > total):
        raise ValueError("successes must lie between 0 and trials")
    return passed, total


def pass_at_k(n: ArrayLike, c: ArrayLike, k: ArrayLike) -> Floats:
    """Unbiased estimate of the chance that at least one of `k` samples is right, from `c` right of `n`.

    1 - C(n-c, k) / C(n, k), as a product that cannot overflow (Chen et al. 2021, arXiv:2107.03374, eq. 1).

    Args:
        n: samples drawn per problem.
        c: how many of them were right.
        k: samples allowed; at most `n`.

    Returns:
        Array of the broadcast shape.

    Raises:
        ValueError: k < 1, k > n, or c outside 0..n.
    """
    right, total = _counts(c, n)
    right, total, allowed = np.broadcast_arrays(right, total, np.asarray(k, np.int64))
    if np.any(allowed < 1) or np.any(allowed > total):
        raise ValueError("k must lie between 1 and n")
    none_right = np.ones(total.shape)
    for j in range(int(allowed.max(initial=0))):
        # Factor j of C(n-c, k) / C(n, k): (n-c-j) / (n-j), 0 once the wrong samples are used up.
        factor = np.maximum(total - right - j, 0) / np.maximum(total - j, 1)
        none_right = np.where(j < allowed, none_right * factor, none_right)
    result: Floats = 1.0 - none_right
    return result


def wilson(successes: float, trials: float, confidence: float = 0.95) -> Interval:
    """Wilson score interval of a proportion (Wilson 1927); the whole of 0..1 when there were no trials.

    The counts may be fractions: effective numbers of trials that depend on one another.
    """
    from scipy.special import ndtri

    if trials == 0:
        return Interval(0.0, 1.0)
    z = float(ndtri(0.5 + confidence / 2))
    p = successes / trials
    centre = (p + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * (p * (1 - p) / trials + z * z / (4 * trials * trials)) ** 0.5
    return Interval(max(0.0, centre - half), min(1.0, centre + half))


def clopper_pearson(successes: int, trials: int, confidence: float = 0.95) -> Interval:
    """Exact interval of a proportion (Clopper & Pearson 1934): covers at least `confidence`, never less."""
    from scipy.special import betaincinv

    tail = (1 - confidence) / 2
    low = 0.0 if successes == 0 else float(betaincinv(successes, trials - successes + 1, tail))
    high = 1.0 if successes == trials else float(betaincinv(successes + 1, trials - successes, 1 - tail))
    return Interval(low, high)


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """Interval of a mean over independent problems, one value each (avg@k of a problem is its mean over k).

    The problems are the clusters: samples of the same problem are not independent, so their number does not
    narrow the interval (Miller 2024, arXiv:2411.00640, section 2.2). Student's t, as problems may be few.
    """
    from scipy.special import stdtrit

    array = np.asarray(values, np.float64)
    if array.size < 2:
        raise ValueError(f"a mean's interval needs at least 2 problems, got {array.size}")
    half = float(stdtrit(array.size - 1, 0.5 + confidence / 2)) * float(array.std(ddof=1)) / array.size**0.5
    return Interval(float(array.mean()) - half, float(array.mean()) + half)


def share_interval(shares: ArrayLike, confidence: float = 0.95) -> Interval:
    """Interval of the mean of shares in 0..1, one for each problem, such as avg@k.

    Wilson's score interval with the effective number of trials p(1-p) / Var(mean), which takes the problems as
    the independent units; where all shares are equal it is the number of problems. With k = 1 it is `wilson`.
    Unlike mean plus or minus an error it stays within 0..1 and does not shrink to a point where every problem
    was solved (Franco et al. 2019, "Comparative study of confidence intervals for proportions in complex
    sample surveys").
    """
    array = np.asarray(shares, np.float64)
    if array.size == 0:
        return Interval(0.0, 1.0)
    p, variance = float(array.mean()), float(array.var()) / array.size
    trials = p * (1 - p) / variance if variance > 1e-12 else float(array.size)
    return wilson(p * trials, trials, confidence)


def bootstrap_interval(
    values: ArrayLike, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Percentile interval of a mean by resampling whole problems (the cluster bootstrap).

    Args:
        values: one value per problem, [problems], or samples, [problems, samples]; rows are resampled whole.
        confidence: mass inside.
        resamples: number of bootstrap means.
        seed: of the resampling.
    """
    array = np.asarray(values, np.float64)
    if array.shape[0] == 0:
        raise ValueError("no problems to resample")
    means = array.reshape(array.shape[0], -1).mean(axis=1)
    generator = np.random.default_rng(seed)
    draws = np.empty(resamples)
    for index in range(resamples):
        draws[index] = means[generator.integers(0, means.size, means.size)].mean()
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high))


def paired_difference(
    before: ArrayLike, after: ArrayLike, confidence: float = 0.95
) -> tuple[float, Interval]:
    """Mean of `after - before` over the same problems, with its interval; pairing removes their spread."""
    difference = np.asarray(after, np.float64) - np.asarray(before, np.float64)
    return float(difference.mean()), mean_interval(difference, confidence)


def credible_interval(alpha: ArrayLike, beta: ArrayLike, confidence: float = 0.95) -> tuple[Floats, Floats]:
    """Equal-tailed interval of Beta(alpha, beta); arrays in, arrays (low, high) out."""
    from scipy.special import betaincinv

    tail = (1 - confidence) / 2
    return betaincinv(alpha, beta, tail), betaincinv(alpha, beta, 1 - tail)


def beta_mass(alpha: ArrayLike, beta: ArrayLike, low: float, high: float) -> Floats:
    """Probability that a pass rate with posterior Beta(alpha, beta) lies between `low` and `high`."""
    from scipy.special import betainc

    mass: Floats = betainc(alpha, beta, high) - betainc(alpha, beta, low)
    return mass


class BetaPrior(NamedTuple):
    """Prior of a pass rate: Beta(alpha, beta)."""

    alpha: float
    beta: float


JEFFREYS = BetaPrior(0.5, 0.5)


def fit_beta_prior(passed: ArrayLike, trials: ArrayLike, start: BetaPrior = JEFFREYS) -> BetaPrior:
    """Empirical-Bayes prior: the Beta whose beta-binomial likelihood of the observed counts is largest.

    A weak half-Cauchy-like penalty on log(alpha + beta) keeps the fit finite when all problems agree.

    Args:
        passed: right samples per problem, [problems].
        trials: samples per problem, [problems]; problems without any say nothing.
        start: where the search starts, and what is returned when no problem has trials.
    """
    from scipy.optimize import minimize
    from scipy.special import betaln

    right, total = _counts(passed, trials)
    pairs, weights = np.unique(np.stack([right[total > 0], total[total > 0]]), axis=1, return_counts=True)
    if pairs.shape[1] == 0:
        return start
    c, n = pairs

    def loss(theta: Floats) -> float:
        alpha, beta = np.exp(theta)
        likelihood = weights @ (betaln(alpha + c, beta + n - c) - betaln(alpha, beta))
        return float(-likelihood + np.log1p((np.log(alpha + beta) / 3.0) ** 2))

    best = minimize(loss, np.log(start), method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-6})
    alpha, beta = np.exp(np.clip(best.x, -5.0, 8.0))
    return BetaPrior(float(alpha), float(beta))


class RatePrior(NamedTuple):
    """Prior of a pass rate: a Beta, with points of mass at 0 and at 1.

    Banks hold problems that a model never solves (a wrong gold, a missing figure) in numbers that no Beta gives
    to rates near 0; without the points, the Beta bends to them and is wrong about the rest.
    """

    alpha: float
    beta: float
    zero: float = 0.0
    one: float = 0.0

    def evidence(self, passed: ArrayLike, trials: ArrayLike) -> tuple[Floats, Floats, Floats]:
        """Likelihoods of one sequence of outcomes, with their weights: from the Beta, from 0, from 1."""
        from scipy.special import betaln

        c, n = np.asarray(passed, np.float64), np.asarray(trials, np.float64)
        spread = np.exp(betaln(self.alpha + c, self.beta + n - c) - betaln(self.alpha, self.beta))
        return (1 - self.zero - self.one) * spread, self.zero * (c == 0), self.one * (c == n)

    def mass(self, passed: ArrayLike, trials: ArrayLike, low: float, high: float) -> Floats:
        """Posterior probability that the pass rate lies in low..high."""
        c, n = np.asarray(passed, np.float64), np.asarray(trials, np.float64)
        spread, zero, one = self.evidence(c, n)
        inside = spread * beta_mass(self.alpha + c, self.beta + n - c, low, high)
        result: Floats = (inside + zero * (low <= 0) + one * (high >= 1)) / (spread + zero + one)
        return result


def fit_rate_prior(passed: ArrayLike, trials: ArrayLike) -> RatePrior:
    """Empirical-Bayes fit of a Beta with points of mass at 0 and 1, by maximum likelihood.

    Args:
        passed: right samples per problem, [problems].
        trials: samples per problem, [problems]; they may differ and may have been stopped by what they showed.
    """
    from scipy.optimize import minimize

    right, total = _counts(passed, trials)
    plain = fit_beta_prior(right, total)
    pairs, weights = np.unique(np.stack([right[total > 0], total[total > 0]]), axis=1, return_counts=True)
    if pairs.shape[1] == 0:
        return RatePrior(*plain)
    c, n = pairs

    def unpack(theta: Floats) -> RatePrior:
        odds = np.exp(np.clip(theta[2:], -12.0, 6.0))
        alpha, beta = np.exp(np.clip(theta[:2], -4.0, 6.0))
        return RatePrior(float(alpha), float(beta), *(float(part) for part in odds / (1 + odds.sum())))

    def loss(theta: Floats) -> float:
        prior = unpack(theta)
        likelihood = weights @ np.log(sum(prior.evidence(c, n)) + 1e-300)
        # Weak pull to a Beta of moderate weight: with few trials, points and a U-shaped Beta look alike.
        pull = 2.0 * np.log(prior.alpha * prior.beta) ** 2 / 10
        return float(-likelihood + pull)

    best = minimize(
        loss,
        [*np.log(plain), -3.0, -3.0],
        method="Nelder-Mead",
        options={"xatol": 1e-3, "fatol": 1e-3, "maxiter": 600},
    )
    return unpack(best.x)
