"""Handing the learner's weights over to vLLM's workers."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rollout.fingerprint import weights_hash
from rollout.types import EngineError

_SHARED_MEMORY = Path("/dev/shm")


def expected_weights(config: Any) -> set[frozenset[str]]:
    """The weights that a model of this transformers configuration has, each with all names it is tied to."""
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    names: dict[int, set[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), set()).add(name)
    return {frozenset(group) for group in names.values()}


def checked(
    tensors: Iterable[tuple[str, Tensor]], expected: set[frozenset[str]], hashes: list[str]
) -> Iterator[tuple[str, Tensor]]:
    """Pass the tensors on while crossing their names off `expected` and collecting their hashes."""
    groups = {name: group for group in expected for name in group}
    for name, tensor in tensors:
        if name not in groups:
            raise EngineError(
                f"the model has no weight {name!r}: names must be those of the transformers model"
            )
        expected.discard(groups[name])
        hashes.append(weights_hash([(name, tensor)]))
        yield name, tensor


def load_into_workers(engine: Any, tensors: Iterator[tuple[str, Tensor]]) -> None:
    """Make every worker of a `vllm.LLMEngine` load the tensors, given in the checkpoint's format.

    A single worker lives in this process and reads them where they are. Several are processes of their own:
    each reads all tensors from files in shared memory and keeps its shard.
    """
    if engine.vllm_config.parallel_config.world_size == 1:
        engine.collective_rpc("reload_weights", kwargs={"weights_iterator": tensors})
        return
    from safetensors.torch import save_file

    shared = _SHARED_MEMORY if _SHARED_MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="rlvr-weights-", dir=shared) as folder:
        for number, (name, tensor) in enumerate(tensors):
            save_file({name: tensor.detach().cpu().contiguous()}, Path(folder, f"{number:06d}.safetensors"))
        engine.collective_rpc(reload_from_files, args=(folder,))


def reload_from_files(worker: Any, folder: str) -> None:
    """Runs in a worker process: load every tensor of the safetensors files in `folder`."""
    from safetensors import safe_open

    def tensors() -> Iterator[tuple[str, Tensor]]:
        for path in sorted(Path(folder).glob("*.safetensors")):
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 - not a mapping
                    yield name, file.get_tensor(name)

    worker.reload_weights(weights_iterator=tensors())
