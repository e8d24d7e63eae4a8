"""The integer transform: every shape, and the round trip that catches a wrong form."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.integers import IntegerForm, follows, integer_form, parse_proposal, transform
from curation.row import Row
from curation.uniqueness import settled
from verifiers import get_verifier

VERIFIER = get_verifier("math")


@pytest.mark.parametrize(
    ("gold", "answer", "form"),
    [
        (r"\frac{3}{4}", 7, r"\frac{m}{n}"),
        (r"-\frac{6}{8}", 7, r"-\frac{m}{n}"),
        (r"\frac12", 3, r"\frac{m}{n}"),
        ("7/21", 4, r"\frac{m}{n}"),
        (r"\frac{3\sqrt{5}}{2}", 10, r"\frac{k\sqrt{m}}{n}"),
        (r"\frac{2\pi}{3}", 5, r"\frac{m}{n} \pi"),
        (r"2\sqrt{6}", 8, r"k\sqrt{m}"),
        (r"\sqrt{12}", 5, r"k\sqrt{m}"),
        (r"11-2\sqrt{6}", 19, r"k - m\sqrt{n}"),
        (r"-3+\sqrt{2}", 6, r"-k + m\sqrt{n}"),
        (r"5\pi", 5, r"k\pi"),
        ("(1, -2, 4)", 3, "(a_{1}, a_{2}, a_{3})"),
        (r"45^\circ", 45, "k"),
        (r"20\text{ square units}", 20, "k"),
    ],
)
def test_shapes_that_rules_do(gold: str, answer: int, form: str) -> None:
    found = integer_form(gold)
    assert found is not None
    assert (found.answer, found.form) == (answer, form)
    assert follows(found, gold, VERIFIER)


@pytest.mark.parametrize(
    "gold", ["x+1", "0.333", r"\sqrt{4}", r"\frac{4}{2}", "Yes", r"\frac{1}{0}", "[0,1)", "e"]
)
def test_shapes_that_rules_do_not(gold: str) -> None:
    assert integer_form(gold) is None


@given(st.integers(-500, 500).filter(bool), st.integers(2, 500))
def test_a_fraction_gives_the_sum_in_lowest_terms(top: int, bottom: int) -> None:
    value = Fraction(top, bottom)
    found = integer_form(f"\\frac{{{top}}}{{{bottom}}}")
    if value.denominator == 1:
        assert found is None
    else:
        assert found is not None
        assert found.answer == abs(value.numerator) + value.denominator


def test_a_form_that_is_not_the_gold_fails_the_round_trip() -> None:
    wrong = IntegerForm(r"\frac{m}{n}", (("m", 3), ("n", 5)), "where ...", r"\frac{3}{5}")
    assert not follows(wrong, r"\frac{3}{4}", VERIFIER)


def test_the_original_is_kept_and_the_question_extended() -> None:
    row = Row(0, "s:1", "s", "What is half of one?", r"\frac{1}{2}")
    form = integer_form(r"\frac{1}{2}")
    assert form is not None
    transform(row, form)
    assert row.answer == "3"
    assert row.problem.startswith("What is half of one? The answer can be written in the form $\\frac{m}{n}$")
    assert row.problem.endswith("Find $m + n$.")
    assert row.original == {"problem": "What is half of one?", "gold": r"\frac{1}{2}"}


def test_a_models_proposal_is_read_and_must_still_pass() -> None:
    reply = (
        'Sure: {"form": "k\\\\pi+m", "numbers": {"k": 75, "m": 100}, "condition": "where k, m are integers"}'
    )
    form = parse_proposal(reply)
    assert form is not None
    assert (form.answer, form.filled) == (175, r"75\pi+100")
    assert follows(form, r"100+75\pi", VERIFIER)
    assert not follows(form, r"100+74\pi", VERIFIER)


@pytest.mark.parametrize(
    "reply",
    [
        "no idea",
        '{"form": "k", "numbers": {}, "condition": ""}',
        '{"form": "k+k", "numbers": {"k": 1}, "condition": ""}',
        '{"form": "k+m", "numbers": {"k": 1}, "condition": ""}',
        '{"form": "k", "numbers": {"k": "1"}, "condition": ""}',
        '{"form": "k", "numbers": {"__import__": 1}, "condition": ""}',
    ],
)
def test_a_proposal_that_determines_nothing_is_refused(reply: str) -> None:
    assert parse_proposal(reply) is None


@pytest.mark.parametrize(
    ("form", "numbers", "unique"),
    [
        (r"\frac{m}{n}", {"m": 3, "n": 4}, True),
        (r"\frac{m}{n}", {"m": 6, "n": 8}, False),
        (r"k-\sqrt{n}", {"k": 11, "n": 24}, False),
        (r"\frac{a+b\sqrt{c}}{d}", {"a": 2, "b": 3, "c": 5, "d": 6}, True),
        (r"\frac{a+b\sqrt{c}}{d}", {"a": 2, "b": 4, "c": 5, "d": 6}, False),
        (r"k\ln m", {"k": 2, "m": 3}, True),
        (r"k\ln m", {"k": 1, "m": 9}, False),
        (r"\ln k + \ln m", {"k": 2, "m": 3}, False),
        (r"m^{n}", {"m": 2, "n": 6}, True),
        (r"m^{n}", {"m": 4, "n": 3}, False),
        (r"k \cdot m", {"k": 2, "m": 3}, False),
        (r"k + \frac{m}{n}", {"k": 3, "m": 1, "n": 2}, False),
        (r"\sqrt[3]{n}", {"n": 16}, False),
        (r"k+m\pi", {"k": 100, "m": 75}, True),
    ],
)
def test_integers_that_other_integers_could_replace_are_not_settled(
    form: str, numbers: dict[str, int], unique: bool
) -> None:
    assert settled(form, numbers) is unique


@given(st.integers(1, 60), st.integers(2, 60), st.integers(1, 60), st.integers(2, 60))
def test_two_settled_fractions_of_one_value_are_the_same(a: int, b: int, c: int, d: int) -> None:
    form = r"\frac{m}{n}"
    if settled(form, {"m": a, "n": b}) and settled(form, {"m": c, "n": d}) and a * d == b * c:
        assert (a, b) == (c, d)
