"""Compositions: which part decides, what the reward is, and that a failure of a part stays a failure."""

from __future__ import annotations

import pickle

import pytest

from tests.verifiers.sample_verifiers import Misbehaving
from verifiers import (
    AllOf,
    ExactMatchVerifier,
    FormatVerifier,
    Gate,
    InputError,
    MathVerifier,
    VerifierPool,
    WeightedSum,
)
from verifiers.limits import limits_of

GOOD = "<think>a</think><answer>\\boxed{0.5}</answer>"
UNTAGGED = "\\boxed{0.5}"
WRONG = "<think>a</think><answer>\\boxed{7}</answer>"


def test_a_gate_lets_only_the_format_through() -> None:
    gate = Gate(FormatVerifier(), MathVerifier())
    good, untagged, wrong = (gate.verify(text, "1/2") for text in (GOOD, UNTAGGED, WRONG))
    assert [v.reward for v in (good, untagged, wrong)] == [1.0, -1.0, -1.0]
    assert list(good.parts) == ["gate.format", "math"]
    assert list(untagged.parts) == ["gate.format"]
    assert untagged.method == "gate.format:format:tags"
    assert wrong.extracted == "\\boxed{7}" or wrong.extracted == "7"


def test_all_of_needs_every_part() -> None:
    both = AllOf({"math": MathVerifier(), "text": ExactMatchVerifier()})
    assert both.verify("\\boxed{1/2}", "1/2").status == "correct"
    verdict = both.verify("\\boxed{0.5}", "1/2")
    assert (verdict.status, verdict.method) == ("incorrect", "all_of:text")
    assert verdict.parts["math"].correct


def test_a_weighted_sum_adds_rewards() -> None:
    mix = WeightedSum({"math": MathVerifier(), "format": FormatVerifier()}, {"math": 0.9, "format": 0.1})
    rewards = [mix.verify(text, "1/2").reward for text in (GOOD, UNTAGGED, WRONG, "no")]
    assert rewards == pytest.approx([1.0, 0.8, -0.8, -1.0])
    assert mix.verify(GOOD, "1/2").status == "correct"
    assert mix.verify(UNTAGGED, "1/2").status == "incorrect"
    lenient = WeightedSum(mix.parts, mix.weights, threshold=0.5)
    assert lenient.verify(UNTAGGED, "1/2").status == "correct"
    assert "0.9 * 1 (math)" in mix.verify(UNTAGGED, "1/2").detail


@pytest.mark.parametrize("kind", ["all_of", "weighted_sum", "gate"])
def test_a_part_that_fails_makes_the_composition_fail(kind: str) -> None:
    parts = {"math": MathVerifier(), "bad": Misbehaving()}
    composed = {
        "all_of": AllOf(parts),
        "weighted_sum": WeightedSum(parts, {"math": 0.5, "bad": 0.5}),
        "gate": Gate(MathVerifier("whole"), Misbehaving()),
    }[kind]
    with VerifierPool(composed, workers=1, timeout=0.5) as pool:
        assert pool.submit("spin", "spin").result(timeout=60).status == "timeout"
        assert pool.submit("1", "1").result(timeout=60).reward == 1.0


def test_compositions_nest_cross_processes_and_add_up_their_limits() -> None:
    inner = AllOf({"math": MathVerifier(), "text": ExactMatchVerifier()})
    outer = Gate(FormatVerifier(), inner)
    assert pickle.loads(pickle.dumps(outer)).verify(GOOD, "0.5").correct
    assert limits_of(inner).cpu_seconds == pytest.approx(4.0)
    with VerifierPool(outer, workers=1) as pool:
        verdict = pool.submit(GOOD, "0.5").result(timeout=60)
    assert verdict.parts["all_of"].parts["math"].method == "same_text"


def test_wrong_compositions_are_input_errors() -> None:
    with pytest.raises(InputError, match="at least one"):
        AllOf({})
    with pytest.raises(InputError, match="weights for"):
        WeightedSum({"math": MathVerifier()}, {"maths": 1.0})
    with pytest.raises(InputError, match="not a verifier"):
        AllOf({"math": "math"})  # type: ignore[dict-item]
