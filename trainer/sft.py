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
from typing import Any, NamedTuple

import torch
from torch import nn

from rollout.prompts import render_prompt
from rollout.types import Prompt
from trainer.distributed import World
from trainer.optimizer import MasterAdamW, learning_rate_factor
from trainer.packing import micro_batches
from trainer.policy import Policy, TokenSequence
from trainer.sft_config import WarmStartConfig
from verifiers import InputError

Progress = Callable[[int, int, float], None]
"""Called after every step with the step, the number of steps, and the batch's loss in nats per token."""


class Pair(NamedTuple):
    """A prompt (text or chat messages) and the response to learn; it ends with the EOS token."""

    prompt: Prompt
    response: str


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
    learner = SupervisedLearner(model, config)
    losses, tokens = [], 0
    was_training = model.training
    model.train()
    for step, batch in enumerate(batches(sequences, config), 1):
        losses.append(learner.step(batch, step).loss)
        tokens += sum(map(len, batch))
        if progress:
            progress(step, config.steps, losses[-1])
    model.train(was_training)
    return WarmStartResult(tuple(losses), tokens, time.monotonic() - began)


class StepStatistics(NamedTuple):
    """What one optimizer step did."""

    loss: float
    """Of the batch before the step, nats per response token."""
    grad_norm: float
    """Before clipping."""
    learning_rate: float


class SupervisedLearner:
    """Maximum likelihood of responses, one optimizer step at a time."""

    def __init__(self, model: nn.Module, config: WarmStartConfig, world: World | None = None) -> None:
        """`world` are the processes that learn together; all call `step` with the same batches."""
        self.config = config
        self.world = world or World()
        self.policy = Policy(model)
        self.optimizer = MasterAdamW(
            [parameter for parameter in model.parameters() if parameter.requires_grad],
            learning_rate=config.learning_rate,
            betas=config.betas,
            weight_decay=config.weight_decay,
        )

    def step(self, batch: Sequence[TokenSequence], number: int) -> StepStatistics:
        """Take the optimizer step `number` (from 1) on `batch`."""
        rate = self.config.learning_rate * learning_rate_factor(
            number, self.config.warmup_steps, self.config.steps, self.config.schedule
        )
        loss = self._loss(batch, backward=True)
        self.world.sum_gradients(self.optimizer.masters)
        return StepStatistics(loss, self.optimizer.step(rate, self.config.grad_clip), rate)

    @torch.no_grad()
    def loss(self, sequences: Sequence[TokenSequence]) -> float:
        """Mean over the response tokens of `sequences`, nats per token."""
        return self._loss(sequences, backward=False)

    def _loss(self, sequences: Sequence[TokenSequence], *, backward: bool) -> float:
        total = sum(len(sequence.response) for sequence in sequences)
        parts = micro_batches([len(sequence) for sequence in sequences], self.config.micro_batch_tokens)
        loss = 0.0
        with self.policy.computing():
            for indices in parts[self.world.rank :: self.world.size]:
                found = self.policy.logprobs([sequences[index] for index in indices])
                part = -found.logprobs.sum() / total
                if backward:
                    part.backward()  # type: ignore[no-untyped-call]
                loss += part.item()
        return self.world.sum_values({"loss": loss})["loss"]


def batches(
    sequences: Sequence[TokenSequence], config: WarmStartConfig, done: int = 0
) -> Iterator[list[TokenSequence]]:
    """The batch of every step after the first `done`: each epoch in a new random order."""
    order = _endless_order(len(sequences), random.Random(config.seed))
    for index in range(config.steps):
        batch = list(itertools.islice(order, config.batch_size))
        if index >= done:
            yield [sequences[place] for place in batch]


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


def _endless_order(count: int, generator: random.Random) -> Iterator[int]:
    while True:
        yield from generator.sample(range(count), count)
