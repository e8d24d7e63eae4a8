"""Attention for packed sequences: every token sees its own sequence, up to itself, and nothing else.

The model's linear layers run on the packed tokens; only here are queries, keys and values spread into a
`[B, heads, L, D]` grid, where plain causal attention suffices: padding lies after every real
token of its row. This needs no package beyond torch, on CPU and GPU, and no `[N, N]` mask.
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
    grid_q, grid_k, grid_v = (_spread(states, packing) for states in (query, key, value))
    mask = None
    if sliding_window is not None and sliding_window < packing.longest:
        position = torch.arange(packing.longest, device=query.device)
        distance = position[:, None] - position[None, :]
        mask = ((distance >= 0) & (distance < sliding_window))[None, None]
    grid_out, _weights = sdpa_attention_forward(
        module, grid_q, grid_k, grid_v, mask, dropout, scaling, is_causal=True
    )
    flat = grid_out.reshape(packing.count * packing.longest, *grid_out.shape[2:])
    if packing.slots is not None:
        flat = flat.index_select(0, packing.slots)
    return flat.unsqueeze(0), None


def _spread(states: Tensor, packing: Layout) -> Tensor:
    """`[1, heads, N, D]` packed to `[B, heads, L, D]`, zero where a sequence has ended."""
    rows = states.squeeze(0).transpose(0, 1)
    if packing.slots is not None:
        grid = rows.new_zeros(packing.count * packing.longest, *rows.shape[1:])
        rows = grid.index_copy(0, packing.slots, rows)
    return rows.reshape(packing.count, packing.longest, *rows.shape[1:]).transpose(1, 2)


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
