"""Two processes learn exactly what one does."""

from __future__ import annotations

import os
import socket
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


FAILURE = """
import os, sys
from pathlib import Path
import torch
from tests.trainer.toy import make_problems
from tests.trainer.toy_run import toy_config
from trainer import train
from trainer.learner import Learner
from verifiers import InputError
torch.set_num_threads(1)
def update(*_):
    raise InputError("out of luck")
if os.environ["RANK"] == sys.argv[3]:
    Learner.update = update
train(toy_config(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[4]), problems=make_problems(40))
"""


def torchrun(processes: int, *arguments: str, killed: bool = False) -> None:
    """Run a script or module in several processes, which must end well, or with the one's kill."""
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
    assert (result.returncode != 0) == killed, result.stderr[-3000:]
    assert not killed or "SIGKILL" in result.stderr, result.stderr[-3000:]


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


@pytest.mark.parametrize("sharding", ["none", "full"])
@pytest.mark.parametrize("failing", [0, 1])
def test_one_that_fails_ends_the_others_with_one_line(tmp_path: Path, failing: int, sharding: str) -> None:
    """Without torchrun, which would end the others itself."""
    model = save_toy(tmp_path / "model")
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        port = listener.getsockname()[1]
    shared = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", FAILURE, str(tmp_path / "run"), str(model), str(failing), sharding],
            cwd=ROOT,
            env={**os.environ, **shared, "RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    last = [process.communicate(timeout=240)[1].strip().splitlines()[-1] for process in processes]
    assert all(process.returncode for process in processes)
    assert last[failing].endswith("InputError: out of luck")
    assert "InputError: another process of this run has ended before its time" in last[1 - failing]
