"""Attention of one new token per row as two matrix products, for decoding on a CPU.

torch's own attention works through a row's keys in blocks made for many queries. With a single query, as in
every decoding step, two batched products and a softmax over the row give the same, and for short rows of narrow
heads in little more than half the time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from rollout.shared_prompts import SharedPrompts

ONE_TOKEN = "rlvr_one_token"
"""Name under which transformers finds this attention. A four-dimensional mask reaches it as it was given."""


def one_token_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    *,
    shared_prompts: SharedPrompts | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attend with `query` `[rows, heads, 1, D]` to `key`, `value` `[rows, key/value heads, columns, D]`.

    `attention_mask` is additive, `[rows, 1, 1, columns]`; the answer is `[rows, 1, heads, D of the values]`. Where
    `shared_prompts` has the prompts, key and value are those of what comes after them. Types with fewer bits than
    float32 go to torch's attention, which sums in float32; it can't share prompts (TypeError).
    """
    rows, heads, tokens, width = query.shape
    own = key.shape[1]
    asks_for_more = any(options.get(name) is not None for name in _NOT_PLAIN)
    if attention_mask is None or tokens > 1 or asks_for_more or query.dtype.itemsize < 4:
        if shared_prompts is not None:
            raise TypeError("this attention can't share prompts")
        plain: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout, scaling, **options
        )
        return plain
    # Heads that share keys are the rows of one product, so that keys are read once and never repeated.
    grouped = (query * (width**-0.5 if scaling is None else scaling)).view(rows, own, heads // own, width)
    weights = torch.matmul(grouped, key.transpose(-1, -2)).add_(attention_mask)
    if shared_prompts is None:
        mixed = torch.matmul(torch.softmax(weights, dim=-1), value)
    else:
        layer: Any = module.layer_idx
        weights = torch.cat((shared_prompts.scores(layer, grouped), weights), dim=-1)
        for_prompt, for_own = torch.softmax(weights, dim=-1).tensor_split([shared_prompts.width], dim=-1)
        mixed = torch.matmul(for_own, value).add_(shared_prompts.mixed(layer, for_prompt))
    return mixed.view(rows, 1, heads, value.shape[-1]), None


_NOT_PLAIN = ("position_bias", "softcap", "s_aux", "cache")
"""Arguments that some architectures give their attention and that change its result."""


@contextmanager
def one_token_attention_in(config: PretrainedConfig) -> Iterator[None]:
    """Let the model of `config` attend with `one_token_attention`; afterwards all is as before."""
    before = config._attn_implementation
    config._attn_implementation = ONE_TOKEN
    try:
        yield
    finally:
        config._attn_implementation = before


ALL_ATTENTION_FUNCTIONS.register(ONE_TOKEN, one_token_attention)
