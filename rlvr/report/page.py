"""The report page: figures and charts chosen from a run, put into the template."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from rlvr.report.charts import Series, histograms, line_chart, number, stacked_shares
from rlvr.report.sources import DataSet, Run


@dataclass(frozen=True, slots=True)
class Chart:
    """A titled chart with the sentence that says how to read it."""

    title: str
    note: str
    svg: str


@dataclass(frozen=True, slots=True)
class Figure:
    """One number at the head of the page."""

    label: str
    value: str
    detail: str = ""


@cache
def _template() -> Any:
    environment = Environment(
        loader=PackageLoader("rlvr.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    environment.filters["percent"] = percent
    return environment.get_template("page.html.jinja")


def render(run: Run) -> str:
    """The page as HTML text; it loads nothing from outside."""
    return str(
        _template().render(
            run=run,
            title=run.folder.resolve().name,
            figures=head_figures(run),
            before_after=before_after(run),
            charts=training_charts(run),
            difficulty=difficulty_chart(run.data) if run.data else None,
            funnel_peak=run.data.funnel[0].entered if run.data and run.data.funnel else 1,
        )
    )


def percent(value: float | None) -> str:
    """A share as a percentage with one decimal, or a dash."""
    return "–" if value is None or not math.isfinite(value) else f"{100 * value:.1f} %"


def head_figures(run: Run) -> list[Figure]:
    """The numbers a reader looks for first."""
    figures = []
    for name, rows in run.evals.items():
        first, last = rows[0], rows[-1]
        span = f"step {first['step']} → {last['step']}"
        greedy = (first.get("greedy_accuracy"), last.get("greedy_accuracy"))
        if None not in greedy:
            figures.append(Figure(f"{name}: greedy", f"{percent(greedy[0])} → {percent(greedy[1])}", span))
        average = (first.get("avg_at_k"), last.get("avg_at_k"))
        if None not in average:
            label = f"{name}: avg@{last.get('k', 'k')}"
            figures.append(Figure(label, f"{percent(average[0])} → {percent(average[1])}", span))
    if run.train:
        tokens = sum(row.get("tokens_sampled", 0) for row in run.train)
        seconds = sum(row.get("seconds", 0.0) for row in run.train)
        figures.append(Figure("steps", str(run.train[-1]["step"]), f"{seconds:.0f} s of training"))
        figures.append(
            Figure("tokens sampled", number(tokens), f"{number(tokens / max(seconds, 1e-9))} a second")
        )
    if run.data:
        figures.append(Figure("curated problems", str(run.data.rows), str(run.data.folder)))
    return figures


def before_after(run: Run) -> list[dict[str, Any]]:
    """First and last evaluation of each benchmark."""
    table = []
    for name, rows in run.evals.items():
        for when, row in (("before", rows[0]), ("after", rows[-1])):
            table.append({"benchmark": name, "when": when, **row})
    return table


def _column(rows: Sequence[dict[str, Any]], name: str) -> list[float]:
    return [float(value) if (value := row.get(name)) is not None else math.nan for row in rows]


def _curve(rows: Sequence[dict[str, Any]], name: str, field: str, colour: int = 0) -> Series:
    return Series(name, _column(rows, "step"), _column(rows, field), colour=colour)


def training_charts(run: Run) -> list[Chart]:
    """The curves of the run, in the order in which one asks for them."""
    rows = run.train
    charts = [
        Chart(
            "Held-out accuracy", "Greedy, and the mean over k samples, with 95 % intervals.", _held_out(run)
        )
    ]
    if not rows:
        return charts
    charts += [
        Chart(
            "Reward",
            "Mean reward of all sampled completions, and the share that is correct.",
            line_chart(
                [_curve(rows, "reward", "reward_mean"), _curve(rows, "accuracy", "accuracy", 1)],
                label="reward",
            ),
        ),
        Chart(
            "Groups",
            "Shares of groups all right, mixed and all wrong; only mixed ones carry a gradient.",
            stacked_shares(
                _column(rows, "step"),
                [
                    ("all right", _column(rows, "groups_correct"), 1),
                    ("mixed", _column(rows, "groups_mixed"), 0),
                    ("all wrong", _column(rows, "groups_wrong"), 3),
                ],
                label="group kinds",
            ),
        ),
        Chart(
            "Entropy",
            "Mean entropy of the policy per token, in nats. A fall to zero ends exploration.",
            line_chart([_curve(rows, "entropy", "entropy")], label="entropy", y_range=(0, None)),
        ),
        Chart(
            "Response length",
            "Mean length of the sampled completions in tokens.",
            line_chart([_curve(rows, "length", "length_mean")], label="length"),
        ),
        Chart(
            "Clipping",
            "Share of tokens whose ratio was clipped, below and above.",
            line_chart(
                [
                    _curve(rows, "clipped low", "clip_fraction_low", 3),
                    _curve(rows, "clipped high", "clip_fraction_high"),
                ],
                label="clip fraction",
                y_range=(0, None),
            ),
        ),
        Chart(
            "Sampler against learner",
            "Estimated KL divergence, nats per token, between the policy that sampled and the learner.",
            line_chart([_curve(rows, "KL", "kl_sampler", 2)], label="mismatch"),
        ),
        Chart(
            "Gradient norm",
            "Before clipping.",
            line_chart([_curve(rows, "norm", "grad_norm", 2)], label="gradient norm", y_range=(0, None)),
        ),
        Chart(
            "Time per step",
            "Seconds in each phase.",
            line_chart(
                [
                    _curve(rows, "rollout", "seconds_rollout"),
                    _curve(rows, "verify", "seconds_verify", 1),
                    _curve(rows, "update", "seconds_update", 2),
                ],
                label="seconds",
                y_range=(0, None),
            ),
        ),
    ]
    if run.attempts:
        charts.append(attempts_chart(run))
    return charts


def attempts_chart(run: Run) -> Chart:
    """The five most frequent things that programs tried; a rise is a policy that learns to cheat."""
    steps = sorted({int(row["step"]) for row in run.train} | run.attempts.keys())
    total = sum(run.attempts.values(), Counter[str]())
    none: Counter[str] = Counter()
    return Chart(
        "What programs tried",
        "Refused system calls, odd paths, early exits in the sandbox, per step. They earn nothing.",
        line_chart(
            [
                Series(name, steps, [run.attempts.get(step, none)[name] for step in steps], colour=colour)
                for colour, (name, _) in enumerate(total.most_common(5))
            ],
            label="attempts",
            y_range=(0, None),
        ),
    )


def _held_out(run: Run) -> str:
    series = []
    for index, (name, rows) in enumerate(run.evals.items()):
        for offset, (label, field, low, high) in enumerate(
            (
                ("greedy", "greedy_accuracy", "greedy_low", "greedy_high"),
                ("avg@k", "avg_at_k", "avg_low", "avg_high"),
            )
        ):
            kept = [row for row in rows if row.get(field) is not None]
            bounded = all(row.get(low) is not None and row.get(high) is not None for row in kept)
            series.append(
                Series(
                    f"{name}: {label}" if len(run.evals) > 1 else label,
                    _column(kept, "step"),
                    _column(kept, field),
                    _column(kept, low) if bounded else (),
                    _column(kept, high) if bounded else (),
                    colour=(2 * index + offset) % 5,
                    dots=True,
                )
            )
    return line_chart(series, label="held-out accuracy", y_range=(0, 1))


def difficulty_chart(data: DataSet) -> Chart | None:
    """Pass rates of the measured problems, before the band filter and in the final set."""
    bins = len(data.histogram_before)
    if not bins:
        return None
    return Chart(
        "Difficulty",
        "Pass rate of the reference model on each problem: all measured, and those in the set.",
        histograms(
            [f"{index / bins:.1f}–{(index + 1) / bins:.1f}" for index in range(bins)],
            [("measured", data.histogram_before, 4), ("in the set", data.histogram_after, 0)],
            label="difficulty",
            x_label="pass rate of the reference model (posterior mean)",
        ),
    )
