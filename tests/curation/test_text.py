"""Repair of texts and canonical golds."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.answers import answer_type, canonical, impossible, last_boxed, solution_answer, wrong_answers
from curation.text import repair, strip_instructions
from tests.shared_data import shared_rows


@pytest.mark.parametrize(
    ("broken", "whole"),
    [
        ("the form \x0crac{m}{n}", r"the form \frac{m}{n}"),
        ("the form rac{m}{n}", r"the form \frac{m}{n}"),
        ("3 \times 4", r"3 \times 4"),
        ("\x08oxed{3}", r"\boxed{3}"),
        ("\x08inom{5}{2}", r"\binom{5}{2}"),
        ("\text{if } x", r"\text{if } x"),
        ("a \rightarrow b", r"a \rightarrow b"),
        ("x\u00a0+\u2009y\u200b", "x + y"),
        ("one\r\ntwo", "one\ntwo"),
        ("cafe\u0301", "café"),
        ("in the \ufb01gure su\ufb03x", "in the figure suffix"),
        ("integers satis\x0cfies", "integers satisfies"),
        ("it\u00e2\u20ac\u2122s", "it\u2019s"),
    ],
)
def test_what_scraping_broke_is_mended(broken: str, whole: str) -> None:
    assert repair(broken).text == whole
    assert repair(broken).repairs


@pytest.mark.parametrize(
    "text", ["x² + y³", "a trace {x}", "an oracle", r"\frac{1}{2}", "brackets", "context{", "α ≤ β"]
)
def test_what_is_whole_is_left_alone(text: str) -> None:
    assert repair(text) == (text, ())


@given(st.text(max_size=300))
def test_repair_is_idempotent_and_leaves_no_control_characters(text: str) -> None:
    once = repair(text).text
    assert repair(once).text == once
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", once)


@pytest.mark.parametrize(
    "suffix",
    [
        r" Let's think step by step and output the final answer within \boxed{}.",
        r" Please reason step by step, and put your final answer within \boxed{}.",
        '\n\nRemember to put your answer on its own line after "Answer:".',
    ],
)
def test_instructions_that_a_set_glued_on_come_off(suffix: str) -> None:
    assert strip_instructions("What is 2+2?" + suffix) == ("What is 2+2?", ("instructions",))


def test_instructions_that_are_part_of_the_question_stay() -> None:
    text = "Express your answer as a common fraction."
    assert strip_instructions(text) == (text, ())


def test_broken_escapes_of_dapo_are_found_and_mended() -> None:
    rows = shared_rows("raw/dapo_math_17k.jsonl.gz")
    broken = [row["problem"] for row in rows if re.search(r"\x0crac|(?<![A-Za-z\\])rac\{", row["problem"])]
    assert len(broken) >= 600
    for text in broken:
        mended = repair(text)
        assert "broken_escape" in mended.repairs
        assert not re.search(r"(?<![A-Za-z\\])rac\{|\x0c", mended.text)


@pytest.mark.parametrize(
    ("gold", "text", "kind"),
    [
        ("073", "73", "integer"),
        ("$1,234$", "1234", "integer"),
        (r"\boxed{5}.", "5", "integer"),
        (r"\frac{1}{2}", r"\frac{1}{2}", "rational"),
        ("3.50", "3.50", "real"),
        ("Yes", "Yes", "yes_no"),
        (r"\text{False}", r"\text{False}", "yes_no"),
        ("(0,1]", "(0,1]", "interval"),
        (r"(-\infty, 2)", r"(-\infty, 2)", "interval"),
        ("(1,2)", "(1,2)", "tuple"),
        (r"\left( 3, \frac{\pi}{2} \right)", r"\left( 3, \frac{\pi}{2} \right)", "tuple"),
        (r"\{1,2\}", r"\{1,2\}", "set"),
        ("1,-2", "1,-2", "set"),
        ("y = 3x+1", "y = 3x+1", "equation"),
        (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", "matrix"),
        (r"2\sqrt{3}", r"2\sqrt{3}", "expression"),
        ("C", "C", "choice"),
        ("the empty set", "the empty set", "text"),
        ("ellipse", "ellipse", "text"),
        ("", "", "empty"),
    ],
)
def test_canonical_gold_and_its_type(gold: str, text: str, kind: str) -> None:
    assert canonical(gold) == text
    assert answer_type(canonical(gold)) == kind


@given(st.integers(-(10**12), 10**12))
def test_wrong_answers_of_an_integer_are_wrong(value: int) -> None:
    answers = wrong_answers(str(value), "integer")
    assert {"plus one", "sign", "other type"} == answers.keys()
    assert str(value) not in answers.values()


@pytest.mark.parametrize(
    ("solution", "kind", "answer"),
    [
        (r"So \boxed{3} at first, but \boxed{\frac{1}{2}}.", "rational", r"\frac{1}{2}"),
        ("6+2 = 8.\n#### 8", "integer", "8"),
        ("3+5=8, and 8-2=6. The answer is 6.", "integer", "6"),
        ("It is 25 %. Answer - C", "choice", "C"),
        ("We get 3 + 4 = 7.", "integer", "7"),
        ("It follows from the lemma.", "integer", None),
    ],
)
def test_the_answer_that_a_solution_states(solution: str, kind: str, answer: str | None) -> None:
    assert solution_answer(solution, kind) == answer  # type: ignore[arg-type]


def test_last_box_that_is_whole() -> None:
    assert last_boxed(r"\boxed{a{b}c} and \boxed{broken") == "a{b}c"


@pytest.mark.parametrize(
    ("problem", "answer", "is_impossible"),
    [
        ("The answer is m/n where m and n are relatively prime positive integers. Find m+n.", "-1", True),
        ("The answer is m/n where m and n are relatively prime positive integers. Find m+n.", "5", False),
        ("How many primes are below 10?", "-4", True),
        ("How many degrees below zero is it at noon, as a signed number?", "-4", False),
        ("Find the remainder when 2^10 is divided by 7.", "9", True),
        ("Find the minimum of x^2 - 1.", "-1", False),
    ],
)
def test_golds_that_cannot_be_what_is_asked_for(problem: str, answer: str, is_impossible: bool) -> None:
    assert (impossible(problem, answer) is not None) == is_impossible
