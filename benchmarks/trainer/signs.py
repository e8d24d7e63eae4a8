"""A task with many right ways and a rare good habit: choose signs until the total is the target.

    4=312:   ->   +33+14+21/-32+13-21/+33-12+24#     (sign, number, running total; totals modulo 5)

A response makes attempts; each gives every number a sign and writes the running total. After an attempt it ends
with `#`, which hands that attempt in, or goes on with `/` and a new one. The hand-in is right when its signs make
the target, whatever totals were written. Chance makes it about one time in four, so the reliable way is to look
at the total and try again, with other signs, as long as the limit of tokens allows. The warm start has that habit
rarely (`PERSISTENT`); more often it rambles between attempts (`RAMBLING`), which works too but fills the limit
with `~`, and mostly it hands in its first attempt whatever came out.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.trainer.toy import Lesson, taught_model
from verifiers import InputError, Problem, Verdict, register

MODULUS = 5
CHARACTERS = "01234+-=:/#~"
FEWEST, MOST = 3, 5
"""Numbers of a problem."""
MAX_TOKENS = 96
"""Limit of a response: nine attempts at three numbers, six at five."""
LONGEST_TAUGHT = 130
PERSISTENT, RAMBLING = 0.05, 0.4
"""Shares of the taught responses that try again, and that try again after rambling."""
LONGEST_RAMBLE = 30
_STEP = re.compile(r"([+-])(\d)\d")


@dataclass(frozen=True, slots=True)
class Puzzle:
    """Numbers that signs are to be chosen for, and the total to reach."""

    numbers: tuple[int, ...]
    target: int

    @property
    def prompt(self) -> str:
        """As the model reads it: `4=312:`."""
        return f"{self.target}={''.join(map(str, self.numbers))}:"

    def attempt(self, signs: str) -> str:
        """The attempt with these signs, with its running totals."""
        total, text = 0, ""
        for number, sign in zip(self.numbers, signs, strict=True):
            total = (total + int(sign + str(number))) % MODULUS
            text += f"{sign}{number}{total}"
        return text

    def solved_by(self, signs: str) -> bool:
        """Whether these signs make the target."""
        return self.attempt(signs).endswith(str(self.target))


def read_prompt(prompt: str) -> Puzzle:
    """The puzzle of a prompt."""
    target, _, numbers = prompt.rstrip(":").partition("=")
    return Puzzle(tuple(map(int, numbers)), int(target))


def make_puzzle(generator: random.Random) -> Puzzle:
    """A puzzle that some signs solve."""
    numbers = tuple(generator.randrange(MODULUS) for _ in range(generator.randint(FEWEST, MOST)))
    attempt = Puzzle(numbers, 0).attempt(random_signs(len(numbers), generator))
    return Puzzle(numbers, int(attempt[-1]))


def random_signs(count: int, generator: random.Random) -> str:
    return "".join(generator.choice("+-") for _ in range(count))


def respond(puzzle: Puzzle, habit: str, generator: random.Random) -> str:
    """A response with one of the habits `give up`, `persist` and `ramble`; signs are drawn anew each time."""
    text = ""
    while True:
        signs = random_signs(len(puzzle.numbers), generator)
        text += puzzle.attempt(signs)
        if habit == "give up" or puzzle.solved_by(signs):
            return text + "#"
        text += ("~" * generator.randint(3, LONGEST_RAMBLE) if habit == "ramble" else "") + "/"


def make_pairs(count: int, seed: int, *, persistent: float, rambling: float) -> list[tuple[str, str]]:
    """Prompts and responses to learn from; the shares are of the responses."""
    generator = random.Random(seed)
    pairs: list[tuple[str, str]] = []
    while len(pairs) < count:
        puzzle, habit = make_puzzle(generator), generator.random()
        name = "persist" if habit < persistent else "ramble" if habit < persistent + rambling else "give up"
        response = respond(puzzle, name, generator)
        if len(response) < LONGEST_TAUGHT:
            pairs.append((puzzle.prompt, response))
    return pairs


def make_problems(count: int, seed: int, name: str) -> list[Problem]:
    """Problems to train or to be evaluated on; short puzzles are few, so some of them are among both."""
    generator = random.Random(f"{name}:{seed}")
    return [
        Problem(id=f"{name}-{number}", prompt=make_puzzle(generator).prompt, verifier=SignsVerifier().name)
        for number in range(count)
    ]


def attempts_of(response: str) -> list[str]:
    """The attempts of a response, in order: the text between what parts them."""
    return [part for part in re.split(r"[/~#]+", response) if part]


def wasted_characters(response: str) -> int:
    """Characters of a response that are junk: rambling, and attempts made before."""
    attempts = attempts_of(response)
    repeated = (attempt for place, attempt in enumerate(attempts) if attempt in attempts[:place])
    return response.count("~") + sum(map(len, repeated))


@register("signs")
@dataclass(frozen=True)
class SignsVerifier:
    """The attempt that is handed in has a sign for every number, in order, and makes the target."""

    name: str = field(default="signs", init=False)

    def verify(self, response: str, problem: Problem | str) -> Verdict:
        """Judge by the signs alone; a response without `#` hands nothing in. A string is the puzzle's prompt."""
        started = time.perf_counter()
        prompt = problem if isinstance(problem, str) else problem.prompt
        if not isinstance(prompt, str):
            raise InputError("a puzzle's prompt is text, such as 4=312:")
        puzzle = read_prompt(prompt)
        attempts = attempts_of(response)
        if not response.endswith("#") or response.count("#") > 1 or not attempts:
            return Verdict(
                reward=-1.0, status="no_answer", method="signs", seconds=time.perf_counter() - started
            )
        steps = _STEP.findall(attempts[-1])
        whole = len(attempts[-1]) == 3 * len(puzzle.numbers) == 3 * len(steps)
        same = whole and [int(number) for _, number in steps] == list(puzzle.numbers)
        right = same and puzzle.solved_by("".join(sign for sign, _ in steps))
        return Verdict(
            reward=1.0 if right else -1.0,
            status="correct" if right else "incorrect",
            extracted=attempts[-1],
            method="signs",
            seconds=time.perf_counter() - started,
        )


def warm_model(folder: Path, seed: int) -> Any:
    """The seed's warm-started model of this task, made once and kept in `folder`."""

    def lessons() -> Iterator[Lesson]:
        skill = make_pairs(30_000, seed, persistent=0.8, rambling=0.2)
        habits = make_pairs(10_000, seed + 1000, persistent=PERSISTENT, rambling=RAMBLING)
        yield skill, {"steps": 600, "batch_size": 32}
        yield habits, {"steps": 200, "batch_size": 64, "learning_rate": 1e-3}

    return taught_model(folder, seed, CHARACTERS, 256, lessons())
