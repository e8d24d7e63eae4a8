"""The demo's tokenizer and model are ordinary transformers folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.quickstart.model import ModelConfig, build_model, build_tokenizer, save_model
from rlvr.quickstart.tasks import PLACES, draw, phrases

pytest.importorskip("torch")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, Path]:
    folder = tmp_path_factory.mktemp("model")
    tokenizer = build_tokenizer(phrases())
    model = build_model(tokenizer, seed=4)
    save_model(model, tokenizer, folder)
    return tokenizer, model, folder


@given(text=st.text(st.characters(codec="utf-8"), max_size=40))
def test_tokens_turn_back_into_any_text(text: str, saved: tuple[Any, Any, Path]) -> None:
    tokenizer, _, _ = saved
    tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
    specials = {tokenizer.eos_token, tokenizer.pad_token}
    if not any(special in text for special in specials) and "\r" not in text:
        import unicodedata

        assert tokenizer.decode(tokens, skip_special_tokens=True) == unicodedata.normalize("NFC", text)


@given(place=st.sampled_from(PLACES["right"]), random=st.randoms(use_true_random=False))
def test_problem_and_response_are_short_and_survive(
    place: tuple[str, int], random: Any, saved: tuple[Any, Any, Path]
) -> None:
    tokenizer, _, _ = saved
    expression = draw(*place, random)
    for text in (expression.question(), expression.careful):
        tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(tokens, skip_special_tokens=True) == text
    operations = len(expression.operators)
    assert len(tokenizer(expression.question(), add_special_tokens=False)["input_ids"]) <= 2 * operations + 4
    # One token each for operator, number, "=" and result; then ";", the box, the answer, its brace.
    assert len(tokenizer(expression.careful, add_special_tokens=False)["input_ids"]) == 4 * operations + 5


def test_a_saved_folder_loads_as_it_was(saved: tuple[Any, Any, Path]) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model, folder = saved
    loaded = AutoTokenizer.from_pretrained(folder)
    text = "Left to right, what is 3+5*2 mod 10?3+5=8*2=6;\\boxed{6}"
    assert loaded(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert (loaded.eos_token_id, loaded.pad_token_id) == (tokenizer.eos_token_id, tokenizer.pad_token_id)
    again = AutoModelForCausalLM.from_pretrained(folder)
    assert again.config.model_type == "qwen2"
    state = again.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_the_seed_alone_decides_the_weights() -> None:
    import torch

    tokenizer = build_tokenizer(phrases())
    small = ModelConfig(width=16, heads=2, intermediate=32)
    torch.manual_seed(1)
    first = build_model(tokenizer, 7, small).state_dict()
    torch.manual_seed(2)
    before = torch.get_rng_state()
    second = build_model(tokenizer, 7, small).state_dict()
    assert torch.equal(before, torch.get_rng_state())
    other = build_model(tokenizer, 8, small).state_dict()
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert not torch.equal(first["lm_head.weight"], other["lm_head.weight"])
