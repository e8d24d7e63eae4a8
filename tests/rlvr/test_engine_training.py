"""Training with a sampler outside the learner: the joint of engine and trainer that GPU users stand on."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from rollout import EngineConfig, RayOptions, VllmOptions
from tests.rollout.reference import VLLM_SHAPE, save_checkpoint
from tests.rollout.tiny import tiny_model
from tests.trainer.parity import ParityVerifier
from trainer.config import DynamicSamplingConfig, LearnerConfig, RewardConfig, RolloutConfig, TrainConfig
from verifiers import Problem

ROOT = Path(__file__).resolve().parents[2]


def assert_sampler_follows_learner(folder: Path, engine: EngineConfig, output: Path) -> None:
    from trainer import train

    # An untrained model is right now and then, so that the first step has a gradient.
    name = ParityVerifier().name
    problems = [Problem(id=str(n), prompt=f"{n}=", answer=str(n % 2), verifier=name) for n in range(4)]
    config = TrainConfig(
        model=str(folder),
        output=output,
        steps=3,
        engine=engine,
        rollout=RolloutConfig(prompts_per_step=4, group_size=8, max_tokens=4),
        # Groups of an older policy would differ by design, so none are carried over. And after an update so
        # large there may be no mixed groups to wait for.
        dynamic_sampling=DynamicSamplingConfig(enabled=False),
        reward=RewardConfig(soft_overlong=False),
        learner=LearnerConfig(mini_batch=32, learning_rate=1e-2, warmup_steps=0, device="cpu"),
    )
    result = train(config, problems=problems)
    rows = [json.loads(line) for line in (result.folder / "metrics.jsonl").read_text().splitlines()]
    trained = [row for row in rows if row["kind"] == "train"]
    assert len(trained) == 3
    # At this learning rate a sampler with the weights of one step before is off by about 0.5 nats.
    assert all(abs(row["kl_sampler"]) < 1e-3 for row in trained)
    assert trained[0]["grad_norm"] > 0


@pytest.mark.vllm
def test_vllm_follows_the_learner(tmp_path: Path) -> None:
    pytest.importorskip("vllm", reason="vllm is not installed")
    folder = save_checkpoint(tiny_model(**VLLM_SHAPE), tmp_path / "model")
    options = VllmOptions(max_model_len=64, enforce_eager=True, gpu_memory_utilization=0.3)
    engine = EngineConfig(kind="vllm", model=str(folder), dtype="float32", batch_size=32, vllm=options)
    assert_sampler_follows_learner(folder, engine, tmp_path / "run")


@pytest.mark.ray
def test_replicas_on_ray_follow_the_learner(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="ray is not installed")
    folder = save_checkpoint(tiny_model(**VLLM_SHAPE), tmp_path / "model")
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    options = RayOptions(replicas=2, cpus=0.5, environment={"PYTHONPATH": path})
    engine = EngineConfig(model=str(folder), dtype="float32", device="cpu", ray=options)
    assert_sampler_follows_learner(folder, engine, tmp_path / "run")
