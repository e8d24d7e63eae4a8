"""The math verifier on pairs chosen by kind: what must be equal, what must not, whatever the spelling."""

from __future__ import annotations

import pytest

from tests.verifiers.math_pairs import DIFFERENT, EQUAL
from verifiers import InputError, MathVerifier, Problem

WHOLE = MathVerifier("whole")
LENIENT = MathVerifier()


@pytest.mark.parametrize(("answer", "gold"), EQUAL)
def test_equal_answers_are_found_equal(answer: str, gold: str) -> None:
    assert WHOLE.verify(answer, gold).status == "correct"
    assert LENIENT.verify(f"So the final answer is $\\boxed{{{answer}}}$.", gold).status == "correct"


@pytest.mark.parametrize(("answer", "gold"), DIFFERENT)
def test_different_answers_are_never_found_equal(answer: str, gold: str) -> None:
    for verdict in (
        WHOLE.verify(answer, gold),
        LENIENT.verify(answer, gold),
        LENIENT.verify(f"So the final answer is $\\boxed{{{answer}}}$.", gold),
    ):
        assert verdict.status in ("incorrect", "no_answer"), verdict
        assert verdict.reward == -1.0
        assert verdict.detail


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("\\dfrac{1587}{52}", "30.52"),
        ("\\frac{27}{59}", "0.458"),
        ("20:3", "6.67"),
        ("6 \\frac{1}{64}", "6.01"),
        ("\\frac{15840}{\\pi}", "5040"),
        ("\\sqrt{2}", "1.414"),
        ("-\\pi", "-3.14"),
    ],
)
def test_rounding_counts_only_when_asked_for(answer: str, gold: str) -> None:
    assert not WHOLE.verify(answer, gold).correct
    assert MathVerifier("whole", rounding=True).verify(answer, gold).correct


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("\\frac{1}{3}", "0.4"),
        ("\\sqrt{2}", "1.42"),
        ("42.4", "42"),
        ("31", "30"),
        ("1.41", "1.4142"),
        ("43", "42.0"),
        ("703", "700"),
        ("30.53", "30.52"),
    ],
)
def test_rounding_is_bound_to_the_digits_that_the_gold_shows(answer: str, gold: str) -> None:
    assert not MathVerifier("whole", rounding=True).verify(answer, gold).correct


def test_the_verdict_says_what_was_read_and_what_decided() -> None:
    verdict = LENIENT.verify("Thus $x = \\boxed{\\frac{2}{4}}$.", Problem(id="p", answer="1/2"))
    assert (verdict.reward, verdict.status, verdict.extracted) == (1.0, "correct", "\\frac{2}{4}")
    assert verdict.method == "exact_number"
    unread = LENIENT.verify("\\boxed{@@@} since we got 42 earlier", "42")
    assert (unread.status, unread.method) == ("no_answer", "unparsed")
    assert "@" in unread.detail


def test_what_cannot_be_told_is_wrong_and_says_so() -> None:
    verdict = WHOLE.verify("\\int_0^1 f(x) dx + \\int_1^2 f(x) dx", "\\int_0^2 f(x) dx")
    assert (verdict.status, verdict.method, verdict.reward) == ("incorrect", "undecided", -1.0)


def test_a_problem_without_gold_is_an_input_error() -> None:
    with pytest.raises(InputError, match="'p7' has no gold answer"):
        LENIENT.verify("42", Problem(id="p7"))
    with pytest.raises(InputError, match="unknown extraction 'boxd'"):
        MathVerifier("boxd")


def test_the_gold_may_be_a_whole_solution_or_a_json_list() -> None:
    assert LENIENT.verify("\\boxed{7}", "Adding, $3+4=\\boxed{7}$.").correct
    assert LENIENT.verify("A: 7", "3 + 4 = 7\n#### 7").correct
    assert LENIENT.verify("\\boxed{-1, 2}", '["2", "-1"]').correct
