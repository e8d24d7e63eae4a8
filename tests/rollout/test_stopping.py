"""Stop tokens and stop strings, on a byte-level vocabulary whose tokens are parts of words and of characters."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from rollout.stopping import StopStrings, stop_token_ids
from rollout.text import cut_after_stop, decode_text

CORPUS = [
    "the answer is </answer> 42 → done",
    "naïve café ≤ 3.14 <answer>",
    "so the answer: ½ + ½ = 1 🙂🙂",
] * 20
STOPS = ["</answer>", "answer", "🙂", "½ ", "\n\n", " ", "e", "→ d"]


@cache
def byte_tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, special_tokens=["<eos>"])
    tokenizer.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>")


@cache
def finder(stop: tuple[str, ...]) -> StopStrings:
    return StopStrings(byte_tokenizer(), stop, torch.device("cpu"))


def first_end(token_ids: list[int], stop: tuple[str, ...]) -> int | None:
    """Number of tokens after which the text first holds a stop string, by decoding everything each time."""
    for end in range(1, len(token_ids) + 1):
        text = decode_text(byte_tokenizer(), token_ids[:end])
        if any(string in text for string in stop):
            return end
    return None


def found_end(token_ids: list[int], stop: tuple[str, ...]) -> int | None:
    """The same as the decoder finds it, token by token."""
    possible = finder(stop).candidates(torch.tensor(token_ids)).tolist()
    for end, candidate in enumerate(possible, start=1):
        if candidate and finder(stop).completed(token_ids[:end]):
            return end
    return None


TEXT = st.lists(
    st.sampled_from([*STOPS, "the", "ans", "wer", "</", "½", "x", "<eos>", "\n"]), max_size=12
).map("".join)


@settings(deadline=None)
@given(text=TEXT, stop=st.lists(st.sampled_from(STOPS), min_size=1, max_size=3, unique=True).map(tuple))
def test_stop_strings_are_found_at_the_token_that_completes_them(text: str, stop: tuple[str, ...]) -> None:
    token_ids = byte_tokenizer()(text)["input_ids"]
    if token_ids:
        assert found_end(token_ids, stop) == first_end(token_ids, stop)


@settings(deadline=None)
@given(
    token_ids=st.lists(st.integers(0, 399), min_size=1, max_size=30),
    stop=st.lists(st.sampled_from(STOPS), min_size=1, max_size=3, unique=True).map(tuple),
)
def test_also_in_tokens_that_no_text_has(token_ids: list[int], stop: tuple[str, ...]) -> None:
    token_ids = [token % len(byte_tokenizer()) for token in token_ids]
    assert found_end(token_ids, stop) == first_end(token_ids, stop)


def test_most_tokens_need_no_decoding() -> None:
    tokens = torch.arange(len(byte_tokenizer()) + 50)
    assert finder(("</answer>",)).candidates(tokens).sum() < 160
    assert not finder(("</answer>",)).candidates(tokens)[len(byte_tokenizer()) :].any()


@pytest.mark.parametrize(
    ("text", "stop", "expected"),
    [
        ("a END b END", ("END",), "a END"),
        ("a END b", ("b", "END"), "a END"),
        ("abcd", ("bcd", "bc"), "abc"),
        ("abcdef", ("abcdef", "cd"), "abcd"),
        ("abc", ("x",), "abc"),
        ("abc", (), "abc"),
    ],
)
def test_text_is_cut_after_the_stop_that_is_complete_first(
    text: str, stop: tuple[str, ...], expected: str
) -> None:
    assert cut_after_stop(text, stop) == expected


def test_stop_tokens_come_from_every_source() -> None:
    sources = [SimpleNamespace(eos_token_id=[1, 2]), SimpleNamespace(eos_token_id=3), SimpleNamespace()]
    assert stop_token_ids(*sources, SimpleNamespace(eos_token_id=None)) == {1, 2, 3}
