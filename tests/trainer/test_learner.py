"""One update gives the same weights however it is split, and the weights that plain torch gives."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from tests.trainer.toy import make_model
from trainer.config import LearnerConfig, LoraConfig, ObjectiveConfig
from trainer.distributed import World
from trainer.learner import Learner, Sample
from trainer.policy import TokenSequence
from trainer.weights import own_weights, plain_weights, restore_model, save_model


def random_samples(groups: int, size: int, seed: int = 0) -> list[Sample]:
    generator = random.Random(seed)
    samples = []
    for group in range(groups):
        prompt = [generator.randrange(2, 18) for _ in range(generator.randint(1, 5))]
        for _ in range(size):
            response = [generator.randrange(2, 18) for _ in range(generator.randint(1, 12))]
            logprobs = [generator.uniform(-4.0, -1.0) for _ in response]
            tokens = TokenSequence(prompt, response)
            samples.append(Sample(tokens, logprobs, generator.gauss(0.0, 1.0), group))
    return samples


def make_learner(
    model: Any,
    learner: dict[str, Any] | None = None,
    objective: dict[str, Any] | None = None,
    world: World | None = None,
) -> Learner:
    settings = {"learning_rate": 1e-3, "warmup_steps": 0, **(learner or {})}
    return Learner(
        model,
        LearnerConfig(**settings),
        ObjectiveConfig(**(objective or {})),
        temperature=0.8,
        max_tokens=16,
        steps=10,
        seed=0,
        world=world,
    )


def weights_after(samples: list[Sample], learner: dict[str, Any], objective: dict[str, Any]) -> Tensor:
    model = make_model(layers=2).double()
    made = make_learner(model, learner, objective)
    made.update(samples, 1)
    made.update(samples, 2)
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


@pytest.mark.parametrize(
    "objective",
    [
        {},
        {"aggregation": "group_token_mean"},
        {"aggregation": "sequence_mean", "kl_coefficient": 0.1, "entropy_coefficient": 0.01},
        {"aggregation": "constant", "importance": "mask", "importance_level": "sequence"},
    ],
)
def test_update_does_not_depend_on_the_micro_batches(objective: dict[str, Any]) -> None:
    samples = random_samples(6, 4)
    whole = weights_after(samples, {"mini_batch": 12, "micro_batch_tokens": 100_000}, objective)
    for budget in (1, 40, 90):
        split = weights_after(samples, {"mini_batch": 12, "micro_batch_tokens": budget}, objective)
        torch.testing.assert_close(split, whole, rtol=1e-9, atol=1e-9)


def test_first_update_is_dapo_written_out() -> None:
    """Eq. 8 by plain torch on padded logits; at the first update the ratio is 1 and the old policy its own."""
    samples = random_samples(3, 4)
    model, reference = make_model().double(), make_model().double()
    learner = make_learner(model, {"weight_decay": 0.1, "grad_clip": 1e9})
    statistics = learner.update(samples, 1)

    optimizer = torch.optim.AdamW(reference.parameters(), lr=1e-3, weight_decay=0.1)
    total, loss = sum(len(sample.tokens.response) for sample in samples), torch.zeros(())
    for sample in samples:
        ids = torch.tensor([[*sample.tokens.prompt, *sample.tokens.response]])
        logits = reference(input_ids=ids).logits[0, len(sample.tokens.prompt) - 1 : -1] / 0.8
        response = torch.tensor(list(sample.tokens.response))
        logprobs = torch.log_softmax(logits, -1).gather(-1, response[:, None]).squeeze(-1)
        sampler = torch.tensor(list(sample.sampler_logprobs), dtype=torch.float64)
        importance = (logprobs.detach() - sampler).exp().clamp(max=2.0)
        ratio = (logprobs - logprobs.detach()).exp()
        loss = loss - (importance * ratio * sample.advantage).sum() / total
    loss.backward()
    optimizer.step()
    for ours, theirs in zip(model.parameters(), reference.parameters(), strict=True):
        # The norms of transformers compute in float32, and AdamW divides by what may be near 0.
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)
    assert statistics.loss == pytest.approx(loss.item(), abs=1e-6)
    assert statistics.means["ratio"] == pytest.approx(1.0, abs=1e-9)


def test_later_updates_compare_with_the_policy_before_the_first() -> None:
    statistics = make_learner(make_model(), {"mini_batch": 4, "learning_rate": 0.05}).update(
        random_samples(4, 4), 1
    )
    assert statistics.updates == 4
    assert statistics.means["ratio"] != pytest.approx(1.0, abs=1e-3)
    assert statistics.means["clipped_low"] + statistics.means["clipped_high"] > 0


def test_samples_without_loss_change_nothing_but_their_count() -> None:
    """Overlong filtering: a filtered response has no gradient, and counts only where asked for."""
    samples = random_samples(2, 4)
    noise = [
        Sample(sample.tokens, sample.sampler_logprobs, 9.0, sample.group, has_loss=False)
        for sample in random_samples(2, 2, seed=5)
    ]
    settings = {"mini_batch": 64, "grad_clip": 1e9}
    plain = weights_after(samples, settings, {})
    torch.testing.assert_close(weights_after(samples + noise, settings, {}), plain, rtol=1e-12, atol=1e-12)


def test_an_update_without_any_loss_is_no_update() -> None:
    model = make_model()
    before = torch.cat([weight.detach().flatten().clone() for weight in model.parameters()])
    samples = [
        Sample(item.tokens, item.sampler_logprobs, 1.0, 0, has_loss=False) for item in random_samples(1, 2)
    ]
    statistics = make_learner(model).update(samples, 1)
    assert statistics.updates == 0
    assert torch.equal(before, torch.cat([weight.detach().flatten() for weight in model.parameters()]))


def test_a_gradient_that_is_not_finite_leaves_the_weights() -> None:
    model = make_model()
    before = torch.cat([weight.detach().flatten().clone() for weight in model.parameters()])
    sample = random_samples(1, 1)[0]
    broken = Sample(sample.tokens, sample.sampler_logprobs, float("inf"), 0)
    statistics = make_learner(model).update([broken], 1)
    assert (statistics.updates, statistics.skipped) == (1, 1)
    assert torch.equal(before, torch.cat([weight.detach().flatten() for weight in model.parameters()]))


def test_float32_masters_learn_what_bfloat16_would_lose() -> None:
    """At 1e-6 most updates are below bfloat16's resolution: the masters move, the weights follow later."""
    samples = random_samples(4, 4)
    model = make_model().bfloat16()
    learner = make_learner(model, {"learning_rate": 1e-6, "mini_batch": 4})
    before = [master.detach().clone() for master in learner.optimizer.masters]
    learner.update(samples, 1)
    moved = sum(int((old != new).sum()) for old, new in zip(before, learner.optimizer.masters, strict=True))
    assert moved > 0.9 * sum(master.numel() for master in before)
    for weight, master in zip(learner.optimizer.parameters, learner.optimizer.masters, strict=True):
        assert torch.equal(weight, master.bfloat16())


def test_kl_is_taken_to_the_initial_policy() -> None:
    model = make_model().double()
    learner = make_learner(model, {"mini_batch": 64}, {"kl_coefficient": 0.1})
    assert learner.update(random_samples(2, 4), 1).means["kl_reference"] == pytest.approx(0.0, abs=1e-12)
    assert learner.update(random_samples(2, 4), 2).means["kl_reference"] > 0


LORA = {"lora": LoraConfig(rank=4, alpha=8.0), "learning_rate": 0.05}


def test_adapters_learn_and_nothing_else_does() -> None:
    model = make_model(tie_word_embeddings=False)
    plain = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    learner = make_learner(model, LORA, {"kl_coefficient": 0.01})
    statistics = learner.update(random_samples(4, 4), 1)
    assert statistics.means["kl_reference"] == pytest.approx(0.0, abs=1e-6)
    own = dict(own_weights(learner.model))
    for name, tensor in plain.items():
        module, _, leaf = name.rpartition(".")
        found = own[f"{module}.base_layer.{leaf}"] if f"{module}.base_layer.{leaf}" in own else own[name]
        assert torch.equal(found, tensor), name
    assert any(not torch.equal(dict(plain_weights(learner.model))[name], plain[name]) for name in plain)


def test_saved_adapters_open_as_a_plain_model_and_load_exactly(tmp_path: Path) -> None:
    learner = make_learner(make_model(tie_word_embeddings=False), LORA)
    learner.update(random_samples(4, 4), 1)
    save_model(learner.model, tmp_path)
    ids = torch.tensor([[3, 4, 5]])
    with torch.no_grad():
        ours = learner.model(input_ids=ids).logits
        merged = AutoModelForCausalLM.from_pretrained(tmp_path)
        torch.testing.assert_close(merged(input_ids=ids).logits, ours, rtol=1e-4, atol=1e-5)
        again = make_learner(make_model(tie_word_embeddings=False), LORA)
        restore_model(again.model, tmp_path)
        assert torch.equal(again.model(input_ids=ids).logits, ours)


def test_saved_model_loads_exactly(tmp_path: Path) -> None:
    learner = make_learner(make_model().bfloat16(), {"learning_rate": 1e-2})
    learner.update(random_samples(2, 4), 1)
    save_model(learner.model, tmp_path)
    other = make_model(seed=1).bfloat16()
    restore_model(other, tmp_path)
    for ours, theirs in zip(learner.model.parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs)
