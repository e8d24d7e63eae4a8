"""The funnel as people read it: how many rows entered each stage, how many it dropped, and why."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from curation.stage import StageReport
from curation.statistics import wilson

REASONS_SHOWN = 6


def reasons_text(report: StageReport, shown: int = REASONS_SHOWN) -> str:
    """Reasons with their counts, most frequent first; what a stage did to rows that stayed, in "
    "parentheses."""
    reasons = report.reasons.most_common()
    parts = [f"{name} {count:,}" for name, count in reasons[:shown]]
    if len(reasons) > shown:
        parts.append(f"{len(reasons) - shown} more reasons {sum(count for _, count in reasons[shown:]):,}")
    notes = [f"{name} {count:,}" for name, count in report.notes.most_common(shown)]
    return ", ".join(parts) + (" " * bool(parts and notes)) + (f"({', '.join(notes)})" if notes else "")


def funnel_table(reports: Sequence[StageReport]) -> Table:
    """The funnel as a rich table."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("stage")
    for heading in ("entered", "dropped", "kept"):
        table.add_column(heading, justify="right")
    table.add_column("why", overflow="fold")
    for report in reports:
        table.add_row(
            report.name,
            f"{report.entered:,}",
            f"{report.dropped:,}" if report.dropped else "-",
            f"{report.kept:,}",
            reasons_text(report),
        )
    return table


def share_text(count: int, of: int) -> str:
    """A share with its 95 % interval (Wilson); a dash where there is nothing to be a share of."""
    if of == 0:
        return "-"
    low, high = wilson(count, of)
    return f"{count / of:.2%} ({low:.2%} to {high:.2%})"


def funnel_markdown(reports: Sequence[StageReport]) -> str:
    """The funnel as a Markdown table, every reason on it."""
    lines = [
        "| stage | entered | dropped | share (95 % interval) | kept | why |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for report in reports:
        why = reasons_text(report, shown=1000).replace("|", "\\|")
        share = share_text(report.dropped, report.entered)
        lines.append(
            f"| {report.name} | {report.entered:,} | {report.dropped:,} | {share} | {report.kept:,} | {why} |"
        )
    return "\n".join(lines)


def print_funnel(reports: Sequence[StageReport], console: Console) -> None:
    """Print the funnel: a table on a terminal, one plain line per stage elsewhere."""
    if console.is_terminal:
        console.print(funnel_table(reports))
        return
    for report in reports:
        why = reasons_text(report)
        line = f"{report.name}: {report.entered} entered, {report.dropped} dropped, {report.kept} kept"
        console.print(f"{line}; {why}" if why else line, highlight=False, soft_wrap=True, markup=False)


def histogram(rates: Sequence[float], bins: int = 10) -> list[int]:
    """Counts of pass rates in equal bins of 0..1."""
    counts = [0] * bins
    for rate in rates:
        counts[min(bins - 1, int(rate * bins))] += 1
    return counts


def histogram_text(counts: Sequence[int], width: int = 40) -> str:
    """A histogram of pass rates as text, one line per bin."""
    most = max([*counts, 1])
    lines = []
    for bin, count in enumerate(counts):
        bar = "█" * round(width * count / most) or ("▏" if count else "")
        lines.append(f"{bin / len(counts):.1f}-{(bin + 1) / len(counts):.1f} {count:>7,} {bar}")
    return "\n".join(lines)
