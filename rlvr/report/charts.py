"""Charts as inline SVG: no script, no network, one string each. The page's CSS variables colour them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

WIDTH, HEIGHT = 420, 220
LEFT, RIGHT, TOP, BOTTOM = 50, 12, 10, 38


@dataclass(frozen=True, slots=True)
class Series:
    """One line: `y[i]` at `x[i]`, with an optional interval `[low[i], high[i]]` drawn as a band."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    colour: int = field(default=0, kw_only=True)
    dots: bool = field(default=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Axis:
    """Maps data to pixels along one axis."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Pixel of a data value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers that cover [low, high]; never fewer than two."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return [0.0, 1.0]
    size = max(abs(low), abs(high))
    if high - low <= max(1e-9 * size, 1e-12):
        pad = 0.1 * size if size > 1e-9 else 1.0
        low, high = low - pad, high + pad
    raw = (high - low) / max(count - 1, 1)
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * magnitude for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{index * step:.12g}") for index in range(first, last + 1)]


def number(value: float) -> str:
    """A number as short as a reader needs it."""
    if not math.isfinite(value):
        return "–"
    size = abs(value)
    if size >= 1e6:
        return f"{value / 1e6:.3g}M"
    if size >= 1e4:
        return f"{value / 1e3:.3g}k"
    if value == int(value):
        return str(int(value))
    if size >= 100:
        return f"{value:.0f}"
    if size >= 0.01:
        return f"{value:.3g}"
    return f"{value:.1e}".replace(".0e", "e").replace("e-0", "e-")


def _text(x: float, y: float, text: str, anchor: str = "middle") -> str:
    return f'<text class="tick" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _frame(x_ticks: Sequence[float], y_ticks: Sequence[float], x: Axis, y: Axis, x_label: str) -> list[str]:
    parts = []
    for tick in y_ticks:
        at = y(tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(
            f'<text class="tick" x="{LEFT - 7}" y="{at + 4:.1f}" text-anchor="end">{number(tick)}</text>'
        )
    parts += [_text(x(tick), HEIGHT - BOTTOM + 16, number(tick)) for tick in x_ticks]
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 4, x_label))
    return parts


def _svg(parts: Sequence[str], label: str) -> str:
    body = "".join(parts)
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">{body}</svg>'


def _points(series: Series) -> list[tuple[float, float]]:
    return [(a, b) for a, b in zip(series.x, series.y, strict=True) if math.isfinite(b)]


def line_chart(
    series: Sequence[Series],
    *,
    label: str,
    x_label: str = "step",
    y_range: tuple[float | None, float | None] = (None, None),
) -> str:
    """Lines over a common x axis. Values that are not finite leave a gap; no value at all gives a note."""
    drawn = [one for one in series if _points(one)]
    if not drawn:
        return '<p class="empty">nothing was recorded</p>'
    xs = [a for one in drawn for a, _ in _points(one)]
    ys = [b for one in drawn for _, b in _points(one)]
    ys += [v for one in drawn for v in (*one.low, *one.high) if math.isfinite(v)]
    y_low = y_range[0] if y_range[0] is not None else min(ys)
    y_high = y_range[1] if y_range[1] is not None else max(ys)
    y_ticks = nice_ticks(y_low, y_high)
    x_ticks = [tick for tick in nice_ticks(min(xs), max(xs), 6) if min(xs) <= tick <= max(xs)] or [min(xs)]
    x_span = (min(xs), max(xs)) if max(xs) > min(xs) else (min(xs) - 0.5, max(xs) + 0.5)
    x = Axis(*x_span, LEFT, WIDTH - RIGHT)
    y = Axis(y_ticks[0], y_ticks[-1], HEIGHT - BOTTOM, TOP)
    parts = _frame(x_ticks, y_ticks, x, y, x_label)
    for one in drawn:
        parts += _draw_line(one, x, y)
    return _svg(parts, label) + _legend([(one.name, one.colour) for one in drawn])


def _draw_line(one: Series, x: Axis, y: Axis) -> list[str]:
    parts = []
    if one.low and one.high:
        upper = [f"{x(a):.1f},{y(b):.1f}" for a, b in zip(one.x, one.high, strict=True)]
        lower = [f"{x(a):.1f},{y(b):.1f}" for a, b in zip(one.x, one.low, strict=True)]
        parts.append(f'<polygon class="band c{one.colour}" points="{" ".join([*upper, *reversed(lower)])}"/>')
    points = _points(one)
    path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in points)
    parts.append(f'<polyline class="line c{one.colour}" points="{path}"/>')
    radius = 3 if one.dots or len(points) == 1 else 5
    shown = "dot" if one.dots or len(points) == 1 else "hover"
    for a, b in points:
        tip = escape(f"{one.name}: {number(b)} at {number(a)}")
        place = f'cx="{x(a):.1f}" cy="{y(b):.1f}" r="{radius}"'
        parts.append(f'<circle class="{shown} c{one.colour}" {place}><title>{tip}</title></circle>')
    return parts


def stacked_shares(
    x_values: Sequence[float], layers: Sequence[tuple[str, Sequence[float], int]], *, label: str
) -> str:
    """Layers `(name, counts, colour)` stacked to 100 % at each x. Steps with no count at all are left out."""
    rows = [
        (x_value, [counts[index] for _, counts, _ in layers])
        for index, x_value in enumerate(x_values)
        if sum(counts[index] for _, counts, _ in layers) > 0
    ]
    if not rows:
        return '<p class="empty">nothing was recorded</p>'
    xs = [row[0] for row in rows]
    span = (xs[0], xs[-1]) if len(xs) > 1 else (xs[0] - 0.5, xs[0] + 0.5)
    if len(rows) == 1:
        rows = [(span[0], rows[0][1]), (span[1], rows[0][1])]
    x, y = Axis(*span, LEFT, WIDTH - RIGHT), Axis(0, 100, HEIGHT - BOTTOM, TOP)
    parts: list[str] = []
    floor = [0.0] * len(rows)
    for index, (name, _, colour) in enumerate(layers):
        top = [
            base + 100 * counts[index] / sum(counts) for base, (_, counts) in zip(floor, rows, strict=True)
        ]
        upper = [f"{x(row[0]):.1f},{y(value):.1f}" for row, value in zip(rows, top, strict=True)]
        lower = [f"{x(row[0]):.1f},{y(value):.1f}" for row, value in zip(rows, floor, strict=True)]
        parts.append(
            f'<polygon class="area c{colour}" points="{" ".join([*upper, *reversed(lower)])}">'
            f"<title>{escape(name)}</title></polygon>"
        )
        floor = top
    ticks = [tick for tick in nice_ticks(xs[0], xs[-1], 6) if xs[0] <= tick <= xs[-1]] or [xs[0]]
    parts += _frame(ticks, [0, 25, 50, 75, 100], x, y, "step")
    return _svg(parts, label) + _legend([(name, colour) for name, _, colour in layers])


def histograms(
    bins: Sequence[str], layers: Sequence[tuple[str, Sequence[int], int]], *, label: str, x_label: str
) -> str:
    """Bars side by side for each bin; `layers` are `(name, counts per bin, colour)`.

    `bins` are names such as `0.1–0.2`, of which only the start is written under the bars.
    """
    peak = max((count for _, counts, _ in layers for count in counts), default=0)
    if peak == 0:
        return '<p class="empty">nothing was measured</p>'
    ticks = nice_ticks(0, peak)
    y = Axis(0, ticks[-1], HEIGHT - BOTTOM, TOP)
    slot = (WIDTH - LEFT - RIGHT) / len(bins)
    bar = slot * 0.8 / len(layers)
    parts = _frame([], ticks, Axis(0, 1, LEFT, WIDTH - RIGHT), y, x_label)
    for position, name in enumerate(bins):
        start = LEFT + position * slot + slot * 0.1
        for index, (layer, counts, colour) in enumerate(layers):
            top = y(counts[position])
            tip = escape(f"{layer}, {name}: {counts[position]}")
            parts.append(
                f'<rect class="bar c{colour}" x="{start + index * bar:.1f}" y="{top:.1f}" width="{bar:.1f}" '
                f'height="{y(0) - top:.1f}"><title>{tip}</title></rect>'
            )
        parts.append(_text(start + slot * 0.4, HEIGHT - BOTTOM + 16, name.split("–")[0]))
    return _svg(parts, label) + _legend([(name, colour) for name, _, colour in layers])


def _legend(entries: Sequence[tuple[str, int]]) -> str:
    if len(entries) < 2:
        return ""
    items = "".join(
        f'<span><i class="swatch c{colour}"></i>{escape(name)}</span>' for name, colour in entries
    )
    return f'<div class="legend">{items}</div>'
