"""When to stop sampling a problem: the value of one more batch of rollouts for the decision to keep or drop it.

The question is a sequential test: is the pass rate in the keep band? The state of a problem is (passed, judged).
By backward induction over all states, a price per rollout gives the policy that minimises

    P(wrong decision) + price * E[rollouts]

under the prior: it goes on exactly where the expected gain of the next batch, with all that may follow it, exceeds
its price (Wald 1945 for the test; Howard 1966 for the value of information). The price is then set so that, from
where all problems stand, the decisions will be wrong as often as `n` rollouts for every problem would make them.
What is easy stops after a batch or two, what lies at an edge of the band may take more than `n`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.statistics import RatePrior

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
GOLDEN = 0.6180339887498949
"""Multiples of it, modulo 1, fill 0..1 evenly from the first on."""


def decision_risk(prior: RatePrior, keep: tuple[float, float], judged: int) -> Floats:
    """Probability that the better decision is wrong, for 0..judged passed of `judged` rollouts."""
    inside = prior.mass(np.arange(judged + 1), judged, *keep)
    risk: Floats = np.minimum(inside, 1 - inside)
    return risk


def predictive(prior: RatePrior, passed: NDArray[np.int64], judged: int, more: int) -> Floats:
    """Probabilities of 0..more passes in the next `more` rollouts [states, more + 1]."""
    from scipy.special import gammaln

    c = np.arange(more + 1)
    ways = np.exp(gammaln(more + 1) - gammaln(c + 1) - gammaln(more - c + 1))
    after = sum(prior.evidence(passed[:, None] + c[None, :], judged + more))
    before = sum(prior.evidence(passed, judged))
    result: Floats = ways * after / np.asarray(before)[:, None]
    return result


def fixed_risk(prior: RatePrior, keep: tuple[float, float], n: int) -> float:
    """Chance of a wrong decision when every problem gets `n` rollouts."""
    weights = predictive(prior, np.zeros(1, np.int64), 0, n)[0]
    return float(weights @ decision_risk(prior, keep, n))


@dataclass(frozen=True)
class Plan:
    """The policy by state, `[batches][passed]`."""

    step: int
    price: float
    """Wrong decisions that one rollout is worth."""
    go_on: list[NDArray[np.bool_]]
    """Whether to draw another batch."""
    risk: list[Floats]
    """Chance of a wrong decision in the end, going on by this policy."""
    cost: list[Floats]
    """Expected further rollouts."""

    def wants_more(self, passed: Counts, judged: Counts) -> NDArray[np.bool_]:
        """Whether each problem needs another batch."""
        return np.asarray(self._at(self.go_on, passed, judged), dtype=bool)

    def expected_risk(self, passed: Counts, judged: Counts) -> float:
        """Expected share of wrong decisions about these problems in the end."""
        return float(self._at(self.risk, passed, judged).mean())

    def expected_cost(self, passed: Counts, judged: Counts) -> float:
        """Expected further rollouts per problem."""
        return float(self._at(self.cost, passed, judged).mean())

    def _at(self, table: Sequence[NDArray[Any]], passed: Counts, judged: Counts) -> Floats:
        """Values of a table at these states; counts between two batches are scaled to the lower."""
        values = np.zeros(passed.size)
        batches = np.minimum(judged // self.step, len(table) - 1)
        scaled = np.rint(passed * (batches * self.step) / np.maximum(judged, 1)).astype(np.int64)
        for batch in np.unique(batches).tolist():
            at = batches == batch
            values[at] = table[batch][scaled[at]]
        return values


@dataclass(frozen=True)
class Mix:
    """Two plans, each for its share of the problems."""

    careful: Plan
    bold: Plan
    share: float
    """Share of the problems that follow `careful`."""

    @property
    def price(self) -> float:
        """Wrong decisions that one rollout is worth, by the careful plan."""
        return self.careful.price

    def wants_more(self, passed: Counts, judged: Counts) -> NDArray[np.bool_]:
        """Whether each problem needs another batch; who follows which plan depends on its place only."""
        careful = np.arange(passed.size) * GOLDEN % 1.0 < self.share
        chosen: NDArray[np.bool_] = np.where(
            careful, self.careful.wants_more(passed, judged), self.bold.wants_more(passed, judged)
        )
        return chosen

    def expected_risk(self, passed: Counts, judged: Counts) -> float:
        """Expected share of wrong decisions about these problems in the end."""
        less, more = (plan.expected_risk(passed, judged) for plan in (self.careful, self.bold))
        return self.share * less + (1 - self.share) * more

    def expected_cost(self, passed: Counts, judged: Counts) -> float:
        """Expected further rollouts per problem."""
        more, less = (plan.expected_cost(passed, judged) for plan in (self.careful, self.bold))
        return self.share * more + (1 - self.share) * less


class Planner:
    """Makes plans for a prior; tables that do not depend on the price are made once.

    Args:
        prior: of the pass rates.
        keep: the band.
        step: rollouts per batch.
        most: rollouts that one problem may get.
    """

    def __init__(self, prior: RatePrior, keep: tuple[float, float], step: int, most: int) -> None:
        self.step, self.batches = step, max(1, most // step)
        self._stop = [decision_risk(prior, keep, batch * step) for batch in range(self.batches + 1)]
        self._next = [
            predictive(prior, np.arange(batch * step + 1), batch * step, step)
            for batch in range(self.batches)
        ]

    def at_price(self, price: float) -> Plan:
        """The best policy when a rollout costs `price` wrong decisions."""
        step = self.step
        value = self._stop[self.batches]
        risk, cost = [value], [np.zeros(value.size)]
        go_on = [np.zeros(value.size, dtype=bool)]
        for batch in range(self.batches - 1, -1, -1):
            weights, stop = self._next[batch], self._stop[batch]
            onward = price * step + _expected(weights, value)
            more = onward < stop
            value = np.where(more, onward, stop)
            risk.append(np.where(more, _expected(weights, risk[-1]), stop))
            cost.append(np.where(more, step + _expected(weights, cost[-1]), 0.0))
            go_on.append(more)
        return Plan(step, price, go_on[::-1], risk[::-1], cost[::-1])

    def at_risk(self, wanted: float, passed: Counts, judged: Counts, near: float | None = None) -> Mix:
        """The cheapest policy that will be wrong as often as `wanted`; the most careful one where none is so good.

        Risk moves in steps as the price does, and `wanted` lies between two of them, so a share of the problems
        follows the more careful of two plans and the others the bolder one.

        Args:
            wanted: share of wrong decisions.
            passed: right rollouts so far, [problems].
            judged: rollouts so far, [problems].
            near: a price to search around, such as that of the plan before.
        """
        low, high = (near / 8, near * 8) if near is not None else (1e-8, 1.0)
        careful, bold = self.at_price(low), self.at_price(high)
        if careful.expected_risk(passed, judged) > wanted or bold.expected_risk(passed, judged) <= wanted:
            if near is not None:
                return self.at_risk(wanted, passed, judged)
            best = bold if bold.expected_risk(passed, judged) <= wanted else careful
            return Mix(best, best, 1.0)
        while high / low > 1.02:
            price = (low * high) ** 0.5
            plan = self.at_price(price)
            if plan.expected_risk(passed, judged) <= wanted:
                low, careful = price, plan
            else:
                high, bold = price, plan
        less, more = careful.expected_risk(passed, judged), bold.expected_risk(passed, judged)
        return Mix(careful, bold, (more - wanted) / (more - less))


def _expected(weights: Floats, after: Floats) -> Floats:
    """Expectation over the next batch of the values of the states it may lead to."""
    windows = np.lib.stride_tricks.sliding_window_view(after, weights.shape[1])
    result: Floats = np.einsum("sk,sk->s", weights, windows)
    return result
