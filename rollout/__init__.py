"""Engines that sample completions with their log-probabilities."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rollout.config import (
    EngineConfig,
    RayOptions,
    ServerOptions,
    VllmOptions,
    create_engine,
    load_model,
    load_tokenizer,
)
from rollout.prompts import render_prompt
from rollout.types import Completion, Engine, EngineError, FinishReason, Prompt, PromptMeter, Sampling

if TYPE_CHECKING:
    from rollout.openai_engine import OpenAIEngine
    from rollout.ray_engine import RayEngine
    from rollout.transformers_engine import TransformersEngine
    from rollout.vllm_engine import VllmEngine

__all__ = [
    "Completion",
    "Engine",
    "EngineConfig",
    "EngineError",
    "FinishReason",
    "OpenAIEngine",
    "Prompt",
    "PromptMeter",
    "RayEngine",
    "RayOptions",
    "Sampling",
    "ServerOptions",
    "TransformersEngine",
    "VllmEngine",
    "VllmOptions",
    "create_engine",
    "load_model",
    "load_tokenizer",
    "render_prompt",
]


_ENGINES = {
    "OpenAIEngine": "rollout.openai_engine",
    "RayEngine": "rollout.ray_engine",
    "TransformersEngine": "rollout.transformers_engine",
    "VllmEngine": "rollout.vllm_engine",
}


def __getattr__(name: str) -> Any:
    """Import an engine when it is first asked for: each needs heavy packages of its own."""
    if name in _ENGINES:
        return getattr(import_module(_ENGINES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
