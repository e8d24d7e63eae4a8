"""The integer transform: a question with the answer 11-2√6 asks for k+m+n of k-m√n instead.

Yu et al. 2025 (DAPO, section 4.1) did this with a language model to get golds that any parser reads. Here rules
do the shapes that rules can do, any engine may be asked for the rest, and both pass the same round trip: the form
with its numbers filled in must be accepted as the original gold by the problem's verifier, and the integer must be
the sum of those numbers. The form is made unique (lowest terms, no square factor), so the integer follows from the
answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from math import gcd
from typing import Any, cast

from curation.gold import respond
from curation.row import Row
from curation.uniqueness import settled
from rollout import Engine, Sampling
from verifiers import Verifier

_FRAC = (
    r"\\[dtc]?frac\s*(?:\{(?P<top>[^{}]+(?:\{[^{}]*\})?[^{}]*)\}|(?P<top1>\d))"
    r"\s*(?:\{(?P<bottom>\d+)\}|(?P<bottom1>\d))"
)
_FRACTION = re.compile(rf"(?P<sign>-?)\s*(?:{_FRAC}|(?P<a>\d+)\s*/\s*(?P<b>\d+))")
_ROOT = r"\\sqrt\s*(?:\{(?P<root>\d+)\}|(?P<root1>\d))"
_RADICAL = re.compile(rf"(?P<sign>-?)(?P<times>\d*)\s*(?:\\cdot|\*)?\s*{_ROOT}")
_SUM = re.compile(rf"(?P<whole>-?\d+)\s*(?P<sign>[-+])\s*(?P<times>\d*)\s*{_ROOT}")
_SUM_REVERSED = re.compile(rf"(?P<sign>-?)(?P<times>\d*)\s*{_ROOT}\s*(?P<whole>[-+]\s*\d+)")
_PI = re.compile(r"(?P<sign>-?)(?P<times>\d*)\s*\\pi")
_UNIT = re.compile(
    r"(?P<number>-?\d+)\s*(?:\^\s*\{?\s*\\circ\s*\}?|°|\\%|%"
    r"|\\(?:text|mbox|mathrm)\s*\{\s*(?P<unit>[A-Za-z .]+?)\s*\}"
    r"(?:\^\{?(?P<power>[23])\}?)?)"
)
_TUPLE = re.compile(r"(?:\\left)?\s*\(\s*(?P<items>-?\d+(?:\s*,\s*-?\d+)+)\s*(?:\\right)?\s*\)")
_PRIME = "where $m$ and $n$ are relatively prime positive integers"
_SQUAREFREE = "is not divisible by the square of any prime"


@dataclass(frozen=True)
class IntegerForm:
    """A shape with named integers that equals a gold answer."""

    form: str
    """LaTeX of the shape, such as `\\frac{m}{n}`."""
    numbers: tuple[tuple[str, int], ...]
    """The named integers, in the order of the shape."""
    condition: str
    """What makes them unique, to be put behind the shape."""
    filled: str
    """LaTeX of the shape with the numbers in it."""

    @property
    def answer(self) -> int:
        """The sum that is asked for."""
        return sum(value for _, value in self.numbers)

    @property
    def request(self) -> str:
        """The sentence that is appended to the problem."""
        names = " + ".join(name for name, _ in self.numbers)
        if self.condition.startswith("Give"):
            return self.condition
        return f"The answer can be written in the form ${self.form}$, {self.condition}. Find ${names}$."


def _root_of(match: re.Match[str]) -> tuple[int, int]:
    """A root as (factor, square-free rest); (0, 0) when it is too large to be reduced here."""
    rest = int(match["root"] or match["root1"])
    if rest > 10**8:
        return 0, 0
    factor, prime = 1, 2
    while prime * prime <= rest:
        while rest % (prime * prime) == 0:
            rest //= prime * prime
            factor *= prime
        prime += 1
    return factor, rest


def _fraction(top: int, bottom: int, negative: bool, tail: str = "") -> IntegerForm | None:
    if bottom == 0 or top == 0:
        return None
    common = gcd(top, bottom)
    top, bottom = top // common, bottom // common
    if bottom == 1:
        return None
    sign = "-" if negative else ""
    return IntegerForm(
        f"{sign}\\frac{{m}}{{n}}{tail}",
        (("m", top), ("n", bottom)),
        _PRIME,
        f"{sign}\\frac{{{top}}}{{{bottom}}}{tail}",
    )


def _of_fraction(text: str) -> IntegerForm | None:
    match = _FRACTION.fullmatch(text)
    if match is None:
        return None
    negative = match["sign"] == "-"
    if match["a"]:
        return _fraction(int(match["a"]), int(match["b"]), negative)
    top, bottom = match["top"] or match["top1"], int(match["bottom"] or match["bottom1"])
    if re.fullmatch(r"-?\d+", top):
        return _fraction(abs(int(top)), bottom, negative != top.startswith("-"))
    if pi := _PI.fullmatch(top):
        return _fraction(int(pi["times"] or 1), bottom, negative != (pi["sign"] == "-"), " \\pi")
    if radical := _RADICAL.fullmatch(top):
        factor, rest = _root_of(radical)
        times = int(radical["times"] or 1) * factor
        if not times or rest == 1 or bottom == 0:
            return None
        common = gcd(times, bottom)
        times, bottom = times // common, bottom // common
        sign = "-" if negative != (radical["sign"] == "-") else ""
        if bottom == 1:
            return None
        return IntegerForm(
            f"{sign}\\frac{{k\\sqrt{{m}}}}{{n}}",
            (("k", times), ("m", rest), ("n", bottom)),
            "where $k$, $m$ and $n$ are positive integers, $k$ and $n$ are relatively prime, "
            f"and $m$ {_SQUAREFREE}",
            f"{sign}\\frac{{{times}\\sqrt{{{rest}}}}}{{{bottom}}}",
        )
    return None


def _of_radical(text: str) -> IntegerForm | None:
    match = _RADICAL.fullmatch(text)
    if match is None:
        return None
    factor, rest = _root_of(match)
    times = int(match["times"] or 1) * factor
    if not times or rest == 1:
        return None
    return IntegerForm(
        f"{match['sign']}k\\sqrt{{m}}",
        (("k", times), ("m", rest)),
        f"where $k$ and $m$ are positive integers and $m$ {_SQUAREFREE}",
        f"{match['sign']}{times}\\sqrt{{{rest}}}",
    )


def _of_sum(text: str) -> IntegerForm | None:
    match = _SUM.fullmatch(text) or _SUM_REVERSED.fullmatch(text)
    if match is None:
        return None
    factor, rest = _root_of(match)
    times, whole = int(match["times"] or 1) * factor, int(match["whole"].replace(" ", ""))
    if not times or rest == 1 or whole == 0:
        return None
    sign, minus = ("-" if match["sign"] == "-" else "+"), ("-" if whole < 0 else "")
    return IntegerForm(
        f"{minus}k {sign} m\\sqrt{{n}}",
        (("k", abs(whole)), ("m", times), ("n", rest)),
        f"where $k$, $m$ and $n$ are positive integers and $n$ {_SQUAREFREE}",
        f"{whole}{sign}{times}\\sqrt{{{rest}}}",
    )


def _of_pi(text: str) -> IntegerForm | None:
    match = _PI.fullmatch(text)
    if match is None:
        return None
    times = int(match["times"] or 1)
    sign = match["sign"]
    return IntegerForm(
        f"{sign}k\\pi", (("k", times),), "where $k$ is a positive integer", f"{sign}{times}\\pi"
    )


def _of_tuple(text: str) -> IntegerForm | None:
    match = _TUPLE.fullmatch(text)
    if match is None:
        return None
    items = [int(item) for item in match["items"].split(",")]
    names = [f"a_{{{index}}}" for index in range(1, len(items) + 1)]
    return IntegerForm(
        f"({', '.join(names)})",
        tuple(zip(names, items, strict=True)),
        "where all entries are integers",
        f"({match['items']})",
    )


def _of_unit(text: str) -> IntegerForm | None:
    match = _UNIT.fullmatch(text)
    if match is None:
        return None
    unit = match["unit"] or ("percent" if "%" in text else "degrees")
    unit = {"2": "square ", "3": "cubic "}.get(match["power"] or "", "") + unit
    number = int(match["number"])
    return IntegerForm("k", (("k", number),), f"Give the number of {unit} as an integer.", text)


def integer_form(gold: str) -> IntegerForm | None:
    """The integer form of a canonical gold answer, by rules; None where its shape is none that rules do."""
    text = re.sub(r"\\[,;!]|\s+", " ", gold).strip()
    for shape in (_of_fraction, _of_radical, _of_sum, _of_pi, _of_unit, _of_tuple):
        found = shape(text)
        if found is not None:
            return found
    return None


def follows(form: IntegerForm, gold: str, verifier: Verifier) -> bool:
    """The round trip: the filled form is the gold, the gold is the filled form, and no other integers fit it."""
    if not settled(form.form, dict(form.numbers)):
        return False
    there = verifier.verify(respond(form.filled), gold).correct
    return bool(there and verifier.verify(respond(gold), form.filled).correct)


def transform(row: Row, form: IntegerForm) -> None:
    """Ask for the form's integer in place of the gold; the original stays beside it."""
    row.original.setdefault("problem", row.problem)
    row.original["gold"] = row.answer or ""
    text = row.problem.rstrip()
    row.problem = f"{text}{'' if text.endswith(('.', '?', '!', '$', ']', ')')) else '.'} {form.request}"
    row.answer, row.answer_type = str(form.answer), "integer"
    row.facts["integer_form"] = {"form": form.form, "filled": form.filled, **dict(form.numbers)}


PROMPT = """A question has the answer below. Describe the answer as a LaTeX form with named positive integers,
so that the integers are determined by the answer (lowest terms, no square factors under a root).
Reply with one JSON object and nothing else:
{"form": "k-m\\\\sqrt{n}", "numbers": {"k": 11, "m": 2, "n": 6}, "condition": "where k, m and n are positive
integers and n is not divisible by the square of any prime"}

Answer: GOLD"""


def ask_model(golds: Sequence[str], engine: Engine, max_tokens: int = 512) -> list[IntegerForm | None]:
    """Integer forms of golds that rules don't do, as a chat model proposes them; unchecked, see `follows`."""
    prompts = [[{"role": "user", "content": PROMPT.replace("GOLD", gold)}] for gold in golds]
    forms: list[IntegerForm | None] = [None] * len(golds)
    stream = engine.generate(prompts, 1, Sampling(temperature=0, max_tokens=max_tokens))
    with closing(cast("Generator[Any]", stream)):
        for completion in stream:
            forms[completion.prompt_index] = parse_proposal(completion.text)
    return forms


def parse_proposal(text: str) -> IntegerForm | None:
    """The form that a model's reply describes; None where the reply is not one."""
    start, end = text.find("{"), text.rfind("}")
    try:
        value = json.loads(text[start : end + 1])
        form, numbers, condition = str(value["form"]), dict(value["numbers"]), str(value["condition"])
    except (ValueError, KeyError, TypeError):
        return None
    # e and i are constants.
    if not numbers or not all(re.fullmatch(r"[a-df-hj-z]", name) for name in numbers):
        return None
    if not all(type(number) is int and abs(number) < 10**12 for number in numbers.values()):
        return None
    filled = form
    for name, number in numbers.items():
        filled, count = re.subn(rf"(?<![\\a-zA-Z]){name}(?![a-zA-Z])", str(number), filled)
        if count != 1:
            return None
    if (
        re.search(r"(?<![\\a-zA-Z])[a-df-hj-z](?![a-zA-Z])", filled)
        or len(condition) > 300
        or len(form) > 200
    ):
        return None
    return IntegerForm(form, tuple(numbers.items()), condition.rstrip("."), filled)
