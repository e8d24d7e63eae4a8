"""A model's weights: adapters, what an engine needs of them, and their files."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rollout import EngineConfig
from trainer.config import LoraConfig
from trainer.sharding import part_like, whole
from verifiers import InputError

ADAPTER = "adapter"
"""Folder of the adapter's own files in a checkpoint, as peft writes them."""


def placed(settings: EngineConfig, dtype: str, device: str) -> EngineConfig:
    """`settings` of a model to learn. Device `auto` is a GPU where there is one, type `auto` bfloat16 on it.

    On a CPU type `auto` is float32.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if dtype == "auto":
        dtype = "bfloat16" if device.startswith("cuda") else "float32"
    return settings.model_copy(update={"dtype": dtype, "device": device})


def add_lora(model: nn.Module, config: LoraConfig, seed: int) -> nn.Module:
    """Put low-rank adapters into `model`, in place; returns peft's wrapper around it.

    Only the adapters are trained. Whoever holds `model` (an engine) samples with them.

    Raises:
        InputError: peft is not installed.
    """
    try:
        import peft
    except ImportError:
        raise InputError("learner.lora needs peft: `pip install peft`, or leave learner.lora out") from None
    modules = config.target_modules
    settings = peft.LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        target_modules=modules if isinstance(modules, str) else list(modules),
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        wrapped: nn.Module = peft.get_peft_model(model, settings)
    return wrapped


def is_adapted(model: nn.Module) -> bool:
    """Whether `model` is peft's wrapper."""
    return hasattr(model, "get_base_model")


@contextmanager
def without_adapter(model: Any) -> Iterator[None]:
    """The model as it was before the adapters."""
    with model.disable_adapter():
        yield


def own_weights(model: Any) -> Iterator[tuple[str, Tensor]]:
    """The weights under the names that an engine sharing the model knows them by."""
    base = model.get_base_model() if is_adapted(model) else model
    yield from base.state_dict().items()


@torch.no_grad()
def plain_weights(model: Any, dtype: torch.dtype | None = None) -> Iterator[tuple[str, Tensor]]:
    """The weights under their names in the plain transformers model, adapters merged into what they adapt.

    Sharded ones are gathered one after the other, in `dtype`: all processes must go through them.
    """
    base = model.get_base_model() if is_adapted(model) else model
    for name, part in base.state_dict().items():
        tensor = whole(part, dtype)
        if ".lora_" in name:
            continue
        module_name, adapted, leaf = name.partition(".base_layer.")
        if adapted and leaf == "weight":
            adapter = base.get_submodule(module_name)
            tensor = tensor + adapter.get_delta_weight("default").to(tensor.dtype)
        yield name.replace(".base_layer.", "."), tensor


def copy_to_cpu(model: nn.Module) -> nn.Module:
    """A copy in CPU memory; no device holds the model twice meanwhile."""
    device = next(model.parameters()).device
    copied = copy.deepcopy(model.cpu())
    model.to(device)
    return copied


def save_model(model: Any, folder: Path, weights: dict[str, Tensor] | None = None) -> None:
    """Write the model so that `AutoModelForCausalLM.from_pretrained` opens `folder`, adapters merged.

    The adapters alone lie in `folder/adapter`. `weights` are given where the model has only parts of its own.
    """
    base = model.get_base_model() if is_adapted(model) else model
    if is_adapted(model) and weights is None:
        weights = dict(plain_weights(model))
    with _quiet_progress():
        base.save_pretrained(folder, state_dict=None if weights is None else _tied_again(base, weights))
        if weights is not None:
            # The model's own parts may be float32 masters, and transformers has written their type.
            base.config.dtype = next(part.dtype for part in weights.values() if part.is_floating_point())
            base.config.save_pretrained(folder)
        if is_adapted(model):
            model.save_pretrained(folder / ADAPTER)


def _tied_again(base: nn.Module, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """`weights` that share memory where they are one in `base`: transformers writes those once."""
    own = base.state_dict(keep_vars=True)
    first: dict[int, Tensor] = {}
    return {name: first.setdefault(id(own.get(name, tensor)), tensor) for name, tensor in weights.items()}


def restore_model(model: Any, folder: Path) -> None:
    """Take over the weights that `save_model` wrote for the same kind of model, exactly."""
    if is_adapted(model):
        from peft import load_peft_weights, set_peft_model_state_dict

        set_peft_model_state_dict(model, load_peft_weights(str(folder / ADAPTER), device="cpu"))
        return
    with _quiet_progress():
        saved = type(model).from_pretrained(folder, dtype="auto").state_dict()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            tensor.copy_(part_like(saved[name], tensor))


@contextmanager
def _quiet_progress() -> Iterator[None]:
    """Without transformers' own progress bars."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
