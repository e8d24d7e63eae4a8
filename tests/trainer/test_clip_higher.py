"""The benchmark of clip-higher: its task, its figures, and runs that differ in the upper bound alone."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmarks.trainer import habit
from benchmarks.trainer.clip_higher import (
    ARMS,
    COLUMNS,
    FOLLOW_UP,
    FOLLOW_UP_SEEDS,
    HYPOTHESES,
    PAIRS,
    SEEDS,
    arm_settings,
    entropy_at,
    figures_of,
    report,
    result_of,
    run,
    with_matched_entropy,
)
from benchmarks.trainer.contains import ContainsVerifier
from benchmarks.trainer.kept import collect
from benchmarks.trainer.toy import character_tokenizer, make_model
from trainer import TrainConfig


def test_the_habit_is_right_for_few_prompts_and_rare_letters_for_all() -> None:
    problems = habit.make_problems(3)
    verifier = ContainsVerifier()
    right = [
        [letter for letter in habit.LETTERS if verifier.verify(letter, problem).correct]
        for problem in problems
    ]
    assert len({problem.prompt for problem in problems}) == habit.PROMPTS
    assert sum(habit.HABIT in letters for letters in right) == habit.PROMPTS - habit.MISLED
    assert all(len(set(letters) - {habit.HABIT}) == habit.RARE for letters in right)
    assert not verifier.verify("", problems[0]).correct
    assert not verifier.verify(right[0][0] * 2, problems[0]).correct
    assert problems == habit.make_problems(3)
    assert problems != habit.make_problems(4)


def test_the_start_that_is_taught_is_habitual_for_every_prompt() -> None:
    pairs = habit.make_pairs(20_000, 0)
    for prompt in {prompt for prompt, _ in pairs}:
        letters = [letter for asked, letter in pairs if asked == prompt]
        assert letters.count(habit.HABIT) / len(letters) == pytest.approx(habit.HABITUAL, abs=0.06)
    assert {letter for _, letter in pairs} == set(habit.LETTERS)
    assert all(re.fullmatch(r"\d\d:", prompt) for prompt, _ in pairs)


def test_arms_differ_in_the_upper_bound_alone(tmp_path: Path) -> None:
    arms = [TrainConfig.model_validate({**arm_settings(arm), "output": tmp_path}) for arm in range(len(ARMS))]
    bounds = [config.objective.clip_high for config in arms]
    assert bounds[:2] == [0.2, 0.28]
    assert bounds[2] > 1e6
    plain = [
        config.model_copy(update={"objective": config.objective.model_copy(update={"clip_high": 0.2})})
        for config in arms
    ]
    assert plain[0] == plain[1] == plain[2]


def test_every_hypothesis_compares_clip_higher_with_the_symmetric_clip() -> None:
    assert {(item.before, item.after) for item in HYPOTHESES} == {(0, 1)} <= set(PAIRS)
    assert {item.metric for item in HYPOTHESES} <= set(COLUMNS)
    assert set(FOLLOW_UP) < set(HYPOTHESES)
    assert not set(SEEDS) & set(FOLLOW_UP_SEEDS)


def test_figures_count_right_answers_and_those_that_are_not_the_habit() -> None:
    groups: list[list[str | None]] = [["a", "a", "c", None], ["c", "d", "c", "e"], [None] * 4]
    figures = figures_of([group * 4 for group in groups])
    assert figures["accuracy"] == pytest.approx(7 / 12)
    assert figures["distinct"] == pytest.approx(5 / 3)
    assert figures["rare"] == pytest.approx(5 / 12)
    # 12 and 16 right of 16: eight draws can't all miss.
    assert figures["passed"] == pytest.approx(2 / 3)


def result(accuracies: Sequence[float], entropies: Sequence[float], clipped: float = 0.1) -> dict[str, Any]:
    rows = [
        {"kind": "train", "entropy": entropy, "clip_fraction_high": clipped, "clip_fraction_low": 0.0}
        for entropy in entropies
    ]
    sampled = [{"accuracy": value, "passed": value, "distinct": 1.0, "rare": value} for value in accuracies]
    return result_of([*rows, {"kind": "warning"}], sampled)


def test_final_is_the_end_of_a_run_and_mean_is_all_of_it() -> None:
    found = result([0.0] * 5 + [0.5] * 5, [1.0] * 5 + [0.0] * 5)
    assert (found["final"], found["mean"], found["entropy"]) == pytest.approx((0.5, 0.25, 0.5))


def test_entropies_are_read_where_the_accuracy_is_first_reached() -> None:
    found = result([0.0, 0.4, 0.2, 0.8], [4.0, 3.0, 9.0, 1.0])
    assert entropy_at(found, [0.4]) == pytest.approx(3.0)
    assert entropy_at(found, [0.2, 0.4]) == pytest.approx((3.5 + 3.0) / 2)
    assert entropy_at(found, [0.5]) == pytest.approx(5.0)


def test_at_the_same_accuracy_a_slower_run_with_the_same_path_has_the_same_entropy() -> None:
    fast = result([0.0, 0.4, 0.8, 0.8, 0.8], [4.0, 2.0, 0.0, 0.0, 0.0])
    slow = result([0.0, 0.2, 0.4, 0.6, 0.8], [4.0, 3.0, 2.0, 1.0, 0.0])
    unfinished = {arm: {5: run} for arm, run in enumerate([fast, slow])}
    found = with_matched_entropy({0: {1: fast, 2: fast}, 1: {1: slow}})
    assert slow["entropy"] > fast["entropy"]
    assert found[0].keys() == found[1].keys() == {1}
    assert found[0][1]["matched"] == pytest.approx(found[1][1]["matched"])
    higher = with_matched_entropy({**unfinished, 1: {5: result([0.0, 0.2, 0.4, 0.6, 0.8], [5, 4, 3, 2, 1])}})
    assert higher[1][5]["matched"] == pytest.approx(higher[0][5]["matched"] + 1)


def test_a_run_is_kept_and_arms_of_a_seed_start_alike(tmp_path: Path) -> None:
    tokenizer = character_tokenizer(habit.CHARACTERS)
    model = make_model(
        0, len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=1, initializer_range=0.1
    )
    model.save_pretrained(tmp_path / "warm-7")
    first, second = (run(tmp_path, arm, 7, 1) for arm in (0, 1))
    assert first["accuracies"][0] == second["accuracies"][0] > 0
    assert len(first["entropies"]) == len(first["accuracies"]) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "arm-0-seed-7.json",
        "arm-1-seed-7.json",
        "warm-7",
    ]
    changed = {**first, "final": 0.123}
    (tmp_path / "arm-0-seed-7.json").write_text(json.dumps(changed))
    assert run(tmp_path, 0, 7, 1) == changed


def test_the_report_judges_the_seeds_that_all_arms_have(tmp_path: Path) -> None:
    for arm in range(len(ARMS)):
        for seed in range(5 if arm else 6):
            entropies = [1.0 + 0.2 * arm + 0.01 * seed * arm] * 10
            kept = result([seed / 100 + step / 20 for step in range(10)], entropies)
            (tmp_path / f"arm-{arm}-seed-{seed}.json").write_text(json.dumps(kept))
    printed = StringIO()
    found = with_matched_entropy(collect(tmp_path, len(ARMS), kind="arm"))
    report(tmp_path, found, HYPOTHESES, Console(file=printed, width=120))
    written = json.loads((tmp_path / "clip_higher.json").read_text())
    verdicts = {item["metric"]: item["p_holm"] < 0.05 for item in written["hypotheses"]}
    assert verdicts == {item.metric: item.metric in ("entropy", "matched") for item in HYPOTHESES}
    assert {item["seeds"] for item in written["hypotheses"]} == {5}
    assert "over 5 seeds" in printed.getvalue()
