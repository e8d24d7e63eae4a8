"""Exports open with the readers of their trainers' data, with the gold where each looks for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from curation import CuratedProblem, PassRate, write_curated
from rlvr.cli import main
from verifiers import Problem


@pytest.fixture
def data(tmp_path: Path) -> Path:
    def row(index: int, split: str, band: str) -> CuratedProblem:
        return CuratedProblem(
            problem=Problem(
                id=f"p{index}", prompt=f"What is {index}+1?", answer=str(index + 1), source="set"
            ),
            pass_rate=PassRate(rollouts=8, passed=4, alpha=5, beta=5),
            band=band,
            split=split,  # type: ignore[arg-type]
        )

    folder = tmp_path / "curated"
    write_curated(folder, [row(1, "train", "mid"), row(2, "train", "hard"), row(3, "validation", "mid")])
    return folder


def test_verl_reads_messages_and_ground_truth(data: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    out = tmp_path / "verl.parquet"
    assert main(["export", str(data), str(out), "--schema", "verl"]) == 0
    rows = load_dataset(
        "parquet", data_files=str(out), split="train", cache_dir=str(tmp_path / "cache")
    ).to_list()
    assert [row["reward_model"] for row in rows] == [
        {"style": "rule", "ground_truth": "2"},
        {"style": "rule", "ground_truth": "3"},
    ]
    assert rows[0]["prompt"] == [{"role": "user", "content": "What is 1+1?"}]
    assert rows[0]["data_source"] == "set"
    assert rows[1]["extra_info"]["index"] == 1


def test_trl_and_openrlhf_columns(data: Path, tmp_path: Path) -> None:
    trl, openrlhf = tmp_path / "trl.jsonl", tmp_path / "openrlhf.jsonl"
    assert main(["export", str(data), str(trl), "--schema", "trl", "--split", "all"]) == 0
    assert main(["export", str(data), str(openrlhf), "--schema", "openrlhf", "--bands", "hard"]) == 0
    trl_rows = [json.loads(line) for line in trl.read_text().splitlines()]
    assert [row["solution"] for row in trl_rows] == ["2", "3", "4"]
    assert trl_rows[0]["prompt"][0]["role"] == "user"
    [row] = [json.loads(line) for line in openrlhf.read_text().splitlines()]
    assert (row["input"][0]["content"], row["label"]) == ("What is 2+1?", "3")


def test_nothing_to_write_is_an_error_and_leaves_no_file(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "x.parquet"
    assert main(["export", str(data), str(out), "--bands", "none"]) == 2
    assert "no row matches" in capsys.readouterr().err
    assert not out.exists()


def test_an_unknown_ending_is_an_error(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(data), str(tmp_path / "x.txt")]) == 2
    assert ".parquet or .jsonl" in capsys.readouterr().err


def test_the_difference_of_two_sets(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    later = tmp_path / "later"
    kept = CuratedProblem(
        problem=Problem(id="p1", prompt="What is 1+1?", answer="11", source="set"), band="mid"
    )
    fresh = CuratedProblem(
        problem=Problem(id="p9", prompt="What is 9+1?", answer="10", source="set"), band="mid"
    )
    write_curated(later, [kept, fresh])
    assert main(["diff", str(data), str(later), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["both"], found["only_first"], found["only_second"]) == (1, ["p2", "p3"], ["p9"])
    assert found["golds"] == [["p1", "2", "11"]]
