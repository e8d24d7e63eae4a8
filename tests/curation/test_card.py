"""The card: every share stands with its interval, and its pictures are whole."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

from scipy.stats import binomtest

from curation import CurateConfig, curate
from curation.plots import shares_svg

SVG = "{http://www.w3.org/2000/svg}"


def test_dropped_shares_stand_with_wilson_intervals_and_a_picture(tmp_path: Path) -> None:
    raw = tmp_path / "raw.jsonl"
    rows = [{"problem": f"What is {n}+{n}?", "answer": str(2 * n)} for n in range(40)]
    rows += [{"problem": f"Is {n} prime?", "answer": "yes"} for n in (2, 3, 5)]
    raw.write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = curate(CurateConfig(inputs=[str(raw)], output=tmp_path / "set", workers=1))
    card = (tmp_path / "set" / "card.md").read_text()
    types = next(report for report in result.funnel if report.name == "types")
    assert (types.dropped, types.entered) == (3, 43)
    interval = binomtest(3, 43).proportion_ci(method="wilson")
    wanted = f"{3 / 43:.2%} ({interval.low:.2%} to {interval.high:.2%})"
    assert re.search(rf"\| types \| 43 \| 3 \| {re.escape(wanted)} \| 40 \|", card)
    picture = ElementTree.fromstring((tmp_path / "set" / "drops.svg").read_text())
    assert "drops.svg" in card
    assert len(picture.findall(f"{SVG}rect")) == len(result.funnel)


def test_a_picture_of_shares_is_well_formed_whatever_the_names() -> None:
    counts = [("a <b> & c", 3, 10), ("none", 0, 10), ("nothing to count", 0, 0), ("all", 10, 10)]
    picture = ElementTree.fromstring(shares_svg("shares & more", counts))
    bars = [float(bar.attrib["width"]) for bar in picture.findall(f"{SVG}rect")]
    assert bars[3] > bars[0] > bars[1] == bars[2] == 0
    # A whisker encloses the end of its bar.
    for bar, whisker in zip(picture.findall(f"{SVG}rect"), picture.findall(f"{SVG}path"), strict=True):
        low, high = re.findall(r"[MH]([\d.]+)", whisker.attrib["d"])[:2]
        end = float(bar.attrib["x"]) + float(bar.attrib["width"])
        assert float(low) - 0.1 <= end <= float(high) + 0.1
