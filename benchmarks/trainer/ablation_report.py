"""Statistics, tables and picture of the ablation: paired differences over seeds, Holm over named hypotheses."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from curation.statistics import mean_interval

Result = Mapping[str, Any]
Runs = Mapping[int, Mapping[int, Result]]
"""Results by rung, then by seed."""

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


class Hypothesis(NamedTuple):
    """What a part is expected to move, named before the runs."""

    before: int
    after: int
    metric: str
    sign: int
    """Of the difference that is expected."""
    reason: str


def paired(first: Mapping[int, Result], second: Mapping[int, Result], column: str) -> list[float]:
    """Second minus first, for the seeds that both have."""
    return [second[seed][column] - first[seed][column] for seed in first if seed in second]


def p_value(differences: Sequence[float]) -> float:
    """Two-sided, of a paired t-test; 1 where nothing can be said."""
    from scipy.stats import ttest_1samp

    if len(differences) < 2 or np.ptp(differences) == 0:
        return 1.0
    return float(ttest_1samp(differences, 0.0).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for place, index in enumerate(np.argsort(p_values)):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def compare(found: Runs, before: int, after: int, column: str) -> dict[str, Any] | None:
    """The paired difference of two rungs with its interval and p-value; None below two common seeds."""
    differences = paired(found[before], found[after], column)
    if len(differences) < 2:
        return None
    low, high = mean_interval(differences)
    return {
        "before": before,
        "after": after,
        "metric": column,
        "difference": float(np.mean(differences)),
        "low": low,
        "high": high,
        "p": p_value(differences),
        "seeds": len(differences),
    }


def judge(found: Runs, hypotheses: Iterable[Hypothesis]) -> list[dict[str, Any]]:
    """Every hypothesis that has data, with `p_holm`, corrected for all of these."""
    judged = [
        {**item, "sign": hypothesis.sign, "expected": hypothesis.reason}
        for hypothesis in hypotheses
        if (item := compare(found, hypothesis.before, hypothesis.after, hypothesis.metric))
    ]
    for item, p in zip(judged, holm([item["p"] for item in judged]), strict=True):
        item["p_holm"] = p
    return judged


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


def first_reached(at: Sequence[float], accuracy: Sequence[float], target: float) -> float:
    """Where on the way the accuracy first is `target`, by a line between the evaluations."""
    place = next(place for place, value in enumerate(accuracy) if value >= target)
    if place == 0:
        return float(at[0])
    share = (target - accuracy[place - 1]) / (accuracy[place] - accuracy[place - 1])
    return float(at[place - 1] + share * (at[place] - at[place - 1]))


def interval_text(values: Sequence[float], digits: int) -> str:
    if len(values) < 2:
        return f"{values[0]:.{digits}f}" if values else "-"
    low, high = mean_interval(values)
    return f"{np.mean(values):.{digits}f} ±{(high - low) / 2:.{digits}f}"


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
    print_means(found, titles, console)
    judged = judge(found, hypotheses)
    print_hypotheses(judged, titles, console)
    explored = print_differences(found, titles, left_out, console)
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


def print_means(found: Runs, titles: Sequence[str], console: Console) -> None:
    counts = sorted({len(found[rung]) for rung in range(len(titles))})
    table = Table(title=f"means ± 95 % (t) over {'-'.join(map(str, counts))} seeds", padding=(0, 0, 0, 1))
    table.add_column("")
    for title in titles:
        table.add_column(title.replace("(DAPO)", "= DAPO"), max_width=14, justify="right")
    for name, (heading, digits) in COLUMNS.items():
        cells = [
            interval_text([run[name] for run in found[rung].values()], digits) for rung in range(len(titles))
        ]
        table.add_row(heading, *cells)
    console.print(table)
    ended = [run["ended_early"] for runs in found.values() for run in runs.values()]
    console.print(f"runs that ended early, as hardly a group was mixed: {sum(ended)} of {len(ended)}")


def print_hypotheses(judged: Sequence[Mapping[str, Any]], titles: Sequence[str], console: Console) -> None:
    console.print("\nhypotheses: paired difference, 95 % interval, p corrected by Holm over these")
    for item in judged:
        whole = item["after"] - item["before"] > 1
        title = "whole ladder: DAPO - GRPO" if whole else titles[item["after"]]
        verdict = "significant" if item["p_holm"] < 0.05 else "not significant"
        if item["p_holm"] < 0.05 and item["difference"] * item["sign"] < 0:
            verdict += ", the other way"
        p = f"p {item['p_holm']:.4f}" if item["p_holm"] >= 0.0001 else "p < 0.0001"
        console.print(
            f"  {title:28}{COLUMNS[item['metric']][0]:14}{item['difference']:+.4f} "
            f"[{item['low']:+.4f}, {item['high']:+.4f}], {p}: {verdict}"
        )


def print_differences(
    found: Runs, titles: Sequence[str], left_out: Sequence[str], console: Console
) -> list[dict[str, Any]]:
    """All other differences; they are many, so their intervals are no tests."""
    console.print("\nto look at: all paired differences with their 95 % intervals, uncorrected")
    last = len(titles) - 1
    pairs = [(titles[rung], rung - 1, rung) for rung in range(1, len(titles))]
    pairs.append(("whole ladder: DAPO - GRPO", 0, last))
    pairs += [(f"DAPO - DAPO without {part}", last + 1 + place, last) for place, part in enumerate(left_out)]
    explored = []
    for title, before, after in pairs:
        items = [item for column in COLUMNS if (item := compare(found, before, after, column))]
        explored += items
        for start in range(0, len(items), 2):
            texts = map(_difference_text, items[start : start + 2])
            console.print(
                f"  {title if start == 0 else '':34}{''.join(f'{text:42}' for text in texts)}".rstrip()
            )
    return explored


def _difference_text(item: Mapping[str, Any]) -> str:
    heading, digits = COLUMNS[item["metric"]]
    low, high = (f"{item[end]:+.{digits}f}" for end in ("low", "high"))
    return f"{heading} {item['difference']:+.{digits}f} [{low}, {high}]"


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


def plot(path: Path, found: Runs, titles: Sequence[str]) -> None:
    """Curves over the steps: mean over seeds, and a band of its 95 % interval for what is compared."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    picture, axes = pyplot.subplots(2, 2, figsize=(12, 8))
    last = len(titles) - 1
    panels: tuple[tuple[str, tuple[int, ...], str, Callable[[Result], Sequence[float]]], ...] = (
        ("held-out avg@8, all rungs", tuple(range(len(titles))), "accuracy", _evaluated),
        (
            "held-out avg@8, the last three rungs against GRPO",
            (0, *range(last - 2, last + 1)),
            "accuracy",
            _evaluated,
        ),
        ("held-out pass@8, without and with clip-higher", (1, 2), "passed", _evaluated),
        ("entropy (nats per token), without and with clip-higher", (1, 2), "entropies", _every_step),
    )
    for axis, (heading, rungs, curve, steps) in zip(axes.flat, panels, strict=True):
        for rung in rungs:
            runs = list(found[rung].values())
            if runs:
                _draw(axis, steps(runs[0]), [run[curve] for run in runs], rung, titles[rung], len(rungs) < 5)
        if curve != "entropies":
            axis.set_ylim(top=min(1.0, axis.get_ylim()[1]))
        axis.set_title(heading, fontsize=10)
        axis.set_xlabel("step")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    picture.tight_layout()
    picture.savefig(path, dpi=120)
    pyplot.close(picture)


def _evaluated(run: Result) -> Sequence[float]:
    steps: Sequence[float] = run["evaluated"]
    return steps


def _every_step(run: Result) -> Sequence[float]:
    return range(1, len(run["entropies"]) + 1)


def _draw(
    axis: Any, steps: Sequence[float], curves: Sequence[Sequence[float]], rung: int, title: str, band: bool
) -> None:
    axis.plot(steps, np.mean(curves, 0), color=f"C{rung}", label=title)
    if band and len(curves) > 1:
        bounds = [mean_interval(values) for values in np.transpose(curves)]
        axis.fill_between(
            steps, [low for low, _ in bounds], [high for _, high in bounds], color=f"C{rung}", alpha=0.2, lw=0
        )
