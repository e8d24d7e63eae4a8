"""Code problems without a model: the reference solution checks the tests; without one they are kept unverified."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from curation import CurateConfig, curate, load_curated, read_lineage

ROWS = [
    {
        "problem": "Write a function double(n) that returns twice n.",
        "tests": ["assert double(2) == 4", "assert double(5) == 10"],
        "solution": "def double(n):\n    return 2 * n",
    },
    {
        "problem": "Write a function triple(n) that returns three times n.",
        "tests": ["assert triple(2) == 6"],
        "solution": "def triple(n):\n    return 2 * n",
    },
    {
        "problem": "Write a function half(n) that returns half of an even n.",
        "tests": ["assert half(4) == 2"],
    },
    {"problem": "Write a function same(n) that returns n.", "tests": ["assert True"]},
]


@pytest.mark.parametrize("unverified", ["keep", "drop"])
def test_tests_without_a_reference_solution_are_kept_as_unverified_or_dropped(
    tmp_path: Path, unverified: str
) -> None:
    raw = tmp_path / "raw.jsonl"
    raw.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    settings = {
        "inputs": [str(raw)], "output": tmp_path / "set", "workers": 1, "gold": {"unverified": unverified},
    }  # fmt: skip
    result = curate(CurateConfig.model_validate(settings))
    reasons = [line.reason.partition(":")[0] for line in read_lineage(tmp_path / "set")]
    gold = next(report for report in result.funnel if report.name == "gold")
    marks = {item.problem.id: item.extra.get("gold") for item in load_curated(tmp_path / "set")}
    if unverified == "keep":
        # Tests that pass an empty program prove nothing, with or without a reference.
        assert reasons == ["", "gold not accepted", "", "wrong answer accepted"]
        assert marks == {"raw:1": None, "raw:3": "unverified"}
        assert gold.notes["tests without a reference solution"] == 1
    else:
        assert reasons == ["", "gold not accepted", "no reference solution", "no reference solution"]
        assert marks == {"raw:1": None}
