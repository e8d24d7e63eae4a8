"""Parts with a written gradient compute what the model's own parts do, and stand in only where they do."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import (
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GemmaConfig,
    GemmaForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from tests.trainer.test_policy import SMALL, grouped_sequences
from trainer.attention import short_attention
from trainer.fused import FusedParts, gated_mlp, rms_norm, rotate
from trainer.policy import Policy

MODELS: dict[str, tuple[Any, Any, int, int]] = {
    # Two norms a layer and one at the end; Qwen3's queries and keys, and Gemma2's answers, have norms too.
    # Gemma's MLPs have a gelu.
    "llama": (LlamaForCausalLM, LlamaConfig, 5, 2),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config, 9, 2),
    "gemma": (GemmaForCausalLM, GemmaConfig, 5, 0),
    "gemma2": (Gemma2ForCausalLM, Gemma2Config, 9, 0),
}


def build(name: str) -> Any:
    kind, config, *_ = MODELS[name]
    torch.manual_seed(0)
    model = kind(config(**SMALL))
    with torch.no_grad():
        for weight in model.parameters():
            # Norms that are no identity, and projections large enough for attention to matter.
            weight.add_(0.1 * torch.randn_like(weight))
    return model.eval()


def test_norm_is_the_formula_and_its_gradient() -> None:
    torch.manual_seed(1)
    states = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(5, dtype=torch.float64, requires_grad=True)
    expected = states / (states.square().mean(-1, keepdim=True) + 1e-3).sqrt() * weight
    torch.testing.assert_close(rms_norm(states, weight, 1e-3), expected, rtol=1e-12, atol=1e-12)
    assert torch.autograd.gradcheck(lambda *inputs: rms_norm(*inputs, 1e-3), (states, weight))
    # As the norms of queries are given their states, and their gradients come back.
    crossed = states.detach().transpose(0, 1).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda *inputs: rms_norm(*inputs, 1e-3).transpose(0, 1), (crossed, weight)
    )


def test_rotation_is_the_formula_and_its_gradient() -> None:
    torch.manual_seed(2)
    states = torch.randn(2, 3, 4, 6, dtype=torch.float64).transpose(1, 2).requires_grad_()
    cos, sin = torch.randn(2, 2, 1, 3, 6, dtype=torch.float64)
    first, second = states[..., :3], states[..., 3:]
    expected = states * cos + torch.cat((-second, first), dim=-1) * sin
    torch.testing.assert_close(rotate(states, cos, sin), expected, rtol=1e-12, atol=1e-12)
    assert torch.autograd.gradcheck(lambda inputs: rotate(inputs, cos, sin), (states,))


def test_gated_mlp_is_the_formula_and_its_gradient() -> None:
    torch.manual_seed(4)
    states = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    gate, up = (torch.randn(5, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    down = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    opened = states @ gate.T
    expected = (opened * opened.sigmoid() * (states @ up.T)) @ down.T
    torch.testing.assert_close(gated_mlp(states, gate, up, down), expected, rtol=1e-12, atol=1e-12)
    assert torch.autograd.gradcheck(gated_mlp, (states, gate, up, down))
    # As partly frozen models are given it.
    for learnt in range(4):
        inputs = [
            item.detach().requires_grad_(place == learnt)
            for place, item in enumerate((states, gate, up, down))
        ]
        assert torch.autograd.gradcheck(gated_mlp, inputs)


def test_gated_mlp_keeps_two_of_its_inner_states() -> None:
    """And leaves them as they are, so that a graph that is retained gives the same gradient again."""
    kept: list[Tensor] = []
    weights = [torch.randn(shape, requires_grad=True) for shape in ((50, 4), (50, 4), (4, 50))]
    states = torch.randn(7, 4, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: (kept.append(tensor), tensor)[1], lambda x: x
    ):
        mixed = gated_mlp(states, *weights)
    assert [tuple(tensor.shape) for tensor in kept].count((7, 50)) == 2
    first, second = (
        torch.autograd.grad(mixed.sum(), (states, *weights), retain_graph=True) for _ in range(2)
    )
    assert all(map(torch.equal, first, second))


def test_short_attention_is_torchs_and_its_gradient() -> None:
    torch.manual_seed(3)
    states = [torch.randn(2, 3, 5, width, dtype=torch.float64, requires_grad=True) for width in (4, 4, 2)]
    for scale in (None, 0.3):
        expected = scaled_dot_product_attention(*states, is_causal=True, scale=scale)
        torch.testing.assert_close(short_attention(*states, scale), expected, rtol=1e-12, atol=1e-12)
    assert torch.autograd.gradcheck(short_attention, states)


@pytest.mark.parametrize("name", MODELS)
def test_every_norm_and_mlp_and_the_rotation_have_a_replacement(name: str) -> None:
    parts = FusedParts(build(name))
    assert (len(parts.norms), len(parts.mlps)) == MODELS[name][2:]
    assert len(parts.rotaries) == 1


@pytest.mark.parametrize("name", ["llama", "qwen3", "gemma"])
def test_policy_in_float32_is_the_models_own(name: str) -> None:
    """Log-probabilities and gradients, up to rounding, with the model's own forward pass as the reference."""
    model = build(name)
    sequences = grouped_sequences((3, 1, 4), 110, seed=6)
    results: list[tuple[Tensor, Tensor]] = []
    for mode in ("packed", "logits"):
        policy = Policy(model, mode=mode)  # type: ignore[arg-type]
        model.zero_grad()
        with policy.computing():
            found = policy.logprobs(sequences)
            (found.logprobs.sum() / len(found.logprobs)).backward()
        gradient = torch.cat([weight.grad.flatten() for weight in model.parameters()])
        results.append((found.logprobs.detach(), gradient))
    (ours, gradient), (theirs, expected) = results
    assert Policy(model).mode == "packed"
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_the_model_is_as_it_was_outside() -> None:
    model = build("llama")
    parts = FusedParts(model)
    source = sys.modules[type(model).__module__]
    own, norm = source.apply_rotary_pos_emb, model.model.norm  # type: ignore[attr-defined]
    mlp = model.model.layers[1].mlp

    def fail() -> None:
        with parts.in_use():
            with parts.in_use():
                pass
            assert source.apply_rotary_pos_emb is not own  # type: ignore[attr-defined]
            assert "forward" in norm.__dict__
            assert "forward" in mlp.__dict__
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert source.apply_rotary_pos_emb is own  # type: ignore[attr-defined]
    assert not any("forward" in module.__dict__ for module in model.modules())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types_go_through_the_models_own_parts(dtype: torch.dtype) -> None:
    model = build("qwen3").to(dtype)
    ids = torch.tensor([[3, 4, 5, 6]])
    before = model(input_ids=ids).logits
    parts = FusedParts(model)
    assert parts.norms
    assert parts.mlps
    assert parts.rotaries
    with parts.in_use():
        assert torch.equal(before, model(input_ids=ids).logits)


def test_what_computes_something_else_is_left_alone() -> None:
    """A norm that takes off the mean, one with hooks of its own, and a rotation of neighbours."""
    hooked = nn.RMSNorm(8, eps=1e-6)
    assert len(FusedParts(hooked).norms) == 1
    hooked.forward = lambda states: states  # type: ignore[method-assign]
    assert not FusedParts(hooked).norms
    assert not FusedParts(nn.LayerNorm(8, bias=False)).norms
    cohere = CohereForCausalLM(CohereConfig(**SMALL))
    parts = FusedParts(cohere)
    assert not parts.norms
    assert not parts.rotaries


def test_an_mlp_with_biases_hooks_or_adapters_is_left_alone() -> None:
    biased = LlamaForCausalLM(LlamaConfig(**SMALL, mlp_bias=True))
    assert not FusedParts(biased).mlps
    hooked = build("llama")
    hooked.model.layers[0].mlp.up_proj.register_forward_hook(lambda *_: None)
    assert [module for module, _ in FusedParts(hooked).mlps] == [hooked.model.layers[1].mlp]
    peft = pytest.importorskip("peft", reason="peft is not installed")
    adapted = peft.get_peft_model(build("llama"), peft.LoraConfig(r=2, target_modules=["down_proj"]))
    assert not FusedParts(adapted).mlps
