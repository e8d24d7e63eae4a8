"""Trainer: DAPO, with GRPO and Dr. GRPO as settings of it.

    from trainer import TrainConfig, train
    train(TrainConfig(data="curated/", model="Qwen/Qwen3-0.6B", output="runs/first"))

Importing this package loads no torch: each name's module comes in when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainer.config import TrainConfig
    from trainer.evaluation import EvalOptions, EvalResult, evaluate, load_eval_set
    from trainer.loop import TrainResult, train
    from trainer.rejection import export_pairs
    from trainer.sft import Pair, WarmStartResult, read_pairs, warm_start
    from trainer.sft_config import SftConfig, WarmStartConfig
    from trainer.sft_run import SftResult, run_sft

_HOME = {
    "EvalOptions": "evaluation",
    "EvalResult": "evaluation",
    "Pair": "sft",
    "SftConfig": "sft_config",
    "SftResult": "sft_run",
    "TrainConfig": "config",
    "TrainResult": "loop",
    "WarmStartConfig": "sft_config",
    "WarmStartResult": "sft",
    "evaluate": "evaluation",
    "export_pairs": "rejection",
    "load_eval_set": "evaluation",
    "read_pairs": "sft",
    "run_sft": "sft_run",
    "train": "loop",
    "warm_start": "sft",
}

__all__ = [
    "EvalOptions",
    "EvalResult",
    "Pair",
    "SftConfig",
    "SftResult",
    "TrainConfig",
    "TrainResult",
    "WarmStartConfig",
    "WarmStartResult",
    "evaluate",
    "export_pairs",
    "load_eval_set",
    "read_pairs",
    "run_sft",
    "train",
    "warm_start",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'trainer' has no attribute {name!r}")
    return getattr(importlib.import_module(f"trainer.{_HOME[name]}"), name)
