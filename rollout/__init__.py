"""Engines that sample completions with their log-probabilities."""

from rollout.types import Completion, Engine, EngineError, FinishReason, Prompt, Sampling

__all__ = ["Completion", "Engine", "EngineError", "FinishReason", "Prompt", "Sampling"]
