"""Pictures of the card, as SVG text."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

from curation.stage import StageReport
from curation.statistics import wilson

_HEAD = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
    'font-size="11" fill="#444">'
)


def shares_svg(title: str, counts: Sequence[tuple[str, int, int]]) -> str:
    """Shares as horizontal bars, each with its 95 % interval (Wilson) as a whisker.

    Args:
        title: stands above the bars.
        counts: name, count, and what it is a share of.
    """
    left, width, step = 190, 640, 22
    room = width - left - 120
    height = 40 + step * len(counts)
    most = max([wilson(count, of)[1] for _, count, of in counts if of] + [1e-9])
    parts = [_HEAD.format(width=width, height=height), f'<text x="8" y="16">{escape(title)}</text>']
    for number, (name, count, of) in enumerate(counts):
        y = 32 + step * number
        share = count / of if of else 0.0
        low, high = wilson(count, of) if of else (0.0, 0.0)
        from_x, to_x = left + room * low / most, left + room * high / most
        parts += [
            f'<text x="{left - 8}" y="{y + 9}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{left}" y="{y}" width="{room * share / most:.1f}" height="12" fill="#2f6db5"/>',
            f'<path d="M{from_x:.1f} {y + 6}H{to_x:.1f}M{from_x:.1f} {y + 2}v8M{to_x:.1f} {y + 2}v8" '
            'stroke="#222" fill="none"/>',
            f'<text x="{to_x + 6:.1f}" y="{y + 10}">{share:.2%} ({count:,})</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def drops_svg(reports: Sequence[StageReport]) -> str:
    """Share of the rows entering each stage that it dropped."""
    counts = [(report.name, report.dropped, report.entered) for report in reports]
    return shares_svg("share of the rows entering a stage that it dropped, with 95 % interval", counts)


def histogram_svg(before: Sequence[int], after: Sequence[int]) -> str:
    """Two histograms of pass rates in one picture: grey before the keep band, blue in the set."""
    width, height, left, bottom = 640, 240, 56, 204
    most = max([*before, *after, 1])
    step = (width - left - 16) / len(before)
    parts = [
        _HEAD.format(width=width, height=height),
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
