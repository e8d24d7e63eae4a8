"""Offline scoring: rows in, the same rows with verdicts out, whatever the format, and stopped at any instant."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from rlvr.score import ScoreConfig, ScoreSummary, run_score
from tests.shared_data import shared_path
from verifiers import InputError

ROOT = Path(__file__).resolve().parents[2]
ROWS = [
    {"id": "a", "response": "so \\boxed{\\frac{1}{2}}", "answer": "0.5", "label": True},
    {"id": "b", "response": "I say 41", "answer": "42", "label": False},
    {"id": "c", "response": "nothing, really", "answer": "42", "label": True},
    {"id": "d", "response": "\\boxed{7}", "answer": 7, "label": True},
]


def score(source: Path, target: Path, **options: Any) -> tuple[ScoreSummary, str]:
    text = io.StringIO()
    config = ScoreConfig(**{"input": source, "output": target, "workers": 1, **options})
    return run_score(config, Console(file=text, width=100)), text.getvalue()


def jsonl(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_rows_come_out_in_order_with_their_verdicts(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    summary, text = score(jsonl(tmp_path / "in.jsonl", ROWS), out, explain=True)
    rows = read(out)
    assert [row["id"] for row in rows] == ["a", "b", "c", "d"]
    assert [row["status"] for row in rows] == ["correct", "incorrect", "no_answer", "correct"]
    assert [row["reward"] for row in rows] == [1.0, -1.0, -1.0, 1.0]
    assert rows[0]["extracted"] == "\\frac{1}{2}"
    assert rows[0]["method"] == "exact_number"
    assert all(row["detail"] for row in rows)
    assert summary.status == {"correct": 2, "incorrect": 1, "no_answer": 1, "timeout": 0, "error": 0}
    assert summary.accuracy == 0.5
    assert summary.agreement is not None
    assert (summary.agreement.labelled, summary.agreement.agree) == (4, 3)
    assert (summary.agreement.false_negatives, summary.agreement.false_positives) == (1, 0)
    assert "50.00%" in text
    assert "verdicts per second" in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl"]


def test_a_row_keeps_its_text_as_it_was_written(tmp_path: Path) -> None:
    line = '{ "x": 1.10, "big": 123456789012345678901234567890, "response": "4\\u00b0", "answer": "4", "n": NaN }'
    (tmp_path / "in.jsonl").write_text(line + "\n\n")
    score(tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_text().startswith(line[:-2] + ', "reward": 1.0')


def test_rows_that_cannot_be_read_are_kept_apart_with_their_line(tmp_path: Path) -> None:
    good = json.dumps(ROWS[0]).encode()
    lines = [
        good,
        b'{"response": ',
        b"[1]",
        b'{"answer": "1"}',
        b'{"response": "1"}',
        b'{"response": 5, "answer": "1"}',
        b'{"response": "1", "answer": ["1"]}',
        b'{"response": "\xff", "answer": "1"}',
        good,
    ]
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    summary, text = score(tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    assert (summary.rows, summary.rejected) == (2, 7)
    rejected = read(tmp_path / "out.jsonl.rejected.jsonl")
    assert [row["line"] for row in rejected] == [2, 3, 4, 5, 6, 7, 8]
    reasons = " | ".join(row["reason"] for row in rejected)
    for part in (
        "not JSON",
        "JSON object, got list",
        "'response' is missing",
        "no gold",
        "int, not text",
        "UTF-8",
    ):
        assert part in reasons
    assert rejected[0]["row"] == '{"response": '
    assert "rejected rows" in text


def test_csv_keeps_its_cells(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    with source.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["id", "response", "answer"])
        writer.writerows([["a", 'two\nlines, "quoted" \\boxed{3}', "3"], ["b", "\\boxed{4}", "3"]])
        out.write("only one cell\n")
    summary, _ = score(source, tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [(row["id"], row["status"], row["reward"]) for row in rows] == [
        ("a", "correct", "1.0"),
        ("b", "incorrect", "-1.0"),
    ]
    assert rows[0]["response"] == 'two\nlines, "quoted" \\boxed{3}'
    assert summary.rejected == 1


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    table = pa.table(
        {
            "response": ["\\boxed{1}", "\\boxed{2}"],
            "answer": ["1", "1"],
            "tokens": pa.array([[1, 2], []], pa.list_(pa.int32())),
        }
    )
    pq.write_table(table, tmp_path / "in.parquet")
    score(tmp_path / "in.parquet", tmp_path / "out.parquet")
    result = pq.read_table(tmp_path / "out.parquet")
    assert result.schema.field("tokens").type == pa.list_(pa.int32())
    assert result.column("reward").to_pylist() == [1.0, -1.0]
    score(tmp_path / "in.parquet", tmp_path / "out.jsonl")
    assert read(tmp_path / "out.jsonl")[0]["tokens"] == [1, 2]


def test_gzip_goes_in_and_out_with_the_same_bytes_each_time(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl.gz"
    source.write_bytes(gzip.compress(jsonl(tmp_path / "plain.jsonl", ROWS).read_bytes()))
    score(source, tmp_path / "one.jsonl.gz")
    time.sleep(1.1)
    score(source, tmp_path / "two.jsonl.gz")
    assert (tmp_path / "one.jsonl.gz").read_bytes() == (tmp_path / "two.jsonl.gz").read_bytes()
    assert len(gzip.decompress((tmp_path / "one.jsonl.gz").read_bytes()).splitlines()) == 4


def test_columns_of_the_input_are_never_overwritten(tmp_path: Path) -> None:
    rows = [{**ROWS[0], "status": "mine"}]
    _, text = score(jsonl(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl")
    (row,) = read(tmp_path / "out.jsonl")
    assert (row["status"], row["rlvr_status"]) == ("mine", "correct")
    assert "already has status" in text
    score(tmp_path / "in.jsonl", tmp_path / "other.jsonl", prefix="math_")
    assert read(tmp_path / "other.jsonl")[0]["math_reward"] == 1.0


SCRIPT = """
import sys
from pathlib import Path
from rich.console import Console
from rlvr.score import ScoreConfig, run_score
run_score(ScoreConfig(input=Path(sys.argv[1]), output=Path(sys.argv[2]), workers=1), Console(quiet=True))
"""


def test_killed_at_any_instant_it_goes_on_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    rows = [
        {"response": f"\\boxed{{\\sqrt{{{n}}}+x}}", "answer": f"x+\\sqrt{{{n - n % 2}}}"} for n in range(3000)
    ]
    source = jsonl(tmp_path / "in.jsonl", rows)
    whole, _ = score(source, tmp_path / "whole.jsonl")
    out = tmp_path / "out.jsonl"
    journal = tmp_path / "out.jsonl.journal"
    running = subprocess.Popen([sys.executable, "-c", SCRIPT, source, out], cwd=ROOT, env={**os.environ})
    deadline = time.monotonic() + 60
    while (not journal.exists() or journal.stat().st_size < 20_000) and time.monotonic() < deadline:
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert not out.exists()
    with journal.open("a") as torn:
        torn.write('[1.0, "corr')
    summary, text = score(source, out)
    assert 0 < summary.resumed < len(rows)
    assert "from the stopped run" in text
    assert out.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert (summary.status, summary.accuracy) == (whole.status, whole.accuracy)


def test_a_journal_of_another_run_is_not_mixed_in(tmp_path: Path) -> None:
    source = jsonl(tmp_path / "in.jsonl", ROWS)
    (tmp_path / "out.jsonl.journal").write_text('{"run": "other"}\n[1.0, "correct", "x", "y"]\n')
    with pytest.raises(InputError, match="--restart"):
        score(source, tmp_path / "out.jsonl")
    summary, _ = score(source, tmp_path / "out.jsonl", restart=True)
    assert (summary.rows, summary.resumed) == (4, 0)


def test_wrong_input_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    source = jsonl(tmp_path / "in.jsonl", ROWS)
    out = tmp_path / "out.jsonl"
    for options, part in (
        ({"response_field": "output"}, "'output' is missing; the columns are"),
        ({"verifier": "maths"}, "no verifier 'maths'"),
        ({"options": {"extraction": "boxd"}}, "unknown extraction"),
    ):
        with pytest.raises(InputError) as raised:
            score(source, out, **options)
        assert part in str(raised.value)
        assert "\n" not in str(raised.value)
    with pytest.raises(InputError, match="no such file"):
        score(tmp_path / "absent.jsonl", out)
    with pytest.raises(InputError, match=r"expected \.jsonl"):
        score(tmp_path / "in.txt", out)
    with pytest.raises(InputError, match="from jsonl write jsonl"):
        score(source, tmp_path / "out.csv")
    with pytest.raises(InputError, match="is the input"):
        score(source, source)
    truncated = tmp_path / "in.jsonl.gz"
    truncated.write_bytes(gzip.compress(source.read_bytes())[:-20])
    with pytest.raises(InputError, match="truncated"):
        score(truncated, out)


def test_options_reach_the_verifier(tmp_path: Path) -> None:
    source = jsonl(tmp_path / "in.jsonl", [{"response": "The answer is 5", "answer": "5"}])
    strict, _ = score(source, tmp_path / "out.jsonl", options={"extraction": "boxed"})
    assert strict.status["no_answer"] == 1


def test_real_outputs_are_scored_as_their_labels_say(tmp_path: Path) -> None:
    source = shared_path("math_outputs/abel_7b_gsm8k.jsonl.gz")
    summary, _ = score(source, tmp_path / "out.jsonl", answer_field="gold")
    assert summary.rows == 1319
    assert summary.agreement is not None
    assert summary.agreement.agree == summary.agreement.labelled == 1313
