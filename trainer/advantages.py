"""Advantages: how much better than its group a response was. Pure functions over `[groups, samples]`.

The samples that take part are given by a mask, so that a sample whose verification failed drops out of its
group's mean and deviation instead of counting as wrong.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Scale = Literal["group_std", "batch_std", "none"]


def group_advantages(
    rewards_PG: Tensor,
    valid_PG: Tensor | None = None,
    *,
    scale: Scale = "group_std",
    ddof: int = 1,
    eps: float = 1e-6,
) -> Tensor:
    """Reward minus the group's mean, over a standard deviation: `[P, G]`, 0 where not valid.

    Args:
        rewards_PG: reward of each of G samples of P prompts.
        valid_PG: which samples count; all where not given.
        scale: `group_std` divides by the group's deviation plus `eps` (GRPO, DAPO eq. 9; verl has eps
            1e-6, TRL 1e-4), `batch_std` by that of all rewards, `none` by nothing (Dr. GRPO).
        ddof: 1 for the sample deviation (verl, TRL), 0 for the population's (oat).
        eps: added to the deviation.
    """
    valid_PG = _valid(rewards_PG, valid_PG)
    count_P1 = valid_PG.sum(-1, keepdim=True)
    mean_P1 = _masked_sum(rewards_PG, valid_PG) / count_P1.clamp(min=1)
    centered_PG = (rewards_PG - mean_P1) * valid_PG
    if scale == "none":
        return centered_PG
    if scale == "batch_std":
        rewards = rewards_PG[valid_PG]
        return centered_PG / (_deviation(rewards, ddof) + eps)
    variance_P1 = centered_PG.square().sum(-1, keepdim=True) / (count_P1 - ddof).clamp(min=1)
    return centered_PG / (variance_P1.sqrt() + eps)


def leave_one_out_advantages(rewards_PG: Tensor, valid_PG: Tensor | None = None) -> Tensor:
    """RLOO: reward minus the mean of the group's other samples, `[P, G]` (Ahmadian et al. 2024, eq. 8).

    A sample that is alone in its group has no other to compare with, and advantage 0.
    """
    valid_PG = _valid(rewards_PG, valid_PG)
    count_P1 = valid_PG.sum(-1, keepdim=True)
    others_PG = (_masked_sum(rewards_PG, valid_PG) - rewards_PG) / (count_P1 - 1).clamp(min=1)
    return (rewards_PG - others_PG) * valid_PG * (count_P1 > 1)


def generalized_advantage_estimation(
    rewards_BT: Tensor, values_BT: Tensor, mask_BT: Tensor, gamma: float = 1.0, lambda_: float = 1.0
) -> tuple[Tensor, Tensor]:
    """GAE (Schulman et al. 2016): advantages and returns, `[B, T]`, for rewards and values of each token.

    Tokens outside the mask neither earn nor pass anything on. The advantages are not whitened.
    """
    advantages_BT = torch.zeros_like(rewards_BT)
    next_value_B = torch.zeros_like(rewards_BT[:, 0])
    next_advantage_B = torch.zeros_like(rewards_BT[:, 0])
    for position in reversed(range(rewards_BT.shape[1])):
        delta_B = rewards_BT[:, position] + gamma * next_value_B - values_BT[:, position]
        advantage_B = delta_B + gamma * lambda_ * next_advantage_B
        real_B = mask_BT[:, position].bool()
        next_value_B = torch.where(real_B, values_BT[:, position], next_value_B)
        next_advantage_B = torch.where(real_B, advantage_B, next_advantage_B)
        advantages_BT[:, position] = next_advantage_B
    return advantages_BT, advantages_BT + values_BT


def whiten(values_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Shift and scale to mean 0 and (sample) variance 1 over the mask, as verl does with GAE's advantages."""
    values = values_BT[mask_BT.bool()]
    return (values_BT - values.mean()) * torch.rsqrt(values.var(unbiased=True) + 1e-8)


def _valid(rewards_PG: Tensor, valid_PG: Tensor | None) -> Tensor:
    return torch.ones_like(rewards_PG, dtype=torch.bool) if valid_PG is None else valid_PG


def _masked_sum(values_PG: Tensor, valid_PG: Tensor) -> Tensor:
    return (values_PG * valid_PG).sum(-1, keepdim=True)


def _deviation(values: Tensor, ddof: int) -> Tensor:
    centered = values - values.mean()
    return (centered.square().sum() / max(1, len(values) - ddof)).sqrt()
