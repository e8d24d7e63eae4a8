"""The text of a completion, made alike by every engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def decode_text(tokenizer: PreTrainedTokenizerBase, token_ids: Sequence[int]) -> str:
    """Text of a completion, without special tokens and without any clean-up of spaces."""
    text = tokenizer.decode(list(token_ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
    assert isinstance(text, str)
    return text


def cut_after_stop(text: str, stop: Sequence[str]) -> str:
    """`text` up to and including the stop string that is complete first; `text` itself where none does."""
    ends = [text.find(string) + len(string) for string in stop if string in text]
    return text[: min(ends)] if ends else text
