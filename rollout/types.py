"""What engines take and give: prompts and sampling in, completions with log-probabilities out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from torch import Tensor

Prompt = str | Sequence[Mapping[str, str]]
"""Plain text, sampled as it stands, or chat messages, rendered with the tokenizer's chat template."""

FinishReason = Literal["stop", "length", "abort"]


class EngineError(RuntimeError):
    """An engine can't do what was asked; the message is one line that says why and what to do."""


class PromptTooLongError(EngineError):
    """Prompts that leave the model no room; all other completions were handed out before it was raised."""

    def __init__(self, prompts: Mapping[int, str]) -> None:
        index, why = next(iter(prompts.items()))
        super().__init__(f"{len(prompts)} prompts are too long for the model; prompt {index}: {why}")
        self.prompts = dict(prompts)
        """What was said about each, by its position in the call's `prompts`."""


class Sampling(BaseModel):
    """How completions are drawn. Part of every rollout's identity: caches and checkpoints record it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float = Field(
        default=1.0, ge=0, description="Softmax temperature; 0 takes the most likely token."
    )
    top_p: float = Field(
        default=1.0, gt=0, le=1, description="Nucleus mass kept; 1 keeps the whole vocabulary."
    )
    top_k: int = Field(default=0, ge=0, description="Number of most likely tokens kept; 0 keeps all.")
    max_tokens: int = Field(default=1024, gt=0, description="Longest completion, in tokens.")
    stop: tuple[str, ...] = Field(
        default=(), description="Strings that end a completion, beside the EOS token."
    )
    seed: int = Field(default=0, description="Seed from which every completion's own seed is derived.")


@dataclass(frozen=True, slots=True)
class Completion:
    """One sampled completion.

    `logprobs[t]` is the natural log-probability with which the sampler drew `token_ids[t]`, at the sampling
    temperature and after its top-p/top-k truncation. A stop token that ended the completion is the last of
    `token_ids`; `text` is decoded without special tokens.
    """

    prompt_index: int
    """Position of the prompt in the call's `prompts`."""
    sample_index: int
    """Number of the sample for this prompt, counted from the call's `first_sample`."""
    prompt_token_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    text: str
    finish_reason: FinishReason
    policy_version: int = 0
    """Number of the weights that drew it, as last given to `load_weights`."""


@runtime_checkable
class PromptMeter(Protocol):
    """What an engine may offer beside `Engine`: to tell before sampling whether a prompt fits the model."""

    @property
    def max_prompt_tokens(self) -> int:
        """Longest prompt that leaves room for one token, in tokens."""
        ...

    def prompt_tokens(self, prompt: Prompt) -> int:
        """Length of the rendered prompt, in tokens; `EngineError` for one that can't be rendered."""
        ...


@runtime_checkable
class Engine(Protocol):
    """Samples completions from one model.

    A completion depends only on the weights, its prompt, the sampling, and its sample number, never on what
    else is in the batch (up to the floating-point differences of batched kernels, where the engine says so).
    """

    def generate(
        self, prompts: Sequence[Prompt], n: int, sampling: Sampling, *, first_sample: int = 0
    ) -> Iterator[Completion]:
        """Yield `n` completions for each prompt, as they finish, in no promised order.

        Closing the iterator (`contextlib.closing`) aborts what still runs. `first_sample` numbers the samples
        from there, so that a later call continues an earlier one with fresh samples.
        """
        ...

    def load_weights(self, tensors: Iterable[tuple[str, Tensor]], version: int) -> None:
        """Replace the weights by `(parameter name, tensor)` pairs named as in the transformers model."""
        ...

    def fingerprint(self) -> str:
        """Hash of the weights, the tokenizer and the chat template: equal only if the samples would be."""
        ...

    def close(self) -> None:
        """Free the model and stop every process and thread of the engine."""
        ...
