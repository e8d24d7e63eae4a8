"""Norms, rotary embeddings and gated MLPs with their gradients written down, for updates on a CPU.

As transformers writes them, each is a chain of elementwise operations, and autograd goes back through every link
of it: forward and backward pass read and write the same states some fifteen times, which on a CPU takes longer
than the layer's matrix products. Written as one function with one gradient it is a third of that. A gated MLP
moreover keeps two of its inner states for the backward pass instead of four.

Nothing is known about architectures but the usual names of an MLP's layers. A part is replaced where the
replacement gives what the part itself gives for random weights and inputs, and only while a policy computes;
float32 on a CPU alone.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import linear, silu

_Forward = Callable[[Tensor], Tensor]
_Parts = list[tuple[nn.Module, _Forward]]
_MLP_LAYERS = ("gate_proj", "up_proj", "down_proj")
"""Names of a gated MLP's linear layers in nearly all of transformers' models."""
_ROTARY = "apply_rotary_pos_emb"
"""Name of the function in transformers' modules; what it does differs between them."""


class FusedParts:
    """The parts of a model that have a replacement here."""

    def __init__(self, model: nn.Module) -> None:
        """Try every norm, MLP and rotary embedding of `model`; on a GPU there are none."""
        on_cpu = all(weight.device.type == "cpu" for weight in model.parameters())
        modules = list(model.modules()) if on_cpu else []
        self.norms = _replaced(modules, _norm_like)
        self.mlps = _replaced(modules, _mlp_like)
        sources = {type(module).__module__ for module in modules}
        self.rotaries = [
            (source, partial(_rotate_or, getattr(source, _ROTARY)))
            for source in (sys.modules[name] for name in sorted(sources))
            if _rotates_halves(source)
        ]

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """The model computes with the replacements inside; may be nested."""
        parts = [*self.norms, *self.mlps]
        before = [module.__dict__.get("forward") for module, _ in parts]
        functions = [getattr(source, _ROTARY) for source, _ in self.rotaries]
        try:
            for module, replacement in parts:
                module.forward = replacement
            for source, rotate in self.rotaries:
                setattr(source, _ROTARY, rotate)
            yield
        finally:
            for (module, _), forward in zip(parts, before, strict=True):
                if forward is None:
                    module.__dict__.pop("forward", None)
                else:
                    module.forward = forward
            for (source, _), function in zip(self.rotaries, functions, strict=True):
                setattr(source, _ROTARY, function)


def rms_norm(states: Tensor, weight: Tensor, eps: float) -> Tensor:
    """`states` over the root of their mean square in the last dimension, times `weight`."""
    normed: Tensor = _RmsNorm.apply(states, weight, eps)  # type: ignore[no-untyped-call]
    return normed


def rotate(states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """`[a, b] * cos + [-b, a] * sin` for the halves a and b of the last dimension; no gradient for the angles."""
    rotated: Tensor = _Rotate.apply(states, cos, sin)  # type: ignore[no-untyped-call]
    return rotated


def gated_mlp(states: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """`(silu(x gate') * x up') down'` for weights as linear layers have them, `[outputs, inputs]`."""
    mixed: Tensor = _GatedMlp.apply(states, gate, up, down)  # type: ignore[no-untyped-call]
    return mixed


class _RmsNorm(torch.autograd.Function):
    """With r = 1 / rms(x): dL/dx = r (g w - x r² mean(g w x)) and dL/dw = sum of g x r over the tokens."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, eps: float) -> Tensor:
        square = torch.linalg.vector_norm(states, dim=-1, keepdim=True).square_()
        inverse = square.div_(states.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(states, weight, inverse)
        return torch.mul(states, inverse).mul_(weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        (gradient,) = gradients
        states, weight, inverse = ctx.saved_tensors
        width = states.shape[-1]
        products_ND = (gradient * states).reshape(-1, width)
        inverse_N = inverse.reshape(-1)
        grad_weight = torch.mv(products_ND.T, inverse_N)
        pull = torch.mv(products_ND, weight).mul_(inverse_N.pow(3)).div_(-width)
        grad_states = torch.mul(gradient, weight).mul_(inverse).addcmul_(states, pull.view(inverse.shape))
        return grad_states, grad_weight, None


class _Rotate(torch.autograd.Function):
    """A rotation of pairs, but for angles that are any; its gradient is the transposed product."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        half = states.shape[-1] // 2
        rotated = states * cos
        rotated[..., :half].addcmul_(states[..., half:], sin[..., :half], value=-1)
        rotated[..., half:].addcmul_(states[..., :half], sin[..., half:])
        return rotated

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = gradients
        cos, sin = ctx.saved_tensors
        half = gradient.shape[-1] // 2
        grad_states = gradient * cos
        grad_states[..., :half].addcmul_(gradient[..., half:], sin[..., half:])
        grad_states[..., half:].addcmul_(gradient[..., :half], sin[..., :half], value=-1)
        return grad_states, None, None


class _GatedMlp(torch.autograd.Function):
    """Keeps both layers' outputs; computing silu and product again takes less time than keeping them too.

    The backward pass goes on in the same two buffers of the inner width, for new ones would be in no cache, and
    the states' gradient is summed by the second product instead of by autograd.
    """

    @staticmethod
    def forward(ctx: Any, states: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
        gate_out, up_out = linear(states, gate), linear(states, up)
        ctx.save_for_backward(states, gate, up, down, gate_out, up_out)
        return linear(silu(gate_out).mul_(up_out), down)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        states, gate, up, down, gate_out, up_out = ctx.saved_tensors
        needs_states, needs_gate, needs_up, needs_down = ctx.needs_input_grad
        grad_ND, states_ND, gate_NI, up_NI = (
            rows.reshape(-1, rows.shape[-1]) for rows in (gradients[0], states, gate_out, up_out)
        )
        opened_NI = silu(gate_NI)
        inner_NI = opened_NI * up_NI
        grad_down = grad_ND.T @ inner_NI if needs_down else None
        grad_inner_NI = torch.mm(grad_ND, down, out=inner_NI)
        grad_up_NI = opened_NI.mul_(grad_inner_NI)
        grad_up = grad_up_NI.T @ states_ND if needs_up else None
        grad_gate_NI = grad_inner_NI.mul_(up_NI)
        torch.ops.aten.silu_backward.grad_input(grad_gate_NI, gate_NI, grad_input=grad_gate_NI)
        grad_gate = grad_gate_NI.T @ states_ND if needs_gate else None
        grad_states = None
        if needs_states:
            grad_states = (grad_up_NI @ up).addmm_(grad_gate_NI, gate).view(states.shape)
        return grad_states, grad_gate, grad_up, grad_down


def _replaced(modules: Iterable[nn.Module], replacement_of: Callable[[nn.Module], _Forward | None]) -> _Parts:
    """The modules that have a replacement, each with its own."""
    tried = ((module, replacement_of(module)) for module in modules)
    return [(module, replacement) for module, replacement in tried if replacement is not None]


def _norm_like(module: nn.Module) -> _Forward | None:
    """What computes as `module` does, with the weights that it has when it is called."""
    weights = dict(module.named_parameters())
    eps = getattr(module, "variance_epsilon", getattr(module, "eps", None))
    # A module whose own forward was replaced already belongs to somebody else's hooks.
    if "forward" in module.__dict__ or list(weights) != ["weight"] or not isinstance(eps, float):
        return None
    shape = weights["weight"].shape
    if len(shape) != 1 or next(module.children(), None) is not None:
        return None
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(shape, generator=generator)
    # Small enough for eps to matter, and with a mean that other norms take off.
    states = (1 + torch.randn(2, 3, *shape, generator=generator)) * eps**0.5
    with torch.no_grad():
        try:
            expected = functional_call(module, {"weight": weight}, (states,))
        except (TypeError, RuntimeError, ValueError):
            return None  # It takes something else.
        for shift in (0.0, 1.0):
            found = rms_norm(states, weight + shift, eps)
            if isinstance(expected, Tensor) and _equal(found, expected):
                return partial(_norm_or, module, eps, shift)
    return None


def _norm_or(module: nn.Module, eps: float, shift: float, states: Tensor) -> Tensor:
    weight: Any = module.weight
    if not _is_ours(states, weight):
        own: Tensor = type(module).forward(module, states)
        return own
    return rms_norm(states, weight + shift if shift else weight, eps)


def _mlp_like(module: nn.Module) -> _Forward | None:
    """The same for a gated MLP without biases; none where a layer of it is an adapter's or has hooks."""
    names = [f"{name}.weight" for name in _MLP_LAYERS]
    if "forward" in module.__dict__ or {name for name, _ in module.named_parameters()} != set(names):
        return None
    for layer in (module.get_submodule(name) for name in _MLP_LAYERS):
        hooks = (
            layer._forward_hooks,
            layer._forward_pre_hooks,
            layer._backward_hooks,
            layer._backward_pre_hooks,
        )
        if type(layer) is not nn.Linear or "forward" in layer.__dict__ or any(hooks):
            return None
    generator = torch.Generator().manual_seed(0)
    # Small, whatever the model's size: linear layers compute with weights of any shape.
    gate, up = torch.randn(2, 5, 7, generator=generator)
    down, states = torch.randn(7, 5, generator=generator), torch.randn(2, 3, 7, generator=generator)
    with torch.no_grad():
        try:
            expected = functional_call(module, dict(zip(names, (gate, up, down), strict=True)), (states,))
        except (TypeError, RuntimeError, ValueError):
            return None  # It takes something else.
        same = isinstance(expected, Tensor) and _equal(gated_mlp(states, gate, up, down), expected)
    return partial(_mlp_or, module) if same else None


def _mlp_or(module: nn.Module, states: Tensor) -> Tensor:
    layers: Any = module
    weights = (layers.gate_proj.weight, layers.up_proj.weight, layers.down_proj.weight)
    if not _is_ours(states, *weights):
        own: Tensor = type(module).forward(module, states)
        return own
    return gated_mlp(states, *weights)


def _rotates_halves(source: ModuleType) -> bool:
    function = getattr(source, _ROTARY, None)
    if function is None:
        return False
    generator = torch.Generator().manual_seed(0)
    query, key = (torch.randn(2, heads, 3, 8, generator=generator) for heads in (4, 2))
    cos, sin = torch.randn(2, 2, 3, 8, generator=generator)
    try:
        expected = function(query, key, cos, sin)
        found = _rotate_or(function, query, key, cos, sin)
        return all(_equal(ours, theirs) for ours, theirs in zip(found, expected, strict=True))
    except (TypeError, RuntimeError, ValueError):
        return False  # It takes something else.


def _rotate_or(
    own: Callable[..., Any], query: Tensor, key: Tensor, cos: Tensor, sin: Tensor, *more: Any, **options: Any
) -> Any:
    """`query` and `key` `[B, heads, L, D]` rotated by `cos` and `sin` `[B, L, D]`, else whatever `own` does."""
    widths = {states.shape[-1] for states in (query, key, cos, sin)}
    if more or options or len(widths) > 1 or cos.requires_grad or not _is_ours(query, key, cos, sin):
        return own(query, key, cos, sin, *more, **options)
    cos_B1LD, sin_B1LD = cos.unsqueeze(1), sin.unsqueeze(1)
    return rotate(query, cos_B1LD, sin_B1LD), rotate(key, cos_B1LD, sin_B1LD)


def _is_ours(*tensors: Tensor) -> bool:
    return all(tensor.dtype == torch.float32 and tensor.device.type == "cpu" for tensor in tensors)


def _equal(found: Tensor, expected: Tensor) -> bool:
    return found.shape == expected.shape and torch.allclose(found, expected, rtol=1e-5, atol=1e-6)
