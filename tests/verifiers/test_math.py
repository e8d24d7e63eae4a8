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


@pytest.mark.parametrize(
    ("prompt", "answer", "gold", "right"),
    [
        ("Factor $x^2-4$.", "x^2-4", "(x-2)(x+2)", False),
        ("Factor $x^2-4$.", "(x+2)(x-2)", "(x-2)(x+2)", True),
        ("Factorise the polynomial x^3 - 4x", "x(x^2-4)", "x(x-2)(x+2)", False),
        ("Factor completely: $2x^2-2$", "(2x-2)(x+1)", "2(x-1)(x+1)", True),
        ("Expand $(x+1)^2$.", "(x+1)^2", "x^2+2x+1", False),
        ("Expand $(x+1)^2$.", "x^2+2x+1", "x^2+2x+1", True),
        ("What is the sum of the prime factors of 12 as a polynomial?", "x^2-4", "(x-2)(x+2)", True),
        ("By what scale factor is it enlarged?", "x^2-4", "(x-2)(x+2)", True),
        # Without the question a factored gold stands for it; a count or a named polynomial does not.
        ("", "x^2-4", "(x-2)(x+2)", False),
        ("", "x^2-4=0", "(x-2)(x+2)=0", True),
        ("", "x^3-x^2-x+1", "(x-1)^2(x+1)", False),
        ("", "(x-1)(x^2-1)", "(x-1)^2(x+1)", True),
        ("", "x^2+2x+1", "(x+1)^2", True),
        ("", "x^2-3x", "x(x-3)", True),
        ("", "n^2-3n+2", "(n-1)(n-2)", True),
        ("", "x^2-4", "f(x)=(x-2)(x+2)", True),
    ],
)
def test_a_question_that_asks_for_a_form_gets_that_form(
    prompt: str, answer: str, gold: str, right: bool
) -> None:
    problem = Problem(id="p", prompt=prompt, answer=gold)
    verdict = LENIENT.verify(f"\\boxed{{{answer}}}", problem)
    assert verdict.correct is right
    assert right or verdict.method == "form"


@pytest.mark.parametrize(
    ("answer", "gold", "said"),
    [
        ("\\frac{2}{4}+x-x", "\\frac{1}{2}", "46 digits at 4 points"),
        ("\\sqrt{50}", "5\\sqrt{2}", "the same to 46 digits"),
        ("2\\ln x", "\\ln x^2", "only one of them is at x = -"),
        ("\\ln(x-10^7)+\\ln 2", "\\ln(2x-2\\cdot 10^7)", "proven symbolically"),
        ("\\frac{6}{4}\\cdot 2", "3", "exactly"),
    ],
)
def test_the_verdict_says_what_an_equality_rests_on(answer: str, gold: str, said: str) -> None:
    verdict = WHOLE.verify(answer, gold)
    assert verdict.correct
    assert said in verdict.detail


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        # Within 10^-30 of each other.
        ("e^{\\pi\\sqrt{163}}", "262537412640768744"),
        # The same where both letters have the same sign.
        ("\\sqrt{x^2y^2}", "xy"),
        # The same until a branch begins, or but for the jumps of a step.
        ("|x-1000|", "1000-x"),
        ("\\max(x,-1000)", "x"),
        ("\\sqrt{x^2-200x+10000}", "100-x"),
        ("\\lfloor x+\\frac15\\rfloor", "\\lceil x-\\frac45\\rceil"),
        # The same but at the squares.
        ("\\lfloor\\sqrt{n}\\rfloor", "\\lfloor\\sqrt{n-1}\\rfloor"),
        # True of everything, and of nothing.
        ("x+1=x+2", "x+1=x+3"),
        ("x+y<x+y+1", "x+y<x+y+2"),
        # Another index is another constant.
        ("y=c_1e^x+c_3e^{-x}", "y=c_1e^x+c_2e^{-x}"),
        # Only the first of two approximations is the value.
        ("\\phi\\approx 5\\approx 7", "\\phi\\approx 1\\approx 2"),
        ("x\\to\\infty", "x\\to-\\infty"),
    ],
)
def test_what_differs_in_few_places_is_not_found_equal(answer: str, gold: str) -> None:
    assert not WHOLE.verify(answer, gold).correct
    assert not WHOLE.verify(gold, answer).correct


def test_the_verdict_says_where_two_expressions_differ() -> None:
    verdict = WHOLE.verify("x+1", "x+2")
    assert verdict.detail.startswith("different as expression: at x = ")


def test_what_has_a_value_nowhere_and_no_proof_is_undecided() -> None:
    verdict = WHOLE.verify("x^{10^9}", "x\\cdot x^{10^9}")
    assert (verdict.status, verdict.method) == ("incorrect", "undecided")


def test_a_factorial_of_a_complex_number_is_no_exception() -> None:
    assert not WHOLE.verify("i^2!", "3").correct
    assert not WHOLE.verify("(i+1)!", "3").correct
