"""Keys and values of prompts, read once for all samples of a prompt in a decoding step.

Copied into the row of each sample, the prompt is most of what a step reads as long as responses are short. Here it
is stored once, and the queries of all its samples are the rows of one product with it (Hydragen, Juravsky et al.
2024). A row attends to its prompt and its own tokens together: the scores for both go through one softmax.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor
from transformers.cache_utils import Cache


class SharedPrompts:
    """P prompts, each with a number of the caller's, and which rows of a batch belong to which.

    In shapes, K is key/value heads, S the queries for each of them, W the longest prompt, G the most rows of one.
    """

    def __init__(self) -> None:
        self._lengths: dict[int, int] = {}
        self._keys: list[Tensor] = []
        self._values: list[Tensor] = []
        self._mask_P11W = torch.empty(0)
        self._row_of_place: Tensor | None = None
        self._place_of_row: Tensor | None = None

    @property
    def width(self) -> int:
        """Columns of scores that a row has for its prompt."""
        return self._mask_P11W.shape[-1]

    def add(self, prefilled: Cache, lengths: dict[int, int]) -> None:
        """Take the prompts of a left-padded cache, whose rows are in the order of `lengths` (tokens by number)."""
        keys, values = ([getattr(layer, name) for layer in prefilled.layers] for name in ("keys", "values"))
        if self._lengths:
            keys, values = (
                [_stacked(old, new) for old, new in zip(*pair, strict=True)]
                for pair in ((self._keys, keys), (self._values, values))
            )
        self._keys, self._values = keys, values
        self._lengths |= lengths
        self._make_mask()

    def arrange(self, prompt_of_row: Sequence[int | None], waiting: Collection[int] = ()) -> None:
        """Serve rows with these prompts from now on; None for a row whose result is of no interest.

        Prompts that neither a row nor `waiting` names are let go.
        """
        self._keep({number for number in prompt_of_row if number is not None}.union(waiting))
        index = {number: place for place, number in enumerate(self._lengths)}
        members: list[list[int]] = [[] for _ in index]
        for row, number in enumerate(prompt_of_row):
            if number is not None:
                members[index[number]].append(row)
        most = max(map(len, members), default=0)
        row_of_place = [0] * (len(index) * most)
        place_of_row = [0] * len(prompt_of_row)
        for prompt, rows in enumerate(members):
            for place, row in enumerate(rows, start=prompt * most):
                row_of_place[place], place_of_row[row] = row, place
        device = self._mask_P11W.device
        in_order = row_of_place == list(range(len(prompt_of_row)))
        self._row_of_place = None if in_order else torch.tensor(row_of_place, device=device)
        self._place_of_row = None if in_order else torch.tensor(place_of_row, device=device)

    def scores(self, layer: int, query_RKSD: Tensor) -> Tensor:
        """Products of each row's queries with the keys of its prompt, masked, `[R, K, S, W]`."""
        query = self._to_prompts(query_RKSD)
        scores = torch.matmul(query, self._keys[layer].transpose(-1, -2)).add_(self._mask_P11W)
        return self._to_rows(scores, query_RKSD.shape[2])

    def mixed(self, layer: int, weights_RKSW: Tensor) -> Tensor:
        """Values of each row's prompt with these weights, summed, `[R, K, S, D]`."""
        mixed = torch.matmul(self._to_prompts(weights_RKSW), self._values[layer])
        return self._to_rows(mixed, weights_RKSW.shape[2])

    def _to_prompts(self, states: Tensor) -> Tensor:
        """`[R, K, S, any]` to `[P, K, G * S, any]`."""
        _, heads, queries, size = states.shape
        rows = states if self._row_of_place is None else states.index_select(0, self._row_of_place)
        grouped = rows.reshape(len(self._lengths), -1, heads, queries, size).transpose(1, 2)
        return grouped.reshape(len(self._lengths), heads, -1, size)

    def _to_rows(self, states: Tensor, queries: int) -> Tensor:
        prompts, heads, _, size = states.shape
        grouped = states.view(prompts, heads, -1, queries, size).transpose(1, 2)
        rows = grouped.reshape(-1, heads, queries, size)
        return rows if self._place_of_row is None else rows.index_select(0, self._place_of_row)

    def _keep(self, numbers: Collection[int]) -> None:
        places = [place for place, number in enumerate(self._lengths) if number in numbers]
        if len(places) == len(self._lengths):
            return
        self._lengths = {number: self._lengths[number] for number in self._lengths if number in numbers}
        width = max(self._lengths.values(), default=0)
        index = torch.tensor(places, dtype=torch.long, device=self._mask_P11W.device)
        for states in (self._keys, self._values):
            for layer, old in enumerate(states):
                states[layer] = old[index, :, old.shape[2] - width :]
        self._make_mask()

    def _make_mask(self) -> None:
        keys = self._keys[0]
        width = keys.shape[2]
        lengths = torch.tensor(list(self._lengths.values()), device=keys.device)
        hidden = torch.arange(width, device=keys.device) < width - lengths[:, None]
        mask = torch.zeros(hidden.shape, dtype=keys.dtype, device=keys.device)
        self._mask_P11W = mask.masked_fill_(hidden, torch.finfo(keys.dtype).min)[:, None, None]


def _stacked(old: Tensor, new: Tensor) -> Tensor:
    """`[P, K, W, D]` of both one after the other, padded on the left to the wider."""
    width = max(old.shape[2], new.shape[2])
    padded = [torch.nn.functional.pad(part, (0, 0, width - part.shape[2], 0)) for part in (old, new)]
    return torch.cat(padded)
