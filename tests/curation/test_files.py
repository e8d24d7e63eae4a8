"""Files survive a kill at any instant."""

from __future__ import annotations

import gzip
import lzma
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.files import JsonlAppender, atomic_path, atomic_write, canonical_json, open_binary, read_jsonl
from verifiers import InputError

ROOT = Path(__file__).resolve().parents[2]


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path: Path) -> None:
    target = tmp_path / "card.md"
    atomic_write(target, "old")

    def fail_halfway() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@given(st.integers(0, 40))
def test_a_torn_last_line_is_cut_and_the_rest_is_kept(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("torn") / "cache.jsonl"
    with JsonlAppender(path) as cache:
        cache.write([{"n": number, "text": "ä\n"} for number in range(5)])
    size = path.stat().st_size
    os.truncate(path, size - cut)
    with JsonlAppender(path) as cache:
        kept = list(read_jsonl(path))
        cache.write([{"n": -1}])
    rows = list(read_jsonl(path))
    assert rows == [*kept, {"n": -1}]
    assert [row["n"] for row in kept] == list(range(len(kept)))


def test_appending_survives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "cache.jsonl"
    code = (
        "import sys; from curation.files import JsonlAppender\n"
        "with JsonlAppender(sys.argv[1]) as cache:\n"
        "    n = 0\n"
        "    while True: cache.write([{'n': n, 'pad': 'x' * 5000}]); n += 1\n"
    )
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", code, str(path)], cwd=ROOT)
        deadline = time.monotonic() + 30
        size = path.stat().st_size if path.exists() else 0
        while (not path.exists() or path.stat().st_size < size + 20_000) and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
    with JsonlAppender(path):
        rows = list(read_jsonl(path))
    assert len(rows) >= 9
    assert all(len(row["pad"]) == 5000 for row in rows)


def test_two_writers_of_one_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "cache.jsonl"
    with JsonlAppender(path), pytest.raises(InputError, match="another process"):
        JsonlAppender(path)


def test_compression_is_recognised_by_content(tmp_path: Path) -> None:
    text = b'{"a":1}\n'
    (tmp_path / "gz.jsonl").write_bytes(gzip.compress(text))
    (tmp_path / "xz.jsonl").write_bytes(lzma.compress(text))
    (tmp_path / "zst.jsonl").write_bytes(pa.compress(text, "zstd", asbytes=True))
    (tmp_path / "plain.jsonl.gz").write_bytes(text)
    for path in tmp_path.iterdir():
        with open_binary(path) as stream:
            assert stream.read() == text


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a":1}\n{"a":\n')
    with pytest.raises(InputError, match=r"rows\.jsonl:2"):
        list(read_jsonl(path))


def test_canonical_json_does_not_depend_on_key_order() -> None:
    assert canonical_json({"b": 1, "a": "é"}) == canonical_json({"a": "é", "b": 1}) == '{"a":"é","b":1}'
