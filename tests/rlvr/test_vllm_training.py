"""Training with vLLM as the sampler: the joint of engine and trainer that GPU users stand on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rollout import EngineConfig, VllmOptions
from tests.rollout.reference import VLLM_SHAPE, save_checkpoint
from tests.rollout.tiny import tiny_model
from trainer.config import DynamicSamplingConfig, LearnerConfig, RewardConfig, RolloutConfig, TrainConfig
from verifiers import Problem

pytestmark = pytest.mark.vllm
pytest.importorskip("vllm", reason="vllm is not installed")


def test_the_sampler_follows_the_learner(tmp_path: Path) -> None:
    from trainer import train

    folder = save_checkpoint(tiny_model(**VLLM_SHAPE), tmp_path / "model")
    options = VllmOptions(max_model_len=64, enforce_eager=True, gpu_memory_utilization=0.3)
    # A one-character gold: an untrained model hits it now and then, so there are mixed groups.
    problems = [Problem(id=str(n), prompt=f"{n}=", answer="[0-9]", verifier="regex") for n in range(4)]
    config = TrainConfig(
        model=str(folder),
        output=tmp_path / "run",
        steps=3,
        engine=EngineConfig(kind="vllm", model=str(folder), dtype="float32", batch_size=32, vllm=options),
        rollout=RolloutConfig(prompts_per_step=4, group_size=8, max_tokens=4),
        # Groups of an older policy would differ by design, so none are carried over.
        dynamic_sampling=DynamicSamplingConfig(max_age=0),
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
