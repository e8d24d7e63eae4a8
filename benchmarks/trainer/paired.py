"""Variants of a training run compared in pairs over seeds: Holm over named hypotheses, tables, curves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from curation.statistics import mean_interval

Result = Mapping[str, Any]
Runs = Mapping[int, Mapping[int, Result]]
"""Results by variant, then by seed."""
Columns = Mapping[str, tuple[str, int]]
"""Figures of a run: heading and digits."""


class Hypothesis(NamedTuple):
    """What a variant is expected to move, named before the runs."""

    before: int
    after: int
    metric: str
    sign: int
    """Of the difference that is expected."""
    reason: str


class Panel(NamedTuple):
    """One of the four parts of the picture."""

    heading: str
    variants: tuple[int, ...]
    curve: str
    """Name in a result of the values over the steps."""
    steps: str | None = None
    """Name in a result of their steps; None: 1, 2, 3, ..."""
    is_share: bool = True


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
    """The paired difference of two variants with its interval and p-value; None below two common seeds."""
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


def print_means(found: Runs, titles: Sequence[str], columns: Columns, console: Console) -> None:
    """A table of the columns' means: the first variants, as many as there are titles."""
    counts = sorted({len(found[variant]) for variant in range(len(titles))})
    table = Table(title=f"means ± 95 % (t) over {'-'.join(map(str, counts))} seeds", padding=(0, 0, 0, 1))
    table.add_column("")
    for title in titles:
        table.add_column(title, max_width=14, justify="right")
    for name, (heading, digits) in columns.items():
        cells = [
            interval_text([run[name] for run in found[variant].values()], digits)
            for variant in range(len(titles))
        ]
        table.add_row(heading, *cells)
    console.print(table)


def print_hypotheses(
    judged: Sequence[Mapping[str, Any]],
    titles: Mapping[tuple[int, int], str],
    columns: Columns,
    console: Console,
) -> None:
    """The verdicts; `titles` name the pairs of variants."""
    console.print("\nhypotheses: paired difference, 95 % interval, p corrected by Holm over these")
    widths = (
        max((len(text) for text in texts), default=0) + 2
        for texts in (
            [titles[item["before"], item["after"]] for item in judged],
            [columns[item["metric"]][0] for item in judged],
        )
    )
    width, heading_width = widths
    for item in judged:
        verdict = "significant" if item["p_holm"] < 0.05 else "not significant"
        if item["p_holm"] < 0.05 and item["difference"] * item["sign"] < 0:
            verdict += ", the other way"
        p = f"p {item['p_holm']:.4f}" if item["p_holm"] >= 0.0001 else "p < 0.0001"
        console.print(
            f"  {titles[item['before'], item['after']]:{width}}{columns[item['metric']][0]:{heading_width}}"
            f"{item['difference']:+.4f} [{item['low']:+.4f}, {item['high']:+.4f}], {p}: {verdict}"
        )


def print_differences(
    found: Runs, pairs: Mapping[tuple[int, int], str], columns: Columns, console: Console
) -> list[dict[str, Any]]:
    """All differences of some pairs of variants; they are many, so their intervals are no tests."""
    console.print("\nto look at: all paired differences with their 95 % intervals, uncorrected")
    explored = []
    width = max(map(len, pairs.values())) + 2
    for (before, after), title in pairs.items():
        items = [item for column in columns if (item := compare(found, before, after, column))]
        explored += items
        texts = [_difference_text(item, columns) for item in items]
        cell = max(map(len, texts), default=0) + 2
        for start in range(0, len(texts), 2):
            line = "".join(f"{text:{cell}}" for text in texts[start : start + 2])
            console.print(f"  {title if start == 0 else '':{width}}{line}".rstrip())
    return explored


def _difference_text(item: Mapping[str, Any], columns: Columns) -> str:
    heading, digits = columns[item["metric"]]
    low, high = (f"{item[end]:+.{digits}f}" for end in ("low", "high"))
    return f"{heading} {item['difference']:+.{digits}f} [{low}, {high}]"


def plot(path: Path, found: Runs, titles: Sequence[str], panels: Sequence[Panel]) -> None:
    """Curves over the steps: mean over seeds, and a band of its 95 % interval where they are few."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    picture, axes = pyplot.subplots(2, 2, figsize=(12, 8))
    for axis, panel in zip(axes.flat, panels, strict=True):
        for variant in panel.variants:
            runs = list(found[variant].values())
            if runs:
                curves = [run[panel.curve] for run in runs]
                steps = runs[0][panel.steps] if panel.steps else range(1, len(curves[0]) + 1)
                _draw(axis, steps, curves, variant, titles[variant], len(panel.variants) < 5)
        if panel.is_share:
            axis.set_ylim(top=min(1.0, axis.get_ylim()[1]))
        axis.set_title(panel.heading, fontsize=10)
        axis.set_xlabel("step")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    picture.tight_layout()
    picture.savefig(path, dpi=120)
    pyplot.close(picture)


def _draw(
    axis: Any, steps: Sequence[float], curves: Sequence[Sequence[float]], number: int, title: str, band: bool
) -> None:
    axis.plot(steps, np.mean(curves, 0), color=f"C{number}", label=title)
    if band and len(curves) > 1:
        low, high = zip(*(mean_interval(values) for values in np.transpose(curves)), strict=True)
        axis.fill_between(steps, low, high, color=f"C{number}", alpha=0.2, lw=0)
