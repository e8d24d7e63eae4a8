"""The order of the prompts when difficulty bands have a share in every batch.

Each named band is an order of its own (`trainer.order`), and so are all other prompts together. A batch, and every
beginning of it, holds a band's share to about one prompt: easy problems keep what was learned in the mix, nearly
impossible ones get their chance, however rare either is in the data. A small band comes round more often than
the rest; one that is too small even for that gives its places to the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trainer.order import PromptOrder
from verifiers import InputError

REST = ""
"""Name of the prompts whose band has no share of its own."""


class BandOrder:
    """Hands out indices of prompts, without end, each band as often as its share says.

    Args:
        bands: band of each prompt, None where it was not measured.
        shares: least share of the prompts by band, each above 0, together at most 1.
        seed: of the permutations.

    Raises:
        InputError: no prompt has a band that is to have a share.
    """

    def __init__(self, bands: Sequence[str | None], shares: Mapping[str, float], seed: int) -> None:
        members: dict[str, list[int]] = {name: [] for name in [*shares, REST]}
        for index, band in enumerate(bands):
            members[band if band is not None and band in shares else REST].append(index)
        for name in shares:
            if not members[name]:
                there = (
                    ", ".join(sorted({band for band in bands if band}))
                    or "none: it was curated without a model"
                )
                raise InputError(
                    f"rollout.bands: no training problem is in the band {name!r}; bands there: {there}"
                )
        wanted = {**shares, REST: max(0.0, 1 - sum(shares.values()))}
        self._members = {name: items for name, items in members.items() if items and wanted[name] > 0}
        total = sum(wanted[name] for name in self._members)
        self._shares = {name: wanted[name] / total for name in self._members}
        self._orders = {name: PromptOrder(len(items), seed) for name, items in self._members.items()}
        self._place = {
            index: (name, place) for name, items in self._members.items() for place, index in enumerate(items)
        }
        self._turns = dict.fromkeys(self._members, 0)
        self._handed_out = 0
        self._returned: list[int] = []
        self.count = len(self._place)

    def take(self, count: int) -> list[int]:
        """The next `count` different prompts: those that came back first, then each band's in turn.

        Fewer come where the data set has fewer that are not at hand already.
        """
        taken = self._returned[:count]
        del self._returned[:count]
        turns = self._next_turns(count - len(taken))
        ready = {name: self._draw(name, turns.count(name), taken) for name in self._members}
        for name in turns:
            if ready[name]:
                taken.append(ready[name].pop(0))
        for name in reversed(self._members):
            taken += self._draw(name, count - len(taken), taken)
        return taken

    def give_back(self, indices: list[int]) -> None:
        """Put prompts that were not sampled in front of all others."""
        self._returned[:0] = indices

    def rest(self, index: int, epochs: int) -> None:
        """Leave a prompt out for the next `epochs` epochs of its band."""
        name, place = self._place[index]
        self._orders[name].rest(place, epochs)

    @property
    def progress(self) -> float:
        """Prompts handed out, as a multiple of the data set's size."""
        return self._handed_out / self.count

    def state(self) -> dict[str, Any]:
        """What `restore` needs, as plain JSON values."""
        return {
            "bands": {name: order.state() for name, order in self._orders.items()},
            "turns": dict(self._turns),
            "handed_out": self._handed_out,
            "returned": list(self._returned),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken.

        Raises:
            InputError: the state is that of other data, another seed or other shares.
        """
        if state.get("bands", {}).keys() != self._orders.keys():
            raise InputError(
                "the run was started with other rollout bands; set them back, or take another folder"
            )
        for name, order in self._orders.items():
            order.restore(state["bands"][name])
        self._turns = dict(state["turns"])
        self._handed_out = state["handed_out"]
        self._returned = list(state["returned"])

    def _next_turns(self, count: int) -> list[str]:
        """Whose turn each of the next prompts is: that of the band which is furthest behind its share."""
        turns = []
        for number in range(sum(self._turns.values()) + 1, sum(self._turns.values()) + count + 1):
            name = max(self._turns, key=lambda name: self._shares[name] * number - self._turns[name])
            self._turns[name] += 1
            turns.append(name)
        return turns

    def _draw(self, name: str, count: int, at_hand: Sequence[int]) -> list[int]:
        if count <= 0:
            return []
        items = self._members[name]
        used = {self._place[index][1] for index in at_hand if self._place[index][0] == name}
        drawn = [items[place] for place in self._orders[name].take(count, used)]
        self._handed_out += len(drawn)
        return drawn
