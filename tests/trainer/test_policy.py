"""Packed log-probabilities are those that the model itself gives each sequence alone."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from tests.trainer.toy import make_model
from trainer.logprobs import token_logprobs
from trainer.packing import micro_batches, pack, scatter_rows
from trainer.policy import Policy, TokenSequence
from verifiers import InputError

SMALL = {
    "vocab_size": 31,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "head_dim": 8,
}
MODELS: dict[str, tuple[Any, Any, dict[str, Any], str]] = {
    "llama": (LlamaForCausalLM, LlamaConfig, {}, "packed"),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config, {"tie_word_embeddings": True}, "packed"),
    "mistral, sliding window": (MistralForCausalLM, MistralConfig, {"sliding_window": 4}, "packed"),
    "gemma2, soft caps": (Gemma2ForCausalLM, Gemma2Config, {"final_logit_softcapping": 3.0}, "logits"),
}


def random_sequences(count: int, seed: int, vocabulary: int = 18) -> list[TokenSequence]:
    generator = random.Random(seed)
    tokens = [
        [generator.randrange(vocabulary) for _ in range(generator.randint(2, 20))] for _ in range(count)
    ]
    cuts = [generator.randint(1, len(sequence) - 1) for sequence in tokens]
    return [TokenSequence(sequence[:cut], sequence[cut:]) for sequence, cut in zip(tokens, cuts, strict=True)]


def alone(model: Any, sequence: TokenSequence, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """Log-probabilities and entropies by the model's own forward pass on one sequence."""
    ids = torch.tensor([[*sequence.prompt, *sequence.response]])
    logits = model(input_ids=ids).logits[0, len(sequence.prompt) - 1 : -1].double() / temperature
    distribution = torch.distributions.Categorical(logits=logits)
    return distribution.log_prob(torch.tensor(list(sequence.response))), distribution.entropy()


@pytest.mark.parametrize("name", MODELS)
def test_packed_equals_alone(name: str) -> None:
    kind, config, options, mode = MODELS[name]
    torch.manual_seed(0)
    model = kind(config(**{**SMALL, **options})).double().eval()
    policy = Policy(model)
    assert policy.mode == mode
    sequences = random_sequences(9, seed=1)
    found = policy.logprobs(sequences, 0.7)
    logprobs, entropies = zip(*(alone(model, sequence, 0.7) for sequence in sequences), strict=True)
    # transformers takes some parts (norms, caps) to float32 in whatever type the model is.
    tolerance = 1e-9 if mode == "packed" else 1e-6
    torch.testing.assert_close(found.logprobs, torch.cat(logprobs), rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(found.entropies, torch.cat(entropies), rtol=tolerance, atol=tolerance)


def test_a_model_whose_attention_cannot_be_replaced_is_padded() -> None:
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=31, n_embd=32, n_layer=2, n_head=4, n_positions=64)
    model = GPT2LMHeadModel(config).double().eval()
    sequences = random_sequences(5, seed=2)
    expected = torch.cat([alone(model, sequence)[0] for sequence in sequences])
    for mode in (None, "padded", "logits"):
        found = Policy(model, mode=mode).logprobs(sequences)  # type: ignore[arg-type]
        torch.testing.assert_close(found.logprobs, expected, rtol=1e-9, atol=1e-9)


def test_a_token_does_not_see_other_sequences() -> None:
    """Changing one sequence of a pack changes no bit of the gradient that another one gives."""
    model = make_model(num_key_value_heads=1, layers=2).double()
    policy = Policy(model)
    first, *others = random_sequences(4, seed=3)

    def gradient(neighbours: list[TokenSequence]) -> Tensor:
        model.zero_grad()
        found = policy.logprobs([first, *neighbours])
        found.logprobs[: len(first.response)].sum().backward()
        return torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None])

    changed = [TokenSequence([5, *item.prompt[1:]], [7] * len(item.response)) for item in others]
    torch.testing.assert_close(gradient(others), gradient(changed), rtol=0, atol=1e-15)


def test_packing_leaves_the_shared_model_as_it_was() -> None:
    model = make_model()
    ids = torch.tensor([[3, 4, 5, 6]])
    before = model(input_ids=ids).logits
    Policy(model).logprobs(random_sequences(3, seed=4))
    assert model.config._attn_implementation == "sdpa"
    assert torch.equal(before, model(input_ids=ids).logits)


def test_gradient_checkpointing_gives_the_same_gradient() -> None:
    sequences = random_sequences(6, seed=5)
    gradients = []
    for checkpointing in (False, True):
        model = make_model(layers=2).double().train()
        if checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        policy = Policy(model)
        with policy.attention():
            policy.logprobs(sequences).logprobs.sum().backward()
        gradients.append(torch.cat([weight.grad.flatten() for weight in model.parameters()]))  # type: ignore[union-attr]
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("logits_at_once", [1, 50, 10_000])
def test_written_gradient_is_the_recorded_one(bias: bool, logits_at_once: int) -> None:
    torch.manual_seed(1)
    hidden = torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(11, 5, dtype=torch.float64, requires_grad=True)
    offset = torch.randn(11, dtype=torch.float64, requires_grad=True) if bias else None
    targets = torch.tensor([0, 3, 10, 3, 7, 2, 2])

    def both(*inputs: Tensor) -> tuple[Tensor, Tensor]:
        return token_logprobs(inputs[0], inputs[1], inputs[2] if bias else None, targets, 0.6, logits_at_once)

    inputs = (hidden, weight, offset) if offset is not None else (hidden, weight)
    assert torch.autograd.gradcheck(both, inputs)


def test_the_whole_matrix_of_logits_is_never_held() -> None:
    """2,000 tokens and a vocabulary of 50,000 would be 400 MB in float32; a chunk here is 2 MB."""
    from torch.utils._python_dispatch import TorchDispatchMode

    largest = 0

    class Largest(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            nonlocal largest
            result = func(*args, **(kwargs or {}))
            for value in result if isinstance(result, tuple | list) else (result,):
                if isinstance(value, Tensor):
                    largest = max(largest, value.numel())
            return result

    hidden = torch.randn(2000, 4, requires_grad=True)
    weight = torch.randn(50_000, 4, requires_grad=True)
    with Largest():
        logprobs, _ = token_logprobs(
            hidden, weight, None, torch.zeros(2000, dtype=torch.long), 1.0, logits_at_once=500_000
        )
        logprobs.sum().backward()
    assert largest <= 500_000


@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=30),
    budget=st.integers(1, 200),
)
def test_micro_batches_hold_every_sequence_once_within_the_budget(lengths: list[int], budget: int) -> None:
    batches = micro_batches(lengths, budget)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[index] for index in batch)
        assert len(batch) * longest <= budget or len(batch) == 1


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 6)), min_size=1, max_size=8))
def test_pack_puts_predictors_before_their_targets(shapes: list[tuple[int, int]]) -> None:
    sequences = [list(range(100 * number, 100 * number + sum(shape))) for number, shape in enumerate(shapes)]
    batch = pack(sequences, [prompt for prompt, _ in shapes])
    assert batch.targets.tolist() == [
        token for sequence, (prompt, _) in zip(sequences, shapes, strict=True) for token in sequence[prompt:]
    ]
    assert (batch.input_ids[batch.predictors] + 1).tolist() == batch.targets.tolist()
    assert batch.position_ids.tolist() == [place for sequence in sequences for place in range(len(sequence))]
    assert batch.response_lengths == tuple(response for _, response in shapes)


def test_a_response_needs_a_token_before_it() -> None:
    with pytest.raises(InputError, match="sequence 1 has no prompt token"):
        pack([[1, 2], [3]], [1, 0])


def test_scatter_rows_pads_with_zero() -> None:
    padded, mask = scatter_rows(torch.tensor([1.0, 2.0, 3.0]), (1, 0, 2))
    assert padded.tolist() == [[1.0, 0.0], [0.0, 0.0], [2.0, 3.0]]
    assert mask.tolist() == [[True, False], [False, False], [True, True]]
