"""An engine over any causal language model of transformers, in this process, on CPU or GPU.

The model may be the learner's own module: nothing is copied when the learner's tensors come back through
`load_weights`, and the module's train/eval state is put back before every completion is handed out.

What a completion depends on: each token is drawn with a uniform that is a hash of (seed, prompt token ids,
sample index, position), so scheduling and batching change no random number. Floating point is the one
caveat: a batched matrix product may round differently for another batch size or padding, so logits differ
in the last bits between batch compositions, and a uniform that falls within that rounding of a boundary of
the CDF draws the neighbouring token. The same call always gives the same completions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rollout.decoding import Decoder, Finished, Job
from rollout.fingerprint import combined_hash, tokenizer_hash, weights_hash
from rollout.forward import ModelForward
from rollout.prompts import check_request, render_prompt, render_prompts
from rollout.stopping import StopStrings, stop_token_ids
from rollout.text import cut_after_stop, decode_text
from rollout.types import Completion, EngineError, Prompt, Sampling

_SAMPLER = "transformers engine, sampler 3"
"""Part of the fingerprint: to be changed with whatever makes the same weights give other samples."""
_PEFT_PREFIX = "base_model.model."


class TransformersEngine:
    """Samples from `model` by continuous batching; see `rollout.types.Engine` for the contract.

    `batch_size` is the number of completions decoded together. `max_batch_tokens` bounds the cache: rows x
    (longest prompt + `max_tokens`), and an eighth for moving it; fewer rows run where it is reached.
    `prefill_tokens` bounds the padded prompt tokens of one prefill. A `peft` model is sampled from with its
    adapters. `device` moves the model; None leaves it
    where it is. `version` numbers the weights that the model holds now.

    Not safe for use from several threads at once.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        batch_size: int = 512,
        max_batch_tokens: int = 262_144,
        prefill_tokens: int = 8192,
        device: str | torch.device | None = None,
        version: int = 0,
    ):
        if min(batch_size, max_batch_tokens, prefill_tokens) < 1:
            raise EngineError("batch_size, max_batch_tokens and prefill_tokens must be at least 1")
        if hasattr(model, "get_base_model"):
            # peft puts its adapters into the model's own modules, and hides the model's signature.
            model = model.get_base_model()
        if device is not None:
            model.to(device)
        self.model = model
        self.tokenizer = tokenizer
        self.batch_size = batch_size
        self.max_batch_tokens = max_batch_tokens
        self.prefill_tokens = prefill_tokens
        self.version = version
        self._forward: ModelForward | None = ModelForward(model)
        self._weights_hash: tuple[object, str] | None = None
        self._stop_strings: dict[tuple[str, ...], StopStrings] = {}

    def generate(
        self, prompts: Sequence[Prompt], n: int, sampling: Sampling, *, first_sample: int = 0
    ) -> Iterator[Completion]:
        """Yield `n` completions for each prompt, as they finish; prompts are taken up in their order.

        Prompts are rendered and checked before this returns. A completion is cut where the model's
        positions end (`finish_reason` "length"). `text` ends with the stop string, where one ended it. At
        temperature 0, `logprobs` are the model's at temperature 1. Raises `EngineError` for prompts that
        can't be rendered or leave no room for a token, for logits that are not finite, and when the weights
        are replaced while the iterator still runs.
        """
        check_request(prompts, n, first_sample)
        forward = self._require_open()
        jobs = []
        for index, token_ids in enumerate(render_prompts(self.tokenizer, prompts)):
            room = forward.max_positions - len(token_ids)
            if room < 1:
                raise EngineError(
                    f"prompt {index} has {len(token_ids)} tokens, but the model has {forward.max_positions} "
                    "positions: shorten it or leave it out"
                )
            samples = range(first_sample, first_sample + n)
            jobs.append(Job(index, token_ids, samples, min(sampling.max_tokens, room)))
        return self._run(jobs, n, sampling)

    @property
    def max_prompt_tokens(self) -> int:
        """Longest prompt that leaves room for one token, in tokens."""
        return self._require_open().max_positions - 1

    def prompt_tokens(self, prompt: Prompt) -> int:
        """Length of the rendered prompt, in tokens; raises `EngineError` for one that can't be rendered."""
        return len(render_prompt(self.tokenizer, prompt))

    def load_weights(self, tensors: Iterable[tuple[str, Tensor]], version: int) -> None:
        """Copy the tensors into the model's own, in place; one that already is the model's is left alone.

        Names are those of the model's `state_dict`, for a `peft` model with or without its prefix; tied
        parameters may come once or more often. Raises `EngineError` for an unknown name, another shape, or
        when parameters are missing.
        """
        self._require_open()
        # Bumped first: should a tensor below be wrong, what runs and what was hashed is invalid all the same.
        self.version = version
        self._weights_hash = None
        own = self.model.state_dict(keep_vars=True)
        missing = {_storage(parameter): name for name, parameter in self.model.named_parameters()}
        with torch.no_grad():
            for name, tensor in tensors:
                target = own.get(name.removeprefix(_PEFT_PREFIX))
                if target is None:
                    raise EngineError(
                        f"the model has no weight {name!r}: names must be those of its state_dict"
                    )
                if target.shape != tensor.shape:
                    raise EngineError(
                        f"{name} has shape {tuple(target.shape)}, but {tuple(tensor.shape)} was given"
                    )
                missing.pop(_storage(target), None)
                if _storage(target) != _storage(tensor):
                    target.copy_(tensor)
        if missing:
            names = sorted(missing.values())
            raise EngineError(
                f"{len(names)} weights were not given, the first is {names[0]}: give all of them"
            )

    def fingerprint(self) -> str:
        """Hash of the weights, the tokenizer and the chat template; weights are hashed once per change."""
        self._require_open()
        weights = self.model.state_dict(keep_vars=True)
        # An optimizer that shares the module writes in place, which torch counts in each tensor.
        state = (self.version, tuple((id(tensor), tensor._version) for tensor in weights.values()))
        if self._weights_hash is None or self._weights_hash[0] != state:
            self._weights_hash = (state, weights_hash(weights.items()))
        return combined_hash(_SAMPLER, self._weights_hash[1], tokenizer_hash(self.tokenizer))

    def close(self) -> None:
        """Let go of the model; its owner may still hold it. The engine can't be used afterwards."""
        self._forward = None
        self._stop_strings.clear()
        self.model = None

    def _run(self, jobs: list[Job], n: int, sampling: Sampling) -> Iterator[Completion]:
        if not jobs:
            return
        self._require_open()
        version, modules = self.version, list(self.model.modules())
        with _inference(modules):
            decoder = self._decoder(jobs, n, sampling)
        while True:
            self._require_open()
            if self.version != version:
                raise EngineError("the weights were replaced during a generation: close the iterator first")
            with _inference(modules):
                finished = decoder.advance()
            if not finished:
                return
            for row in finished:
                yield self._completion(row, sampling, version)

    def _decoder(self, jobs: list[Job], n: int, sampling: Sampling) -> Decoder:
        longest = max(len(job.prompt) + job.max_tokens for job in jobs)
        slots = max(1, min(self.batch_size, n * len(jobs), self.max_batch_tokens // longest))
        forward = self._require_open()
        if sampling.stop and sampling.stop not in self._stop_strings:
            self._stop_strings[sampling.stop] = StopStrings(self.tokenizer, sampling.stop, forward.device)
        return Decoder(
            forward,
            jobs,
            sampling,
            stop_token_ids(self.model.generation_config, forward.config, self.tokenizer),
            self._stop_strings.get(sampling.stop),
            slots=slots,
            prefill_tokens=self.prefill_tokens,
        )

    def _completion(self, row: Finished, sampling: Sampling, version: int) -> Completion:
        text = decode_text(self.tokenizer, row.token_ids)
        return Completion(
            prompt_index=row.job.prompt_index,
            sample_index=row.sample_index,
            prompt_token_ids=row.job.prompt,
            token_ids=tuple(row.token_ids),
            logprobs=tuple(row.logprobs),
            text=cut_after_stop(text, sampling.stop) if row.finish_reason == "stop" else text,
            finish_reason=row.finish_reason,
            policy_version=version,
        )

    def _require_open(self) -> ModelForward:
        if self._forward is None:
            raise EngineError("the engine is closed: make a new one")
        return self._forward


@contextmanager
def _inference(modules: list[torch.nn.Module]) -> Iterator[None]:
    """No gradients and no dropout inside; the modules' train/eval states are as before afterwards."""
    training = [module for module in modules if module.training]
    for module in training:
        module.training = False
    try:
        with torch.no_grad():
            yield
    finally:
        for module in training:
            module.training = True


def _storage(tensor: Tensor) -> Any:
    """What two tensors share when they are the same numbers in memory."""
    return (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype, tensor.device)
