"""Error rates of the math verifier on labelled pairs that others made, and what must never happen."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.shared_data import shared_rows
from verifiers import MathVerifier

LENIENT = MathVerifier()
WHOLE = MathVerifier("whole")

# file: (highest false-negative rate, highest false-positive rate), in percent
LIMITS = {
    "mathverify_tests": (5, 0),
    "unit_tests_misc": (1, 0),
    "unit_tests_hardened": (0, 0),
    "github_issues": (7, 0),
    "hardverify_math": (14, 0),
    "gold_identity": (0, 0),
    "gold_mismatch": (0, 0),
    "gold_near_miss": (0, 0),
    "gold_partial": (0, 0),
    "gsm8k_openai_labelled": (0, 0),
    "mrgsm8k_human": (0, 0),
    "mrmath_human": (0, 0),
}


def scored(name: str) -> list[dict[str, Any]]:
    rows = shared_rows(f"math_labelled/{name}.jsonl.gz")
    return [row for row in rows if row["label"] is not None and not row.get("contested")]


@pytest.mark.parametrize("name", LIMITS)
def test_error_rates_stay_within_their_limits(name: str) -> None:
    wrong: dict[bool, list[tuple[str, str, str]]] = {True: [], False: []}
    rows = scored(name)
    for row in rows:
        verdict = (WHOLE if row["kind"] == "answer" else LENIENT).verify(row["prediction"], row["gold"])
        assert not verdict.failed
        if verdict.correct != row["label"]:
            wrong[row["label"]].append((row["prediction"][-100:], row["gold"][-100:], verdict.method))
    for label, limit in zip((True, False), LIMITS[name], strict=True):
        of = sum(row["label"] is label for row in rows)
        assert len(wrong[label]) * 100 <= limit * max(of, 1), wrong[label]


def test_rounding_at_the_gold_s_digits_finds_more_of_hardverify() -> None:
    verifier = MathVerifier("whole", rounding=True)
    rows = scored("hardverify_math")
    missed = [r for r in rows if r["label"] and not verifier.verify(r["prediction"], r["gold"]).correct]
    accepted = [r for r in rows if not r["label"] and verifier.verify(r["prediction"], r["gold"]).correct]
    assert len(missed) <= 0.135 * sum(r["label"] for r in rows)
    assert accepted == []


def test_adversarial_responses_end_soon_and_few_are_accepted() -> None:
    rows = scored("adversarial")
    accepted: dict[str, list[str]] = {}
    for row in rows:
        started = time.process_time()
        verdict = LENIENT.verify(row["prediction"], row["gold"])
        assert time.process_time() - started < 2.0, row["prediction"][:100]
        assert not verdict.failed
        if row["label"]:
            assert verdict.correct, row["prediction"][:100]
        elif verdict.correct:
            accepted.setdefault(row["category"], []).append(row["prediction"])
    assert accepted == {}
    assert not list(Path("/tmp").glob("pwn*"))


@pytest.mark.parametrize(
    ("file", "least"),
    [
        ("gsm8k_openai_example_solutions", 1.0),
        ("abel_7b_gsm8k", 1.0),
        ("tora-70b-v1_0_gsm8k", 0.997),
        # Its labels refuse 4:30 \\text{ p.m.} for \\text{4:30 p.m.} and 10000 for 10{,}000.
        ("qwen2_5_math_cot100x8", 0.985),
        ("mathcoder_l_70b_mathematics", 0.98),
    ],
)
def test_agreement_with_published_labels_of_real_outputs(file: str, least: float) -> None:
    rows = [row for row in shared_rows(f"math_outputs/{file}.jsonl.gz") if row.get("label") is not None]
    agreed = sum(LENIENT.verify(row["response"], row["gold"]).correct == row["label"] for row in rows)
    assert agreed >= least * len(rows)
