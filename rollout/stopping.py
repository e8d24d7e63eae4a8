"""When a completion ends: the model's stop tokens, and stop strings in its text."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from rollout.text import decode_text

_TAIL_TOKENS = 16
"""Tokens decoded beside those of the stop string itself, for special tokens that show no text."""


def stop_token_ids(*sources: object) -> frozenset[int]:
    """Every token that ends a completion, by `eos_token_id` of generation config, config and tokenizer.

    All three matter: chat models end a turn with a token of their generation config, base models with the
    tokenizer's, and which files carry which differs by model.
    """
    found: set[int] = set()
    for ids in (getattr(source, "eos_token_id", None) for source in sources):
        if ids is not None:
            found.update([ids] if isinstance(ids, int) else ids)
    return frozenset(found)


class StopStrings:
    """Finds out which tokens complete a stop string, by decoding only after tokens that can.

    A token can complete one when its own text holds the string's last character, or when it is part of a
    character (byte-level vocabularies), which shows as U+FFFD.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, stop: tuple[str, ...], device: torch.device):
        self.stop = stop
        self._tokenizer = tokenizer
        self._tail = 4 * max(len(string) for string in stop) + _TAIL_TOKENS
        last_characters = {string[-1] for string in stop}
        # Decoded alone, a token of some vocabularies loses the space that it has inside a text.
        everything = any(character.isspace() for character in last_characters)
        ids = [[token] for token in range(len(tokenizer))]
        texts = tokenizer.batch_decode(ids, clean_up_tokenization_spaces=False)
        can_end = [everything or "\ufffd" in text or not last_characters.isdisjoint(text) for text in texts]
        # The last entry is for the padding of an output layer that is larger than the vocabulary.
        self._can_end = torch.tensor([*can_end, False], device=device)

    def candidates(self, tokens: Tensor) -> Tensor:
        """Bool [R]: whether each of `tokens` [R] can complete a stop string."""
        return self._can_end[tokens.clamp(max=len(self._can_end) - 1)]

    def completed(self, token_ids: Sequence[int]) -> bool:
        """Whether a stop string stands at the end part of a completion's tokens."""
        tail = decode_text(self._tokenizer, token_ids[-self._tail :])
        return any(string in tail for string in self.stop)
