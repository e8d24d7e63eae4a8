"""The learner: several optimizer steps on one rollout, in micro-batches of packed sequences."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from trainer.config import LearnerConfig, ObjectiveConfig
from trainer.distributed import World
from trainer.objective import (
    LossInputs,
    ObjectiveOptions,
    importance_weights,
    kl_estimate,
    policy_loss,
    sequence_weights,
)
from trainer.optimizer import MasterAdamW, learning_rate_factor
from trainer.packing import micro_batches, scatter_rows
from trainer.policy import Policy, TokenSequence
from trainer.sharding import is_sharded, policy_maker
from trainer.weights import add_lora, own_weights, plain_weights, without_adapter


@dataclass(frozen=True, slots=True)
class Sample:
    """One response to learn from."""

    tokens: TokenSequence
    sampler_logprobs: Sequence[float]
    """Of the response's tokens, at the sampling temperature."""
    advantage: float
    group: int
    """Number of its group in the rollout."""
    has_loss: bool = True
    """False for a response that stays in its group's statistics only (truncated, or not judged)."""


@dataclass(slots=True)
class UpdateStatistics:
    """What the updates on one rollout did."""

    learning_rate: float = 0.0
    updates: int = 0
    skipped: int = 0
    """Updates left out since the gradient was not finite."""
    loss: float = 0.0
    """Mean over the updates."""
    grad_norm: float = 0.0
    """Mean over the updates that were not left out, before clipping."""
    tokens: int = 0
    """Tokens of the samples of all updates, prompts included."""
    means: dict[str, float] = field(default_factory=dict)
    """Over the tokens with loss of all updates: entropy, ratio, clipped_low, clipped_high, kl_sampler,
    importance, kl_reference. Empty where nothing had a loss."""

    def add_update(self, norm: float, tokens: int) -> None:
        """Count one optimizer step."""
        self.updates += 1
        self.tokens += tokens
        if math.isfinite(norm):
            self.grad_norm += (norm - self.grad_norm) / (self.updates - self.skipped)
        else:
            self.skipped += 1

    def finish(self, sums: dict[str, float]) -> None:
        """Make means of the sums over `tokens` tokens, and of the losses of all updates."""
        self.loss = sums.pop("loss", 0.0) / max(1, self.updates)
        tokens = sums.get("tokens", 0.0)
        self.means = (
            {name: total / tokens for name, total in sums.items() if name != "tokens"} if tokens else {}
        )


class Learner:
    """Owns the optimizer of `model`, which an engine may share."""

    def __init__(
        self,
        model: nn.Module,
        learner: LearnerConfig,
        objective: ObjectiveConfig,
        *,
        temperature: float,
        max_tokens: int,
        steps: int,
        seed: int,
        world: World | None = None,
    ) -> None:
        """Prepare `model`: adapters where asked for, no dropout, and a frozen copy where the KL needs one.

        Args:
            model: causal language model, with its initial weights.
            learner: how to update.
            objective: the loss.
            temperature: of the sampler; log-probabilities are taken at it.
            max_tokens: divisor of aggregation `constant` where the objective names none.
            steps: of the whole run, for the learning rate.
            seed: of the order in mini-batches and of the adapters.
            world: the processes that learn together.
        """
        self.config = learner
        self.objective = objective
        self.temperature = temperature
        self.constant = objective.constant or float(max_tokens)
        self.steps = steps
        self.seed = seed
        self.world = world or World()
        self.sharded = is_sharded(learner, self.world)
        make_policy = policy_maker(learner, self.world)
        self.reference: Policy | None = None
        disable_dropout(model)
        if objective.kl_coefficient and learner.lora is None:
            self.reference = make_policy(copy.deepcopy(model).requires_grad_(False))
        self.model = model if learner.lora is None else add_lora(model, learner.lora, seed)
        if learner.gradient_checkpointing:
            enable: Any = self.model
            enable.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        self.policy = make_policy(self.model)
        self.options = ObjectiveOptions(
            clip_low=objective.clip_low,
            clip_high=objective.clip_high,
            dual_clip=objective.dual_clip,
            surrogate=objective.surrogate,
            ratio_level=objective.ratio_level,
            kl_coefficient=objective.kl_coefficient,
            kl_estimator=objective.kl_estimator,
            entropy_coefficient=objective.entropy_coefficient,
        )
        self.optimizer = MasterAdamW(
            [parameter for parameter in self.model.parameters() if parameter.requires_grad],
            learning_rate=learner.learning_rate,
            betas=learner.betas,
            weight_decay=learner.weight_decay,
            float32_masters=learner.float32_masters,
        )

    def update(self, samples: Sequence[Sample], step: int) -> UpdateStatistics:
        """Learn from one rollout: `epochs` times through it, an optimizer step for each mini-batch.

        Where several processes learn together, all call this with the same samples.

        Args:
            samples: responses with at least one token each.
            step: number of the rollout step, from 1; it decides the learning rate and the order.
        """
        rate = self.config.learning_rate * learning_rate_factor(
            step, self.config.warmup_steps, self.steps, self.config.schedule
        )
        batches = list(self._mini_batches(samples, step))
        statistics = UpdateStatistics(learning_rate=rate)
        sums: dict[str, float] = {}
        self.model.train()
        with self.policy.computing():
            # The policy "before" is the one that is about to be updated: at the first batch, itself.
            before = [None, *(self._old_logprobs(batch) for batch in batches[1:])] if batches else []
            for batch, old in zip(batches, before, strict=True):
                self._accumulate_gradient(batch, old, sums)
                self.world.sum_gradients(self.optimizer.masters)
                norm = self.optimizer.step(rate, self.config.grad_clip)
                statistics.add_update(norm, sum(len(sample.tokens) for sample in batch))
        self.model.eval()
        statistics.finish(self.world.sum_values(sums))
        return statistics

    def weights(self, *, shared: bool) -> Iterator[tuple[str, Tensor]]:
        """Names and tensors of the weights as an engine takes them, which may share the model or not.

        Sharded ones are gathered one after the other: all processes must go through them.
        """
        return own_weights(self.model) if shared else plain_weights(self.model, self.policy.dtype)

    def state(self) -> tuple[dict[str, Tensor] | None, dict[str, Any]]:
        """What a checkpoint holds: the optimizer's state, and the weights where the model doesn't have them whole.

        Where the learner is sharded all processes must call this, and the first one's answer is whole.
        """
        weights = None
        if self.sharded:
            named = self.weights(shared=False)
            # Every process goes through all, and the first one keeps them.
            weights = {name: tensor.cpu() for name, tensor in named if self.world.rank == 0}
        return weights, self.optimizer.state_dict()

    def _mini_batches(self, samples: Sequence[Sample], step: int) -> Iterator[list[Sample]]:
        """Groups in an order of their own for each pass, cut into mini-batches of nearly equal size.

        Groups come in the order in which they were finished, so that without a shuffle the first update would
        see the short responses and the last the long ones.
        """
        count = max(1, round(len(samples) / self.config.mini_batch))
        for epoch in range(self.config.epochs):
            groups: dict[int, list[Sample]] = {}
            for sample in samples:
                groups.setdefault(sample.group, []).append(sample)
            order = sorted(groups)
            random.Random(f"{self.seed}:{step}:{epoch}").shuffle(order)
            shuffled = [sample for group in order for sample in groups[group]]
            for part in range(count):
                batch = shuffled[part * len(shuffled) // count : (part + 1) * len(shuffled) // count]
                if any(sample.has_loss for sample in batch):
                    yield batch

    def _micro_batches(self, batch: Sequence[Sample]) -> list[tuple[list[int], bool]]:
        """The micro-batches of this process; those of all processes together are all samples with a loss.

        With each comes whether it counts. Sharded processes must compute equally often, so that one which has a
        micro-batch less than others takes part with a response that is another one's.
        """
        budget = self.config.micro_batch_tokens or (2048 if self.policy.device.type == "cpu" else 32768)
        learnt = [index for index, sample in enumerate(batch) if sample.has_loss]
        parts = micro_batches(
            [len(batch[index].tokens) for index in learnt],
            budget,
            [batch[index].tokens.prompt for index in learnt] if self.policy.mode == "packed" else None,
        )
        own = [
            ([learnt[place] for place in part], True) for part in parts[self.world.rank :: self.world.size]
        ]
        if self.sharded and len(own) * self.world.size < len(parts):
            own.append(([learnt[parts[-1][-1]]], False))
        return own

    @torch.no_grad()
    def _old_logprobs(self, batch: Sequence[Sample]) -> dict[int, Tensor]:
        """Log-probabilities of the responses under the weights as they are, `[T]` each, by place in the batch."""
        found: dict[int, Tensor] = {}
        for indices, _ in self._micro_batches(batch):
            result = self.policy.logprobs([batch[index].tokens for index in indices], self.temperature)
            found.update(zip(indices, result.logprobs.split(result.lengths), strict=True))  # type: ignore[no-untyped-call]
        return found

    def _accumulate_gradient(
        self, batch: Sequence[Sample], old: dict[int, Tensor] | None, sums: dict[str, float]
    ) -> None:
        """Add the gradient of one optimizer step's loss, micro-batch by micro-batch, and what is logged."""
        weights_B = sequence_weights(
            torch.tensor([len(sample.tokens.response) * sample.has_loss for sample in batch]),
            self.objective.aggregation,
            groups_B=torch.tensor([sample.group for sample in batch]),
            constant=self.constant,
            count_empty=self.objective.count_filtered,
        )
        for indices, counts in self._micro_batches(batch):
            part = [batch[i] if counts else replace(batch[i], has_loss=False) for i in indices]
            old_logprobs = None if old is None else torch.cat([old[index] for index in indices])
            inputs, extra = self._loss_inputs(part, old_logprobs, weights_B[indices])
            outputs = policy_loss(inputs, self.options)
            outputs.loss.backward()  # type: ignore[no-untyped-call]
            for name, value in {"loss": outputs.loss.item(), **outputs.sums, **extra}.items():
                sums[name] = sums.get(name, 0.0) + value

    def _loss_inputs(
        self, part: Sequence[Sample], old_R: Tensor | None, weights_B: Tensor
    ) -> tuple[LossInputs, dict[str, float]]:
        sequences = [sample.tokens for sample in part]
        result = self.policy.logprobs(sequences, self.temperature)
        device, dtype = result.logprobs.device, result.logprobs.dtype
        old_R = result.logprobs.detach() if old_R is None else old_R
        sampler_R = torch.tensor(
            [value for sample in part for value in sample.sampler_logprobs], device=device, dtype=dtype
        )
        logprobs_BT, real_BT = scatter_rows(result.logprobs, result.lengths)
        old_BT, _ = scatter_rows(old_R, result.lengths)
        entropies_BT, _ = scatter_rows(result.entropies, result.lengths)
        sampler_BT, _ = scatter_rows(sampler_R, result.lengths)
        has_loss_B = torch.tensor([sample.has_loss for sample in part], device=device)
        mask_BT = real_BT & has_loss_B[:, None]
        importance_BT = self._importance(old_BT, sampler_BT, mask_BT)
        with torch.no_grad():
            extra = {"kl_sampler": _masked_sum(kl_estimate(sampler_BT, old_BT, "k3"), mask_BT)}
            if importance_BT is not None:
                extra["importance"] = _masked_sum(importance_BT, mask_BT)
        reference_BT = None
        if self.objective.kl_coefficient:
            reference_BT, _ = scatter_rows(self._reference_logprobs(sequences), result.lengths)
        inputs = LossInputs(
            logprobs=logprobs_BT,
            old_logprobs=old_BT,
            advantages=torch.tensor([sample.advantage for sample in part], device=device, dtype=dtype),
            mask=mask_BT,
            weights=weights_B.to(device, dtype),
            importance=importance_BT,
            reference_logprobs=reference_BT,
            entropies=entropies_BT,
        )
        return inputs, extra

    @torch.no_grad()
    def _reference_logprobs(self, sequences: Sequence[TokenSequence]) -> Tensor:
        """Under the initial policy: a frozen copy, or the model without its adapters, `[R]`."""
        if self.reference is not None:
            return self.reference.logprobs(sequences, self.temperature).logprobs
        with without_adapter(self.model):
            return self.policy.logprobs(sequences, self.temperature).logprobs

    @torch.no_grad()
    def _importance(self, old_BT: Tensor, sampler_BT: Tensor, mask_BT: Tensor) -> Tensor | None:
        if self.objective.importance == "off":
            return None
        return importance_weights(
            old_BT,
            sampler_BT,
            mask_BT,
            level=self.objective.importance_level,
            mode=self.objective.importance,
            cap=self.objective.importance_cap,
            floor=self.objective.importance_floor,
        )


def disable_dropout(model: nn.Module) -> None:
    """Switch all dropout off: with it, a policy's probabilities would differ from themselves."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(getattr(module, "attention_dropout", None), float):
            setattr(module, "attention_dropout", 0.0)  # noqa: B010  (torch types attributes as modules)


def _masked_sum(values_BT: Tensor, mask_BT: Tensor) -> float:
    return torch.where(mask_BT, values_BT, 0).sum().item()
