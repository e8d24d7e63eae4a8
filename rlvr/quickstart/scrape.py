"""The demo's raw problem file as a scrape would leave it, and beside it the truth about every line.

The raw file tells nothing apart: the same fields everywhere, lines in random order. `truth.jsonl` names what each
line was planted as and which stage of the curation should end it, so that the demo can count what was caught.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from pydantic import JsonValue

from curation.files import atomic_write, write_jsonl
from rlvr.quickstart.tasks import FAMILIES, PLACES, Difficulty, Expression, draw_new

Kind = Literal[
    "right",
    "easy",
    "hard",
    "exact copy",
    "other wording",
    "multiple choice",
    "yes or no",
    "gold missing",
    "wrong gold, solution disagrees",
    "wrong gold, nothing beside it",
    "two golds for one problem",
    "unreadable",
    "held-out item",
]
KINDS: tuple[Kind, ...] = get_args(Kind)

SHARES: dict[Kind, float] = {
    "exact copy": 0.08,
    "other wording": 0.08,
    "multiple choice": 0.05,
    "yes or no": 0.05,
    "gold missing": 0.04,
    "wrong gold, solution disagrees": 0.04,
    "wrong gold, nothing beside it": 0.02,
    "two golds for one problem": 0.02,
    "unreadable": 0.01,
    "held-out item": 0.04,
}
"""Share of the raw lines that are planted as each kind of defect; the rest are sound problems."""

SOUND_SHARES: dict[Difficulty, float] = {"easy": 0.25, "right": 0.5, "hard": 0.25}
"""What the sound problems are to the warm-started model."""

EXPECTED_STAGE: dict[Kind, str] = {
    "right": "",
    "easy": "keep band",
    "hard": "keep band",
    "exact copy": "duplicates",
    "other wording": "duplicates",
    "multiple choice": "types",
    "yes or no": "types",
    "gold missing": "gold",
    "wrong gold, solution disagrees": "gold",
    "wrong gold, nothing beside it": "keep band",
    "two golds for one problem": "duplicates",
    "unreadable": "read",
    "held-out item": "decontamination",
}
"""The curation stage that should end a line of each kind; none for those to keep."""


@dataclass(frozen=True)
class RawLine:
    """A line of the raw file before it is written."""

    kind: Kind
    expression: Expression
    question: str
    text: str
    """The JSON line."""


def write_scrape(
    folder: Path,
    rows: int,
    benchmark: Sequence[Expression],
    seed: int,
    excluded: Sequence[Expression] = (),
) -> dict[Kind, int]:
    """Write `problems.jsonl` and `truth.jsonl` into `folder`; returns the number of lines of each kind.

    Args:
        folder: made if it is not there.
        rows: lines of the raw file.
        benchmark: held-out expressions; some are planted, and nothing else repeats one of them.
        seed: of everything random.
        excluded: further expressions that are in no line.
    """
    lines = make_lines(rows, benchmark, excluded, random.Random(f"{seed}/scrape"))
    folder.mkdir(parents=True, exist_ok=True)
    truth = (
        {"line": number, "kind": line.kind, "expected_stage": EXPECTED_STAGE[line.kind]}
        for number, line in enumerate(lines, 1)
    )
    write_jsonl(folder / "truth.jsonl", truth)
    atomic_write(folder / "problems.jsonl", "".join(f"{line.text}\n" for line in lines))
    return {kind: sum(line.kind == kind for line in lines) for kind in KINDS}


def make_lines(
    rows: int, benchmark: Sequence[Expression], excluded: Sequence[Expression], generator: random.Random
) -> list[RawLine]:
    """All lines in random order; of a problem and its copy, the copy is the one that comes later."""
    count = {kind: round(share * rows) for kind, share in SHARES.items()}
    count["two golds for one problem"] -= count["two golds for one problem"] % 2
    count["held-out item"] = min(count["held-out item"], len(benchmark))
    fresh = {name: draw_new(places, [*benchmark, *excluded], generator) for name, places in PLACES.items()}
    sound = _sound(rows - sum(count.values()), fresh, generator)
    copied = generator.sample(sound, count["exact copy"] + count["other wording"])
    exact, reworded = copied[: count["exact copy"]], copied[count["exact copy"] :]
    lines = [*sound, *exact, *(_other_wording(line, generator) for line in reworded)]
    for kind, make in _DEFECTS.items():
        lines += [make(kind, next(fresh["right"]), generator) for _ in range(count[kind])]
    for _ in range(count["two golds for one problem"] // 2):
        lines += _two_golds(next(fresh["right"]), generator)
    for expression in generator.sample(list(benchmark), count["held-out item"]):
        lines.append(_problem("held-out item", expression, generator))
    generator.shuffle(lines)
    return list(_label_copies(lines))


def _sound(
    rows: int, fresh: Mapping[Difficulty, Iterator[Expression]], generator: random.Random
) -> list[RawLine]:
    """Problems with nothing wrong about them."""
    count = {name: round(share * rows) for name, share in SOUND_SHARES.items()}
    count["right"] += rows - sum(count.values())
    return [
        _problem(name, next(fresh[name]), generator) for name, number in count.items() for _ in range(number)
    ]


def _label_copies(lines: Sequence[RawLine]) -> Iterator[RawLine]:
    """Give every later line of a problem that was copied the kind of copy that it is of the first."""
    first: dict[Expression, RawLine] = {}
    for line in lines:
        if line.kind not in SOUND_SHARES:
            yield line
            continue
        earlier = first.get(line.expression)
        if earlier is None:
            first[line.expression] = line
            yield line
        else:
            yield replace(line, kind="exact copy" if earlier.text == line.text else "other wording")


def _json(**fields: JsonValue) -> str:
    return json.dumps(fields, ensure_ascii=False)


def _question(expression: Expression, generator: random.Random) -> str:
    return expression.question(generator.randrange(len(FAMILIES[expression.family].wordings)))


def _spelled(answer: str, generator: random.Random) -> JsonValue:
    """A gold answer as scrapes have it: text mostly, sometimes a number or in dollars."""
    form = generator.random()
    return int(answer) if form < 0.1 else f"${answer}$" if form < 0.2 else answer


def _solution(expression: Expression) -> str:
    return f"Work: {expression.work}. The answer is {expression.answer}."


def _wrong(expression: Expression, generator: random.Random) -> str:
    """An answer of the right form that is not right."""
    modulus = FAMILIES[expression.family].modulus or 10
    return generator.choice([str(value) for value in range(modulus) if str(value) != expression.answer])


def _problem(kind: Kind, expression: Expression, generator: random.Random) -> RawLine:
    """A sound line; every other one has a solution text."""
    question = _question(expression, generator)
    fields: dict[str, JsonValue] = {"problem": question, "answer": _spelled(expression.answer, generator)}
    if generator.random() < 0.5:
        fields["solution"] = _solution(expression)
    return RawLine(kind, expression, question, _json(**fields))


def _other_wording(line: RawLine, generator: random.Random) -> RawLine:
    wordings = [wording.format(line.expression.text) for wording in FAMILIES[line.expression.family].wordings]
    question = generator.choice([wording for wording in wordings if wording != line.question])
    answer = _spelled(line.expression.answer, generator)
    return replace(line, question=question, text=_json(problem=question, answer=answer))


def _multiple_choice(kind: Kind, expression: Expression, generator: random.Random) -> RawLine:
    """Half of them with the options in the text, half with a field of their own."""
    modulus = FAMILIES[expression.family].modulus or 10
    others = [str(value) for value in range(modulus) if str(value) != expression.answer]
    options: list[JsonValue] = [expression.answer, *generator.sample(others, 3)]
    generator.shuffle(options)
    letter = "ABCD"[options.index(expression.answer)]
    question = _question(expression, generator)
    if generator.random() < 0.5:
        return RawLine(kind, expression, question, _json(problem=question, options=options, answer=letter))
    question += "".join(f" ({name}) {option}" for name, option in zip("ABCD", options, strict=True))
    return RawLine(kind, expression, question, _json(problem=question, answer=letter))


def _yes_or_no(kind: Kind, expression: Expression, generator: random.Random) -> RawLine:
    bound = generator.randrange(1, 6)
    asked = expression.question().replace("What is", "Is").replace("what is", "is")
    question = f"{asked.removesuffix('?')} greater than {bound}?"
    answer = "yes" if int(expression.answer) > bound else "no"
    return RawLine(kind, expression, question, _json(problem=question, answer=answer))


def _without_gold(kind: Kind, expression: Expression, generator: random.Random) -> RawLine:
    question = _question(expression, generator)
    missing: list[dict[str, JsonValue]] = [{}, {"answer": None}, {"answer": ""}]
    return RawLine(kind, expression, question, _json(problem=question, **generator.choice(missing)))


def _disagreeing(kind: Kind, expression: Expression, generator: random.Random) -> RawLine:
    question, wrong = _question(expression, generator), _wrong(expression, generator)
    text = _json(problem=question, answer=wrong, solution=_solution(expression))
    return RawLine(kind, expression, question, text)


def _silently_wrong(kind: Kind, expression: Expression, generator: random.Random) -> RawLine:
    question, wrong = _question(expression, generator), _wrong(expression, generator)
    return RawLine(kind, expression, question, _json(problem=question, answer=wrong))


def _unreadable(kind: Kind, expression: Expression, generator: random.Random) -> RawLine:
    """A line that breaks off, or one without its problem."""
    question = _question(expression, generator)
    whole = _json(problem=question, answer=expression.answer)
    broken = whole[: len(whole) // 2] if generator.random() < 0.5 else _json(answer=expression.answer)
    return RawLine(kind, expression, question, broken)


def _two_golds(expression: Expression, generator: random.Random) -> list[RawLine]:
    question = _question(expression, generator)
    golds = [expression.answer, _wrong(expression, generator)]
    return [
        RawLine("two golds for one problem", expression, question, _json(problem=question, answer=gold))
        for gold in golds
    ]


_DEFECTS: dict[Kind, Callable[[Kind, Expression, random.Random], RawLine]] = {
    "multiple choice": _multiple_choice,
    "yes or no": _yes_or_no,
    "gold missing": _without_gold,
    "wrong gold, solution disagrees": _disagreeing,
    "wrong gold, nothing beside it": _silently_wrong,
    "unreadable": _unreadable,
}
