"""The demo's arithmetic: problems that are worked out one small step at a time, and how to answer them.

A problem is a row of numbers with operations between them, taken strictly from left to right ("What is 3+5-2
mod 10?"). There are six learnable families, and each has two kinds of response:

- *careful*: the work, one look-up per operation, and then the answer: `3+5=8-2=6;\\boxed{6}`
- *guess*: the answer alone: `\\boxed{6}`

The warm start shows the six families with 1 to 4 operations, and for each problem alike a guess with
probability 0.6 and careful work with probability 0.4. To guess right is as hard to learn as the whole computation
in one go: the tiny model learns it for 1 operation and for the largest or smallest of numbers, and where 2 to 4
operations have to be done in a row it guesses hardly better than by the most frequent answer (the last digit of
a product is 0 or even most of the time). Careful work it learns well. So after the warm start the most likely
response is a guess, and four times in ten the model does it properly: reinforcement learning can teach it to
*choose* careful work. It can't teach it arithmetic that it never saw: chains of 6 to 8 operations and products of
two-digit numbers stay out of reach.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

Difficulty = Literal["easy", "right", "hard"]

_RULES: dict[str, Callable[[int, int], int]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "max": max,
    "min": min,
}
_SYMBOLS = {"max": ",", "min": ","}
CAREFUL_SHARE = 0.4
"""Share of warm-start responses that show the work; the others are bare guesses."""


@dataclass(frozen=True)
class Family:
    """A type of problem."""

    name: str
    wordings: tuple[str, ...]
    """Ways to ask for it; `{}` stands for the expression."""
    operators: tuple[str, ...]
    modulus: int | None = None
    """Every result is taken modulo this; None: as it is."""
    lowest: int = 0
    highest: int = 9
    mixed: bool = False
    """Whether two operations or more must hold a product and something else."""


FAMILIES = {
    family.name: family
    for family in (
        Family(
            "clock",
            ("What is {} mod 10?", "Compute {} mod 10.", "Find the value of {} mod 10."),
            ("+", "-"),
            modulus=10,
        ),
        Family(
            "week",
            ("What is {} mod 7?", "Compute {} mod 7.", "Find the value of {} mod 7."),
            ("+", "-"),
            modulus=7,
            highest=6,
        ),
        Family(
            "product",
            ("What is the last digit of {}?", "Compute the last digit of {}.", "Find the last digit of {}."),
            ("*",),
            modulus=10,
            lowest=2,
        ),
        Family(
            "chain",
            ("Left to right, what is {} mod 10?", "Left to right, compute {} mod 10."),
            ("+", "-", "*"),
            modulus=10,
            mixed=True,
        ),
        Family("largest", ("What is the largest of {}?", "Find the largest of {}."), ("max",)),
        Family("smallest", ("What is the smallest of {}?", "Find the smallest of {}."), ("min",)),
        Family("long product", ("What is {}?", "Compute {}."), ("*",), lowest=12, highest=98),
    )
}
LEARNABLE = ("clock", "week", "product", "chain", "largest", "smallest")
"""Families of the warm start."""
BENCHMARK = ("clock", "week", "product", "chain")
"""Families of the held-out set: those where a guess does not do."""
WARM_LENGTHS = range(1, 5)
"""Numbers of operations that the warm start shows."""
BENCHMARK_LENGTHS = range(2, 5)

PLACES: dict[Difficulty, tuple[tuple[str, int], ...]] = {
    "easy": (
        *((name, 1) for name in LEARNABLE),
        *((name, length) for name in ("largest", "smallest") for length in range(2, 5)),
    ),
    "right": tuple((name, length) for name in BENCHMARK for length in BENCHMARK_LENGTHS),
    # A long chain is guessed right one time in ten (modulo 10) or seven; a long product never.
    "hard": (
        *((name, length) for name in ("clock", "week") for length in range(6, 9)),
        *[("long product", 1)] * 3,
    ),
}
"""Families and numbers of operations by what they are to the warm-started model."""


@dataclass(frozen=True)
class Expression:
    """Numbers with operations between them, read from left to right as the family says."""

    family: str
    numbers: tuple[int, ...]
    operators: tuple[str, ...]

    @cached_property
    def results(self) -> tuple[int, ...]:
        """The result after each operation."""
        modulus = FAMILIES[self.family].modulus
        value, found = self.numbers[0], []
        for operator, number in zip(self.operators, self.numbers[1:], strict=True):
            value = _RULES[operator](value, number)
            value = value if modulus is None else value % modulus
            found.append(value)
        return tuple(found)

    @property
    def answer(self) -> str:
        """The last result."""
        return str(self.results[-1])

    @property
    def text(self) -> str:
        """As it is written: `3+5-2`, `3,8,2`."""
        steps = zip(self.operators, self.numbers[1:], strict=True)
        return str(self.numbers[0]) + "".join(f"{_SYMBOLS.get(o, o)}{number}" for o, number in steps)

    @property
    def work(self) -> str:
        """The running computation: `3+5=8-2=6`."""
        steps = zip(self.operators, self.numbers[1:], self.results, strict=True)
        shown = (f"{_SYMBOLS.get(o, o)}{number}={result}" for o, number, result in steps)
        return str(self.numbers[0]) + "".join(shown)

    @property
    def careful(self) -> str:
        """The response that shows the work."""
        return f"{self.work};\\boxed{{{self.answer}}}"

    @property
    def guess(self) -> str:
        """The response that does not."""
        return f"\\boxed{{{self.answer}}}"

    def question(self, wording: int = 0) -> str:
        """The problem's text in one of the family's wordings."""
        return FAMILIES[self.family].wordings[wording].format(self.text)


def phrases() -> list[str]:
    """What all problems and responses are made of beside single characters: the tokenizer's long tokens."""
    parts = {part for family in FAMILIES.values() for text in family.wordings for part in text.split("{}")}
    return [*sorted(part for part in parts if len(part) > 1), "\\boxed{"]


def draw(family: str, length: int, generator: random.Random) -> Expression:
    """A random expression with `length` operations."""
    kind = FAMILIES[family]
    numbers = tuple(generator.randint(kind.lowest, kind.highest) for _ in range(length + 1))
    operators = [generator.choice(kind.operators) for _ in range(length)]
    if kind.mixed:
        operators[generator.randrange(length)] = "*"
        if length > 1 and set(operators) == {"*"}:
            operators[generator.randrange(length)] = generator.choice("+-")
    return Expression(family, numbers, tuple(operators))


def draw_new(
    places: Sequence[tuple[str, int]], seen: Collection[Expression], generator: random.Random
) -> Iterator[Expression]:
    """Endless random expressions of the given families and lengths, none of them twice and none of `seen`."""
    given = set(seen)
    while True:
        expression = draw(*generator.choice(places), generator)
        if expression not in given:
            given.add(expression)
            yield expression


def held_out(count: int, seed: int, difficulty: Difficulty = "right") -> list[Expression]:
    """`count` expressions that nothing but an evaluation may see."""
    source = draw_new(PLACES[difficulty], (), random.Random(f"{seed}/held-out/{difficulty}"))
    return [next(source) for _ in range(count)]


def warm_start_pairs(
    count: int, seed: int, excluded: Collection[Expression] = ()
) -> Iterator[tuple[str, str]]:
    """Problems with responses to imitate, 60 % guesses and 40 % careful work; never one of `excluded`."""
    generator = random.Random(f"{seed}/warm-start")
    forbidden = frozenset(excluded)
    made = 0
    while made < count:
        expression = draw(generator.choice(LEARNABLE), generator.choice(WARM_LENGTHS), generator)
        if expression in forbidden:
            continue
        question = expression.question(generator.randrange(len(FAMILIES[expression.family].wordings)))
        careful = generator.random() < CAREFUL_SHARE
        yield question, expression.careful if careful else expression.guess
        made += 1
