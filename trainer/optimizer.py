"""AdamW with float32 masters for low-precision weights, and the learning rate over the steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from trainer.sharding import part_like, whole, whole_on_first

Schedule = Literal["constant", "linear", "cosine"]


def learning_rate_factor(step: int, warmup_steps: int, steps: int, schedule: Schedule) -> float:
    """Share of the peak learning rate at `step` (from 1): a linear rise, then the schedule's fall to 0."""
    if step <= warmup_steps:
        return step / warmup_steps
    if schedule == "constant":
        return 1.0
    done = min(1.0, (step - warmup_steps) / (max(0, steps - warmup_steps) + 1))
    return 1.0 - done if schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))


class MasterAdamW:
    """AdamW whose updates go to float32 copies of bfloat16 or float16 weights.

    An update of 1e-6 is smaller than bfloat16's resolution near most weights: applied in place it would be
    rounded away. Gradients of such weights are also summed over the micro-batches in float32. Weights in
    float32 or float64 are updated in place and have no copy; sharded ones are such masters themselves.
    """

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        *,
        learning_rate: float,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 0.0,
        float32_masters: bool = True,
    ) -> None:
        self.parameters = list(parameters)
        self.masters: list[Tensor] = [
            parameter.detach().float().clone().requires_grad_()
            if float32_masters and parameter.dtype in (torch.bfloat16, torch.float16)
            else parameter
            for parameter in self.parameters
        ]
        for parameter, master in zip(self.parameters, self.masters, strict=True):
            if master is not parameter:
                parameter.register_post_accumulate_grad_hook(_GradientToMaster(master))  # type: ignore[no-untyped-call]
        self.adamw = torch.optim.AdamW(
            self.masters, lr=learning_rate, betas=betas, weight_decay=weight_decay, fused=True
        )

    def step(self, learning_rate: float, grad_clip: float) -> float:
        """Clip the gradient, update the weights, forget the gradient; returns the norm before clipping.

        A norm that is not finite changes nothing.
        """
        norm = float(whole(nn.utils.clip_grad_norm_(self.masters, grad_clip)))
        if math.isfinite(norm):
            for group in self.adamw.param_groups:
                group["lr"] = learning_rate
            self.adamw.step()
            with torch.no_grad():
                for parameter, master in zip(self.parameters, self.masters, strict=True):
                    if master is not parameter:
                        parameter.copy_(master)
        self.adamw.zero_grad(set_to_none=True)
        return norm

    def state_dict(self) -> dict[str, Any]:
        """Moments and masters; tensors are shared, not copied.

        Sharded tensors are gathered by the first process, and all must call this.
        """
        state = self.adamw.state_dict()
        moments = {
            index: {name: whole_on_first(value) for name, value in values.items()}
            for index, values in state["state"].items()
        }
        copies = [
            None
            if master is parameter and not isinstance(master, DTensor)
            else whole_on_first(master.detach())
            for parameter, master in zip(self.parameters, self.masters, strict=True)
        ]
        return {"adamw": {**state, "state": moments}, "masters": copies}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave for the same model, sharded or not."""
        moments = {
            index: {
                name: value if name == "step" else part_like(value, self.masters[index])
                for name, value in values.items()
            }
            for index, values in state["adamw"]["state"].items()
        }
        self.adamw.load_state_dict({**state["adamw"], "state": moments})
        with torch.no_grad():
            for parameter, master, saved in zip(self.parameters, self.masters, state["masters"], strict=True):
                if saved is not None:
                    master.copy_(part_like(saved, master))
                    if parameter is not master:
                        parameter.copy_(saved)


class _GradientToMaster:
    """Adds a weight's fresh gradient to its master's and forgets it."""

    def __init__(self, master: Tensor) -> None:
        self.master = master

    def __call__(self, parameter: Tensor) -> None:
        assert parameter.grad is not None
        if self.master.grad is None:
            self.master.grad = parameter.grad.float()
        else:
            self.master.grad += parameter.grad
        parameter.grad = None
