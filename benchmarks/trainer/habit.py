"""A task of one choice: a common habit, wrong for most prompts, and rare right answers for all of them.

    17:  ->  d            one letter of `LETTERS`; which ones are right is drawn for each prompt

At the start the policy answers `HABIT` to every prompt nine times in ten, and every other letter hardly ever. What
is right for one prompt says nothing of another, so it can only be found by trying: a bandit with few arms for each
prompt, which leaves the model nothing to forget.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.trainer.contains import ContainsVerifier
from benchmarks.trainer.toy import Lesson, taught_model
from verifiers import Problem

LETTERS = "abcdefghijklmnop"
HABIT = LETTERS[0]
CHARACTERS = "0123456789:" + LETTERS
MAX_TOKENS = 1
PROMPTS = 32
MISLED = 24
"""Prompts for which the habit is wrong."""
RARE = 3
"""Right answers of each prompt beside the habit."""
HABITUAL = 0.9
"""Probability of the habit at the start; the other letters share the rest evenly."""


def make_problems(seed: int) -> list[Problem]:
    """The prompts of a seed; for the first `MISLED` of them the habit is wrong."""
    generator = random.Random(seed)
    problems = []
    for number in range(PROMPTS):
        right = generator.sample(LETTERS[1:], RARE) + [HABIT] * (number >= MISLED)
        answer = rf"\A[{''.join(sorted(right))}]\Z"
        problems.append(
            Problem(
                id=f"prompt-{number}",
                prompt=prompt_of(number),
                answer=answer,
                verifier=ContainsVerifier().name,
            )
        )
    return problems


def make_pairs(count: int, seed: int) -> list[tuple[str, str]]:
    """Prompts and responses of the policy that a run starts from."""
    generator = random.Random(seed)
    return [
        (
            prompt_of(generator.randrange(PROMPTS)),
            HABIT if generator.random() < HABITUAL else generator.choice(LETTERS[1:]),
        )
        for _ in range(count)
    ]


def prompt_of(number: int) -> str:
    return f"{number:02}:"


def warm_model(folder: Path, seed: int) -> Any:
    """The seed's warm-started model of this task, made once and kept in `folder`."""

    def lessons() -> Iterator[Lesson]:
        yield make_pairs(20_000, seed), {"steps": 200, "batch_size": 128}

    return taught_model(folder, seed, CHARACTERS, 16, lessons())
