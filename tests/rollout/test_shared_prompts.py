"""Decoding with prompts that their samples share gives what decoding with a copy for each gives."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention
from transformers import DynamicCache, GPT2Config, GPT2LMHeadModel

from rollout import Sampling, TransformersEngine, forward
from rollout.attention import one_token_attention
from rollout.forward import ModelForward
from rollout.shared_prompts import SharedPrompts
from tests.rollout.reference import TOKENIZER, assert_drawn_from, by_sample
from tests.rollout.tiny import tiny_model

LONG = [
    "Let us count: 1, 2, 3, 4, 5, 6, 7, 8, 9",
    "3+5-2=",
    "hello world this is a prompt of many words",
    "x",
]
HEADS, WIDTH = 2, 4


@pytest.fixture(autouse=True)
def share_every_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those of models so small that it does not pay."""
    monkeypatch.setattr(forward, "_WORTH_SHARING", 1)


def left_padded(lengths: list[int]) -> DynamicCache:
    """A layer of random keys and values; what is padding must not matter."""
    cache = DynamicCache()
    cache.update(*torch.randn(2, len(lengths), HEADS, max(lengths), WIDTH, dtype=torch.float64), 0)
    return cache


@settings(deadline=None, max_examples=60)
@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=5),
    second=st.lists(st.integers(1, 8), max_size=3),
    rows=st.lists(st.integers(0, 7), min_size=1, max_size=9),
    dead=st.sets(st.integers(0, 8), max_size=3),
    queries=st.integers(1, 3),
)
def test_attention_is_that_over_prompt_and_own_tokens(
    lengths: list[int], second: list[int], rows: list[int], dead: set[int], queries: int
) -> None:
    torch.manual_seed(0)
    prompts, keys, values = SharedPrompts(), [], []
    for part in filter(None, (lengths, second)):
        cache = left_padded(part)
        prompts.add(cache, {10 + len(keys) + place: length for place, length in enumerate(part)})
        for place, length in enumerate(part):
            keys.append(cache.layers[0].keys[place, :, -length:])
            values.append(cache.layers[0].values[place, :, -length:])
    prompt_of_row = [row % len(keys) for row in rows]
    alive = [row for row in range(len(rows)) if row not in dead]
    prompts.arrange([10 + prompt if row in alive else None for row, prompt in enumerate(prompt_of_row)])
    query = torch.randn(len(rows), HEADS * queries, 1, WIDTH, dtype=torch.float64)
    own_keys, own_values = torch.randn(2, len(rows), HEADS, 3, WIDTH, dtype=torch.float64)
    mask = torch.zeros(len(rows), 1, 1, 3, dtype=torch.float64)
    module: Any = SimpleNamespace(layer_idx=0)
    if not alive:
        return
    found, _ = one_token_attention(module, query, own_keys, own_values, mask, shared_prompts=prompts)
    for row in alive:
        joined_keys, joined_values = (
            torch.cat((of_prompts[prompt_of_row[row]], own[row]), dim=1).repeat_interleave(queries, dim=0)
            for of_prompts, own in ((keys, own_keys), (values, own_values))
        )
        expected = scaled_dot_product_attention(query[row], joined_keys, joined_values)
        torch.testing.assert_close(found[row, 0], expected[:, 0], rtol=1e-12, atol=1e-12)


def test_prompts_that_nobody_needs_are_let_go() -> None:
    prompts = SharedPrompts()
    prompts.add(left_padded([2, 7, 3]), {0: 2, 1: 7, 2: 3})
    prompts.arrange([0, 0], waiting={2})
    assert prompts.width == 3
    prompts.add(left_padded([5]), {9: 5})
    prompts.arrange([0, 9])
    assert prompts.width == 5
    prompts.arrange([0, None])
    assert prompts.width == 2


@pytest.mark.parametrize("slots", [1, 3, 7, 64])
@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_completions_are_those_with_copied_prompts(
    slots: int, architecture: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows leave, join and close up between prompts of many lengths; a prefill has two prompts at most."""
    model = tiny_model(architecture).double()
    sampling = Sampling(max_tokens=40, seed=5, stop=("a", "7", "Q", "="))
    results = []
    for threshold in (1, 10**6):
        monkeypatch.setattr(forward, "_WORTH_SHARING", threshold)
        engine = TransformersEngine(model, TOKENIZER, batch_size=slots, prefill_tokens=90)
        results.append(by_sample(engine.generate(LONG, 5, sampling)))
    shared, copied = results
    assert shared.keys() == copied.keys()
    assert len({len(completion.token_ids) for completion in shared.values()}) > 5
    for key, completion in shared.items():
        assert completion.token_ids == copied[key].token_ids
        assert completion.finish_reason == copied[key].finish_reason
        assert completion.logprobs == pytest.approx(copied[key].logprobs, abs=1e-5)


def test_the_cache_has_no_column_for_a_shared_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    model, columns = tiny_model("llama"), []
    decode = ModelForward.decode

    def watch(self: ModelForward, slots: Any, *args: Any) -> Any:
        columns.append(slots.window.end - slots.window.begin)
        return decode(self, slots, *args)

    monkeypatch.setattr(ModelForward, "decode", watch)
    engine = TransformersEngine(model, TOKENIZER)
    completions = list(engine.generate(LONG, 2, Sampling(max_tokens=10)))
    assert_drawn_from(model, completions, Sampling(max_tokens=10))
    # After the two steps of both trials, with and without the prompt.
    assert columns[:4] == [4, 5, 0, 1]
    assert columns[4:] == list(range(max(len(item.token_ids) for item in completions) - 1))


def test_a_model_whose_attention_is_not_told_of_shared_prompts_gets_copies() -> None:
    assert ModelForward(tiny_model("llama")).shares_prompts(30)
    assert not ModelForward(tiny_model("llama").bfloat16()).shares_prompts(30)
    eager = GPT2LMHeadModel(
        GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=32, attn_implementation="eager")
    )
    assert not ModelForward(eager).shares_prompts(30)
    deaf = tiny_model("llama")
    attend = deaf.model.layers[1].self_attn.forward

    def without_options(*args: Any, shared_prompts: Any = None, **options: Any) -> Any:
        return attend(*args, **options)

    deaf.model.layers[1].self_attn.forward = without_options
    assert not ModelForward(deaf).shares_prompts(30)
    completions = list(TransformersEngine(deaf, TOKENIZER).generate(LONG, 2, Sampling(max_tokens=10)))
    assert_drawn_from(deaf, completions, Sampling(max_tokens=10))
