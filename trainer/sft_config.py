"""Settings of supervised learning on prompt/response pairs: in memory (`warm_start`) and as a run (`rlvr sft`)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from trainer.config import CheckpointConfig, LoggerName, LoraConfig


class WarmStartConfig(BaseModel):
    """How the warm start learns."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(default=1200, gt=0, description="Optimizer steps.")
    batch_size: int = Field(default=128, gt=0, description="Pairs per step.")
    learning_rate: float = Field(default=3e-3, gt=0, description="Peak learning rate of AdamW.")
    schedule: Literal["constant", "linear", "cosine"] = Field(
        default="cosine", description="How the learning rate falls to 0 over the steps."
    )
    warmup_steps: int = Field(
        default=20, ge=0, description="Steps over which the learning rate rises from 0."
    )
    weight_decay: float = Field(default=0.01, ge=0, description="Decoupled weight decay of AdamW.")
    betas: tuple[float, float] = Field(default=(0.9, 0.999), description="Decay of AdamW's moments.")
    grad_clip: float = Field(default=1.0, gt=0, description="Largest gradient norm.")
    max_length: int = Field(
        default=32768, gt=0, description="Longest prompt and response, in tokens; a longer pair is an error."
    )
    micro_batch_tokens: int = Field(
        default=8192, gt=0, description="Tokens that go through the model at once."
    )
    seed: int = Field(default=0, description="Seed of the order of the pairs.")


class SftConfig(BaseModel):
    """Learn from prompt/response pairs (a cold start, or the best responses of a run) before the RL."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pairs: Path = Field(
        description="JSONL with `prompt` (text or chat messages) and `response` on each line, as "
        "`rlvr export RUN pairs.jsonl --schema sft` writes it."
    )
    model: str = Field(description="Folder or hub name of the model to start from.")
    output: Path = Field(description="Run folder; a run that was stopped goes on when it is named again.")
    epochs: float = Field(default=2.0, gt=0, description="Times the pairs are gone through.")
    batch_size: int = Field(default=32, gt=0, description="Pairs per optimizer step.")
    learning_rate: float = Field(default=1e-5, gt=0, description="Peak learning rate of AdamW.")
    schedule: Literal["constant", "linear", "cosine"] = Field(
        default="cosine", description="How the learning rate falls to 0 over the steps."
    )
    warmup_steps: int = Field(default=20, ge=0, description="Steps of linear rise from 0.")
    weight_decay: float = Field(default=0.0, ge=0, description="Decoupled weight decay.")
    betas: tuple[float, float] = Field(default=(0.9, 0.999), description="Decay of AdamW's moments.")
    grad_clip: float = Field(default=1.0, gt=0, description="Largest gradient norm.")
    held_out: float = Field(
        default=0.0, ge=0, lt=1, description="Share of the pairs not learnt from, whose loss is measured."
    )
    max_length: int = Field(
        default=32768, gt=0, description="Longest prompt and response, in tokens; a longer pair is an error."
    )
    micro_batch_tokens: int = Field(
        default=8192, gt=0, description="Tokens that go through the model at once."
    )
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto",
        description="Type of the weights; auto: bfloat16 (with float32 masters) on a GPU, float32 on a CPU.",
    )
    device: str = Field(default="auto", description="Device of the learner; auto: a GPU where there is one.")
    gradient_checkpointing: bool = Field(
        default=False, description="Recompute the layers in the backward pass: less memory, a third slower."
    )
    lora: LoraConfig | None = Field(default=None, description="Train adapters instead of all weights.")
    checkpoint: CheckpointConfig = CheckpointConfig(every=100)
    seed: int = Field(default=0, description="Seed of the order of the pairs, and of what is held out.")
    loggers: tuple[LoggerName, ...] = Field(
        default=(), description="Where the metrics go beside metrics.jsonl; each must be installed."
    )

    def recipe(self, pairs: int) -> WarmStartConfig:
        """What the optimizer does on `pairs` pairs."""
        steps = max(1, -int(-self.epochs * pairs // self.batch_size))
        shared = {name: getattr(self, name) for name in WarmStartConfig.model_fields if name != "steps"}
        return WarmStartConfig(steps=steps, **shared)
