"""The order of the prompts: a new permutation each epoch, a queue's front for prompts that came back, rest.

The whole state is a few numbers and two lists, so a resumed run goes on with the very prompt it would have
had.
"""

from __future__ import annotations

import random
from collections.abc import Collection
from typing import Any

from verifiers import InputError


class PromptOrder:
    """Hands out indices of `count` prompts, without end."""

    def __init__(self, count: int, seed: int) -> None:
        if count < 1:
            raise InputError("there are no problems to train on; give a curated folder with at least one")
        self.count = count
        self.seed = seed
        self.epoch = 0
        self._position = 0
        self._returned: list[int] = []
        self._rests_until: dict[int, int] = {}
        self._permutation = self._permute()

    def take(self, count: int, at_hand: Collection[int] = ()) -> list[int]:
        """The next `count` different prompts: those that came back first, then the epoch's order.

        Fewer come where the data set has fewer that are not `at_hand` already.
        """
        taken = self._returned[:count]
        del self._returned[:count]
        seen = {*taken, *at_hand}
        skipped = 0
        while len(taken) < count and skipped <= 2 * self.count:
            index = self._next()
            if index in seen or self._rests(index):
                skipped += 1
                continue
            seen.add(index)
            taken.append(index)
        return taken

    def give_back(self, indices: list[int]) -> None:
        """Put prompts that were not sampled in front of all others."""
        self._returned[:0] = indices

    def rest(self, index: int, epochs: int) -> None:
        """Leave a prompt out for the next `epochs` epochs."""
        if epochs > 0:
            self._rests_until[index] = self.epoch + epochs

    @property
    def progress(self) -> float:
        """Epochs gone through, as a number with a fraction."""
        return self.epoch + self._position / self.count

    def state(self) -> dict[str, Any]:
        """What `restore` needs, as plain JSON values."""
        return {
            "count": self.count,
            "seed": self.seed,
            "epoch": self.epoch,
            "position": self._position,
            "returned": list(self._returned),
            "rests_until": [[index, epoch] for index, epoch in sorted(self._rests_until.items())],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken.

        Raises:
            InputError: the state is that of another data set or seed.
        """
        if (state["count"], state["seed"]) != (self.count, self.seed):
            raise InputError(
                f"the run was started with {state['count']} problems and seed {state['seed']}, not "
                f"{self.count} and {self.seed}; use the same data and seed, or another output folder"
            )
        self.epoch, self._position = state["epoch"], state["position"]
        self._returned = list(state["returned"])
        self._rests_until = dict(state["rests_until"])
        self._permutation = self._permute()

    def _next(self) -> int:
        if self._position == self.count:
            self.epoch += 1
            self._position = 0
            self._permutation = self._permute()
            # When every prompt rests there is nobody to wait for.
            if all(self._rests(index) for index in range(self.count)):
                self._rests_until.clear()
        index = self._permutation[self._position]
        self._position += 1
        return index

    def _rests(self, index: int) -> bool:
        return self.epoch <= self._rests_until.get(index, -1)

    def _permute(self) -> list[int]:
        order = list(range(self.count))
        random.Random(f"{self.seed}:{self.epoch}").shuffle(order)
        return order
