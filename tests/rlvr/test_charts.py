"""Charts are well-formed SVG for any numbers, and put them where they belong."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.report.charts import BOTTOM, HEIGHT, TOP, Series, histograms, line_chart, nice_ticks, stacked_shares

finite = st.floats(-1e9, 1e9, allow_subnormal=False)


@given(finite, finite)
def test_ticks_are_rising_and_cover_the_range(a: float, b: float) -> None:
    low, high = min(a, b), max(a, b)
    ticks = nice_ticks(low, high)
    slack = 1e-6 * max(1.0, abs(low), abs(high))
    assert ticks == sorted(set(ticks))
    assert 2 <= len(ticks) <= 12
    assert ticks[0] <= low + slack
    assert ticks[-1] >= high - slack


def svg_of(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text[: text.index("</svg>") + 6])


@given(
    st.lists(
        st.tuples(finite, st.one_of(finite, st.just(math.nan), st.just(math.inf))), min_size=1, max_size=20
    )
)
def test_a_line_chart_is_well_formed_and_shows_every_finite_point(points: list[tuple[float, float]]) -> None:
    xs, ys = [x for x, _ in points], [y for _, y in points]
    text = line_chart([Series("a & <b>", xs, ys)], label="test")
    shown = sum(math.isfinite(y) for y in ys)
    if shown == 0:
        assert "nothing was recorded" in text
        return
    assert len([e for e in svg_of(text).iter() if e.tag.endswith("circle")]) == shown


def test_the_range_maps_to_the_frame() -> None:
    svg = svg_of(line_chart([Series("a", [0, 1], [0, 1])], label="test", y_range=(0, 1)))
    path = next(e for e in svg.iter() if e.tag.endswith("polyline")).attrib["points"]
    heights = [float(pair.split(",")[1]) for pair in path.split()]
    assert heights == pytest.approx([HEIGHT - BOTTOM, TOP])


def test_shares_are_of_the_counts_at_each_step() -> None:
    text = stacked_shares([1, 2], [("right", [3, 0], 1), ("wrong", [1, 4], 3)], label="test")
    areas = [e.attrib["points"] for e in svg_of(text).iter() if e.tag.endswith("polygon")]
    tops = [float(pair.split(",")[1]) for pair in areas[0].split()[:2]]
    full = HEIGHT - BOTTOM - TOP
    assert tops == pytest.approx([TOP + full * 0.25, TOP + full], abs=0.06)


def test_bars_stand_for_their_counts() -> None:
    text = histograms(
        ["low", "high"], [("before", [10, 5], 4), ("after", [0, 5], 0)], label="test", x_label="p"
    )
    heights = [float(e.attrib["height"]) for e in svg_of(text).iter() if e.tag.endswith("rect")]
    assert heights[0] == pytest.approx(2 * heights[2], abs=0.11)
    assert heights[1] == 0
    assert heights[2] == heights[3]
    assert re.findall(r"before, low: 10", text)


def test_empty_charts_say_so() -> None:
    assert "nothing" in stacked_shares([1], [("a", [0], 0)], label="t")
    assert "nothing" in histograms(["x"], [("a", [0], 0)], label="t", x_label="")
