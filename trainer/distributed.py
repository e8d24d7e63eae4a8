"""Data-parallel learners, as torchrun starts them: every process computes a part of each optimizer step.

    torchrun --nproc-per-node 2 --no-python rlvr train run.yaml

The first process samples, verifies, evaluates and writes; the others follow its updates. All hold the same
weights, or parts of them (`trainer.sharding`): gradients are summed, not averaged, since each token's weight in
the loss is known beforehand.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor

from verifiers import InputError


@dataclass(frozen=True, slots=True)
class World:
    """The processes that learn together."""

    rank: int = 0
    size: int = 1

    @classmethod
    @contextmanager
    def join(cls) -> Iterator[World]:
        """The processes that torchrun started, until the block ends; alone where there are none.

        A process that just exits leaves threads of its group behind, which now and then abort it. So the
        group is left here, after all have arrived; one that the caller made stays the caller's. A process that
        fails leaves at once: the others find the connection closed and raise `InputError` in one line.
        """
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            yield cls()
        elif dist.is_initialized():
            yield cls(dist.get_rank(), dist.get_world_size())
        else:
            _take_own_gpu()
            # Gloo for the control messages and CPU gradients, NCCL for those of GPUs.
            dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
            try:
                yield cls(dist.get_rank(), dist.get_world_size())
                with others_present():
                    dist.all_reduce(torch.zeros(1))
            finally:
                dist.destroy_process_group()

    def share(self, message: Any = None) -> Any:
        """The first process's `message`, in every process."""
        if self.size == 1:
            return message
        box = [message]
        with others_present():
            dist.broadcast_object_list(box, src=0)
        return box[0]

    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Add up the gradients of all processes; one that has none adds nothing.

        Those of sharded parameters are left alone: the backward pass has summed them.
        """
        if self.size == 1:
            return
        with others_present():
            for parameter in parameters:
                if isinstance(parameter, DTensor):
                    continue
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                dist.all_reduce(parameter.grad)

    def sum_values(self, values: dict[str, float]) -> dict[str, float]:
        """Add up named values; every process names the same ones or none."""
        if self.size == 1:
            return values
        gathered: list[dict[str, float]] = [{} for _ in range(self.size)]
        with others_present():
            dist.all_gather_object(gathered, values)
        names = {name: None for part in gathered for name in part}
        return {name: sum(part.get(name, 0.0) for part in gathered) for name in names}


@contextmanager
def others_present(*, computing: bool = False) -> Iterator[None]:
    """Say in one line that a process is gone, where the group only tells of a closed connection.

    Where the block is also `computing`, an error that doesn't come from the group stays what it is.
    """
    try:
        yield
    except RuntimeError as error:
        # Gloo raises plain RuntimeErrors, which name the place in its own sources.
        if computing and not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        cause = str(error).splitlines()[0]
        raise InputError(
            f"another process of this run has ended before its time, and its own message says why ({cause}); "
            "start the run again, it goes on from its last checkpoint"
        ) from None


def _take_own_gpu() -> None:
    """Let `cuda` mean another GPU in each process of this machine.

    Raises:
        InputError: there are fewer GPUs than processes.
    """
    if not torch.cuda.is_available():
        return
    place, gpus = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if place >= gpus:
        raise InputError(f"torchrun: process {place + 1} of this machine has no GPU, it shows {gpus}")
    torch.cuda.set_device(place)
