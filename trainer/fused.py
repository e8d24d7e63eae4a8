"""Norms and rotary embeddings with their gradients written down, for updates on a CPU.

As transformers writes them, each is a chain of elementwise operations, and autograd goes back through every link
of it: forward and backward pass read and write the same states some fifteen times, which on a CPU takes longer
than the layer's matrix products. Written as one function with one gradient it is a third of that.

Nothing is known about architectures. A part is replaced where the replacement gives what the part itself gives
for random weights and inputs, and only while a policy computes; float32 on a CPU alone.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

_ROTARY = "apply_rotary_pos_emb"
"""Name of the function in transformers' modules; what it does differs between them."""


class FusedParts:
    """The parts of a model that have a replacement here."""

    def __init__(self, model: nn.Module) -> None:
        """Try every norm and rotary embedding of `model`; on a GPU there are none."""
        on_cpu = all(weight.device.type == "cpu" for weight in model.parameters())
        modules = list(model.modules()) if on_cpu else []
        tried = ((module, _norm_like(module)) for module in modules)
        self.norms = [(module, replacement) for module, replacement in tried if replacement is not None]
        sources = {type(module).__module__ for module in modules}
        self.rotaries = [
            (source, partial(_rotate_or, getattr(source, _ROTARY)))
            for source in (sys.modules[name] for name in sorted(sources))
            if _rotates_halves(source)
        ]

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """The model computes with the replacements inside; may be nested."""
        before = [module.__dict__.get("forward") for module, _ in self.norms]
        functions = [getattr(source, _ROTARY) for source, _ in self.rotaries]
        try:
            for module, replacement in self.norms:
                module.forward = replacement
            for source, rotate in self.rotaries:
                setattr(source, _ROTARY, rotate)
            yield
        finally:
            for (module, _), forward in zip(self.norms, before, strict=True):
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


def _norm_like(module: nn.Module) -> Callable[[Tensor], Tensor] | None:
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
