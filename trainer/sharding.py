"""Sharded learning: weights, gradients and AdamW's moments spread over the processes (ZeRO-3, by torch's FSDP2).

Every process holds 1/N of each tensor, in float32 where it is trained. A layer's weights are gathered right before
it computes, in the type that the model computes in, and let go of afterwards; its gradient is summed and
scattered as soon as it is there. The output layer's weights are used outside any module's forward pass
(`trainer.logprobs`), so the whole policy, decoder and output layer, is the root of what is sharded: what belongs
to no layer (embeddings, last norm, output layer) stays gathered from the start of the forward to the end of the
backward pass.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from trainer.config import LearnerConfig
from trainer.distributed import World, others_present
from trainer.policy import ForwardMode, Policy, ResponseLogprobs, TokenSequence
from verifiers import InputError

_LOW_PRECISION = (torch.bfloat16, torch.float16)


def is_sharded(learner: LearnerConfig, world: World) -> bool:
    """Whether the processes share out the learner's tensors; one alone has nothing to share out."""
    return learner.sharding == "full" and world.size > 1


def policy_maker(learner: LearnerConfig, world: World) -> Callable[[nn.Module], Policy]:
    """What makes a policy of a model, sharded where the settings say so."""
    if not is_sharded(learner, world):
        return Policy
    on_gpu = torch.cuda.is_available() and learner.device != "cpu"
    return functools.partial(
        ShardedPolicy, device_type="cuda" if on_gpu else "cpu", float32_masters=learner.float32_masters
    )


class ShardedPolicy(Policy):
    """A policy whose model is sharded over all processes, in place.

    All processes must ask for the same number of log-probabilities and backward passes, in the same order.
    """

    def __init__(self, model: nn.Module, *, device_type: str, float32_masters: bool) -> None:
        """Shard `model`, which may lie in CPU memory: each layer goes to the GPU alone, and only a part stays.

        Trainable bfloat16 weights become float32 with `float32_masters`.

        Raises:
            InputError: the model's weights are of several types.
        """
        mesh = init_device_mesh(device_type, (dist.get_world_size(),))
        adapters = _adapters(model)
        for parameter in adapters:
            parameter.data = parameter.data.to(device_type)
        self._dtype = _dtype_of(model, adapters)
        self._root = _shard(model, mesh, self._dtype, adapters, float32_masters)
        with others_present(computing=True):
            super().__init__(model)

    @property
    def dtype(self) -> torch.dtype:
        """Type that the model computes in; its shards may be float32."""
        return self._dtype

    @contextmanager
    def computing(self) -> Iterator[None]:
        """To be held around forward and backward pass, in which the processes exchange weights and gradients."""
        with super().computing(), others_present(computing=True):
            yield

    def _logprobs(
        self, sequences: Sequence[TokenSequence], temperature: float, mode: ForwardMode
    ) -> ResponseLogprobs:
        run = functools.partial(super()._logprobs, sequences, temperature, mode)
        logprobs_R, entropies_R = self._root(run)
        if not torch.is_grad_enabled():
            # No backward pass lets go of the root's weights, and they will change.
            self._root.reshard()
        lengths = tuple(len(sequence.response) for sequence in sequences)
        return ResponseLogprobs(logprobs_R, entropies_R, lengths)

    def _best_mode(self) -> ForwardMode:
        mode = super()._best_mode()
        # A mode that failed left the modules in the middle of a pass; one that succeeds puts them right.
        with torch.no_grad():
            self._logprobs([TokenSequence([0], [0])], 1.0, mode)
        return mode


class _Root(nn.Module):
    """Holds a model, so that the hooks of the outermost weights enclose whatever is computed with it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, run: Callable[[], ResponseLogprobs]) -> tuple[Tensor, Tensor]:
        result = run()
        # The hooks of the backward pass hang on the results, which must not be views.
        return result.logprobs.clone(), result.entropies.clone()


def _shard(
    model: Any, mesh: DeviceMesh, dtype: torch.dtype, adapters: set[nn.Parameter], float32_masters: bool
) -> Any:
    low = dtype in _LOW_PRECISION
    # Inputs are not cast: as in the model that is not sharded, they follow from the embeddings' type.
    precision = MixedPrecisionPolicy(
        param_dtype=dtype if low else None,
        reduce_dtype=torch.float32 if low else None,
        cast_forward_inputs=False,
    )
    root = _Root(model)
    for module in (*_layers(model), root):
        if low and float32_masters:
            for parameter in module.parameters():
                if parameter.requires_grad and not isinstance(parameter, DTensor):
                    parameter.data = parameter.data.float()
        fully_shard(module, mesh=mesh, mp_policy=precision, ignored_params=adapters)
    for module in root.modules():
        if isinstance(module, FSDPModule):
            # The loss has its weights already: the gradients are summed, and not divided by the processes.
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)
    return root


def _layers(model: Any) -> Iterator[nn.Module]:
    """What is gathered together: the elements of the decoder's own lists of modules."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    for child in base.get_decoder().children():
        if isinstance(child, nn.ModuleList):
            yield from child


def _adapters(model: nn.Module) -> set[nn.Parameter]:
    """What is trained of a model with adapters. It is small, so that every process keeps all of it."""
    if not hasattr(model, "get_base_model"):
        return set()
    return {parameter for parameter in model.parameters() if parameter.requires_grad}


def _dtype_of(model: nn.Module, adapters: set[nn.Parameter]) -> torch.dtype:
    found = {parameter.dtype for parameter in model.parameters() if parameter not in adapters}
    if len(found) > 1:
        names = ", ".join(sorted(str(dtype).removeprefix("torch.") for dtype in found))
        raise InputError(
            f"learner.sharding: the model's weights are of several types ({names}), which can't be "
            "gathered together; set it to none"
        )
    return found.pop()


@torch.no_grad()
def whole(tensor: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """All of a sharded tensor, on its device, in `dtype` where given; all processes must call this.

    A tensor that is not sharded is returned as it is.
    """
    if not isinstance(tensor, DTensor):
        return tensor
    with others_present():
        part: Any = tensor.to(dtype or tensor.dtype)
        gathered: Tensor = part.full_tensor()
    return gathered


def whole_on_first(tensor: Tensor) -> Tensor:
    """All of a sharded tensor in the first process's CPU memory, nothing in the others' (an empty tensor)."""
    if not isinstance(tensor, DTensor):
        return tensor
    gathered = whole(tensor)
    return gathered.cpu() if dist.get_rank() == 0 else gathered.new_empty(0)


def part_like(tensor: Tensor, target: Tensor) -> Tensor:
    """The part of a whole `tensor` that this process holds of `target`; all of it where that isn't sharded."""
    if not isinstance(target, DTensor):
        return tensor
    return distribute_tensor(
        tensor.to(target.device), target.device_mesh, target.placements, src_data_rank=None
    )
