"""Attention of one new token is torch's own, on every shape and mask that a decoding step has."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from rollout import Sampling, TransformersEngine
from rollout.attention import ONE_TOKEN, one_token_attention
from tests.rollout.reference import TOKENIZER
from tests.rollout.tiny import tiny_model


@pytest.mark.parametrize(("heads", "shared"), [(4, 1), (4, 2), (6, 6)])
@pytest.mark.parametrize("scaling", [None, 0.3])
def test_one_token_attention_is_torchs(heads: int, shared: int, scaling: float | None) -> None:
    torch.manual_seed(0)
    rows, columns, width = 5, 9, 8
    query = torch.randn(rows, 1, heads, width, dtype=torch.float64).transpose(1, 2)
    # A window in the middle of a cache, whose values are narrower than its keys.
    keys = torch.randn(rows, heads // shared, 20, width, dtype=torch.float64)[:, :, 4 : 4 + columns]
    values = torch.randn(rows, heads // shared, 20, 6, dtype=torch.float64)[:, :, 4 : 4 + columns]
    starts = torch.tensor([0, 3, 8, 1, 5])
    visible = torch.arange(columns) >= starts[:, None]
    mask = torch.zeros(rows, columns, dtype=torch.float64)
    mask = mask.masked_fill(~visible, torch.finfo(mask.dtype).min)[:, None, None]
    module: Any = SimpleNamespace(num_key_value_groups=shared)
    found, _ = one_token_attention(module, query, keys, values, mask, scaling=scaling)
    keys, values = (states.repeat_interleave(shared, dim=1) for states in (keys, values))
    expected = scaled_dot_product_attention(query, keys, values, attn_mask=mask, scale=scaling)
    torch.testing.assert_close(found, expected.transpose(1, 2), rtol=1e-12, atol=1e-12)


def test_decoding_uses_it_and_leaves_the_model_as_it_was() -> None:
    model, seen = tiny_model("llama"), []
    model.model.layers[0].register_forward_pre_hook(lambda *_: seen.append(model.config._attn_implementation))
    completions = list(TransformersEngine(model, TOKENIZER).generate(["3+5="], 2, Sampling(max_tokens=5)))
    steps = max(len(item.token_ids) for item in completions)
    assert seen == ["sdpa"] + [ONE_TOKEN] * (steps - 1)
    assert model.config._attn_implementation == "sdpa"
