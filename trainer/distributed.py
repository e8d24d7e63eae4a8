"""Data-parallel learners, as torchrun starts them: every process computes a part of each optimizer step.

    torchrun --nproc-per-node 2 --no-python rlvr train run.yaml

The first process samples, verifies, evaluates and writes; the others follow its updates. All hold the same
weights: gradients are summed, not averaged, since each token's weight in the loss is known beforehand.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True, slots=True)
class World:
    """The processes that learn together."""

    rank: int = 0
    size: int = 1

    @classmethod
    def from_environment(cls) -> World:
        """Join the processes that torchrun started; alone where there are none."""
        size = int(os.environ.get("WORLD_SIZE", "1"))
        if size == 1:
            return cls()
        if not dist.is_initialized():
            # Gloo for the control messages and CPU gradients, NCCL for those of GPUs.
            dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
        return cls(dist.get_rank(), dist.get_world_size())

    def share(self, message: Any = None) -> Any:
        """The first process's `message`, in every process."""
        if self.size == 1:
            return message
        box = [message]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Add up the gradients of all processes; one that has none adds nothing."""
        if self.size == 1:
            return
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            dist.all_reduce(parameter.grad)

    def sum_values(self, values: dict[str, float]) -> dict[str, float]:
        """Add up named values; every process names the same ones or none."""
        if self.size == 1:
            return values
        gathered: list[dict[str, float]] = [{} for _ in range(self.size)]
        dist.all_gather_object(gathered, values)
        names = {name: None for part in gathered for name in part}
        return {name: sum(part.get(name, 0.0) for part in gathered) for name in names}
