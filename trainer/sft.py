"""Supervised warm start on prompt/response pairs, before the reinforcement learning (the cold start of R1).

The loss is the mean negative log-likelihood over the response tokens of a batch; the prompt carries no loss.
"""

from __future__ import annotations

import itertools
import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from rollout.prompts import render_prompt
from rollout.types import Prompt
from trainer.optimizer import learning_rate_factor
from trainer.packing import micro_batches
from trainer.policy import Policy, TokenSequence
from verifiers import InputError

Progress = Callable[[int, int, float], None]
"""Called after every step with the step, the number of steps, and the batch's loss in nats per token."""


class Pair(NamedTuple):
    """A prompt (text or chat messages) and the response to learn; it ends with the EOS token."""

    prompt: Prompt
    response: str


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


@dataclass(frozen=True, slots=True)
class WarmStartResult:
    """What the warm start did."""

    losses: tuple[float, ...]
    """Loss of every step, nats per response token."""
    tokens: int
    """Tokens that went through the model, prompts included."""
    seconds: float


def warm_start(
    model: nn.Module,
    tokenizer: Any,
    pairs: Sequence[Pair | tuple[Prompt, str]],
    config: WarmStartConfig | None = None,
    progress: Progress | None = None,
) -> WarmStartResult:
    """Train `model` in place on `pairs`; the pairs are gone through in a new random order each epoch.

    Args:
        model: a causal language model of transformers.
        tokenizer: its tokenizer; prompts are rendered with its chat template as the engines do.
        pairs: prompt and response.
        config: how to learn.
        progress: called after every step.

    Raises:
        InputError: there are no pairs, or one is longer than `max_length`.
    """
    config = config or WarmStartConfig()
    began = time.monotonic()
    sequences = tokenize_pairs(tokenizer, pairs, config.max_length)
    policy = Policy(model)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        parameters,
        lr=config.learning_rate,
        betas=config.betas,
        weight_decay=config.weight_decay,
        fused=True,
    )
    order = _endless_order(len(sequences), random.Random(config.seed))
    losses, tokens = [], 0
    was_training = model.training
    model.train()
    for step in range(1, config.steps + 1):
        batch = [sequences[index] for index in itertools.islice(order, config.batch_size)]
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * learning_rate_factor(
                step, config.warmup_steps, config.steps, config.schedule
            )
        losses.append(_accumulate_gradient(policy, batch, config))
        nn.utils.clip_grad_norm_(parameters, config.grad_clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        tokens += sum(map(len, batch))
        if progress:
            progress(step, config.steps, losses[-1])
    model.train(was_training)
    return WarmStartResult(tuple(losses), tokens, time.monotonic() - began)


def tokenize_pairs(
    tokenizer: Any, pairs: Sequence[Pair | tuple[Prompt, str]], max_length: int
) -> list[TokenSequence]:
    """Tokens of every pair, the response closed by the EOS token."""
    if not pairs:
        raise InputError("no pairs to learn from; give at least one prompt and response")
    responses = tokenizer([response for _, response in pairs], add_special_tokens=False)["input_ids"]
    sequences = []
    for number, ((prompt, _), response) in enumerate(zip(pairs, responses, strict=True), 1):
        sequence = TokenSequence(render_prompt(tokenizer, prompt), [*response, tokenizer.eos_token_id])
        if len(sequence) > max_length:
            raise InputError(
                f"pair {number} has {len(sequence)} tokens, more than max_length {max_length}; "
                "leave it out or raise max_length"
            )
        sequences.append(sequence)
    return sequences


def read_pairs(path: Path | str) -> list[Pair]:
    """Read pairs from JSONL with `prompt` (text or chat messages) and `response` on each line."""
    pairs = []
    with Path(path).open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
                prompt, response = row["prompt"], row["response"]
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(
                    f"{path}:{number}: not a JSON object with `prompt` and `response` ({error!r})"
                ) from None
            if not isinstance(response, str) or not isinstance(prompt, str | list):
                raise InputError(f"{path}:{number}: `prompt` must be text or messages and `response` text")
            pairs.append(Pair(prompt, response))
    return pairs


def _accumulate_gradient(policy: Policy, batch: Sequence[TokenSequence], config: WarmStartConfig) -> float:
    """Add the gradient of the batch's mean loss; returns the loss."""
    total = sum(len(sequence.response) for sequence in batch)
    loss = 0.0
    for indices in micro_batches([len(sequence) for sequence in batch], config.micro_batch_tokens):
        part = -policy.logprobs([batch[index] for index in indices]).logprobs.sum() / total
        part.backward()  # type: ignore[no-untyped-call]
        loss += part.item()
    return loss


def _endless_order(count: int, generator: random.Random) -> Iterator[int]:
    while True:
        yield from generator.sample(range(count), count)
