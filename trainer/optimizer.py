"""AdamW with float32 masters, and the learning rate over the steps."""

from __future__ import annotations

import math
from typing import Literal

Schedule = Literal["constant", "linear", "cosine"]


def learning_rate_factor(step: int, warmup_steps: int, steps: int, schedule: Schedule) -> float:
    """Share of the peak learning rate at `step` (from 1): a linear rise, then the schedule's fall to 0."""
    if step <= warmup_steps:
        return step / warmup_steps
    if schedule == "constant":
        return 1.0
    done = min(1.0, (step - warmup_steps) / (max(0, steps - warmup_steps) + 1))
    return 1.0 - done if schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))
