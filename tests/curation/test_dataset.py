"""The data set folder: what is written is what is read, by us and by `datasets`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from curation import CuratedProblem, LineageRow, PassRate, load_curated, read_lineage, write_curated
from verifiers import InputError, Problem

PROBLEMS = [
    CuratedProblem(
        problem=Problem(id="a", prompt="What is 3+5?", answer="8", source="s", metadata={"level": 2}),
        pass_rate=PassRate(rollouts=8, passed=3, failed=1, alpha=3.5, beta=5.5),
        band="right",
        lineage=("s:1", "s:7"),
        extra={"original": "what is  3+5?"},
    ),
    CuratedProblem(
        problem=Problem(
            id="b",
            prompt=({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Sort."}),
            tests={"inputs": ["1 2"], "outputs": ["1 2"]},
            verifier="code",
        ),
        split="validation",
    ),
]
LINEAGE = [
    LineageRow(raw_id="s:1", source="s", kept=True, problem_id="a"),
    LineageRow(raw_id="s:2", source="s", kept=False, stage="gold", reason="gold is empty"),
]


@pytest.mark.parametrize("format", ["parquet", "jsonl"])
def test_a_folder_round_trips(tmp_path: Path, format: Any) -> None:
    assert write_curated(tmp_path, PROBLEMS, LINEAGE, card="# Card", config="seed: 0\n", format=format) == 2
    assert load_curated(tmp_path) == PROBLEMS
    assert list(read_lineage(tmp_path)) == LINEAGE
    assert (tmp_path / "card.md").read_text() == "# Card"


def test_the_same_problems_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_curated(tmp_path / name, PROBLEMS, LINEAGE)
    for file in ("data.parquet", "lineage.parquet"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_datasets_opens_it(tmp_path: Path) -> None:
    from datasets import load_dataset

    write_curated(tmp_path / "set", PROBLEMS, LINEAGE)
    rows = load_dataset(
        "parquet",
        data_files=f"{tmp_path}/set/data.parquet",
        split="train",
        cache_dir=str(tmp_path / "hf"),
    )
    assert rows["id"][:] == ["a", "b"]
    assert rows[0]["pass_rate"] == pytest.approx(3.5 / 9)
    assert rows[1]["messages"][0] == {"role": "system", "content": "Be brief."}


def test_a_folder_without_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no data\.parquet"):
        load_curated(tmp_path)
