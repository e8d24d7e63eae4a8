"""Log-probabilities and entropies of chosen tokens without ever holding `[tokens, vocabulary]`.

At 8k tokens and a 150k vocabulary the float32 logits alone would take 4.8 GB, their softmax and gradient as
much again. Here a chunk of tokens at a time goes through the output layer, in the forward and again in the
backward pass, whose gradient is written down instead of recorded. What fits into one chunk is kept instead of
computed again: with a small vocabulary, or few tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

LOGITS_AT_ONCE = 1 << 24
"""Elements of a chunk's logits: 64 MB in float32."""


def token_logprobs(
    hidden_RD: Tensor,
    weight_VD: Tensor,
    bias_V: Tensor | None,
    targets_R: Tensor,
    temperature: float = 1.0,
    logits_at_once: int = LOGITS_AT_ONCE,
) -> tuple[Tensor, Tensor]:
    """Log-probability of each target and entropy of its distribution, both `[R]`, in natural units.

    The logits are `hidden @ weight.T + bias`, computed in the weights' dtype, then taken to float32 (float64
    stays) and divided by `temperature`, as the sampler does. Differentiable in the first three arguments.
    """
    if hidden_RD.shape[0] == 0:
        zero = (hidden_RD.sum() * 0).expand(0)
        return zero, zero
    logprobs_R, entropies_R = _TokenLogprobs.apply(  # type: ignore[no-untyped-call]
        hidden_RD, weight_VD, bias_V, targets_R, temperature, max(1, logits_at_once // weight_VD.shape[0])
    )
    return logprobs_R, entropies_R


def logprobs_from_logits(
    logits_RV: Tensor, targets_R: Tensor, temperature: float = 1.0
) -> tuple[Tensor, Tensor]:
    """The same from logits that exist already; for models whose output layer is not a plain linear map."""
    log_softmax_RV = torch.log_softmax(_at_least_float32(logits_RV) / temperature, dim=-1)
    logprobs_R = log_softmax_RV.gather(-1, targets_R[..., None]).squeeze(-1)
    return logprobs_R, -(log_softmax_RV.exp() * log_softmax_RV).sum(-1)


def _at_least_float32(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()


class _TokenLogprobs(torch.autograd.Function):
    """With p = softmax(z / T): d log p_y / dz = (1[y] - p) / T and dH / dz = -p (log p + H) / T."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_RD: Tensor,
        weight_VD: Tensor,
        bias_V: Tensor | None,
        targets_R: Tensor,
        temperature: float,
        chunk: int,
    ) -> tuple[Tensor, Tensor]:
        layer = _OutputLayer(hidden_RD, weight_VD, bias_V, temperature, chunk)
        log_softmax_CV = layer.buffer()
        logprobs, entropies = [], []
        for part in layer.parts():
            log_softmax = log_softmax_CV[: part.stop - part.start]
            logits = layer.logits(part)
            torch.log_softmax(logits, -1, out=log_softmax)
            logprobs.append(log_softmax.gather(-1, targets_R[part, None]).squeeze(-1))
            entropies.append(torch.exp(log_softmax, out=logits).mul_(log_softmax).sum(-1).neg_())
        logprobs_R, entropies_R = torch.cat(logprobs), torch.cat(entropies)
        kept_RV = log_softmax_CV if len(logprobs) == 1 else None
        ctx.save_for_backward(hidden_RD, weight_VD, bias_V, targets_R, entropies_R, kept_RV)
        ctx.temperature, ctx.chunk = temperature, chunk
        ctx.set_materialize_grads(False)
        return logprobs_R, entropies_R

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        grad_logprobs_R, grad_entropies_R = gradients
        hidden_RD, weight_VD, bias_V, targets_R, entropies_R, kept_RV = ctx.saved_tensors
        if grad_logprobs_R is None and grad_entropies_R is None:
            return (None,) * 6
        needs_hidden, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        grad_hidden = torch.empty_like(hidden_RD) if needs_hidden else None
        # Summed over the chunks in at least float32: bfloat16 would lose the later chunks' addends.
        wide = torch.promote_types(weight_VD.dtype, torch.float32)
        grad_weight = torch.zeros_like(weight_VD, dtype=wide) if needs_weight else None
        grad_bias = torch.zeros_like(bias_V, dtype=wide) if needs_bias and bias_V is not None else None
        layer = _OutputLayer(hidden_RD, weight_VD, bias_V, ctx.temperature, ctx.chunk)
        grad_CV = layer.buffer()
        for part in layer.parts():
            grad_RV = grad_CV[: part.stop - part.start]
            if grad_entropies_R is None:
                assert grad_logprobs_R is not None
                if kept_RV is None:
                    torch.softmax(layer.logits(part), -1, out=grad_RV)
                else:
                    torch.exp(kept_RV, out=grad_RV)
                grad_RV.mul_(-grad_logprobs_R[part, None])
            else:
                log_softmax_RV = torch.log_softmax(layer.logits(part), -1) if kept_RV is None else kept_RV
                factor_RV = (log_softmax_RV + entropies_R[part, None]).mul_(grad_entropies_R[part, None])
                if grad_logprobs_R is not None:
                    factor_RV.add_(grad_logprobs_R[part, None])
                torch.exp(log_softmax_RV, out=grad_RV).mul_(factor_RV.neg_())
            if grad_logprobs_R is not None:
                grad_RV.scatter_add_(1, targets_R[part, None], grad_logprobs_R[part, None].to(grad_RV.dtype))
            if ctx.temperature != 1:
                grad_RV.div_(ctx.temperature)
            grad_RV = grad_RV.to(weight_VD.dtype)
            if grad_hidden is not None:
                torch.mm(grad_RV, weight_VD, out=grad_hidden[part])
            if grad_weight is not None:
                _add_product(grad_weight, grad_RV.T, hidden_RD[part])
            if grad_bias is not None:
                grad_bias += grad_RV.sum(0)
        return (
            grad_hidden,
            None if grad_weight is None else grad_weight.to(weight_VD.dtype),
            None if grad_bias is None or bias_V is None else grad_bias.to(bias_V.dtype),
            None,
            None,
            None,
        )


class _OutputLayer:
    """The logits of a chunk of tokens at a time, always in the same memory.

    Chunks are so large that the C library would give their memory back and get it again, zeroed by the kernel, for
    every one of them: with 150k words that took longer than the products.
    """

    def __init__(
        self, hidden_RD: Tensor, weight_VD: Tensor, bias_V: Tensor | None, temperature: float, chunk: int
    ) -> None:
        self.hidden_RD, self.weight_VD, self.bias_V = hidden_RD, weight_VD, bias_V
        self.temperature, self.chunk = temperature, min(chunk, len(hidden_RD))
        self._logits_CV: Tensor | None = None

    def parts(self) -> Iterator[slice]:
        """The chunks."""
        count = len(self.hidden_RD)
        return (slice(start, min(start + self.chunk, count)) for start in range(0, count, self.chunk))

    def buffer(self) -> Tensor:
        """Room for the values of a chunk, in at least float32."""
        wide = torch.promote_types(self.weight_VD.dtype, torch.float32)
        return self.hidden_RD.new_empty(self.chunk, len(self.weight_VD), dtype=wide)

    def logits(self, part: slice) -> Tensor:
        """At the temperature; they are there until the next ones are asked for."""
        if self._logits_CV is None:
            self._logits_CV = self.buffer()
        out = self._logits_CV[: part.stop - part.start]
        rows = self.hidden_RD[part]
        if out.dtype != self.weight_VD.dtype:
            out.copy_(torch.nn.functional.linear(rows, self.weight_VD, self.bias_V))
        elif self.bias_V is None:
            torch.mm(rows, self.weight_VD.T, out=out)
        else:
            torch.addmm(self.bias_V, rows, self.weight_VD.T, out=out)
        return out if self.temperature == 1 else out.div_(self.temperature)


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    if total.dtype == left.dtype:
        total.addmm_(left, right)
    else:
        total += left @ right
