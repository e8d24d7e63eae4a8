from __future__ import annotations

from typing import Any

import pytest
from tokenizers.processors import TemplateProcessing
from transformers import Qwen2Tokenizer

from rollout import EngineError, render_prompt
from rollout.prompts import bind_template_options, check_request, render_prompts
from tests.rollout.tiny import CHAT_TEMPLATE, character_tokenizer

QUESTION = [{"role": "user", "content": "3+5="}]


def with_special_tokens(single: str) -> Qwen2Tokenizer:
    tokenizer = character_tokenizer()
    ids = [(name, tokenizer.convert_tokens_to_ids(name)) for name in ("<|start|>", "<eos>")]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=single, special_tokens=ids)
    return tokenizer


def test_text_is_encoded_as_it_stands_even_with_a_chat_template() -> None:
    tokenizer = character_tokenizer(CHAT_TEMPLATE)
    assert tokenizer.decode(render_prompt(tokenizer, "3+5=")) == "3+5="


def test_text_keeps_the_bos_and_loses_an_appended_eos() -> None:
    tokenizer = with_special_tokens("<|start|> $A <eos>")
    assert tokenizer.decode(render_prompt(tokenizer, "3+5=")) == "<|start|>3+5="


def test_text_keeps_an_eos_that_it_holds_itself() -> None:
    tokenizer = with_special_tokens("$A")
    assert tokenizer.decode(render_prompt(tokenizer, "a<eos>")) == "a<eos>"


def test_messages_go_through_the_template_with_the_generation_prompt() -> None:
    tokenizer = character_tokenizer(CHAT_TEMPLATE)
    expected = "<|start|>user\n3+5=<|end|><|start|>assistant\n"
    assert tokenizer.decode(render_prompt(tokenizer, QUESTION)) == expected


def test_bound_options_reach_every_rendering() -> None:
    template = bind_template_options(CHAT_TEMPLATE, {"enable_thinking": True, "level": 3, "name": "it's"})
    tokenizer = character_tokenizer(template)
    assert tokenizer.decode(render_prompt(tokenizer, QUESTION)).endswith("assistant\n<think>")


def test_messages_without_a_template_are_refused_in_one_line() -> None:
    with pytest.raises(EngineError, match="no chat template") as error:
        render_prompt(character_tokenizer(), QUESTION)
    assert "\n" not in str(error.value)


def test_a_template_that_refuses_says_why() -> None:
    tokenizer = character_tokenizer("{{ raise_exception('roles must alternate') }}")
    with pytest.raises(EngineError, match="roles must alternate"):
        render_prompt(tokenizer, QUESTION)


@pytest.mark.parametrize("prompt", ["", [], [{"role": "user"}], ["hello"]])
def test_empty_or_malformed_prompts_are_refused_with_their_number(prompt: Any) -> None:
    with pytest.raises(EngineError, match=r"^prompt 1: .*(no tokens|no messages|needs the keys)"):
        render_prompts(character_tokenizer(CHAT_TEMPLATE), ["a", prompt])


@pytest.mark.parametrize(
    ("prompts", "n", "first_sample", "complaint"),
    [("text", 1, 0, "must be a list"), (["a"], 0, 0, "n must be"), (["a"], 1, -1, "first_sample")],
)
def test_meaningless_requests_are_refused(prompts: Any, n: int, first_sample: int, complaint: str) -> None:
    with pytest.raises(EngineError, match=complaint):
        check_request(prompts, n, first_sample)
