"""A sharded learner learns what a whole one does, with a part of the memory, and its files are the same."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.trainer.sharded_update import CASES, TYPES, checkpoint, checkpointed_learner, update
from tests.trainer.test_distributed import torchrun
from tests.trainer.test_learner import make_learner, random_samples
from tests.trainer.test_resume import assert_same_run, finish, metrics
from tests.trainer.toy import make_model, save_toy
from trainer.checkpoint import STATE
from trainer.distributed import World
from trainer.run import resume_learner

TOLERANCE = {torch.float64: 1e-9, torch.float32: 2e-6, torch.bfloat16: 4e-3}
"""Of weights near 1 after eight updates of about 1e-3 each; bfloat16 resolves 4e-3 there."""
CHECKPOINTS = ["tied", "untied", "adapters"]

Found = list[dict[Any, Any]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes wrote, after one process had written checkpoints for them."""
    folder = tmp_path_factory.mktemp("found")
    for case in CHECKPOINTS:
        learner = checkpointed_learner(case, "none", World())
        learner.update(random_samples(6, 4), 1)
        checkpoint(learner, folder / f"before-{case}")
    torchrun(2, "-m", "tests.trainer.sharded_update", str(folder))
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> Found:
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(2)]


def assert_same_update(found: Found, case: str, dtype: torch.dtype) -> None:
    tolerance = TOLERANCE[dtype]
    one = update(CASES[case], "none", dtype, World())
    for rank in found:
        whole, sharded = rank[case, "none", dtype], rank[case, "full", dtype]
        assert sharded["mode"] == one["mode"]
        assert sharded["weights"].keys() == one["weights"].keys()
        for name, weight in sharded["weights"].items():
            assert weight.dtype == dtype
            assert torch.equal(weight, found[0][case, "full", dtype]["weights"][name])
            # A score's key bias is nearly the same for all keys, so a softmax hardly sees it: in bfloat16 what is
            # left of its gradient is rounding, which AdamW makes steps of full size of.
            if dtype == torch.bfloat16 and name.endswith("k_proj.bias"):
                continue
            for other in (one, whole):
                torch.testing.assert_close(weight, other["weights"][name], rtol=tolerance, atol=tolerance)
        for other in (one, whole):
            assert sharded["loss"] == pytest.approx(other["loss"], abs=tolerance)
            assert sharded["norm"] == pytest.approx(other["norm"], rel=tolerance)
            assert sharded["means"] == pytest.approx(other["means"], abs=tolerance)


@pytest.mark.distributed
@pytest.mark.parametrize(
    ("case", "dtype"), [(case, dtype) for case in CASES for dtype in CASES[case].get("types", TYPES[:1])]
)
def test_update_is_that_of_one_process_and_of_two_whole_ones(
    found: Found, case: str, dtype: torch.dtype
) -> None:
    assert_same_update(found, case, dtype)


@pytest.mark.distributed
def test_three_processes_have_uneven_shards(tmp_path: Path) -> None:
    """Neither 16 rows nor 18 nor 2 heads' worth of anything is a multiple of 3, and some shards are empty."""
    torchrun(3, "-m", "tests.trainer.sharded_update", str(tmp_path), "tied", "reference and entropy")
    found = [torch.load(tmp_path / f"{rank}.pt", weights_only=False) for rank in range(3)]
    for case in ("tied", "reference and entropy"):
        assert_same_update(found, case, torch.float64)


@pytest.mark.distributed
@pytest.mark.parametrize(
    ("case", "dtype"),
    [*((case, dtype) for case in ("tied", "untied") for dtype in TYPES), ("reference and entropy", TYPES[0])],
)
def test_each_process_holds_its_half(found: Found, case: str, dtype: torch.dtype) -> None:
    """Of weights, masters, moments and reference; bfloat16 weights exist only while they are gathered."""
    model = make_model(layers=2, **CASES[case].get("model", {}))
    size = torch.finfo(torch.promote_types(dtype, torch.float32)).bits // 8
    copies = 4 if case == "reference and entropy" else 3
    whole = copies * size * sum(weight.numel() for weight in model.parameters())
    for rank in found:
        assert rank[case, "none", dtype]["bytes"] >= whole
        assert rank[case, "full", dtype]["bytes"] == whole / 2


@pytest.mark.distributed
def test_a_model_of_several_types_is_refused(found: Found) -> None:
    for rank in found:
        assert rank["refusal"].startswith("learner.sharding: the model's weights are of several types")
        assert "bfloat16, float32" in rank["refusal"]


@pytest.mark.distributed
@pytest.mark.parametrize("case", CHECKPOINTS)
def test_checkpoints_are_the_same_sharded_or_not(folder: Path, case: str) -> None:
    """One process's checkpoint was gone on from in two, and theirs is now gone on from in one."""
    undisturbed, resumed = (checkpointed_learner(case, "none", World()) for _ in range(2))
    for step in (1, 2):
        undisturbed.update(random_samples(6, 4), step)
    after = folder / f"after-{case}"
    resume_learner(resumed, after)
    for learner in (undisturbed, resumed):
        learner.update(random_samples(6, 4), 3)
    for ours, theirs in zip(resumed.optimizer.masters, undisturbed.optimizer.masters, strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    before = folder / f"before-{case}"
    assert {path.name for path in after.iterdir()} == {path.name for path in before.iterdir()}
    states = [torch.load(path / STATE, weights_only=True)["optimizer"] for path in (before, after)]
    assert states[0]["adamw"]["state"].keys() == states[1]["adamw"]["state"].keys()
    models = [AutoModelForCausalLM.from_pretrained(path, dtype="auto") for path in (before, after)]
    assert {weight.dtype for model in models for weight in model.parameters()} == {torch.bfloat16}
    sizes = [(path / "model.safetensors").stat().st_size for path in (before, after)]
    assert sizes[0] == sizes[1]


@pytest.mark.distributed
def test_killed_run_goes_on_to_the_same_bytes_and_in_other_numbers_of_processes(tmp_path: Path) -> None:
    model = str(save_toy(tmp_path / "model"))

    def run(output: Path, processes: int, *options: str) -> None:
        arguments = ["-m", "tests.trainer.toy_run", str(output), model, *options]
        torchrun(processes, *arguments, killed=any(option.startswith("update:") for option in options))

    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    run(undisturbed, 2, "sharded")
    run(killed, 2, "sharded", "update:35")
    alone = shutil.copytree(killed, tmp_path / "alone")
    run(killed, 2, "sharded")
    assert_same_run(undisturbed, killed)

    finish(alone, Path(model))
    for ours, theirs in zip(metrics(alone), metrics(undisturbed), strict=True):
        numbers = {key: value for key, value in theirs.items() if isinstance(value, float)}
        assert {key: ours[key] for key in numbers} == pytest.approx(numbers, rel=1e-4, abs=1e-4)


def test_one_process_alone_has_nothing_to_share_out() -> None:
    samples = random_samples(6, 4)
    learners = [make_learner(make_model(), {"sharding": sharding}) for sharding in ("none", "full")]
    for learner in learners:
        learner.update(samples, 1)
    for ours, theirs in zip(*(learner.model.parameters() for learner in learners), strict=True):
        assert torch.equal(ours, theirs)
