"""Attention for packed sequences: every token sees its own sequence, up to itself, and nothing else.

The model's linear layers run on the packed tokens; only here are queries, keys and values spread into grids
`[B, heads, L, D]` of sequences of about the same length, where plain causal attention suffices: padding lies
after every real token of its row. A prompt that several sequences share, packed once, is copied into the row
of each. This needs no package beyond torch, on CPU and GPU, and no `[N, N]` mask.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from rollout.types import EngineError
from trainer.packing import Layout

_SHORT = 96
"""Up to so many cells in a row, whole products take less time on a CPU than torch's attention by blocks."""
PACKED = "rlvr_packed"
"""Name under which transformers finds this attention. It has no mask function there, so no mask is built."""


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    *,
    packing: Layout | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attend within each sequence of `packing`.

    `query` is `[1, heads, N, D]`, `key` and `value` `[1, key/value heads, N, D]`; the answer is
    `[1, N, heads, D]`, as transformers' attention functions have it.
    """
    if packing is None or softcap is not None or s_aux is not None:
        raise EngineError("packed attention knows neither soft caps nor sinks; set learner.packing to false")
    heads = query.shape[1]
    shared = heads // key.shape[1]
    # torch's attention sums types with fewer bits in float32.
    plain = query.device.type == "cpu" and query.dtype.itemsize >= 4
    parts = []
    spread = (_spread(states, packing) for states in (query, key, value))
    for grid, grid_q, grid_k, grid_v in zip(packing.grids, *spread, strict=True):
        mask = None
        if sliding_window is not None and sliding_window < grid.longest:
            position = torch.arange(grid.longest, device=query.device)
            distance = position[:, None] - position[None, :]
            mask = ((distance >= 0) & (distance < sliding_window))[None, None]
        short = mask is None and not dropout and grid.longest <= _SHORT and plain
        # Elsewhere torch would fall back to whole weights; where it can, it reads keys once for all their heads.
        by_torch = not short and mask is None and key.shape[-1] == value.shape[-1] <= 256
        if shared > 1 and not by_torch:
            grid_k, grid_v = (states.repeat_interleave(shared, dim=1) for states in (grid_k, grid_v))
        if short:
            grid_out = short_attention(grid_q, grid_k, grid_v, scaling)
        else:
            grid_out = scaled_dot_product_attention(
                grid_q,
                grid_k,
                grid_v,
                mask,
                dropout,
                is_causal=mask is None,
                scale=scaling,
                enable_gqa=shared > 1 and by_torch,
            )
        parts.append(grid_out.reshape(-1, grid_out.shape[-1]))
    cells_out = parts[0] if len(parts) == 1 else torch.cat(parts)
    rows: Tensor = _Collect.apply(cells_out, packing.of_heads(heads).homes)  # type: ignore[no-untyped-call]
    return rows.view(1, -1, heads, rows.shape[-1]), None


def _spread(states: Tensor, packing: Layout) -> list[Tensor]:
    """`[1, heads, N, D]` packed to the grids, `[count, heads, longest, D]` each."""
    _, heads, _, width = states.shape
    rows = states.squeeze(0).transpose(0, 1).reshape(-1, width)
    cells: Tensor = _Spread.apply(rows, packing.of_heads(heads))  # type: ignore[no-untyped-call]
    sizes = [grid.count * heads * grid.longest for grid in packing.grids]
    # The gradient of a split is a copy, also where there is but one part.
    parts = [cells] if len(sizes) == 1 else torch.split(cells, sizes)
    return [
        part.view(grid.count, heads, grid.longest, width)
        for part, grid in zip(parts, packing.grids, strict=True)
    ]


class _Spread(torch.autograd.Function):
    """Copies each packed row into its cells; its gradient is the sum over them, always in the same order.

    What torch records for an index writes such sums atomically on a GPU, in another order every time.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, packing: Layout) -> Tensor:
        ctx.packing = packing
        return rows.index_select(0, packing.tokens)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (grad_cells,) = gradients
        grad_rows = grad_cells.index_select(0, ctx.packing.homes)
        for cells in ctx.packing.copies:
            further = grad_cells.index_select(0, cells.flatten()).view(*cells.shape, *grad_cells.shape[1:])
            grad_rows[: cells.shape[1]] += further.sum(0)
        return grad_rows, None


class _Collect(torch.autograd.Function):
    """Takes each packed row from its cell; other cells, padding and copies, have no gradient."""

    @staticmethod
    def forward(ctx: Any, cells: Tensor, homes: Tensor) -> Tensor:
        ctx.homes, ctx.shape = homes, cells.shape
        return cells.index_select(0, homes)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (grad_rows,) = gradients
        return grad_rows.new_zeros(ctx.shape).index_copy_(0, ctx.homes, grad_rows), None


def short_attention(query: Tensor, key: Tensor, value: Tensor, scaling: float | None = None) -> Tensor:
    """Causal attention for `[B, heads, L, D]` each, as three products with whole `[L, L]` weights."""
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    rows = (states.flatten(0, 1) for states in (query, key, value))
    mixed: Tensor = _ShortAttention.apply(*rows, scaling)  # type: ignore[no-untyped-call]
    return mixed.view(*query.shape[:-1], value.shape[-1])


class _ShortAttention(torch.autograd.Function):
    """softmax(scaling Q K' + mask) V for `[rows, L, D]`, with the gradient of a softmax written down."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        mask = query.new_full((query.shape[1], query.shape[1]), float("-inf")).triu_(1)
        weights = torch.baddbmm(mask, query, key.transpose(1, 2), alpha=scaling).softmax(-1)
        ctx.save_for_backward(query, key, value, weights)
        ctx.scaling = scaling
        return torch.bmm(weights, value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        (gradient,) = gradients
        query, key, value, weights = ctx.saved_tensors
        grad_value = torch.bmm(weights.transpose(1, 2), gradient)
        grad_weights = torch.bmm(gradient, value.transpose(1, 2))
        grad_scores = torch._softmax_backward_data(grad_weights, weights, -1, weights.dtype)
        grad_scores.mul_(ctx.scaling)
        return torch.bmm(grad_scores, key), torch.bmm(grad_scores.transpose(1, 2), query), grad_value, None


@contextmanager
def use_packed_attention(model: nn.Module) -> Iterator[None]:
    """Let `model` attend within packed sequences; the engine that shares the model finds it as it was."""
    configs = {
        id(config): config for module in model.modules() if (config := getattr(module, "config", None))
    }
    before = {key: getattr(config, "_attn_implementation", None) for key, config in configs.items()}
    try:
        for config in configs.values():
            config._attn_implementation = PACKED
        yield
    finally:
        for key, config in configs.items():
            config._attn_implementation = before[key]


ALL_ATTENTION_FUNCTIONS.register(PACKED, packed_attention)
