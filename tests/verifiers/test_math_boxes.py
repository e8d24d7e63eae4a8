"""What stands around a box: it is the answer where the sentence gives it, and none where that denies it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verifiers import MathVerifier

LENIENT = MathVerifier()
BOXED = MathVerifier("boxed")

GIVEN = [
    "The answer is {}.",
    "Hence $x={}$ for every $y$.",
    "At least {} colours are needed.",
    "She has {} more pens than Bob.",
    "It is {} times as large.",
    "You would get {} dollars in change.",
    "If Bill puts them end to end, they will be {} feet long.",
    "The average score on each test is {}.",
    "His grade is {}.",
    "He writes {} letters a week.",
    "Half of it is {}.",
    "It is not 1 but {}.",
    "The greatest value is attained, so $M \\le {}$.",
    "The root 1 is rejected, which leaves {}.",
    "What is it? It is {}.",
    "{} is the answer.",
    "$ {} $ (the smaller root is rejected)",
    "{}^\\circ",
    "${} = 2^k$",
    "{} years later they meet.",
]
DENIED = [
    "It is false that the answer is {}.",
    "I don't think that it is {}.",
    "The student wrote {}.",
    "A tempting answer is {}.",
    "My first guess was {}.",
    "For example, {}.",
    "Put your answer in a box like {}.",
    "Instead of {}, something else is right.",
    "$x \\not= {}$",
    "A common mistake is to answer {}.",
    "It would be tempting to write {}.",
    "If you assumed independence you would get {}.",
    "One might think {}.",
    "{} is only the first part.",
    "{}: incorrect.",
    "{}, but we need half of it.",
    "{} is what a naive solver would say.",
    "{} cannot be right.",
    "{} must be rejected.",
    "{} leads to a contradiction.",
    "{} (wrong)",
    "{} is the format.",
    "{}. Never mind.",
    "Is it {}?",
    "{}?",
]
CHANGED = [
    "twice {}",
    "the square root of {}",
    "half of {}",
    "anything but {}",
    "any number except {}",
    "{} squared",
    "{} plus 1",
    "{} less than 20",
    "{} minutes more than 20",
    "{} to 99",
    "{} : 3",
    "2^{{{}}}",
    "\\sin({})",
    "f({}) = 3",
    "[0, {}]",
    "({}, 5)",
    "at most {}",
    "more than {}",
    "between 1 and {}",
    "$n \\le {}$",
]
numbers = st.integers(6, 98)


@pytest.mark.parametrize("sentence", GIVEN)
@given(number=numbers)
@settings(max_examples=10, deadline=None)
def test_a_box_that_the_sentence_gives_is_the_answer(sentence: str, number: int) -> None:
    response = sentence.format(f"\\boxed{{{number}}}")
    assert LENIENT.verify(response, str(number)).correct, response
    assert not LENIENT.verify(response, str(number + 1)).correct


@pytest.mark.parametrize("sentence", DENIED + CHANGED)
@given(number=numbers)
@settings(max_examples=10, deadline=None)
def test_a_box_that_is_denied_or_changed_is_none(sentence: str, number: int) -> None:
    response = sentence.format(f"\\boxed{{{number}}}")
    for verifier in (LENIENT, BOXED):
        verdict = verifier.verify(response, str(number))
        assert not verdict.correct, response
        assert verdict.detail


@pytest.mark.parametrize("lead", ["Example: ", "Put it in a form like ", "For instance, "])
def test_a_tag_that_is_only_shown_is_no_answer(lead: str) -> None:
    assert not LENIENT.verify(f"{lead}<answer>7</answer>", "7").correct
    assert LENIENT.verify("So we get <answer>7</answer>", "7").correct
