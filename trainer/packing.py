"""Which sequences share a micro-batch, and where each token of them lies.

Sequences of different lengths are laid end to end in one row, so that no linear layer computes padding;
positions start again at 0 for every sequence. `trainer.attention` keeps them from seeing one another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from verifiers import InputError


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the N tokens of B packed sequences lie, longest sequence L."""

    count: int
    """B, the number of sequences."""
    longest: int
    """L, tokens of the longest sequence."""
    slots: Tensor | None
    """Place of each packed token in a padded [B * L] grid; None where the sequences are equally long."""


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
    response_lengths: tuple[int, ...]
    """Response tokens of each sequence, in order; they sum to R."""


def pack(
    sequences: Sequence[Sequence[int]], prompt_lengths: Sequence[int], device: torch.device | str = "cpu"
) -> PackedBatch:
    """Lay `sequences` (prompt and response tokens in one) end to end.

    `prompt_lengths[i]` of the i-th sequence's tokens are its prompt; at least one is needed, since the first
    response token is predicted by the last prompt token.
    """
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    prompts = torch.tensor(list(prompt_lengths))
    if bool((prompts < 1).any()):
        raise InputError(
            f"sequence {int((prompts < 1).nonzero()[0])} has no prompt token; its response can't be predicted"
        )
    starts = lengths.cumsum(0) - lengths
    total, longest = int(lengths.sum()), int(lengths.max())
    sequence_of_N = torch.repeat_interleave(torch.arange(len(sequences)), lengths)
    position_N = torch.arange(total) - starts[sequence_of_N]
    input_ids_N = torch.tensor([token for sequence in sequences for token in sequence])
    response_N = position_N >= prompts[sequence_of_N]
    response_at_R = response_N.nonzero().squeeze(-1)
    equal = bool((lengths == longest).all())
    return PackedBatch(
        input_ids=input_ids_N.to(device),
        position_ids=position_N.to(device),
        layout=Layout(
            count=len(sequences),
            longest=longest,
            slots=None if equal else (sequence_of_N * longest + position_N).to(device),
        ),
        predictors=(response_at_R - 1).to(device),
        targets=input_ids_N[response_at_R].to(device),
        response_lengths=tuple((lengths - prompts).tolist()),
    )


def micro_batches(lengths: Sequence[int], token_budget: int) -> list[list[int]]:
    """Split sequences into micro-batches of at most `token_budget` tokens; returns their indices.

    Neighbours in length go together, longest first, so that the attention's grid has little padding and a
    lack of memory shows in the first micro-batch. A sequence longer than the budget gets one of its own.
    The grid (count x longest) decides, so the budget bounds the attention's memory too.
    """
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    batches: list[list[int]] = []
    for index in order:
        if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= token_budget:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


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
