"""Packed log-probabilities are those that the model itself gives each sequence alone."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import (
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GraniteConfig,
    GraniteForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from tests.trainer.toy import in_double, make_model
from trainer.logprobs import token_logprobs
from trainer.packing import cut_into_grids, micro_batches, pack, packed_size, scatter_rows
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


@pytest.mark.parametrize(
    ("kind", "config", "options"),
    [
        (Gemma2ForCausalLM, Gemma2Config, {"final_logit_softcapping": 0.5}),
        (CohereForCausalLM, CohereConfig, {"logit_scale": 0.9}),
        (GraniteForCausalLM, GraniteConfig, {"logits_scaling": 1.1}),
    ],
)
def test_what_is_done_to_the_logits_is_found_in_bfloat16_too(kind: Any, config: Any, options: Any) -> None:
    """It changes a probe's log-probabilities by less than bfloat16's rounding may."""
    torch.manual_seed(0)
    model = kind(config(**{**SMALL, **options})).bfloat16().eval()
    assert Policy(model).mode == "logits"
    plain = LlamaForCausalLM(LlamaConfig(**SMALL)).bfloat16().eval()
    assert Policy(plain).mode == "packed"


def test_an_adapter_on_the_output_layer_is_not_passed_over() -> None:
    """At the start it changes nothing, so that no probe's numbers could show it."""
    peft = pytest.importorskip("peft")
    model = LlamaForCausalLM(LlamaConfig(**SMALL)).eval()
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["lm_head", "q_proj"]))
    assert Policy(adapted).mode == "logits"


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
        with policy.computing():
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


@given(
    sequences=st.lists(st.tuples(st.integers(0, 5), st.integers(1, 400)), min_size=1, max_size=40),
    width=st.integers(1, 300),
    budget=st.integers(1, 5000),
)
def test_micro_batches_keep_together_what_shares_a_prompt(
    sequences: list[tuple[int, int]], width: int, budget: int
) -> None:
    prompts = [[kind] * (width + kind) for kind, _ in sequences]
    lengths = [len(prompt) + length for prompt, (_, length) in zip(prompts, sequences, strict=True)]
    batches = micro_batches(lengths, budget, prompts)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert lengths[batches[0][0]] == max(lengths)

    def size(indices: list[int]) -> float:
        return packed_size([lengths[index] for index in indices], [prompts[index] for index in indices])

    for batch in batches:
        assert size(batch) <= budget or len(batch) == 1
    for kind in {kind for kind, _ in sequences}:
        members = [index for index, (other, _) in enumerate(sequences) if other == kind]
        holding = [batch for batch in batches if not set(members).isdisjoint(batch)]
        assert len(holding) == 1 or size(members) > budget


def test_a_shared_prompt_counts_once_and_its_copies_a_quarter() -> None:
    assert packed_size([10, 10], [[1] * 6, [2] * 6]) == 20
    assert packed_size([10, 10], [[1] * 6, [1] * 6]) == 14 + 6 / 4
    assert packed_size([10, 8], [[1] * 6, [2] * 6]) == 18 + 2 / 4


@given(st.lists(st.integers(1, 3000), min_size=1, max_size=60))
def test_grids_have_little_padding(lengths: list[int]) -> None:
    """Less than a third beside the tokens, and what no cut would have saved 512 cells of."""
    ordered = sorted(lengths, reverse=True)
    grids = cut_into_grids(ordered)
    cells = sum(grid.count * grid.longest for grid in grids)
    assert cells <= sum(lengths) / 0.75 + 512 * len(grids)
    assert [grid.longest for grid in grids] == sorted({grid.longest for grid in grids}, reverse=True)


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(st.integers(1, 5), st.integers(0, 3), st.integers(0, 6) | st.just(700)),
        min_size=1,
        max_size=9,
    )
)
def test_pack_lays_each_prompt_down_once_and_predicts_every_response_token(
    shapes: list[tuple[int, int, int]],
) -> None:
    """Prompts are told apart by a number, and tokens by prompt or sequence and by place."""
    prompts = [[1000 * kind + place for place in range(width)] for width, kind, _ in shapes]
    responses = [
        [10_000 * (number + 1) + place for place in range(length)]
        for number, (_, _, length) in enumerate(shapes)
    ]
    batch = pack(prompts, responses)
    distinct = {tuple(prompt) for prompt in prompts}
    assert len(batch.input_ids) == sum(map(len, distinct)) + sum(max(0, len(r) - 1) for r in responses)
    assert batch.targets.tolist() == [token for response in responses for token in response]
    before = [
        [*prompt, *response][len(prompt) - 1 : -1]
        for prompt, response in zip(prompts, responses, strict=True)
        if response
    ]
    assert batch.input_ids[batch.predictors].tolist() == [token for part in before for token in part]

    layout, seen = batch.layout, []
    begin = 0
    for grid in layout.grids:
        end = begin + grid.count * grid.longest
        seen += layout.tokens[begin:end].view(grid.count, grid.longest).tolist()
        begin = end
    assert begin == len(layout.tokens)
    rows = [[*prompt, *response[:-1]] for prompt, response in zip(prompts, responses, strict=True)]
    found = sorted(batch.input_ids[torch.tensor(row)].tolist()[: len(max(rows, key=len))] for row in seen)
    for row in rows:
        assert any(tokens[: len(row)] == row for tokens in found)
    assert len(seen) == len(rows)

    # Homes and copies of a token are just the cells in which a sequence has it, each once.
    cells = [[int(home)] for home in layout.homes]
    for copies in layout.copies:
        for token in range(copies.shape[1]):
            cells[token] += copies[:, token].tolist()
    assert sum(map(len, cells)) == sum(map(len, rows)) == len({cell for part in cells for cell in part})
    for token, places in enumerate(cells):
        assert {int(layout.tokens[place]) for place in places} == {token}
        row_starts = [place - int(batch.position_ids[token]) for place in places]
        assert all(int(batch.position_ids[layout.tokens[start]]) == 0 for start in row_starts)


def test_a_response_needs_a_token_before_it() -> None:
    with pytest.raises(InputError, match="sequence 1 has no prompt token"):
        pack([[1], []], [[2], [3]])


def grouped_sequences(sizes: Sequence[int], longest: int, seed: int) -> list[TokenSequence]:
    """Groups of these sizes, each with a prompt of its own, in an order that mixes them."""
    generator = random.Random(seed)

    def tokens(most: int) -> list[int]:
        return [generator.randrange(2, 18) for _ in range(generator.randint(1, most))]

    prompts = [tokens(12) for _ in sizes]
    sequences = [
        TokenSequence(prompt, tokens(longest))
        for prompt, size in zip(prompts, sizes, strict=True)
        for _ in range(size)
    ]
    generator.shuffle(sequences)
    return sequences


GROUPED: dict[str, Any] = {
    "full attention": {},
    "sliding window": {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 0},
    "grouped heads": {"num_key_value_heads": 1},
    "checkpointing": {"checkpointing": True},
    "adapters": {"adapters": True},
}


@pytest.mark.parametrize("sizes", [(8,), (3, 1, 5, 2)], ids=str)
@pytest.mark.parametrize("case", GROUPED)
def test_a_shared_prompt_gives_the_gradient_of_prompts_apart(case: str, sizes: tuple[int, ...]) -> None:
    """Whatever is in a pack, in whatever order, its gradient is the sum of those of its sequences alone."""
    options = dict(GROUPED[case])
    checkpointing, adapters = options.pop("checkpointing", False), options.pop("adapters", False)
    model = in_double(make_model(layers=2, **options))
    if adapters:
        peft = pytest.importorskip("peft", reason="peft is not installed")
        model = peft.get_peft_model(
            model, peft.LoraConfig(r=3, target_modules="all-linear", init_lora_weights=False)
        ).double()
    model.train()
    if checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    policy = Policy(model)
    assert policy.mode == "packed"
    # Lengths so far apart that the pack needs several grids.
    sequences = grouped_sequences(sizes, 110, seed=len(sizes))
    responses = [torch.randn(2, len(item.response), dtype=torch.float64) for item in sequences]

    def run(parts: list[list[int]]) -> tuple[list[Tensor], Tensor]:
        model.zero_grad()
        found: dict[int, Tensor] = {}
        with policy.computing():
            for part in parts:
                result = policy.logprobs([sequences[index] for index in part], 0.9)
                weights = torch.cat([responses[index] for index in part], dim=1)
                (torch.stack([result.logprobs, result.entropies]) * weights).sum().backward()
                found.update(zip(part, result.logprobs.detach().split(result.lengths), strict=True))
        gradients = [weight.grad.flatten() for weight in model.parameters() if weight.grad is not None]
        return [found[index] for index in range(len(sequences))], torch.cat(gradients)

    together, gradient = run([list(range(len(sequences)))])
    alone, expected = run([[index] for index in range(len(sequences))])
    for ours, theirs in zip(together, alone, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=1e-12 * float(expected.abs().max()))


def test_a_shared_prompt_goes_through_the_model_once() -> None:
    model = make_model(layers=2)
    policy, seen = Policy(model), []
    model.model.layers[0].mlp.register_forward_hook(lambda *arguments: seen.append(arguments[2].shape[1]))
    prompt = list(range(2, 12))
    policy.logprobs([TokenSequence(prompt, [3, 4, 5 + number]) for number in range(8)])
    assert seen == [len(prompt) + 8 * 2]


def test_scatter_rows_pads_with_zero() -> None:
    padded, mask = scatter_rows(torch.tensor([1.0, 2.0, 3.0]), (1, 0, 2))
    assert padded.tolist() == [[1.0, 0.0], [0.0, 0.0], [2.0, 3.0]]
    assert mask.tolist() == [[True, False], [False, False], [True, True]]
