"""From logits to tokens: temperature, top-k, top-p, and inverse-CDF sampling with exact log-probabilities."""

from __future__ import annotations

import torch
from torch import Tensor

from rollout.types import Sampling

_CHUNK_ELEMENTS = {"cpu": 1 << 20}
_CHUNK_ELSEWHERE = 1 << 25
"""Logits handled at once: the float64 CDF of a 150k vocabulary would otherwise need a GB for 1k rows. On a CPU
what is larger than 32 MB is given back after each operation, and its pages are made anew for the next, which with
such a vocabulary took three quarters of the time."""
_NUCLEUS = 1024
"""Most likely tokens among which the nucleus is looked for before all are sorted."""


def sample_tokens(logits: Tensor, uniforms: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """Draw one token per row: tokens int64 [R] and their log-probabilities float32 [R].

    `logits` [R, V] in any float type, `uniforms` float64 [R] in [0, 1). The log-probability is that of the
    distribution drawn from: after temperature, top-k and top-p. At temperature 0 the most likely token is
    taken and its log-probability is the model's own, at temperature 1 without truncation.
    """
    elements = _CHUNK_ELEMENTS.get(logits.device.type, _CHUNK_ELSEWHERE)
    rows_at_once = max(1, elements // logits.shape[-1])
    if logits.shape[0] <= rows_at_once:
        return _sample_chunk(logits, uniforms, sampling)
    parts = [
        _sample_chunk(logits[i : i + rows_at_once], uniforms[i : i + rows_at_once], sampling)
        for i in range(0, logits.shape[0], rows_at_once)
    ]
    return torch.cat([tokens for tokens, _ in parts]), torch.cat([logprobs for _, logprobs in parts])


def sampling_logprobs(logits: Tensor, sampling: Sampling) -> Tensor:
    """Log-probabilities float32 [R, V] of what `sampling` draws from; -inf where it cuts off."""
    logits = logits.float()
    if sampling.temperature == 0:
        return torch.log_softmax(logits, dim=-1)
    if sampling.temperature != 1:
        # Differences to the best token, so that the smallest temperature overflows to -inf and not to NaN.
        logits = (logits - logits.amax(dim=-1, keepdim=True)) / sampling.temperature
    if 0 < sampling.top_k < logits.shape[-1]:
        # A threshold would also keep what ties with the k-th token; indices keep exactly k.
        kept = logits.topk(sampling.top_k, dim=-1)
        logits = torch.full_like(logits, float("-inf")).scatter_(-1, kept.indices, kept.values)
    if sampling.top_p < 1:
        logits = _nucleus(logits, sampling.top_p)
    return torch.log_softmax(logits, dim=-1)


def _sample_chunk(logits: Tensor, uniforms: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
    logprobs = sampling_logprobs(logits, sampling)
    if sampling.temperature == 0:
        tokens = logits.argmax(dim=-1, keepdim=True)
    else:
        cdf = logprobs.exp().cumsum(dim=-1, dtype=torch.float64)
        # Below the total, since u <= 1 - 2**-53; and the first entry above the target always has mass.
        target = uniforms[:, None] * cdf[:, -1:]
        tokens = torch.searchsorted(cdf, target, right=True).clamp_(max=logits.shape[-1] - 1)
    return tokens.squeeze(-1), logprobs.gather(-1, tokens).squeeze(-1)


def _nucleus(logits: Tensor, top_p: float) -> Tensor:
    """`logits` [R, V] of the smallest set of most likely tokens whose mass reaches `top_p`; -inf elsewhere.

    Of equally likely ones the lower token comes first. Where few tokens suffice the others are not sorted.
    """
    kept = torch.full_like(logits, float("-inf"))
    vocabulary, log_total = logits.shape[-1], logits.logsumexp(dim=-1, keepdim=True)
    rows = torch.arange(len(logits), device=logits.device)
    for count in (min(_NUCLEUS, vocabulary), vocabulary):
        left = logits if len(rows) == len(logits) else logits[rows]
        if count == vocabulary:
            values, tokens = left.sort(dim=-1, descending=True, stable=True)
        else:
            candidates = left.topk(count, sorted=False).indices.sort(dim=-1).values
            values, order = left.gather(-1, candidates).sort(dim=-1, descending=True, stable=True)
            tokens = candidates.gather(-1, order)
        probabilities = (values - log_total[rows]).exp_()
        # A token stays while the mass before it is less.
        inside = probabilities.cumsum(dim=-1) - probabilities < top_p
        last = values.gather(-1, (inside.sum(dim=-1, keepdim=True) - 1).clamp_(min=0)).squeeze(-1)
        # What is as likely as the least of the candidates may have equals that are none.
        done = (last > values[:, -1]) | (count == vocabulary)
        cut = values.masked_fill(~inside, float("-inf"))
        if done.all() and len(rows) == len(logits):
            return kept.scatter_(-1, tokens, cut)
        kept[rows[done, None], tokens[done]] = cut[done]
        rows = rows[~done]
        if not len(rows):
            break
    return kept
