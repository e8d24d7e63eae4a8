"""The text of a completion, made alike by every engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def decode_text(tokenizer: PreTrainedTokenizerBase, token_ids: Sequence[int]) -> str:
    """Text of a completion, without special tokens and without any clean-up of spaces."""
    if (fast := getattr(tokenizer, "backend_tokenizer", None)) is not None:
        # The same without the checks around it, which take twice as long as the decoding.
        return str(fast.decode(token_ids, skip_special_tokens=True))
    return str(tokenizer.decode(token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


def cut_after_stop(text: str, stop: Sequence[str]) -> str:
    """`text` up to and including the stop string that is complete first; `text` itself where none does."""
    ends = [text.find(string) + len(string) for string in stop if string in text]
    return text[: min(ends)] if ends else text
