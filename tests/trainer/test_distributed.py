"""Two processes learn exactly what one does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.trainer.test_resume import metrics
from tests.trainer.toy import save_toy

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.distributed

UPDATE = """
import sys, torch
from tests.trainer.test_learner import make_learner, random_samples
from tests.trainer.toy import make_model
from trainer.distributed import World
torch.set_num_threads(1)
model = make_model(layers=2).double()
learner = make_learner(model, {"mini_batch": 12, "micro_batch_tokens": 40, "epochs": 2})
samples = random_samples(6, 4)
with World.join() as world:
    learner.world = world
    for step in (1, 2):
        statistics = learner.update(samples, step)
weights = torch.cat([weight.detach().flatten() for weight in model.parameters()])
found = {"weights": weights, "loss": statistics.loss, "means": statistics.means}
torch.save(found, f"{sys.argv[1]}/{world.rank}.pt")
"""


def torchrun(processes: int, *arguments: str) -> None:
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        f"--nproc-per-node={processes}",
        "--master-port=0",
        "--rdzv-backend=c10d",
        "--rdzv-endpoint=localhost:0",
        *arguments,
    ]
    result = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == 0, result.stderr[-3000:]


def test_update_of_two_processes_is_that_of_one(tmp_path: Path) -> None:
    script = tmp_path / "update.py"
    script.write_text(UPDATE)
    found = {}
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        folder.mkdir()
        torchrun(processes, str(script), str(folder))
        found[processes] = [torch.load(folder / f"{rank}.pt") for rank in range(processes)]
    one, (first, second) = found[1][0], found[2]
    assert torch.equal(first["weights"], second["weights"])
    torch.testing.assert_close(first["weights"], one["weights"], rtol=1e-9, atol=1e-9)
    assert first["loss"] == pytest.approx(one["loss"], abs=1e-12)
    assert first["means"] == pytest.approx(one["means"], abs=1e-9)


def test_whole_run_in_two_processes(tmp_path: Path) -> None:
    """Sampling, updates, evaluation, checkpoints; and a second start that finds the run complete."""
    model = save_toy(tmp_path / "model")
    for _ in range(2):
        torchrun(2, "-m", "tests.trainer.toy_run", str(tmp_path / "run"), str(model))
    rows = metrics(tmp_path / "run")
    assert [row["step"] for row in rows if row["kind"] == "train"] == [1, 2, 3, 4, 5, 6]
    assert (tmp_path / "run" / "checkpoints" / "step-000006" / "model.safetensors").exists()
