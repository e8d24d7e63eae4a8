"""`rlvr demo` end to end in its fast size: real rooms, a real kill, and the same end as without it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlvr.quickstart.demo import DemoConfig, run_demo
from verifiers import InputError

pytest.importorskip("torch")

DEMO = [sys.executable, "-m", "rlvr.cli", "demo", "--fast", "--train-steps", "3"]
CERTAIN = ("exact copy", "other wording", "multiple choice", "yes or no", "gold missing", "unreadable")
PATIENCE = 240
"""Seconds until a demo that does not come to an end is given up."""


def finish(folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*DEMO, "--output", str(folder), *flags], capture_output=True, text=True, timeout=PATIENCE
    )


def kill_when(folder: Path, reached: Callable[[], bool]) -> None:
    process = subprocess.Popen([*DEMO, "--output", str(folder)], stdout=subprocess.DEVNULL)
    began = time.monotonic()
    while not reached():
        assert process.poll() is None, "the demo ended before it could be killed"
        assert time.monotonic() - began < PATIENCE
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()


def metrics(folder: Path) -> list[dict[str, Any]]:
    file = folder / "run" / "metrics.jsonl"
    text = file.read_text() if file.exists() else ""
    rows = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
    unlike = ("seconds", "memory")
    return [{name: value for name, value in row.items() if not name.startswith(unlike)} for row in rows]


def test_a_killed_demo_goes_on_and_a_finished_one_is_not_done_again(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    kill_when(folder, lambda: any(row["kind"] == "train" for row in metrics(folder)))
    weights = (folder / "model" / "model.safetensors").stat().st_mtime_ns

    second = finish(folder)
    assert second.returncode == 0, second.stderr
    for phase in ("1/5 raw problems", "2/5 tiny model, warm start", "3/5 curation"):
        assert f"{phase}: done before" in second.stdout
    assert "4/5 training by DAPO: done before" not in second.stdout
    assert (folder / "model" / "model.safetensors").stat().st_mtime_ns == weights

    result = run_demo(DemoConfig(output=folder, fast=True, train_steps=3))
    assert result.report.read_text().startswith("<!")
    assert (result.checkpoint / "model.safetensors").exists()
    assert [row["step"] for row in metrics(folder) if row["kind"] == "train"] == [1, 2, 3]
    assert (result.before["step"], result.after["step"]) == (0, 3)
    assert [row["benchmark"] for row in result.beyond] == ["beyond", "beyond"]
    caught = {item.kind: item for item in result.caught}
    assert sum(item.planted for item in caught.values()) == 400
    for kind in CERTAIN:
        assert caught[kind].expected == caught[kind].planted > 0, kind
    assert caught["held-out item"].kept == 0

    changed = finish(folder, "--seed", "1")
    assert changed.returncode == 2
    assert "seed was 0 and is 1" in changed.stderr
    assert len(changed.stderr.strip().splitlines()) == 1


@pytest.mark.slow
def test_a_killed_demo_ends_as_an_unbroken_one(tmp_path: Path) -> None:
    broken, whole = tmp_path / "broken" / "demo", tmp_path / "whole" / "demo"
    kill_when(broken, lambda: (broken / "warm_start.jsonl").exists())
    kill_when(broken, lambda: any((broken / "curated").glob(".work/cache/*")))
    kill_when(broken, lambda: any(row["kind"] == "train" for row in metrics(broken)))
    for folder in (broken, whole):
        assert finish(folder).returncode == 0
    assert metrics(broken) == metrics(whole)
    weights = [
        (folder / "run" / "checkpoints" / "step-000003" / "model.safetensors").read_bytes()
        for folder in (broken, whole)
    ]
    assert weights[0] == weights[1]


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(InputError, match="holds no demo"):
        run_demo(DemoConfig(output=tmp_path, fast=True))
    assert (tmp_path / "thesis.tex").read_text() == "precious"
