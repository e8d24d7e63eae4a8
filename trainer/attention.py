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
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from rollout.types import EngineError
from trainer.packing import Layout

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
    cells_q, cells_k, cells_v = (_spread(states, packing) for states in (query, key, value))
    parts, begin = [], 0
    for grid in packing.grids:
        end = begin + grid.count * grid.longest
        grid_q, grid_k, grid_v = (
            cells[begin:end].view(grid.count, grid.longest, *cells.shape[1:]).transpose(1, 2)
            for cells in (cells_q, cells_k, cells_v)
        )
        mask = None
        if sliding_window is not None and sliding_window < grid.longest:
            position = torch.arange(grid.longest, device=query.device)
            distance = position[:, None] - position[None, :]
            mask = ((distance >= 0) & (distance < sliding_window))[None, None]
        grid_out, _weights = sdpa_attention_forward(
            module, grid_q, grid_k, grid_v, mask, dropout, scaling, is_causal=True
        )
        parts.append(grid_out.reshape(end - begin, *grid_out.shape[2:]))
        begin = end
    cells_out = parts[0] if len(parts) == 1 else torch.cat(parts)
    return cells_out.index_select(0, packing.homes).unsqueeze(0), None


def _spread(states: Tensor, packing: Layout) -> Tensor:
    """`[1, heads, N, D]` packed to the cells of all grids, `[C, heads, D]`."""
    rows = states.squeeze(0).transpose(0, 1)
    cells: Tensor = _Spread.apply(rows, packing)  # type: ignore[no-untyped-call]
    return cells


class _Spread(torch.autograd.Function):
    """Copies each packed token into its cells; its gradient is the sum over them, always in the same order.

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
