"""The ablation's task says what is right, and its statistics say what is significant."""

from __future__ import annotations

import itertools
import json
import random
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from benchmarks.trainer import signs
from benchmarks.trainer.ablation import (
    EVALUATE_EVERY,
    HYPOTHESES,
    LADDER,
    LEFT_OUT,
    VARIANTS,
    result_of,
    rung_settings,
)
from benchmarks.trainer.ablation_report import COLUMNS, cost_of_same_accuracy, report
from benchmarks.trainer.kept import collect
from benchmarks.trainer.signs import Puzzle, SignsVerifier, make_puzzle, read_prompt, respond
from trainer import TrainConfig
from verifiers import VerifierPool

VERIFIER = SignsVerifier()
puzzles = st.integers().map(lambda seed: make_puzzle(random.Random(seed)))
randoms = st.integers().map(random.Random)


def right(puzzle: Puzzle, response: str) -> bool:
    return VERIFIER.verify(response, puzzle.prompt).correct


@given(puzzles)
def test_a_puzzle_can_be_solved_and_read_back(puzzle: Puzzle) -> None:
    assert read_prompt(puzzle.prompt) == puzzle
    tried = ("".join(signs) for signs in itertools.product("+-", repeat=len(puzzle.numbers)))
    assert any(puzzle.solved_by(text) for text in tried)


@given(puzzles, randoms)
def test_who_persists_is_right_and_hands_in_once(puzzle: Puzzle, generator: random.Random) -> None:
    for habit in ("persist", "ramble"):
        response = respond(puzzle, habit, generator)
        assert right(puzzle, response)
        assert response.count("#") == 1
    assert "~" not in respond(puzzle, "persist", generator)


@given(puzzles, randoms)
def test_who_gives_up_is_right_when_the_signs_are(puzzle: Puzzle, generator: random.Random) -> None:
    response = respond(puzzle, "give up", generator)
    chosen = "".join(character for character in response if character in "+-")
    total = sum(int(sign + str(number)) for sign, number in zip(chosen, puzzle.numbers, strict=True))
    assert right(puzzle, response) == (total % signs.MODULUS == puzzle.target)


@pytest.mark.parametrize(
    ("response", "status"),
    [
        ("+33+95-23#", "incorrect"),
        ("+33-11+23#", "correct"),
        ("+33-95+26#", "incorrect"),
        ("+30-10+20#", "correct"),
        ("+33+14+26/+33-12+24#", "correct"),
        ("+33-12+24/+33+14+26#", "incorrect"),
        ("+33-12+24~~~#", "correct"),
        ("+33-12+24", "no_answer"),
        ("+33-12+24#/+33-12+24#", "no_answer"),
        ("#", "no_answer"),
        ("", "no_answer"),
        ("+33-12#", "incorrect"),
        ("+33-12+24+00#", "incorrect"),
        ("-12+33+24#", "incorrect"),
        ("+33-12+2#", "incorrect"),
    ],
)
def test_the_signs_of_the_attempt_handed_in_decide_not_its_totals(response: str, status: str) -> None:
    assert VERIFIER.verify(response, "4=312:").status == status


def test_a_worker_process_knows_the_verifier() -> None:
    problem = signs.make_problems(1, 0, "test")[0]
    response = respond(read_prompt(str(problem.prompt)), "persist", random.Random(0))
    with VerifierPool(workers=1) as pool:
        assert pool.submit(response, problem).result().correct


def test_rambling_and_attempts_made_before_are_waste() -> None:
    assert signs.wasted_characters("+33-12+24#") == 0
    assert signs.wasted_characters("+33-12+24~~~/+33-12+26#") == 3
    assert signs.wasted_characters("+33-12+24/+33-12+24~/+33-12+24#") == 19


def test_the_habits_are_taught_in_the_shares_asked_for() -> None:
    pairs = signs.make_pairs(2000, 0, persistent=0.0, rambling=0.0)
    assert all("/" not in response for _, response in pairs)
    pairs = signs.make_pairs(2000, 0, persistent=1.0, rambling=0.0)
    assert all(VERIFIER.verify(response, prompt).correct for prompt, response in pairs)
    assert signs.make_pairs(50, 3, persistent=0.5, rambling=0.5) == signs.make_pairs(
        50, 3, persistent=0.5, rambling=0.5
    )


def test_training_and_held_out_problems_come_from_other_draws() -> None:
    train, test = ([item.prompt for item in signs.make_problems(30, 0, name)] for name in ("train", "test"))
    assert train != test


def test_the_last_rung_is_dapo_and_the_first_is_grpo(tmp_path: Path) -> None:
    first, last = (
        TrainConfig.model_validate({**rung_settings(rung), "output": tmp_path})
        for rung in (0, len(LADDER) - 1)
    )
    dapo = TrainConfig.model_validate({"output": tmp_path})
    assert (first.objective.clip_high, first.objective.aggregation) == (0.2, "sequence_mean")
    assert not first.dynamic_sampling.enabled
    assert not first.reward.soft_overlong
    assert last.objective == dapo.objective
    assert last.reward == dapo.reward
    assert last.dynamic_sampling == dapo.dynamic_sampling


def test_a_part_left_out_of_dapo_is_all_that_changes(tmp_path: Path) -> None:
    dapo = TrainConfig.model_validate({**rung_settings(len(LADDER) - 1), "output": tmp_path})
    clip, soft, loss = (
        TrainConfig.model_validate({**rung_settings(len(LADDER) + place), "output": tmp_path})
        for place in range(len(LEFT_OUT))
    )
    objective = dapo.objective
    assert clip == dapo.model_copy(update={"objective": objective.model_copy(update={"clip_high": 0.2})})
    assert soft == dapo.model_copy(update={"reward": dapo.reward.model_copy(update={"soft_overlong": False})})
    assert loss == dapo.model_copy(
        update={"objective": objective.model_copy(update={"aggregation": "sequence_mean"})}
    )


def test_every_hypothesis_names_a_metric_and_rungs_of_the_ladder() -> None:
    for hypothesis in HYPOTHESES:
        assert hypothesis.metric in COLUMNS
        assert 0 <= hypothesis.before < hypothesis.after < len(LADDER)


def test_the_cost_of_the_same_accuracy_is_read_between_the_evaluations() -> None:
    slow = {3: {"accuracy": [0.2, 0.3, 0.5], "evaluated": [0, 10, 20], "tokens": [0, 100, 300]}}
    fast = {3: {"accuracy": [0.2, 0.4, 0.6], "evaluated": [0, 10, 20], "tokens": [0, 400, 900]}}
    (row,) = cost_of_same_accuracy(slow, fast)
    assert row["accuracy"] == 0.5
    assert (row["steps_without"], row["steps_with"]) == pytest.approx((20, 15))
    assert (row["tokens_without"], row["tokens_with"]) == pytest.approx((300, 650))


def metrics_of(steps: int, *, accuracy: float = 0.3, entropy: float = 0.5) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = [
        {"kind": "eval", "step": step, "avg_at_k": accuracy + step / 100, "pass_at_k": 0.9}
        for step in range(0, steps + 1, EVALUATE_EVERY)
    ]
    return rows + [
        {
            "kind": "train",
            "step": step,
            "tokens_sampled": 100,
            "entropy": entropy,
            "length_mean": 20.0,
            "truncated_share": 0.1,
            "clip_fraction_high": 0.001,
            "groups_mixed": 3,
            "prompts_sampled": 4,
        }
        for step in range(1, steps + 1)
    ]


def test_a_run_that_ended_early_stays_where_it_was_and_says_so() -> None:
    whole, early = (result_of(metrics_of(steps), [0.1] * steps, 20) for steps in (20, 10))
    assert not whole["ended_early"]
    assert early["ended_early"]
    assert whole["accuracy"] == pytest.approx([0.3, 0.35, 0.4, 0.45, 0.5])
    assert early["accuracy"] == pytest.approx([0.3, 0.35, 0.4, 0.4, 0.4])
    assert (whole["final"], early["final"]) == pytest.approx((0.475, 0.4))
    assert early["tokens"] == [0, 500, 1000, 1000, 1000]
    assert len(early["entropies"]) == 20


def test_the_report_judges_what_is_kept_in_the_folder(tmp_path: Path) -> None:
    for rung, seed in itertools.product(range(len(LADDER)), range(4)):
        entropy = 0.5 + 0.1 * (rung >= 2) + 0.001 * seed * rung
        rows = metrics_of(10, accuracy=0.3 + 0.01 * seed, entropy=entropy)
        (tmp_path / f"rung-{rung}-seed-{seed}.json").write_text(json.dumps(result_of(rows, [0.1] * 10, 10)))
    printed = StringIO()
    console = Console(file=printed, width=120)
    report(
        tmp_path,
        collect(tmp_path, VARIANTS, kind="rung"),
        [title for title, _ in LADDER],
        [part for part, _ in LEFT_OUT],
        HYPOTHESES,
        console,
    )
    lines = [line for line in printed.getvalue().splitlines() if "significant" in line]
    assert len(lines) == len(HYPOTHESES)
    significant = [line for line in lines if "not significant" not in line]
    assert len(significant) == 1
    assert "clip-higher" in significant[0]
    assert "entropy" in significant[0]
    written = json.loads((tmp_path / "ablation.json").read_text())
    assert [item["metric"] for item in written["hypotheses"]] == [item.metric for item in HYPOTHESES]
