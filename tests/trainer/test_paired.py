"""Variants compared over seeds: what is significant, and in which direction."""

from __future__ import annotations

from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from benchmarks.trainer.paired import Hypothesis, compare, first_reached, holm, judge, print_hypotheses


def test_holm_multiplies_the_smallest_by_all_and_never_falls() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_keeps_the_order_and_lies_between_the_p_and_bonferroni(values: list[float]) -> None:
    adjusted = holm(values)
    for p, corrected in zip(values, adjusted, strict=True):
        assert p <= corrected <= min(1.0, p * len(values)) + 1e-12
    ranked = [corrected for _, corrected in sorted(zip(values, adjusted, strict=True))]
    assert ranked == sorted(ranked)


def test_variants_are_compared_by_seed_and_only_where_both_have_it() -> None:
    found = {
        0: {0: {"mean": 0.1}, 1: {"mean": 0.5}, 2: {"mean": 0.9}},
        1: {1: {"mean": 0.61}, 2: {"mean": 1.0}, 5: {"mean": 0.0}},
    }
    item = compare(found, 0, 1, "mean")
    assert item is not None
    assert item["seeds"] == 2
    assert item["difference"] == pytest.approx(0.105)
    assert compare({0: found[0], 1: {}}, 0, 1, "mean") is None


def test_the_same_shift_in_every_seed_is_significant_though_seeds_differ_widely() -> None:
    first = {seed: {"mean": seed / 10, "final": 0.5} for seed in range(6)}
    second = {seed: {"mean": seed / 10 + 0.02 + seed / 1000, "final": 0.5} for seed in range(6)}
    moved, same = judge(
        {0: first, 1: second},
        [Hypothesis(0, 1, "mean", +1, "moves"), Hypothesis(0, 1, "final", +1, "does not")],
    )
    assert moved["p_holm"] == pytest.approx(2 * moved["p"])
    assert moved["p_holm"] < 0.001
    assert same["p_holm"] == 1.0


def test_a_difference_that_goes_the_other_way_is_said_to() -> None:
    first = {seed: {"mean": 0.5 + seed / 100} for seed in range(6)}
    second = {seed: {"mean": 0.3 + seed / 90} for seed in range(6)}
    printed = StringIO()
    columns = {"mean": ("mean avg@8", 3)}
    for sign in (+1, -1):
        judged = judge({0: first, 1: second}, [Hypothesis(0, 1, "mean", sign, "moves")])
        print_hypotheses(judged, {(0, 1): "after"}, columns, Console(file=printed, width=120))
    verdicts = [line.rpartition(": ")[2] for line in printed.getvalue().splitlines() if "after" in line]
    assert verdicts == ["significant, the other way", "significant"]


def test_where_an_accuracy_is_first_reached_lies_on_a_line_between_the_evaluations() -> None:
    assert first_reached([0, 10, 20], [0.2, 0.2, 0.6], 0.3) == pytest.approx(12.5)
    assert first_reached([5, 10], [0.4, 0.3], 0.4) == 5
    assert first_reached([0, 10, 20, 30], [0.0, 0.5, 0.1, 1.0], 0.5) == pytest.approx(10)
