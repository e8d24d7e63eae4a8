"""The policy's loss: pure functions of log-probabilities, advantages and masks.

DAPO (Yu et al. 2025), eq. 8: over the tokens t of the responses i of a batch,

    J = 1/sum|o_i| sum_i sum_t min( r_it A_i, clip(r_it, 1 - clip_low, 1 + clip_high) A_i )
    r_it = exp( log pi(o_it) - log pi_old(o_it) )

B responses are padded to T tokens. A micro-batch's loss is a plain sum, since `sequence_weights` holds what
divides it, computed over the whole optimizer step: the gradient does not depend on how the step was split,
over micro-batches or over processes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

Aggregation = Literal["token_mean", "group_token_mean", "sequence_mean", "constant"]
KlEstimator = Literal["k1", "k2", "k3"]
Level = Literal["token", "sequence"]
LARGEST_LOG_RATIO = 20.0
"""Log-ratios are kept within +-20 (as verl does), so that no ratio overflows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LossInputs:
    """What the loss is computed from; tensors `[B, T]` unless said otherwise."""

    logprobs: Tensor
    """Of the policy that learns; the only one with a gradient."""
    old_logprobs: Tensor
    """Of the learner's policy before the first update on this rollout."""
    advantages: Tensor
    """`[B]`, one for each response."""
    mask: Tensor
    """Boolean: the response tokens that the loss sees."""
    weights: Tensor
    """`[B]`: weight of each token's loss, by response, from `sequence_weights`."""
    importance: Tensor | None = None
    """Weights for the mismatch between sampler and learner, from `importance_weights`."""
    reference_logprobs: Tensor | None = None
    """Of the reference policy, for the KL penalty."""
    entropies: Tensor | None = None
    """Entropy of the policy that learns, for the entropy bonus."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveOptions:
    """Which loss; the defaults are DAPO's."""

    clip_low: float = 0.2
    clip_high: float = 0.28
    dual_clip: float | None = None
    """Largest ratio that multiplies a negative advantage (Ye et al. 2020); verl's `clip_ratio_c`."""
    surrogate: Literal["clip", "cispo"] = "clip"
    """`cispo` clips the importance weight and keeps every token's gradient (MiniMax-M1)."""
    ratio_level: Level = "token"
    """`sequence` takes the geometric mean of the response's ratios for each of its tokens (GSPO)."""
    kl_coefficient: float = 0.0
    kl_estimator: KlEstimator = "k3"
    entropy_coefficient: float = 0.0


@dataclass(frozen=True, slots=True)
class LossOutputs:
    """The loss to minimise, and what to log."""

    loss: Tensor
    sums: dict[str, float] = field(default_factory=dict)
    """Sums over the masked tokens (`tokens` of them), which add up over micro-batches."""


def policy_loss(inputs: LossInputs, options: ObjectiveOptions) -> LossOutputs:
    """Loss of a micro-batch, to be summed over the micro-batches of an optimizer step."""
    mask_BT = inputs.mask
    ratio_BT = probability_ratio(inputs.logprobs, inputs.old_logprobs, mask_BT, options.ratio_level)
    advantages_B1 = inputs.advantages[:, None]
    if options.surrogate == "cispo":
        loss_BT = cispo_loss(ratio_BT, inputs.logprobs, advantages_B1, options.clip_high)
    else:
        loss_BT = clipped_loss(ratio_BT, advantages_B1, options)
    if inputs.importance is not None:
        loss_BT = loss_BT * inputs.importance
    with torch.no_grad():
        sums = _clip_statistics(ratio_BT, advantages_B1, mask_BT, options)
    if options.kl_coefficient and inputs.reference_logprobs is not None:
        kl_BT = kl_estimate(inputs.logprobs, inputs.reference_logprobs, options.kl_estimator)
        loss_BT = loss_BT + options.kl_coefficient * kl_BT
        sums["kl_reference"] = (kl_BT.detach() * mask_BT).sum().item()
    if inputs.entropies is not None:
        sums["entropy"] = (inputs.entropies.detach() * mask_BT).sum().item()
        if options.entropy_coefficient:
            loss_BT = loss_BT - options.entropy_coefficient * inputs.entropies
    # Padding holds arbitrary finite values; `where` keeps a NaN of theirs out of the sum.
    per_sequence_B = torch.where(mask_BT, loss_BT, 0).sum(-1)
    return LossOutputs((per_sequence_B * inputs.weights).sum(), sums)


def probability_ratio(
    logprobs_BT: Tensor, old_logprobs_BT: Tensor, mask_BT: Tensor, level: Level = "token"
) -> Tensor:
    """New over old probability, `[B, T]`, of each token or (GSPO) the geometric mean over the response."""
    log_ratio_BT = logprobs_BT - old_logprobs_BT
    if level == "sequence":
        count_B1 = mask_BT.sum(-1, keepdim=True).clamp(min=1)
        log_ratio_BT = (log_ratio_BT * mask_BT).sum(-1, keepdim=True) / count_B1
        log_ratio_BT = log_ratio_BT.expand_as(logprobs_BT)
    return log_ratio_BT.clamp(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO).exp()


def clipped_loss(ratio_BT: Tensor, advantages_B1: Tensor, options: ObjectiveOptions) -> Tensor:
    """Clip-higher surrogate, `[B, T]`, with the dual clip where set; TRL's `delta` is the same."""
    clipped_BT = ratio_BT.clamp(1 - options.clip_low, 1 + options.clip_high)
    loss_BT = torch.maximum(-advantages_B1 * ratio_BT, -advantages_B1 * clipped_BT)
    if options.dual_clip is None:
        return loss_BT
    bounded_BT = torch.minimum(loss_BT, -advantages_B1 * options.dual_clip)
    return torch.where(advantages_B1 < 0, bounded_BT, loss_BT)


def cispo_loss(ratio_BT: Tensor, logprobs_BT: Tensor, advantages_B1: Tensor, largest_ratio: float) -> Tensor:
    """REINFORCE with a clipped importance weight, `[B, T]` (MiniMax-M1, eq. 4)."""
    return -ratio_BT.detach().clamp(max=largest_ratio) * advantages_B1 * logprobs_BT


def sequence_weights(
    lengths_B: Tensor,
    aggregation: Aggregation,
    *,
    groups_B: Tensor | None = None,
    constant: float = 1.0,
    count_empty: bool = False,
    eps: float = 0.0,
) -> Tensor:
    """Weight of one token's loss in each response of an optimizer step, `[B]` in float64.

    Args:
        lengths_B: tokens that the loss sees, for all responses of the step (all its parts, all processes).
        aggregation: `token_mean` gives every token the same weight (DAPO); `group_token_mean` does so within
            a group, and every group the same (eq. 8 read literally); `sequence_mean` takes the mean over each
            response first (GRPO); `constant` divides the sum by `constant` and the number of responses
            (Dr. GRPO; with constant 1, verl's seq-mean-token-sum).
        groups_B: group number of each response, for `group_token_mean`.
        constant: for `constant`.
        count_empty: whether a response without tokens (overlong, filtered) counts among the responses, as in
            oat and TRL, or not, as in verl. It matters to `sequence_mean` and `constant`.
        eps: added to each length in `sequence_mean`; verl has 1e-8 there.
    """
    lengths_B = lengths_B.to(torch.float64)
    present_B = lengths_B > 0
    responses = float(len(lengths_B)) if count_empty else max(1.0, float(present_B.sum()))
    if aggregation == "token_mean":
        return torch.ones_like(lengths_B) / lengths_B.sum().clamp(min=1)
    if aggregation == "sequence_mean":
        return 1 / ((lengths_B.clamp(min=1) + eps) * responses)
    if aggregation == "constant":
        return torch.full_like(lengths_B, 1 / (constant * responses))
    if groups_B is None:
        raise ValueError("group_token_mean needs the responses' groups")
    _, group_B = torch.unique(groups_B, return_inverse=True)
    tokens_G = torch.zeros(int(group_B.max()) + 1, dtype=torch.float64, device=lengths_B.device)
    tokens_G.index_add_(0, group_B, lengths_B)
    return 1 / (tokens_G[group_B].clamp(min=1) * (tokens_G > 0).sum().clamp(min=1))


def aggregate(loss_BT: Tensor, mask_BT: Tensor, weights_B: Tensor) -> Tensor:
    """Weighted sum of the masked losses, a scalar."""
    return (torch.where(mask_BT.bool(), loss_BT, 0).sum(-1) * weights_B).sum()


def kl_estimate(
    logprobs_BT: Tensor,
    reference_logprobs_BT: Tensor,
    estimator: KlEstimator,
    *,
    largest_log_ratio: float | None = LARGEST_LOG_RATIO,
    largest_k3: float | None = 10.0,
) -> Tensor:
    """KL(policy || reference) from single samples, `[B, T]` (Schulman, "Approximating KL divergence").

    With d = log reference - log policy: k1 = -d, k2 = d²/2, k3 = exp(d) - 1 - d. k2 and k3 clamp as verl does
    (d to +-20, k3 to +-10); None switches that off. k1 needs no clamp.
    """
    if estimator == "k1":
        return logprobs_BT - reference_logprobs_BT
    difference_BT = reference_logprobs_BT - logprobs_BT
    if estimator == "k2":
        return 0.5 * difference_BT.square()
    if largest_log_ratio is not None:
        difference_BT = difference_BT.clamp(-largest_log_ratio, largest_log_ratio)
    k3_BT = difference_BT.exp() - 1 - difference_BT
    return k3_BT if largest_k3 is None else k3_BT.clamp(-largest_k3, largest_k3)


def importance_weights(
    logprobs_BT: Tensor,
    sampler_logprobs_BT: Tensor,
    mask_BT: Tensor,
    *,
    level: Level = "token",
    mode: Literal["truncate", "mask"] = "truncate",
    cap: float = 2.0,
    floor: float | None = None,
    normalize: bool = False,
    eps: float = 0.0,
) -> Tensor:
    """Truncated importance sampling between sampler and learner: weights `[B, T]`, 0 off the mask.

    The ratio is exp(learner's old log-probability - sampler's), of each token or multiplied over a response.
    `truncate` bounds it to [floor, cap] (min(ratio, C) of Yao et al. 2025); `mask` gives weight 0 outside
    (IcePop). `normalize` divides by the mean over the masked tokens, or over the responses, whose lengths have
    `eps` added (verl: 1e-8).
    """
    log_ratio_BT = (logprobs_BT - sampler_logprobs_BT) * mask_BT
    if level == "sequence":
        log_ratio_BT = log_ratio_BT.sum(-1, keepdim=True)
    ratio = log_ratio_BT.clamp(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO).exp()
    if mode == "truncate":
        ratio = ratio.clamp(min=floor, max=cap)
    else:
        inside = ratio <= cap if floor is None else (ratio <= cap) & (ratio >= floor)
        ratio = torch.where(inside, ratio, 0)
    if normalize:
        totals_B, lengths_B = (ratio * mask_BT).sum(-1), mask_BT.sum(-1)
        if level == "sequence":
            ratio = ratio / (totals_B / (lengths_B.clamp(min=1) + eps)).mean()
        else:
            ratio = ratio / (totals_B.sum() / (lengths_B.sum() + eps))
    return ratio * mask_BT


def _clip_statistics(
    ratio_BT: Tensor, advantages_B1: Tensor, mask_BT: Tensor, options: ObjectiveOptions
) -> dict[str, float]:
    low_BT = (ratio_BT < 1 - options.clip_low) & (advantages_B1 < 0) & mask_BT
    high_BT = (ratio_BT > 1 + options.clip_high) & (advantages_B1 > 0) & mask_BT
    return {
        "tokens": float(mask_BT.sum()),
        "clipped_low": float(low_BT.sum()),
        "clipped_high": float(high_BT.sum()),
        "ratio": (ratio_BT * mask_BT).sum().item(),
    }
