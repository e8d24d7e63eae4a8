"""Runs of offline scoring: the same bytes for any number of workers, after any kill, and nothing judged twice."""

from __future__ import annotations

import csv
import fcntl
import gzip
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.score_files import write_text
from rlvr.score_journal import Journal
from rlvr.score_rows import ADDED, RowScorer, renamed
from tests.rlvr.test_score import ROOT, jsonl, read, score
from tests.verifiers.sample_verifiers import Counting, Misbehaving
from verifiers import InputError, Verdict, register

register("counting")(Counting)
register("misbehaving")(Misbehaving)

FORMATS = ("in.jsonl", "in.jsonl.gz", "in.csv", "in.csv.gz", "in.parquet")


def make(path: Path, rows: int) -> Path:
    """Rows of which some can't be scored, in the format that `path` names."""
    responses = [None if n % 50 == 7 else f'say "{n}"\nso \\boxed{{{n}}} é' for n in range(rows)]
    golds = [str(n - n % 3) for n in range(rows)]
    labels = [n % 3 == 0 for n in range(rows)]
    if path.suffix == ".parquet":
        times = pa.array(range(rows), pa.timestamp("ns"))
        table = {"response": responses, "answer": golds, "label": labels, "time": times, "x": [[1]] * rows}
        pq.write_table(pa.table(table), path)
        return path
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt", encoding="utf-8", newline="") as out:
        if ".csv" in path.name:
            writer = csv.writer(out)
            writer.writerow(["response", "answer", "label"])
            for row in zip(responses, golds, labels, strict=True):
                writer.writerow(row[:2] if row[0] is None else row)
        else:
            for n, row in enumerate(zip(responses, golds, labels, strict=True)):
                out.write(json.dumps(dict(zip(("response", "answer", "label"), row, strict=True))))
                out.write("\n\n" if n % 90 == 0 else "\r\n" if n % 90 == 1 else "\n")
    return path


@pytest.mark.parametrize("name", FORMATS)
def test_any_number_of_workers_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    source = make(tmp_path / name, 1500)
    found = []
    for workers in (1, 3):
        out = tmp_path / f"out{workers}{''.join(source.suffixes)}"
        summary, _ = score(source, out, workers=workers)
        rejected = out.with_name(out.name + ".rejected.jsonl")
        found.append((out.read_bytes(), rejected.read_bytes(), summary.status, summary.agreement))
        assert (summary.rows, summary.rejected) == (1470, 30)
        assert summary.agreement is not None
        assert summary.agreement.agree == 1470
    assert found[0] == found[1]


def test_parquet_loses_nothing_and_goes_to_jsonl_as_well(tmp_path: Path) -> None:
    source = make(tmp_path / "in.parquet", 200)
    score(source, tmp_path / "out.parquet")
    score(source, tmp_path / "out.jsonl")
    before, after = pq.read_table(source), pq.read_table(tmp_path / "out.parquet")
    kept = before.filter(before["response"].is_valid())
    assert after.select(before.column_names).equals(kept)
    lines = read(tmp_path / "out.jsonl")
    for name in ADDED:
        assert after[name].to_pylist() == [line[name] for line in lines]
    assert len(lines) == kept.num_rows


SCRIPT = """
import sys
from pathlib import Path
from rich.console import Console
from rlvr.score import ScoreConfig, run_score
import tests.rlvr.test_score_runs
source, output, calls = sys.argv[1:]
config = ScoreConfig(
    input=Path(source),
    output=Path(output),
    workers=2,
    verifier="counting",
    options={"path": calls, "pause": 0.001},
)
run_score(config, Console(quiet=True))
"""


@pytest.mark.parametrize("name", ["in.jsonl", "in.csv.gz", "in.parquet"])
def test_no_journalled_verdict_is_given_again_after_a_kill(name: str, tmp_path: Path) -> None:
    source = make(tmp_path / name, 1500)
    suffix = "".join(source.suffixes)
    whole, out, calls = tmp_path / f"whole{suffix}", tmp_path / f"out{suffix}", tmp_path / "calls"
    journal = out.with_name(out.name + ".journal")
    options: dict[str, Any] = {"verifier": "counting", "options": {"path": str(calls), "pause": 0.001}}
    expected, _ = score(source, whole, **options)
    running = subprocess.Popen([sys.executable, "-c", SCRIPT, source, out, calls], cwd=ROOT)
    deadline = time.monotonic() + 60
    while (not journal.exists() or journal.stat().st_size < 5000) and time.monotonic() < deadline:
        time.sleep(0.001)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert not out.exists()
    for name in (out.name, out.name + ".rejected.jsonl"):
        (tmp_path / f".{name}.123.tmp").write_text("of a run that was killed while it wrote its files")
    time.sleep(1)  # for workers that are still busy with their chunk
    calls.unlink()
    summary, _ = score(source, out, **options)
    assert 0 < summary.resumed < summary.rows == 1470
    assert (summary.status, summary.agreement) == (expected.status, expected.agreement)
    assert out.read_bytes() == whole.read_bytes()
    again = [line for line in calls.read_text().splitlines() if line.startswith("say")]
    assert again == [f'say "{n}"' for n in range(1500) if n % 50 != 7][summary.resumed :]
    assert {path.name for path in tmp_path.iterdir()} == {source.name, "calls"} | {
        name for done in (whole.name, out.name) for name in (done, done + ".rejected.jsonl")
    }


def test_a_journal_cut_anywhere_gives_its_whole_records(tmp_path: Path) -> None:
    chunks = [
        [b'+01-{"a": 1}\n', b"    ", b'-   {"line": 3}\n'],
        [b'*00-["reward"]\n{"b": 1}\n'],
        [b"-   x\n"],
        [b"+11-y\n"],
    ]
    path = tmp_path / "journal"
    ends = []
    with Journal(path, "me", skipped=b"null\n") as journal:
        for chunk in chunks:
            journal.add(chunk)
            ends.append(path.stat().st_size)
    data = path.read_bytes()
    for cut in range(len(data) + 1):
        path.write_bytes(data[:cut])
        with Journal(path, "me", skipped=b"null\n") as journal:
            whole = sum(end <= cut for end in ends)
            assert journal.tally.raw == sum(map(len, chunks[:whole]))
            for chunk in chunks[whole:]:
                journal.add(chunk)
            assert b"".join(journal.output()) == b'{"a": 1}\nnull\n{"b": 1}\nnull\ny\n'
            assert b"".join(journal.rejected()) == b'{"line": 3}\nx\n'
            assert journal.overwritten == {"reward"}
            assert (journal.tally.scored, journal.tally.rejected) == (3, 2)
        assert path.read_bytes() == data


def test_two_runs_at_once_do_not_mix(tmp_path: Path) -> None:
    source = make(tmp_path / "in.jsonl", 10)
    with (tmp_path / "out.jsonl.journal").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another process"):
            score(source, tmp_path / "out.jsonl")
    score(source, tmp_path / "out.jsonl")


def test_what_hangs_or_dies_costs_its_own_row(tmp_path: Path) -> None:
    responses = [f"r{n}" for n in range(300)]
    for place, misdeed in ((0, "spin"), (100, "exit"), (101, "alloc"), (200, "spin"), (299, "raise")):
        responses[place] = misdeed
    rows = [{"response": response, "answer": "1"} for response in responses]
    source = jsonl(tmp_path / "in.jsonl", rows)
    summary, _ = score(source, tmp_path / "out.jsonl", verifier="misbehaving", explain=True)
    expected = {"spin": "timeout", "exit": "error", "alloc": "error", "raise": "error"}
    found = read(tmp_path / "out.jsonl")
    assert [row["response"] for row in found] == responses
    assert [row["status"] for row in found] == [expected.get(name, "correct") for name in responses]
    assert "0.3 CPU-seconds" in found[0]["detail"]
    assert "256 MiB" in found[101]["detail"]
    assert summary.status == {"correct": 295, "incorrect": 0, "no_answer": 0, "timeout": 2, "error": 3}


def test_a_limit_on_cpu_time_can_be_given(tmp_path: Path) -> None:
    source = jsonl(tmp_path / "in.jsonl", [{"response": "spin", "answer": "1"}])
    score(source, tmp_path / "out.jsonl", verifier="misbehaving", explain=True, timeout=0.1)
    assert "0.1 CPU-seconds" in read(tmp_path / "out.jsonl")[0]["detail"]


def test_a_column_that_comes_late_is_not_overwritten_either(tmp_path: Path) -> None:
    rows = [{"response": f"{n}", "answer": "5"} for n in range(1500)]
    late = {"response": "5", "answer": "5", "status": "mine"}
    score(jsonl(tmp_path / "late.jsonl", [*rows, late]), tmp_path / "one.jsonl", explain=True)
    score(jsonl(tmp_path / "early.jsonl", [late, *rows]), tmp_path / "two.jsonl", explain=True)
    one, two = read(tmp_path / "one.jsonl"), read(tmp_path / "two.jsonl")
    assert one == [*two[1:], two[0]]
    assert (one[-1]["status"], one[-1]["rlvr_status"]) == ("mine", "correct")
    assert set(one[0]) == {"response", "answer", *("rlvr_" + name for name in (*ADDED, "detail"))}
    worse = {**late, "rlvr_status": "mine"}
    with pytest.raises(InputError, match="give --prefix"):
        score(jsonl(tmp_path / "worse.jsonl", [*rows, worse]), tmp_path / "three.jsonl")


@given(
    row=st.dictionaries(st.text(), st.none() | st.text() | st.floats() | st.lists(st.text())),
    extracted=st.none() | st.text(),
    method=st.text(),
    prefix=st.text(),
)
def test_renaming_changes_the_added_columns_and_no_byte_else(
    row: dict[str, Any], extracted: str | None, method: str, prefix: str
) -> None:
    row |= {"response": "1", "answer": "1", "reward": '"reward": 1'}
    raw = json.dumps(row).encode()
    verdict = Verdict(reward=1.0, status="correct", extracted=extracted, method=method)
    lines = []
    for names in (ADDED, tuple(prefix + "_" + name for name in ADDED)):
        scorer = RowScorer(
            "jsonl",
            "jsonl",
            (),
            "math",
            "response",
            "answer",
            "tests",
            "label",
            dict(zip(ADDED, names, strict=True)),
        )
        asked = scorer.ask(2, raw)
        assert not isinstance(asked, bytes)
        lines.append(scorer.result(asked[2], verdict)[4:])
    other = [prefix + "_" + name for name in ADDED]
    assert renamed(lines[0], ADDED, other) == lines[1]
    assert renamed(lines[1], other, ADDED) == lines[0]


def test_half_a_surrogate_pair_stops_nothing(tmp_path: Path) -> None:
    lines = [
        '{"response": 5, "x": "\\ud800"}',
        '{"response": "\\\\boxed{\\ud800}", "answer": "\\ud800"}',
        '{"response": "1", "answer": "1"}',
    ]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    summary, _ = score(tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    assert (summary.rows, summary.rejected, summary.status["correct"]) == (2, 1, 2)
    (rejected,) = read(tmp_path / "out.jsonl.rejected.jsonl")
    assert rejected["row"] == {"response": 5, "x": "\ud800"}
    assert (tmp_path / "out.jsonl").read_text().startswith(lines[1][:-1] + ', "reward": 1.0')


@given(st.lists(st.binary(max_size=3)), st.integers(0, 2))
def test_gzip_depends_on_the_text_and_not_on_its_pieces(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes], megabytes: int
) -> None:
    folder = tmp_path_factory.getbasetemp()
    pieces = [*pieces, bytes(megabytes << 20), *pieces]
    write_text(folder / "pieces.gz", pieces, threads=2)
    write_text(folder / "whole.gz", [b"".join(pieces)])
    packed = (folder / "pieces.gz").read_bytes()
    assert packed == (folder / "whole.gz").read_bytes()
    assert gzip.decompress(packed) == b"".join(pieces)


def test_damaged_compression_is_one_line(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(random.Random(0).randbytes(200_000).hex().encode()))
    packed[50_000:50_100] = bytes(100)
    (tmp_path / "in.jsonl.gz").write_bytes(packed)
    with pytest.raises(InputError, match=r"damaged|truncated"):
        score(tmp_path / "in.jsonl.gz", tmp_path / "out.jsonl")
