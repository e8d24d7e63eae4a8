"""DAPO (Yu et al. 2025, arXiv:2503.14476), the whole algorithm; GRPO and Dr. GRPO are settings of it.

    rlvr train --data curated/ --model Qwen/Qwen3-0.6B --output runs/first

What differs from the paper: an engine streams, so a step ends as soon as its groups are there, and finished
surplus groups go into the next step instead of being thrown away; sampler and learner may disagree in the
last digits, which truncated importance sampling makes up for.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from rollout import Engine
from trainer.advantages import group_advantages, leave_one_out_advantages
from trainer.checkpoint import best_step, checkpoint_path, checkpoint_steps
from trainer.config import AdvantageConfig, TrainConfig
from trainer.distributed import World
from trainer.groups import Group
from trainer.learner import Sample, UpdateStatistics
from trainer.metrics import peak_memory_bytes
from trainer.policy import TokenSequence
from trainer.rewards import Shaping
from trainer.run import ProblemLike, follow, open_run
from trainer.sampler import Rollout
from trainer.store import prompt_text, write_record

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True, slots=True)
class TrainResult:
    """Where a run's results are."""

    folder: Path
    checkpoint: Path
    """Of the last step; opens with `AutoModelForCausalLM.from_pretrained`."""
    best: Path | None
    """The checkpoint with the best held-out accuracy; None where nothing was evaluated."""
    evaluations: tuple[Mapping[str, Any], ...]
    """Rows of `metrics.jsonl` of kind eval, in order."""


def train(
    config: TrainConfig,
    *,
    engine: Engine | None = None,
    problems: Sequence[ProblemLike] | None = None,
    eval_sets: Mapping[str, Sequence[ProblemLike]] | None = None,
    console: Console | None = None,
) -> TrainResult:
    """Train a model by reinforcement learning with verifiable rewards.

    Started again with the same configuration after a stop (kill -9 too), it goes on where it was.

    Args:
        config: of the run.
        engine: samples; made from the configuration where not given. The learner shares its model where it
            has one in this process.
        problems: to train on; those of `config.data` where not given.
        eval_sets: held-out problems by name, beside `config.evaluation.files`.
        console: where progress is shown; nowhere where not given.

    Raises:
        InputError: data, model or run folder are not what they should be.
        SamplingError: too few groups are mixed.
    """
    with World.join() as world:
        if world.rank > 0:
            follow(config, engine, world)
            return result_of(config)
        with open_run(config, engine, problems, eval_sets, console, world) as run:
            if run.start == 0:
                run.evaluate(0)
            for step in range(run.start + 1, config.steps + 1):
                rollout = run.sample(step)
                rewards = [shaped_rewards(group, run.shaping) for group in rollout.groups]
                advantages = advantages_of(rewards, config.advantage)
                samples = learning_samples(rollout.groups, advantages, config.reward.filter_truncated)

                began = time.monotonic()
                update = run.update(samples, step)
                seconds_update = time.monotonic() - began

                write_record(config.output / "rollouts", rollout, rewards, advantages)
                run.record(train_row(rollout, update, run.sampler.order.progress, seconds_update))
                last = step == config.steps
                accuracy = run.evaluate(step) if last or step % config.evaluation.every == 0 else None
                if last or step % config.checkpoint.every == 0 or run.checkpoints.would_be_best(accuracy):
                    run.save(step, accuracy)
        # The other processes see the end when the run has closed, and find its files complete.
        return result_of(config)


def result_of(config: TrainConfig) -> TrainResult:
    """The results of a run that has ended, read from its folder."""
    folder = config.output / "checkpoints"
    best = best_step(folder)
    lines = (config.output / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return TrainResult(
        folder=config.output,
        checkpoint=checkpoint_path(folder, max(checkpoint_steps(folder))),
        best=None if best is None else checkpoint_path(folder, best[0]),
        evaluations=tuple(row for row in map(json.loads, lines) if row["kind"] == "eval"),
    )


def shaped_rewards(group: Group, shaping: Shaping) -> list[float | None]:
    """Shaped reward of each sample; None for those that the verifier could not judge."""
    judged = [place for place, valid in enumerate(group.valid) if valid]
    shaped = shaping.shape(
        [group.completions[place] for place in judged],
        [group.verdicts[place] for place in judged],
        prompt_text(group.problem),
    )
    rewards: list[float | None] = [None] * len(group.completions)
    for place, reward in zip(judged, shaped, strict=True):
        rewards[place] = reward
    return rewards


def advantages_of(
    rewards: Sequence[Sequence[float | None]], config: AdvantageConfig
) -> list[list[float | None]]:
    """Advantage of each sample of each group; None where the reward is."""
    if not rewards:
        return []
    valid_PG = torch.tensor([[reward is not None for reward in group] for group in rewards])
    rewards_PG = torch.tensor([[reward or 0.0 for reward in group] for group in rewards], dtype=torch.float64)
    values_PG: Tensor
    if config.estimator == "leave_one_out":
        values_PG = leave_one_out_advantages(rewards_PG, valid_PG)
    else:
        values_PG = group_advantages(
            rewards_PG, valid_PG, scale=config.scale, ddof=config.ddof, eps=config.eps
        )
    return [
        [value if known else None for value, known in zip(values, valid, strict=True)]
        for values, valid in zip(values_PG.tolist(), valid_PG.tolist(), strict=True)
    ]


def learning_samples(
    groups: Sequence[Group], advantages: Sequence[Sequence[float | None]], filter_truncated: bool
) -> list[Sample]:
    """What the learner sees: the judged samples; truncated ones without loss where they are filtered."""
    return [
        Sample(
            tokens=TokenSequence(completion.prompt_token_ids, completion.token_ids),
            sampler_logprobs=completion.logprobs,
            advantage=advantage,
            group=number,
            has_loss=not (filter_truncated and completion.finish_reason == "length"),
        )
        for number, (group, values) in enumerate(zip(groups, advantages, strict=True))
        for completion, advantage in zip(group.completions, values, strict=True)
        if advantage is not None and completion.token_ids
    ]


def train_row(
    rollout: Rollout, update: UpdateStatistics, epochs: float, seconds_update: float
) -> dict[str, Any]:
    """The step's row of `metrics.jsonl`."""
    account, means = rollout.account, update.means
    samples, responses = max(1, account.samples), max(1, account.responses)
    return {
        "kind": "train",
        "step": rollout.step,
        "epoch": epochs,
        "reward_mean": account.reward_sum / samples,
        "accuracy": account.correct_samples / samples,
        "length_mean": account.tokens_sampled / responses,
        "truncated_share": account.truncated / responses,
        "entropy": means.get("entropy"),
        "clip_fraction_low": means.get("clipped_low"),
        "clip_fraction_high": means.get("clipped_high"),
        "ratio_mean": means.get("ratio"),
        "kl_sampler": means.get("kl_sampler"),
        "kl_reference": means.get("kl_reference"),
        "importance_mean": means.get("importance"),
        "grad_norm": update.grad_norm,
        "loss": update.loss,
        "lr": update.learning_rate,
        "updates": update.updates,
        "updates_skipped": update.skipped,
        "tokens_updated": update.tokens,
        **{
            name: value
            for name, value in account.to_json().items()
            if name not in ("reward_sum", "histogram")
        },
        "histogram": account.to_json()["histogram"],
        "seconds_rollout": rollout.seconds - account.seconds_verify,
        "seconds_update": seconds_update,
        "seconds": rollout.seconds + seconds_update,
        "memory_bytes": peak_memory_bytes(),
    }
