"""The funnel as people read it: how many rows entered each stage, how many it dropped, and why."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from curation.stage import StageReport

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


def funnel_markdown(reports: Sequence[StageReport]) -> str:
    """The funnel as a Markdown table, every reason on it."""
    lines = ["| stage | entered | dropped | kept | why |", "|---|---:|---:|---:|---|"]
    for report in reports:
        why = reasons_text(report, shown=1000).replace("|", "\\|")
        lines.append(f"| {report.name} | {report.entered:,} | {report.dropped:,} | {report.kept:,} | {why} |")
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


def histogram_svg(before: Sequence[int], after: Sequence[int]) -> str:
    """Two histograms of pass rates in one picture: grey before the keep band, blue in the set."""
    width, height, left, bottom = 640, 240, 56, 204
    most = max([*before, *after, 1])
    step = (width - left - 16) / len(before)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        'font-size="11" fill="#444">',
        f'<text x="{left}" y="16">problems by pass rate: grey before the keep band, blue in the set</text>',
        f'<text x="{left - 6}" y="36" text-anchor="end">{most:,}</text>',
        f'<text x="{left - 6}" y="{bottom}" text-anchor="end">0</text>',
        f'<line x1="{left}" y1="{bottom}" x2="{width - 16}" y2="{bottom}" stroke="#999"/>',
    ]
    for bin, counts in enumerate(zip(before, after, strict=True)):
        x = left + bin * step
        for count, colour, offset in zip(counts, ("#c8c8c8", "#2f6db5"), (0.08, 0.48), strict=True):
            tall = (bottom - 32) * count / most
            parts.append(
                f'<rect x="{x + offset * step:.1f}" y="{bottom - tall:.1f}" width="{0.38 * step:.1f}" '
                f'height="{tall:.1f}" fill="{colour}"><title>{count:,}</title></rect>'
            )
        parts.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{bin / len(before):g}</text>')
    parts.append(f'<text x="{width - 16}" y="{bottom + 16}" text-anchor="middle">1</text></svg>')
    return "\n".join(parts) + "\n"
