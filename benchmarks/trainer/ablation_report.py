"""Report of the ablation: tables of the ladder, its hypotheses, what the same accuracy costs, and the picture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from benchmarks.trainer.paired import (
    Hypothesis,
    Panel,
    Result,
    Runs,
    first_reached,
    judge,
    plot,
    print_differences,
    print_hypotheses,
    print_means,
)
from curation.statistics import mean_interval

COLUMNS = {
    "final": ("final avg@8", 3),
    "mean": ("mean avg@8", 3),
    "pass": ("final pass@8", 3),
    "entropy": ("entropy", 3),
    "length": ("length", 1),
    "truncated": ("truncated", 3),
    "wasted": ("junk", 3),
    "clipped": ("clipped high", 4),
    "mixed": ("mixed groups", 2),
}
"""Figures of a run: heading and digits."""


def cost_of_same_accuracy(slow: Mapping[int, Result], fast: Mapping[int, Result]) -> list[dict[str, float]]:
    """Steps and tokens until both runs of a seed first reach the best accuracy that both reach."""
    rows = []
    for seed in slow:
        if seed not in fast:
            continue
        target = min(max(slow[seed]["accuracy"]), max(fast[seed]["accuracy"]))
        row: dict[str, float] = {"seed": seed, "accuracy": target}
        for name, result in (("without", slow[seed]), ("with", fast[seed])):
            for cost in ("steps", "tokens"):
                at = result["evaluated" if cost == "steps" else cost]
                row[f"{cost}_{name}"] = first_reached(at, result["accuracy"], target)
        rows.append(row)
    return rows


def report(
    folder: Path,
    found: Runs,
    titles: Sequence[str],
    left_out: Sequence[str],
    hypotheses: Sequence[Hypothesis],
    console: Console,
) -> None:
    """Print the tables of the runs that are done, and write them as JSON.

    Args:
        folder: where `ablation.json` goes.
        found: the runs; the ladder's rungs, then DAPO without each part of `left_out`.
        titles: of the ladder's rungs.
        left_out: parts that were left out of the last rung.
        hypotheses: to judge.
        console: to print on.
    """
    print_means(found, [title.replace("(DAPO)", "= DAPO") for title in titles], COLUMNS, console)
    ended = [run["ended_early"] for runs in found.values() for run in runs.values()]
    console.print(f"runs that ended early, as hardly a group was mixed: {sum(ended)} of {len(ended)}")
    judged = judge(found, hypotheses)
    pairs = pairs_of(titles, left_out)
    print_hypotheses(judged, pairs, COLUMNS, console)
    explored = print_differences(found, pairs, COLUMNS, console)
    costs = cost_of_same_accuracy(found[len(titles) - 2], found[len(titles) - 1])
    print_costs(costs, console)
    written = {
        "runs": dict(
            zip([*titles, *(f"DAPO without {part}" for part in left_out)], found.values(), strict=True)
        ),
        "hypotheses": judged,
        "differences": explored,
        "same_accuracy": costs,
    }
    (folder / "ablation.json").write_text(json.dumps(written, indent=1))


def pairs_of(titles: Sequence[str], left_out: Sequence[str]) -> dict[tuple[int, int], str]:
    """What is compared: each rung with the one before, the whole ladder, and DAPO with itself less a part."""
    last = len(titles) - 1
    pairs = {(rung - 1, rung): titles[rung] for rung in range(1, len(titles))}
    pairs[0, last] = "whole ladder: DAPO - GRPO"
    return pairs | {
        (last + 1 + place, last): f"DAPO - DAPO without {part}" for place, part in enumerate(left_out)
    }


def print_costs(costs: Sequence[Mapping[str, float]], console: Console) -> None:
    console.print(
        "\nwithout -> with dynamic sampling, until the best accuracy that both runs of a seed reach"
    )
    for row in costs:
        console.print(
            f"  seed {row['seed']}: avg@8 {row['accuracy']:.3f}: {row['steps_without']:.0f} -> "
            f"{row['steps_with']:.0f} steps, {row['tokens_without']:,.0f} -> {row['tokens_with']:,.0f} tokens"
        )
    for name in ("steps", "tokens"):
        logs = [np.log(max(1, row[f"{name}_with"]) / max(1, row[f"{name}_without"])) for row in costs]
        if len(logs) > 1:
            low, high = mean_interval(logs)
            console.print(
                f"  {name}, with / without: {np.exp(np.mean(logs)):.2f} [{np.exp(low):.2f}, {np.exp(high):.2f}]"
            )


def plot_ladder(path: Path, found: Runs, titles: Sequence[str]) -> None:
    """The accuracies of all rungs, and what clip-higher is said to move."""
    last, at = len(titles) - 1, "evaluated"
    panels = (
        Panel("held-out avg@8, all rungs", tuple(range(len(titles))), "accuracy", at),
        Panel(
            "held-out avg@8, the last three rungs against GRPO",
            (0, *range(last - 2, last + 1)),
            "accuracy",
            at,
        ),
        Panel("held-out pass@8, without and with clip-higher", (1, 2), "passed", at),
        Panel("entropy (nats per token), without and with clip-higher", (1, 2), "entropies", is_share=False),
    )
    plot(path, found, titles, panels)
