"""Engines that sample completions with their log-probabilities."""

from typing import TYPE_CHECKING, Any

from rollout.config import EngineConfig, create_engine, load_model, load_tokenizer
from rollout.prompts import render_prompt
from rollout.types import Completion, Engine, EngineError, FinishReason, Prompt, Sampling

if TYPE_CHECKING:
    from rollout.transformers_engine import TransformersEngine

__all__ = [
    "Completion",
    "Engine",
    "EngineConfig",
    "EngineError",
    "FinishReason",
    "Prompt",
    "Sampling",
    "TransformersEngine",
    "create_engine",
    "load_model",
    "load_tokenizer",
    "render_prompt",
]


def __getattr__(name: str) -> Any:
    """Import an engine when it is first asked for: each needs a package of its own."""
    if name == "TransformersEngine":
        from rollout.transformers_engine import TransformersEngine

        return TransformersEngine
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
