"""The math verifier on a corpus of pairs written in the styles of the data sets and test suites it meets.

`math_corpus/equal.txt` and `different.txt` hold bare answers, `responses_*.txt` whole responses, one pair a line:
`answer <=> gold`, with ¶ for a line break, in sections that begin with `#`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from verifiers import MathVerifier

CORPUS = Path(__file__).parent / "math_corpus"
WHOLE = MathVerifier("whole")
LENIENT = MathVerifier()


def sections(name: str) -> list[tuple[str, list[tuple[str, str]]]]:
    found: list[tuple[str, list[tuple[str, str]]]] = []
    for line in (CORPUS / f"{name}.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            found.append((line[2:], []))
        elif line.strip():
            answer, separator, gold = line.partition(" <=>")
            assert separator, line
            found[-1][1].append((answer.replace("¶", "\n"), gold.strip()))
    return found


def named(name: str) -> list[object]:
    return [pytest.param(pairs, id=f"{name}: {title}") for title, pairs in sections(name)]


@pytest.mark.parametrize("pairs", named("equal"))
def test_answers_that_say_the_gold_in_another_way_are_found_equal(pairs: list[tuple[str, str]]) -> None:
    bare = [(a, g) for a, g in pairs if not WHOLE.verify(a, g).correct]
    boxed = [
        (a, g) for a, g in pairs if not LENIENT.verify(f"Thus the answer is $\\boxed{{{a}}}$.", g).correct
    ]
    assert (bare, boxed) == ([], [])


@pytest.mark.parametrize("pairs", named("different"))
def test_answers_that_look_like_the_gold_are_not_accepted(pairs: list[tuple[str, str]]) -> None:
    bare = [(a, g) for a, g in pairs if WHOLE.verify(a, g).correct]
    boxed = [(a, g) for a, g in pairs if LENIENT.verify(f"Thus the answer is $\\boxed{{{a}}}$.", g).correct]
    rounded = [(a, g) for a, g in pairs if MathVerifier("whole", rounding=True).verify(a, g).correct]
    # Asked to round, these are what rounding is for.
    allowed = [(a, g) for a, g in rounded if "." in g]
    assert (bare, boxed, [pair for pair in rounded if pair not in allowed]) == ([], [], [])


@pytest.mark.parametrize("pairs", named("responses_equal"))
def test_the_final_answer_of_a_response_is_found(pairs: list[tuple[str, str]]) -> None:
    assert [(a, g, LENIENT.verify(a, g)) for a, g in pairs if not LENIENT.verify(a, g).correct] == []


@pytest.mark.parametrize("pairs", named("responses_different"))
def test_hedges_hacks_and_other_answers_are_not_accepted(pairs: list[tuple[str, str]]) -> None:
    assert [(a, g, LENIENT.verify(a, g)) for a, g in pairs if LENIENT.verify(a, g).correct] == []
