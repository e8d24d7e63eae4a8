"""Readers: every format, the schemas of other trainers, and what is broken said with its place."""

from __future__ import annotations

import bz2
import csv
import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from curation import CurateConfig
from curation.answers import canonical
from curation.fields import to_row
from curation.row import Row
from curation.sources import Unreadable, read_source
from tests.shared_data import shared_path
from verifiers import InputError

ROWS = [{"problem": f"What is {n}+1?", "answer": str(n + 1)} for n in range(5)]


def rows_of(path: Path | str) -> list[Any]:
    return [value for _, value in read_source(str(path))]


def as_rows(path: Path | str, **mapping: str) -> list[Row]:
    made = [to_row(value, n, f"s:{n}", "s", mapping) for n, value in enumerate(rows_of(path))]
    assert all(isinstance(row, Row) for row in made)
    return made  # type: ignore[return-value]


def test_every_format_gives_the_same_rows(tmp_path: Path) -> None:
    lines = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
    files = {
        "a.jsonl": lines,
        "b.jsonl.gz": gzip.compress(lines),
        "c.jsonl.xz": lzma.compress(lines),
        "d.jsonl.zst": pa.compress(lines, "zstd", asbytes=True),
        "e.json": json.dumps(ROWS, indent=1).encode(),
        "f.json": json.dumps({"data": ROWS}).encode(),
        "g.json": lines,
        "h.xml": b"<set>"
        + b"".join(
            f"<item><problem>{row['problem']}</problem><answer>{row['answer']}</answer></item>".encode()
            for row in ROWS
        )
        + b"</set>",
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    table = pa.Table.from_pylist(ROWS)
    pq.write_table(table, tmp_path / "i.parquet")
    pyarrow.feather.write_feather(table, tmp_path / "j.feather")
    with pa.ipc.new_stream(tmp_path / "k.arrow", table.schema) as stream:
        stream.write_table(table)
    with (tmp_path / "l.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ["problem", "answer"])
        writer.writeheader()
        writer.writerows(ROWS)
    for path in sorted(tmp_path.iterdir()):
        found = [{"problem": row.problem, "answer": row.answer} for row in as_rows(path)]
        assert found == ROWS, path.name


@pytest.mark.parametrize(
    "value",
    [
        {
            "prompt": [{"role": "user", "content": "Q"}],
            "reward_model": {"ground_truth": "7", "style": "rule"},
        },
        {"prompt": "Q", "ground_truth": "7"},
        {"input": "Q", "label": 7},
        {"question": "Q", "answer": "Because.\n#### 7"},
        {"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "Q"}], "gold": "7"},
        [
            {"from": "human", "value": "Q"},
            {"from": "assistant", "ground_truth": {"value": "7", "pass_at_n": 0.5}},
        ],
        {"problem": "Q", "answer": ["7"]},
        {"problem": "Q", "answer": '["7"]'},
        {"problem": "Q", "answer": 7.0},
    ],
)
def test_schemas_of_others_are_read_without_a_mapping(value: Any) -> None:
    row = to_row(value, 0, "s:1", "s", {})
    assert isinstance(row, Row)
    assert (row.problem, row.answer) == ("Q", "7")


def test_a_mapping_reaches_nested_fields() -> None:
    value = {"task": {"text": "Q"}, "solution": "wrong field", "key": {"final": "7"}}
    row = to_row(value, 0, "s:1", "s", {"problem": "task.text", "answer": "key.final"})
    assert isinstance(row, Row)
    assert (row.problem, row.answer) == ("Q", "7")


def test_a_truncated_list_gives_every_whole_element_and_says_where_it_broke(tmp_path: Path) -> None:
    text = json.dumps(ROWS, indent=1)
    path = tmp_path / "rows.json"
    for cut in range(10, len(text) - 1, 7):
        path.write_text(text[:cut])
        *whole, last = rows_of(path)
        assert whole == ROWS[: len(whole)]
        assert isinstance(last, Unreadable)
        assert f"after {len(whole)} whole elements" in last.why


def test_bad_rows_are_reported_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    deep = "[" * 100_000 + "]" * 100_000
    path.write_text(
        f'{{"problem": "a", "answer": "1"}}\n\nnonsense\n{{"problem": "b", "answer": "2"}}\n{deep}\n'
    )
    found = list(read_source(str(path)))
    assert [position for position, _ in found] == [1, 3, 4, 5]
    assert [isinstance(value, Unreadable) for _, value in found] == [False, True, False, True]
    (tmp_path / "rows.csv").write_text("problem,answer\na,1\nb\nc,3\n")
    assert [type(value).__name__ for value in rows_of(tmp_path / "rows.csv")] == [
        "dict",
        "Unreadable",
        "dict",
    ]


def test_a_row_without_a_problem_says_which_fields_it_has() -> None:
    found = to_row({"txt": "Q", "answer": "7"}, 0, "s:1", "s", {})
    assert isinstance(found, Unreadable)
    assert "answer, txt" in found.why


def test_unknown_formats_and_missing_files_are_one_line_errors(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl.bz2").write_bytes(bz2.compress(b"{}"))
    with pytest.raises(InputError, match="unknown format"):
        rows_of(tmp_path / "rows.jsonl.bz2")
    with pytest.raises(InputError, match="no such file"):
        rows_of(tmp_path / "missing.jsonl")
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(InputError, match="not a whole Parquet file"):
        rows_of(tmp_path / "torn.parquet")


def test_xml_with_entities_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.xml"
    path.write_text('<!DOCTYPE x [<!ENTITY a "aaaa">]><x><row><problem>&a;</problem></row></x>')
    with pytest.raises(InputError, match="entities"):
        rows_of(path)


ORIGINALS = {
    "AQuA_dev.jsonl": (254, 0),
    "dapo_math_17k.parquet": (17917, 0),
    "gsm8k_hf_data-00000-of-00001.arrow": (8792, 0),
    "olympiad_bench_nested.json": (675, 0),
}


@pytest.mark.parametrize("name", ORIGINALS)
def test_files_as_their_publishers_wrote_them(name: str) -> None:
    rows = as_rows(shared_path(f"raw_original_formats/{name}"))
    assert len(rows) >= ORIGINALS[name][0] - ORIGINALS[name][1]
    assert all(row.problem and row.answer for row in rows)


def test_the_truncated_publication_is_salvaged() -> None:
    *whole, last = rows_of(shared_path("raw_original_formats/orz_57k_TRUNCATED.json"))
    rows = [to_row(value, 0, "s:1", "s", {}) for value in whole]
    assert len(whole) > 1700
    assert all(isinstance(row, Row) for row in rows)
    assert isinstance(last, Unreadable)
    assert canonical(rows[1].answer or "") == "65"  # type: ignore[union-attr]


def test_every_file_of_a_glob_is_a_source_of_its_own(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(ROWS[0]) + "\n")
    config = CurateConfig(inputs=[f"{tmp_path}/*.jsonl", f"{tmp_path}/one.jsonl"])
    assert [source.name for source in config.all_sources()] == ["one", "two", "one-2"]
