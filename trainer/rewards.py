"""Reward shaping: what is added to the verifier's verdict. Pure functions of lengths, texts and verdicts.

Dynamic sampling looks at correctness, never at these: a group whose shaped rewards differ only because one
response is longer teaches length, not the task.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from rollout.types import Completion
from trainer.config import RewardConfig
from verifiers import Verdict


@dataclass(frozen=True, slots=True)
class Shaping:
    """The shaping rules of a run."""

    config: RewardConfig
    max_tokens: int
    overlong_cache: int

    def shape(
        self, completions: Sequence[Completion], verdicts: Sequence[Verdict], prompt_text: str
    ) -> list[float]:
        """Shaped reward of each sample of one group; that of a failed verification has no meaning."""
        config = self.config
        rewards = [verdict.reward for verdict in verdicts]
        lengths = [len(completion.token_ids) for completion in completions]
        if config.soft_overlong:
            rewards = [
                reward + soft_overlong_punishment(length, self.max_tokens, self.overlong_cache)
                for reward, length in zip(rewards, lengths, strict=True)
            ]
        if config.length_reward:
            bonus = kimi_length_rewards(lengths, [verdict.correct for verdict in verdicts])
            rewards = [
                reward + config.length_reward * extra for reward, extra in zip(rewards, bonus, strict=True)
            ]
        if config.format_reward:
            pattern = re.compile(config.format_pattern)
            rewards = [
                reward + config.format_reward * (pattern.search(completion.text) is not None)
                for reward, completion in zip(rewards, completions, strict=True)
            ]
        if config.language_reward:
            rewards = [
                reward + config.language_reward * script_consistency(prompt_text, completion.text)
                for reward, completion in zip(rewards, completions, strict=True)
            ]
        return rewards


def soft_overlong_punishment(length: int, max_tokens: int, cache: int) -> float:
    """DAPO eq. 13: 0 up to `max_tokens - cache`, falling linearly to -1 at `max_tokens`, -1 beyond."""
    return min(0.0, max(-1.0, (max_tokens - cache - length) / cache))


def kimi_length_rewards(lengths: Sequence[int], correct: Sequence[bool]) -> list[float]:
    """Kimi k1.5's length reward for one group: in [-0.5, 0.5], shorter is better.

    lambda = 0.5 - (length - shortest) / (longest - shortest); a correct response gets lambda, a wrong one
    min(0, lambda), so that shortness is never rewarded by itself. All 0 where all lengths are equal.
    """
    shortest, longest = min(lengths), max(lengths)
    if shortest == longest:
        return [0.0] * len(lengths)
    shares = [0.5 - (length - shortest) / (longest - shortest) for length in lengths]
    return [share if right else min(0.0, share) for share, right in zip(shares, correct, strict=True)]


def script_consistency(prompt: str, response: str) -> float:
    """Share of the response's letters that are in the prompt's main script (Latin, Han, Cyrillic, ...).

    DeepSeek-R1 rewards the share of words in the target language; scripts are what can be told without a
    language model. 1 where the prompt or the response has no letters.
    """
    expected, found = _scripts(prompt), _scripts(response)
    if not expected or not found:
        return 1.0
    main = max(expected, key=lambda script: expected[script])
    return found.get(main, 0) / sum(found.values())


def _scripts(text: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    for character in text:
        if character.isalpha():
            script = unicodedata.name(character, "UNKNOWN").split()[0]
            counts[script] = counts.get(script, 0) + 1
    return counts
