"""The demo's problems: every gold is right, and nothing held out is anywhere else."""

from __future__ import annotations

import ast
import json
import operator
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.files import read_jsonl
from rlvr.quickstart.scrape import KINDS, SHARES, SOUND_SHARES, write_scrape
from rlvr.quickstart.tasks import (
    FAMILIES,
    LEARNABLE,
    PLACES,
    WARM_LENGTHS,
    Expression,
    draw,
    held_out,
    phrases,
    warm_start_pairs,
)
from verifiers import MathVerifier

ROWS, HELD_OUT = 1000, 100
SOUND_KINDS = {*SOUND_SHARES, "exact copy", "other wording", "held-out item"}
_OPERATIONS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul}
places = st.sampled_from(sorted({place for some in PLACES.values() for place in some}))
randoms = st.randoms(use_true_random=False)


def evaluate(node: ast.expr) -> int:
    """Arithmetic by Python's own parser, which knows nothing of the demo's classes."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return node.value
    assert isinstance(node, ast.BinOp)
    return int(_OPERATIONS[type(node.op)](evaluate(node.left), evaluate(node.right)))


def answer_of(question: str) -> int:
    """The answer of a problem text, read from its words."""
    shown = re.search(r"\d[\d+*,-]*\d", question)
    assert shown is not None
    if "," in shown.group() and ("largest" in question or "smallest" in question):
        numbers = [int(number) for number in shown.group().split(",")]
        return max(numbers) if "largest" in question else min(numbers)
    text = shown.group()
    if "left to right" in question.lower():
        pieces = re.findall(r"[-+*]?\d+", text)
        text = "(" * len(pieces) + ")".join(pieces) + ")"
    value = evaluate(ast.parse(text, mode="eval").body)
    if "last digit" in question:
        return value % 10
    modulus = re.search(r"mod (\d+)", question)
    return value % int(modulus.group(1)) if modulus else value


@given(places, randoms)
def test_answer_of_every_wording_is_what_python_computes(place: tuple[str, int], random) -> None:
    expression = draw(*place, random)
    for question in wordings_of(expression):
        assert answer_of(question) == int(expression.answer)


@given(places, randoms)
def test_both_kinds_of_response_are_right_for_the_math_verifier(place: tuple[str, int], random) -> None:
    expression = draw(*place, random)
    for response in (expression.careful, expression.guess):
        assert MathVerifier().verify(response, expression.answer).correct
    assert not MathVerifier().verify(expression.careful, str(int(expression.answer) + 1)).correct


@given(places, randoms)
def test_every_step_of_the_work_follows_from_the_one_before(place: tuple[str, int], random) -> None:
    expression = draw(*place, random)
    family = FAMILIES[expression.family]
    value, *steps = re.split(r"(?=[-+*,])", expression.work)
    for step in steps:
        shown = re.fullmatch(r"([-+*,])(\d+)=(\d+)", step)
        assert shown is not None
        if shown.group(1) == ",":
            found = (max if expression.family == "largest" else min)(int(value), int(shown.group(2)))
        else:
            found = evaluate(ast.parse(f"{value}{shown.group(1)}{shown.group(2)}", mode="eval").body)
        assert int(shown.group(3)) == (found % family.modulus if family.modulus else found)
        value = shown.group(3)
    assert value == expression.answer


def wordings_of(expression: Expression) -> list[str]:
    return [expression.question(at) for at in range(len(FAMILIES[expression.family].wordings))]


def test_warm_start_shows_no_held_out_problem_and_only_what_it_says() -> None:
    benchmark = held_out(400, seed=0)
    assert len(set(benchmark)) == 400
    forbidden = {question for item in benchmark for question in wordings_of(item)}
    pairs = list(warm_start_pairs(20_000, 0, benchmark))
    assert not forbidden & {prompt for prompt, _ in pairs}
    careful = sum(not response.startswith("\\boxed") for _, response in pairs) / len(pairs)
    assert careful == pytest.approx(0.4, abs=0.015)
    lengths = {len(re.findall(r"(?<=\d)[-+*,](?=\d)", prompt)) for prompt, _ in pairs}
    assert lengths == set(WARM_LENGTHS)
    assert not any(family == "long product" for family in LEARNABLE)


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Expression], dict[str, int]]:
    folder = tmp_path_factory.mktemp("raw")
    benchmark = held_out(HELD_OUT, seed=3)
    return folder, benchmark, dict(write_scrape(folder, ROWS, benchmark, seed=3))


def test_raw_file_holds_each_defect_in_its_share(
    scraped: tuple[Path, list[Expression], dict[str, int]],
) -> None:
    folder, _, counts = scraped
    assert sum(counts.values()) == ROWS == len((folder / "problems.jsonl").read_text().splitlines())
    assert Counter(row["kind"] for row in read_jsonl(folder / "truth.jsonl")) == {
        kind: count for kind, count in counts.items() if count
    }
    for kind, share in SHARES.items():
        assert counts[kind] == pytest.approx(share * ROWS, abs=1), kind
    sound = sum(counts[kind] for kind in SOUND_SHARES)
    for kind, share in SOUND_SHARES.items():
        # A copy that comes first in the file counts as the sound line, so the sum is exact and this is not.
        assert counts[kind] == pytest.approx(share * sound, abs=2), kind


def test_raw_lines_are_what_the_truth_says(
    scraped: tuple[Path, list[Expression], dict[str, int]],
) -> None:
    folder, benchmark, _ = scraped
    held = {question for item in benchmark for question in wordings_of(item)}
    seen: set[str] = set()
    golds: dict[str, set[str]] = {}
    lines = (folder / "problems.jsonl").read_text().splitlines()
    for line, truth in zip(lines, read_jsonl(folder / "truth.jsonl"), strict=True):
        kind = truth["kind"]
        if kind == "unreadable":
            with pytest.raises((ValueError, KeyError)):
                json.loads(line)["problem"]
            continue
        row = json.loads(line)
        question, gold = row["problem"], str("" if row.get("answer") is None else row["answer"]).strip("$")
        assert (question in held) == (kind == "held-out item")
        if kind in SOUND_KINDS:
            assert answer_of(question) == int(gold), row
            assert (line in seen) == (kind == "exact copy")
        elif kind == "gold missing":
            assert gold == ""
        elif kind.startswith("wrong gold"):
            assert answer_of(question) != int(gold)
            assert ("solution" in row) == (kind == "wrong gold, solution disagrees")
        elif kind == "multiple choice":
            assert gold in "ABCD"
            assert "options" in row or "(A)" in question
        elif kind == "yes or no":
            assert gold in ("yes", "no")
        else:
            golds.setdefault(question, set()).add(gold)
        seen.add(line)
    assert golds
    assert all(len(found) == 2 for found in golds.values())


def test_raw_file_does_not_tell_what_is_planted(
    scraped: tuple[Path, list[Expression], dict[str, int]],
) -> None:
    text = (scraped[0] / "problems.jsonl").read_text()
    assert not any(kind in text for kind in KINDS if " " in kind)
    fields = Counter(name for line in text.splitlines() if line.endswith("}") for name in json.loads(line))
    assert set(fields) == {"problem", "answer", "solution", "options"}


def test_same_seed_makes_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    made = []
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        write_scrape(tmp_path / name, 300, held_out(40, seed), seed)
        made.append((tmp_path / name / "problems.jsonl").read_bytes())
    assert made[0] == made[1] != made[2]


def test_problems_beyond_the_warm_start_are_of_kinds_that_it_never_shows() -> None:
    pairs = warm_start_pairs(5_000, 0)
    shown = {re.sub(r"\d", "#", prompt) for prompt, _ in pairs}
    beyond = {
        re.sub(r"\d", "#", question) for item in held_out(100, 0, "hard") for question in wordings_of(item)
    }
    assert not shown & beyond


def test_phrases_make_up_every_wording() -> None:
    known = phrases()
    for family in FAMILIES.values():
        for wording in family.wordings:
            for part in wording.split("{}"):
                assert len(part) < 2 or part in known
