"""Settings of a training run. The defaults are those of the DAPO paper (Yu et al. 2025, arXiv:2503.14476).

A preset fills in what makes the algorithm (`PRESETS`); what is given beside it wins, so every switch can also
be set alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rollout import EngineConfig

Preset = Literal["dapo", "grpo", "dr_grpo"]
LoggerName = Literal["tensorboard", "wandb", "trackio"]

PRESETS: dict[str, dict[str, Any]] = {
    # DAPO: clip-higher, token-level loss, dynamic sampling, soft overlong punishment, no KL.
    "dapo": {},
    # GRPO as in DeepSeekMath (Shao et al. 2024): symmetric clip, mean over each response, KL 0.04 (k3).
    "grpo": {
        "objective": {"clip_high": 0.2, "aggregation": "sequence_mean", "kl_coefficient": 0.04},
        "reward": {"soft_overlong": False},
        "dynamic_sampling": {"enabled": False},
    },
    # Dr. GRPO (Liu et al. 2025): no deviation in the advantage, no length in the loss.
    "dr_grpo": {
        "objective": {"clip_high": 0.2, "aggregation": "constant", "count_filtered": True},
        "advantage": {"scale": "none"},
        "reward": {"soft_overlong": False},
        "dynamic_sampling": {"enabled": False},
    },
}


class Section(BaseModel):
    """A part of the configuration: immutable, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RolloutConfig(Section):
    """What is sampled in each step."""

    prompts_per_step: int = Field(default=512, gt=0, description="Prompts (groups) that a step learns from.")
    group_size: int = Field(default=16, gt=1, description="Responses sampled for each prompt.")
    bands: dict[str, float] = Field(
        default_factory=dict,
        description="Shares of the prompts that difficulty bands of a curated set have in every batch, e.g. "
        "easy: 0.1, impossible: 0.05; the other bands share the rest as they are.",
    )
    max_tokens: int = Field(default=20480, gt=0, description="Longest response, in tokens.")
    temperature: float = Field(default=1.0, gt=0, description="Softmax temperature of the sampler.")
    top_p: float = Field(default=1.0, gt=0, le=1, description="Nucleus mass that the sampler keeps.")
    top_k: int = Field(default=0, ge=0, description="Most likely tokens the sampler keeps; 0 keeps all.")
    stop: tuple[str, ...] = Field(
        default=(), description="Strings that end a response, beside the EOS token."
    )

    @model_validator(mode="after")
    def _check_bands(self) -> Self:
        if any(not 0 < share <= 1 for share in self.bands.values()) or sum(self.bands.values()) > 1 + 1e-9:
            raise ValueError(
                "rollout.bands: every share must lie in 0..1, and together they must not exceed 1"
            )
        return self


class DynamicSamplingConfig(Section):
    """Over-sampling, and leaving out groups that are all right or all wrong (DAPO, section 3.2)."""

    enabled: bool = Field(default=True, description="Drop groups whose responses are all right or all wrong.")
    round_prompts: int | None = Field(
        default=None,
        gt=0,
        description="Prompts asked for in one round; none adapts to the share of mixed groups seen lately.",
    )
    max_rounds: int = Field(default=10, gt=0, description="Rounds of one step before it is an error.")
    max_age: int = Field(
        default=1,
        ge=0,
        description="Policy versions (steps) that a finished surplus group may wait for its use; 0 drops it.",
    )
    rest_epochs: int = Field(
        default=0, ge=0, description="Epochs for which a prompt rests whose responses were all right."
    )
    verify_ahead: int = Field(
        default=4,
        ge=0,
        description="Groups that may be finished before an earlier one's verdicts must be in. A fixed "
        "number, so that what is accepted does not depend on how fast the verifier was.",
    )


class RewardConfig(Section):
    """What is added to the verifier's +1 or -1, and what is left out."""

    soft_overlong: bool = Field(default=True, description="Punish long responses softly (DAPO, eq. 13).")
    overlong_cache: int | None = Field(
        default=None,
        gt=0,
        description="Tokens before rollout.max_tokens over which the punishment grows from 0 to -1; "
        "none takes a fifth of them (4,096 of 20,480).",
    )
    filter_truncated: bool = Field(
        default=False,
        description="Give truncated responses no loss (overlong filtering); they stay in their group's mean.",
    )
    format_reward: float = Field(
        default=0.0, description="Added when the response has the form that format_pattern asks for."
    )
    format_pattern: str = Field(
        default=r"(?s)\A<think>.*</think>\s*<answer>.*</answer>\s*\Z",
        description="Regular expression of the whole response, for format_reward.",
    )
    language_reward: float = Field(
        default=0.0, description="Times the share of words in the prompt's script (DeepSeek-R1)."
    )
    length_reward: float = Field(default=0.0, ge=0, description="Weight of Kimi k1.5's length reward.")


class AdvantageConfig(Section):
    """How rewards become advantages."""

    estimator: Literal["group_mean", "leave_one_out"] = Field(
        default="group_mean", description="Baseline: mean of the group, or of its other responses (RLOO)."
    )
    scale: Literal["group_std", "batch_std", "none"] = Field(
        default="group_std", description="What a centred reward is divided by."
    )
    ddof: Literal[0, 1] = Field(
        default=1, description="1: sample deviation (verl, TRL); 0: population (oat)."
    )
    eps: float = Field(default=1e-6, ge=0, description="Added to the deviation (verl 1e-6, TRL 1e-4).")


class ObjectiveConfig(Section):
    """The loss."""

    clip_low: float = Field(default=0.2, ge=0, le=1, description="Ratios are clipped below 1 - clip_low.")
    clip_high: float = Field(default=0.28, ge=0, description="Ratios are clipped above 1 + clip_high.")
    dual_clip: float | None = Field(
        default=None, gt=1, description="Largest ratio for negative advantages (verl: 10); none: no limit."
    )
    surrogate: Literal["clip", "cispo"] = Field(default="clip", description="Clipped surrogate, or CISPO.")
    ratio_level: Literal["token", "sequence"] = Field(
        default="token", description="Ratio of each token, or of the response (GSPO)."
    )
    aggregation: Literal["token_mean", "group_token_mean", "sequence_mean", "constant"] = Field(
        default="token_mean", description="How token losses become one."
    )
    constant: float | None = Field(
        default=None, gt=0, description="Divisor of aggregation `constant`; none takes rollout.max_tokens."
    )
    count_filtered: bool = Field(
        default=False, description="Whether responses without loss count in sequence_mean and constant."
    )
    kl_coefficient: float = Field(default=0.0, ge=0, description="Weight of the KL to the initial policy.")
    kl_estimator: Literal["k1", "k2", "k3"] = Field(default="k3", description="Estimator of that KL.")
    entropy_coefficient: float = Field(default=0.0, description="Weight of the entropy bonus.")
    importance: Literal["off", "truncate", "mask"] = Field(
        default="truncate", description="Weights for the mismatch of sampler and learner (TIS, IcePop)."
    )
    importance_level: Literal["token", "sequence"] = Field(
        default="token", description="Importance ratio of each token, or their product over the response."
    )
    importance_cap: float = Field(default=2.0, gt=0, description="Largest importance weight.")
    importance_floor: float | None = Field(default=None, ge=0, description="Smallest importance weight.")


class LoraConfig(Section):
    """Low-rank adapters, through peft."""

    rank: int = Field(default=32, gt=0, description="Rank of the adapters.")
    alpha: float = Field(default=64.0, gt=0, description="Scale: the adapters count alpha / rank.")
    target_modules: str | tuple[str, ...] = Field(
        default="all-linear", description="Names of the modules that get one, or all linear ones."
    )


class LearnerConfig(Section):
    """How the weights are updated."""

    mini_batch: int = Field(default=512, gt=0, description="Responses of one optimizer step.")
    epochs: int = Field(default=1, gt=0, description="Times each rollout is gone through.")
    learning_rate: float = Field(default=1e-6, gt=0, description="Peak learning rate of AdamW.")
    warmup_steps: int = Field(default=20, ge=0, description="Rollout steps of linear rise from 0.")
    schedule: Literal["constant", "linear", "cosine"] = Field(
        default="constant", description="How the learning rate falls to 0 over the steps."
    )
    weight_decay: float = Field(default=0.1, ge=0, description="Decoupled weight decay.")
    betas: tuple[float, float] = Field(default=(0.9, 0.999), description="Decay of AdamW's moments.")
    grad_clip: float = Field(default=1.0, gt=0, description="Largest gradient norm.")
    micro_batch_tokens: int | None = Field(
        default=None,
        gt=0,
        description="Tokens (padding of the attention included) per forward pass; none: 32,768 on a GPU, "
        "4,096 on a CPU, whose caches they then fit.",
    )
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="Type of the weights; auto: bfloat16 on a GPU, float32 on a CPU."
    )
    float32_masters: bool = Field(
        default=True, description="Keep float32 copies of bfloat16 weights, to which the updates go."
    )
    gradient_checkpointing: bool = Field(
        default=False, description="Recompute the layers in the backward pass: less memory, a third slower."
    )
    sharding: Literal["none", "full"] = Field(
        default="none",
        description="What several processes share out among them: nothing, or all weights, gradients and "
        "optimizer state (ZeRO-3, by torch's FSDP2); of a model with adapters all but these.",
    )
    lora: LoraConfig | None = Field(default=None, description="Train adapters instead of all weights.")
    device: str = Field(default="auto", description="Device of the learner; auto: a GPU where there is one.")


class EvalSettings(Section):
    """Held-out evaluation before, during and after."""

    files: dict[str, Path] = Field(
        default_factory=dict,
        description="Benchmarks by name: JSONL/Parquet with problem and answer, or curated folders.",
    )
    every: int = Field(default=20, gt=0, description="Steps between evaluations; also at step 0 and the end.")
    limit: int | None = Field(default=None, gt=0, description="Problems taken of each benchmark; none: all.")
    prompt_template: str = Field(
        default="{problem}",
        description="Prompt for the rows of a benchmark file; curated folders have theirs.",
    )
    chat: bool = Field(default=False, description="Give that prompt as a user's chat message.")
    greedy: bool = Field(default=True, description="Measure greedy accuracy.")
    k: int = Field(default=4, ge=0, description="Samples per problem for avg@k and pass@k; 0: none.")
    temperature: float = Field(default=1.0, gt=0, description="Temperature of the k samples.")
    top_p: float = Field(default=0.7, gt=0, le=1, description="Nucleus mass of the k samples.")
    max_tokens: int | None = Field(
        default=None, gt=0, description="Longest response in tokens; none takes rollout.max_tokens."
    )


class CheckpointConfig(Section):
    """What is kept of the run."""

    every: int = Field(default=20, gt=0, description="Steps between checkpoints; also at the end.")
    keep: int = Field(default=2, gt=0, description="Latest checkpoints kept, beside the best.")


class VerifierConfig(Section):
    """Who decides."""

    workers: int | None = Field(default=None, gt=0, description="Processes; none: one for each usable core.")
    timeout: float | None = Field(
        default=None, gt=0, description="CPU seconds for one verdict; none: what the verifier declares."
    )


class TrainConfig(Section):
    """Train a policy on a curated set with DAPO; GRPO and Dr. GRPO are presets."""

    data: Path | None = Field(default=None, description="Curated data set folder to train on.")
    model: str = Field(default="", description="Folder or hub name of the model to start from.")
    output: Path = Field(description="Run folder; a run that was stopped goes on when it is named again.")
    preset: Preset = Field(default="dapo", description="Algorithm whose settings are the defaults below.")
    steps: int = Field(default=200, gt=0, description="Rollout steps of the whole run.")
    seed: int = Field(default=0, description="Seed of the prompts' order and of all sampling.")
    engine: EngineConfig | None = Field(
        default=None, description="Engine that samples; none: transformers, sharing the learner's model."
    )
    rollout: RolloutConfig = RolloutConfig()
    dynamic_sampling: DynamicSamplingConfig = DynamicSamplingConfig()
    reward: RewardConfig = RewardConfig()
    advantage: AdvantageConfig = AdvantageConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    learner: LearnerConfig = LearnerConfig()
    evaluation: EvalSettings = EvalSettings()
    checkpoint: CheckpointConfig = CheckpointConfig()
    verifier: VerifierConfig = VerifierConfig()
    loggers: tuple[LoggerName, ...] = Field(
        default=(), description="Where the metrics go beside metrics.jsonl; each must be installed."
    )

    @property
    def overlong_cache(self) -> int:
        """Tokens over which the soft punishment grows."""
        return self.reward.overlong_cache or max(1, self.rollout.max_tokens // 5)

    @model_validator(mode="before")
    @classmethod
    def _fill_in_preset(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        preset = PRESETS.get(str(given.get("preset", "dapo")), {})
        merged = dict(given)
        for section, values in preset.items():
            chosen = merged.get(section, {})
            if isinstance(chosen, BaseModel):
                chosen = chosen.model_dump(exclude_unset=True)
            if isinstance(chosen, Mapping):
                merged[section] = {**values, **chosen}
        return merged

    @model_validator(mode="after")
    def _check_lengths(self) -> Self:
        if self.reward.soft_overlong and self.overlong_cache > self.rollout.max_tokens:
            raise ValueError(
                f"reward.overlong_cache ({self.overlong_cache} tokens) must not exceed "
                f"rollout.max_tokens ({self.rollout.max_tokens})"
            )
        return self
