"""A run that was killed goes on to the same bytes as one that was not."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from tests.trainer.toy import save_toy

ROOT = Path(__file__).resolve().parents[2]
CLOCK = ("seconds", "memory_bytes")
"""Columns of the metrics that tell of the machine and not of the run."""


def start(output: Path, model: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.trainer.toy_run", str(output), str(model), *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def finish(output: Path, model: Path) -> None:
    process = start(output, model)
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 0, text
    assert text.endswith("done\n")


def metrics(output: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if not key.startswith(CLOCK)} for row in rows]


def assert_same_run(one: Path, other: Path) -> None:
    assert metrics(one) == metrics(other)
    checkpoints = sorted(path.name for path in (one / "checkpoints").glob("step-*"))
    assert checkpoints == sorted(path.name for path in (other / "checkpoints").glob("step-*"))
    for name in checkpoints:
        folders = one / "checkpoints" / name, other / "checkpoints" / name
        weights = [(folder / "model.safetensors").read_bytes() for folder in folders]
        assert weights[0] == weights[1], name
        states = [torch.load(folder / "trainer.pt", weights_only=True) for folder in folders]
        moments = [state["optimizer"]["adamw"]["state"] for state in states]
        assert moments[0].keys() == moments[1].keys()
        for key in moments[0]:
            for part in ("exp_avg", "exp_avg_sq", "step"):
                assert torch.equal(moments[0][key][part], moments[1][key][part])
        samplers = [pq.read_table(folder / "sampler.parquet") for folder in folders]
        assert samplers[0].schema.metadata == samplers[1].schema.metadata
    records = sorted(path.name for path in (one / "rollouts").glob("*.parquet"))
    assert records == sorted(path.name for path in (other / "rollouts").glob("*.parquet"))
    for name in records:
        assert pq.read_table(one / "rollouts" / name).equals(pq.read_table(other / "rollouts" / name))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_toy(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def undisturbed(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("undisturbed") / "run"
    finish(output, model)
    return output


def test_killed_between_two_updates_of_one_rollout(undisturbed: Path, model: Path, tmp_path: Path) -> None:
    """Each step has eight updates: the kills are before the fifth of step 3, and again some steps later."""
    output = tmp_path / "run"
    for update in (21, 20):
        assert start(output, model, f"update:{update}").wait(timeout=120) == -9
    finish(output, model)
    assert_same_run(undisturbed, output)


@pytest.mark.slow
def test_killed_at_twenty_random_instants(undisturbed: Path, model: Path, tmp_path: Path) -> None:
    """Kills in whatever the run is doing then: sampling, updates, files, the resume itself."""
    generator = random.Random(7)
    kills, number = 0, 0
    while kills < 20:
        output = tmp_path / f"run{number}"
        process = start(output, model)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(generator.uniform(0.0, 2.5))
        if process.poll() is None:
            process.kill()
            kills += 1
        elif process.returncode == 0:
            assert_same_run(undisturbed, output)
            number += 1
        process.wait()
        assert process.returncode in (0, -9)
    finish(output, model)
    assert_same_run(undisturbed, output)


def test_another_setting_is_refused(undisturbed: Path, model: Path) -> None:
    """A run folder holds one run."""
    code = (
        "import sys; from pathlib import Path; from tests.trainer import toy_run; from trainer import train\n"
        "config = toy_run.toy_config(Path(sys.argv[1]), Path(sys.argv[2])).model_copy(update={'seed': 5})\n"
        "train(config, problems=toy_run.make_problems(40))"
    )
    command = [sys.executable, "-c", code, str(undisturbed), str(model)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "seed was 0 and is 5" in result.stderr.splitlines()[-1]
