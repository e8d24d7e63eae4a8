"""Exact match, multiple choice, numbers with a tolerance, regular expressions, math-verify; the registry."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from verifiers import (
    ExactMatchVerifier,
    InputError,
    MathVerifyVerifier,
    MultipleChoiceVerifier,
    NumericVerifier,
    Problem,
    RegexVerifier,
    Verifier,
    available_verifiers,
    get_verifier,
    register,
)
from verifiers.registry import _registered


def test_exact_match_is_about_text() -> None:
    assert ExactMatchVerifier().verify("The answer is paris.", "Paris").correct
    assert not ExactMatchVerifier(ignore_case=False).verify("The answer is paris.", "Paris").correct
    assert not ExactMatchVerifier().verify("\\boxed{0.5}", "1/2").correct
    assert ExactMatchVerifier("whole").verify(" Paris \n", "Paris").correct


@pytest.mark.parametrize(
    ("response", "letter"),
    [
        ("The answer is (C).", "C"),
        ("\\boxed{\\text{B}}", "B"),
        ("Answer: D) 12", "D"),
        ("C", "C"),
        ("**A**", "A"),
        ("<answer>(b)</answer>", "B"),
    ],
)
def test_the_chosen_letter_is_read(response: str, letter: str) -> None:
    verifier = MultipleChoiceVerifier()
    assert verifier.verify(response, letter).correct
    assert verifier.verify(response, "E").status == "incorrect"


def test_naming_several_options_is_no_choice() -> None:
    assert MultipleChoiceVerifier().verify("\\boxed{A or B}", "A").status == "no_answer"
    assert MultipleChoiceVerifier().verify("\\boxed{A, B}", "A").status == "no_answer"
    with pytest.raises(InputError, match="not the letter"):
        MultipleChoiceVerifier().verify("A", "Paris is the capital")


def test_numeric_tolerance_is_exact_arithmetic() -> None:
    assert NumericVerifier(absolute=0.01).verify("\\boxed{3.15}", "3.14").correct
    assert not NumericVerifier(absolute=0.009).verify("\\boxed{3.15}", "3.14").correct
    assert NumericVerifier(relative=0.1).verify("\\boxed{110}", "100").correct
    assert not NumericVerifier(relative=0.1).verify("\\boxed{111}", "100").correct
    assert not NumericVerifier().verify("\\boxed{3.1400001}", "3.14").correct
    assert NumericVerifier().verify("\\boxed{x}", "3.14").status == "no_answer"
    with pytest.raises(InputError, match="not a number"):
        NumericVerifier().verify("3", "x")
    with pytest.raises(InputError, match="finite"):
        NumericVerifier(relative=float("nan"))


def test_a_regular_expression_must_match_whole() -> None:
    assert RegexVerifier().verify("\\boxed{2024-05-01}", r"\d{4}-\d\d-\d\d").correct
    assert not RegexVerifier().verify("\\boxed{on 2024-05-01}", r"\d{4}-\d\d-\d\d").correct
    with pytest.raises(InputError, match="not a regular expression"):
        RegexVerifier().verify("x", "(")


def test_math_verify_as_it_is() -> None:
    verifier = MathVerifyVerifier()
    assert verifier.verify("\\boxed{\\frac{1}{2}}", "0.5").correct
    assert verifier.verify("\\boxed{3}", "4").status == "incorrect"


def test_the_registry_knows_the_built_in_and_what_is_registered() -> None:
    names = available_verifiers()
    assert {"math", "code", "format", "exact", "multiple_choice", "numeric", "regex", "judge"} <= names.keys()
    assert all(names.values())
    assert isinstance(get_verifier("math", extraction="boxed"), Verifier)
    with pytest.raises(InputError, match="no verifier 'maths'; there are"):
        get_verifier("maths")
    with pytest.raises(InputError, match="extractoin"):
        get_verifier("math", extractoin="boxed")
    with pytest.raises(InputError, match="taken"):
        register("math")(ExactMatchVerifier)
    try:
        register("same_length")(ExactMatchVerifier)
        assert isinstance(get_verifier("same_length"), ExactMatchVerifier)
        assert available_verifiers()["same_length"].startswith("The final answer is")
    finally:
        del _registered["same_length"]


def test_an_installed_package_adds_verifiers_by_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "other_package.py"
    package.write_text(
        "from verifiers import ExactMatchVerifier\nclass Theirs(ExactMatchVerifier):\n    pass\n"
    )
    info = tmp_path / "other_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[rlvr.verifiers]\ntheirs = other_package:Theirs\nbroken = nowhere:X\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "other_package:Theirs" in available_verifiers()["theirs"]
    assert get_verifier("theirs").verify("x", Problem(id="1", answer="x")).correct
    with pytest.raises(InputError, match="can't be loaded"):
        get_verifier("broken")
    sys.modules.pop("other_package", None)
