"""Which sequences share a micro-batch, and where each token of them lies.

Sequences of different lengths are laid end to end in one row, so that no linear layer computes padding. A
prompt that several responses share is laid down once: its hidden states are the same for all of them, since a
token sees nothing that comes after it. The last token of a response is left out, for it predicts nothing.
Positions start again at 0 for every sequence; `trainer.attention` keeps sequences from seeing one another.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from verifiers import InputError

_SIMILAR = 0.75
"""A grid's shortest sequence has this share of the longest's tokens, unless hardly a cell would be saved."""
_CELLS_WORTH_A_GRID = 512
"""Cells of padding that a further call of the attention is worth."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A rectangle of sequences of about the same length, in which attention runs."""

    count: int
    longest: int
    """Cells of a row: tokens of the longest sequence."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the N packed tokens lie in grids of C cells together, a sequence in each row."""

    grids: tuple[Grid, ...]
    tokens: Tensor
    """`[C]`: packed token in each cell, one grid after the other. Any token where a row's sequence has ended."""
    homes: Tensor
    """`[N]`: the cell of each packed token; for a shared token that of the first sequence that has it."""
    copies: tuple[Tensor, ...]
    """`[K, S]` each: K further cells of each of the first S packed tokens, which are shared."""
    by_heads: dict[int, Layout] = field(default_factory=dict)
    """What `of_heads` found."""

    def of_heads(self, heads: int) -> Layout:
        """The same for `[N * heads]`, a row for each head of each token; a grid is `[count, heads, longest]`."""
        if heads not in self.by_heads:
            device = self.tokens.device
            head_H = torch.arange(heads, device=device)
            # Where each cell's first head lies, and how far the next one is.
            first_C, step_C, tokens, begin = [], [], [], 0
            for grid in self.grids:
                size = grid.count * grid.longest
                place_C = torch.arange(size, device=device)
                row_C = place_C // grid.longest
                first_C.append(heads * (begin + row_C * grid.longest) + place_C % grid.longest)
                step_C.append(torch.full_like(place_C, grid.longest))
                own = self.tokens[begin : begin + size].view(grid.count, 1, grid.longest)
                tokens.append((own * heads + head_H[:, None]).flatten())
                begin += size
            cell_CH = torch.cat(first_C)[:, None] + torch.cat(step_C)[:, None] * head_H
            self.by_heads[heads] = Layout(
                self.grids,
                torch.cat(tokens),
                cell_CH[self.homes].flatten(),
                tuple(cell_CH[cells].flatten(1) for cells in self.copies),
            )
        return self.by_heads[heads]


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """B sequences packed into N tokens, of which R are to be predicted (the responses)."""

    input_ids: Tensor
    """`[N]`."""
    position_ids: Tensor
    """`[N]`, from 0 in each sequence."""
    layout: Layout
    predictors: Tensor
    """`[R]`: packed position whose hidden state predicts the r-th response token."""
    targets: Tensor
    """`[R]`: the r-th response token."""


def pack(
    prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]], device: torch.device | str = "cpu"
) -> PackedBatch:
    """Lay sequences end to end: the distinct prompts first, then all responses in order.

    A prompt has at least one token, since the first response token is predicted by the last prompt token.
    """
    empty = [number for number, prompt in enumerate(prompts) if not len(prompt)]
    if empty:
        raise InputError(f"sequence {empty[0]} has no prompt token; its response can't be predicted")
    members: dict[tuple[int, ...], list[int]] = {}
    for number, prompt in enumerate(prompts):
        members.setdefault(tuple(prompt), []).append(number)
    # With the most shared first, the tokens that have a k-th copy are the first ones of the row for every k.
    distinct = sorted(members, key=lambda prompt: -len(members[prompt]))
    prompt_of_B, copy_of_B = torch.zeros(2, len(prompts), dtype=torch.long)
    for number, prompt in enumerate(distinct):
        prompt_of_B[members[prompt]] = number
        copy_of_B[members[prompt]] = torch.arange(len(members[prompt]))
    widths = torch.tensor([len(prompt) for prompt in distinct])
    prompt_start = (widths.cumsum(0) - widths)[prompt_of_B]
    prompt_B = widths[prompt_of_B]
    response_B = torch.tensor([len(response) for response in responses])
    own_B = (response_B - 1).clamp(min=0)
    own_start = int(widths.sum()) + own_B.cumsum(0) - own_B

    grids, cell_start = _place((prompt_B + own_B).tolist())
    sequence_M, position_M = _runs(prompt_B + own_B)
    in_prompt_M = position_M < prompt_B[sequence_M]
    own_M = (own_start - prompt_B)[sequence_M]
    token_M = position_M + torch.where(in_prompt_M, prompt_start[sequence_M], own_M)
    cell_M = position_M + cell_start[sequence_M]
    tokens = torch.zeros(sum(grid.count * grid.longest for grid in grids), dtype=torch.long)
    tokens[cell_M] = token_M

    copy_M = torch.where(in_prompt_M, copy_of_B[sequence_M], 0)
    homes, position_ids = torch.zeros(2, int(widths.sum() + own_B.sum()), dtype=torch.long)
    homes[token_M[copy_M == 0]] = cell_M[copy_M == 0]
    position_ids[token_M] = position_M
    copies: list[Tensor] = []
    for copy in range(1, int(copy_of_B.max()) + 1):
        cells = torch.zeros(int((copy_M == copy).sum()), dtype=torch.long)
        cells[token_M[copy_M == copy]] = cell_M[copy_M == copy]
        if copies and copies[-1].shape[1] == len(cells):
            copies[-1] = torch.cat([copies[-1], cells[None]])
        else:
            copies.append(cells[None])

    sequence_R, number_R = _runs(response_B)
    last_of_prompt = prompt_start + prompt_B - 1
    predictors = torch.where(number_R == 0, last_of_prompt[sequence_R], own_start[sequence_R] + number_R - 1)
    input_ids = [token for prompt in distinct for token in prompt]
    input_ids += [token for response in responses for token in response[:-1]]
    targets = torch.tensor([token for response in responses for token in response], dtype=torch.long)
    return PackedBatch(
        input_ids=torch.tensor(input_ids).to(device),
        position_ids=position_ids.to(device),
        layout=Layout(grids, tokens.to(device), homes.to(device), tuple(part.to(device) for part in copies)),
        predictors=predictors.to(device),
        targets=targets.to(device),
    )


def _runs(lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Number of the run and place in it, for each element of runs of these lengths laid end to end."""
    run = torch.repeat_interleave(torch.arange(len(lengths)), lengths)
    return run, torch.arange(len(run)) - (lengths.cumsum(0) - lengths)[run]


def _place(lengths: Sequence[int]) -> tuple[tuple[Grid, ...], Tensor]:
    """Grids for sequences of these lengths, and the first cell of each sequence `[B]`."""
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    grids = cut_into_grids([lengths[index] for index in order])
    start_B = torch.zeros(len(lengths), dtype=torch.long)
    cell, place = 0, 0
    for grid in grids:
        for index in order[place : place + grid.count]:
            start_B[index] = cell
            cell += grid.longest
        place += grid.count
    return grids, start_B


def cut_into_grids(lengths: Sequence[int]) -> tuple[Grid, ...]:
    """Cut sequences, given the longest first, into grids that have little padding."""
    grids, begin = [], 0
    for place, length in enumerate(lengths):
        longest = lengths[begin]
        saved = (len(lengths) - place) * (longest - length)
        if length < _SIMILAR * longest and saved >= _CELLS_WORTH_A_GRID:
            grids.append(Grid(place - begin, longest))
            begin = place
    return (*grids, Grid(len(lengths) - begin, lengths[begin]))


def micro_batches(
    lengths: Sequence[int], token_budget: int, prompts: Sequence[Sequence[int]] | None = None
) -> list[list[int]]:
    """Split sequences into micro-batches of at most `token_budget` tokens; returns their indices.

    Without `prompts` a micro-batch is a rectangle, as wide as its longest sequence. With the `prompts` with which
    the sequences begin, those that share one stay together unless they are too many, and what counts is
    `packed_size`. Either way padding counts, so that the budget bounds the attention's memory too, and what is
    longest comes first, so that a lack of memory shows in the first micro-batch. A sequence longer than the
    budget gets one of its own.
    """
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    parts: dict[Hashable, list[int]] = {}
    for index in order:
        parts.setdefault(index if prompts is None else tuple(prompts[index]), []).append(index)

    def fits(indices: Sequence[int]) -> bool:
        if prompts is None:
            return len(indices) * lengths[indices[0]] <= token_budget
        chosen = [prompts[index] for index in indices]
        return packed_size([lengths[index] for index in indices], chosen) <= token_budget

    batches: list[list[int]] = []
    for part in parts.values():
        for piece in [part] if fits(part) else [[index] for index in part]:
            if batches and fits(batches[-1] + piece):
                batches[-1] += piece
            else:
                batches.append(list(piece))
    return batches


def packed_size(lengths: Sequence[int], prompts: Sequence[Sequence[int]]) -> float:
    """Memory of sequences packed together, in tokens of a sequence by itself.

    A further cell of a grid counts a quarter of a token: it has a query, a key, a value and a result in each
    layer, and none of a layer's other states.
    """
    distinct = {tuple(prompt) for prompt in prompts}
    tokens = sum(lengths) - sum(map(len, prompts)) + sum(map(len, distinct))
    grids = cut_into_grids(sorted(lengths, reverse=True))
    return tokens + (sum(grid.count * grid.longest for grid in grids) - tokens) / 4


def scatter_rows(
    values_R: Tensor, lengths: Sequence[int], longest: int | None = None
) -> tuple[Tensor, Tensor]:
    """Turn per-token values of B responses into `[B, T]` padded with zero, and its mask `[B, T]`.

    Differentiable in `values_R`. `T` is the longest response unless `longest` says more.
    """
    lengths_B = torch.tensor(list(lengths), device=values_R.device)
    width = longest if longest is not None else int(lengths_B.max())
    mask_BT = torch.arange(width, device=values_R.device)[None, :] < lengths_B[:, None]
    padded_BT = values_R.new_zeros(mask_BT.shape).masked_scatter(mask_BT, values_R)
    return padded_BT, mask_BT
