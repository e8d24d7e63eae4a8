"""An engine over vLLM, in this process: one engine per GPU, or several workers by tensor parallelism.

Rendering, stop tokens, seeds and text are those of the other engines; what differs is vLLM's own random
numbers (each request has a seed derived from the sampling seed, its prompt and its sample number) and its
kernels, whose rounding depends on the batch. So completions of one call repeat in distribution, and exactly
only as far as the kernels round alike.
"""

from __future__ import annotations

import gc
import itertools
import os
import random
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch

from rollout.config import EngineConfig, first_line, load_tokenizer
from rollout.fingerprint import combined_hash, tokenizer_hash, weight_files_hash
from rollout.prompts import check_request, render_prompt, render_prompts
from rollout.randomness import stream_keys
from rollout.stopping import stop_token_ids
from rollout.text import cut_after_stop, decode_text
from rollout.types import Completion, EngineError, FinishReason, Prompt, Sampling
from rollout.vllm_weights import checked, expected_weights, load_into_workers

if TYPE_CHECKING:
    from torch import Tensor

_SAMPLER = "vllm engine, sampler 1"
_FINISH_REASONS: dict[str, FinishReason] = {"stop": "stop", "length": "length"}


@dataclass(frozen=True, slots=True)
class _Request:
    prompt_index: int
    sample_index: int
    prompt: tuple[int, ...]
    max_tokens: int
    seed: int


@dataclass
class _Generation:
    """One `generate` call: the names of its requests in vLLM, and its outputs not yet handed out."""

    running: set[str] = field(default_factory=set)
    finished: deque[Any] = field(default_factory=deque)


class VllmEngine:
    """Samples with vLLM; see `rollout.types.Engine` for the contract, `EngineConfig` for the settings.

    `logprobs` are those of the distribution drawn from (`processed_logprobs`): after temperature, top-k and
    top-p; at temperature 0 the model's own. Not safe for use from several threads at once.
    """

    def __init__(self, config: EngineConfig, *, version: int = 0):
        # Weights are handed over in memory, so vLLM's scheduler must live in this process.
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        try:
            import vllm
        except ImportError as error:
            raise EngineError(
                f"the vllm engine needs vllm: install rlvr[vllm] ({first_line(error)})"
            ) from error
        self.config = config
        self.tokenizer = load_tokenizer(config)
        self.version = version
        with _random_states_kept():
            try:
                self._engine: Any = vllm.LLMEngine.from_engine_args(
                    vllm.EngineArgs(**_engine_arguments(config))
                )
            except (OSError, ValueError, RuntimeError, AssertionError, TypeError) as error:
                raise EngineError(f"vllm can't start with {config.model!r}: {first_line(error)}") from error
        self._stop_tokens = self._find_stop_tokens()
        self._weights_hash: str | None = None
        self._numbers = itertools.count()
        self._generations: dict[int, _Generation] = {}

    def generate(
        self, prompts: Sequence[Prompt], n: int, sampling: Sampling, *, first_sample: int = 0
    ) -> Iterator[Completion]:
        """Yield `n` completions for each prompt, as they finish; prompts are taken up in their order.

        Prompts are rendered and checked before this returns. A completion is cut at `max_model_len`
        (`finish_reason` "length"). `text` ends with the stop string, where one ended it. Raises
        `EngineError` for prompts that can't be rendered or leave no room for a token, and when the weights
        are replaced while the iterator still runs.
        """
        check_request(prompts, n, first_sample)
        longest = int(self._require_open().model_config.max_model_len)
        requests = []
        for index, prompt in enumerate(render_prompts(self.tokenizer, prompts)):
            room = longest - len(prompt)
            if room < 1:
                raise EngineError(
                    f"prompt {index} has {len(prompt)} tokens, but max_model_len is {longest}: shorten it, "
                    "leave it out, or raise max_model_len"
                )
            samples = range(first_sample, first_sample + n)
            keys = stream_keys(sampling.seed, prompt, samples)
            max_tokens = min(sampling.max_tokens, room)
            requests += [
                _Request(index, s, prompt, max_tokens, k) for s, k in zip(samples, keys, strict=True)
            ]
        return self._run(requests, sampling)

    @property
    def max_prompt_tokens(self) -> int:
        """Longest prompt that leaves room for one token, in tokens."""
        return int(self._require_open().model_config.max_model_len) - 1

    def prompt_tokens(self, prompt: Prompt) -> int:
        """Length of the rendered prompt, in tokens; raises `EngineError` for one that can't be rendered."""
        return len(render_prompt(self.tokenizer, prompt))

    def load_weights(self, tensors: Iterable[tuple[str, Tensor]], version: int) -> None:
        """Give the workers new weights, named as in the transformers model; running requests are aborted.

        In one process the tensors are read where they lie; with tensor parallelism they pass through files
        in memory. Raises `EngineError` for names that the model doesn't have and for missing parameters.
        """
        engine = self._require_open()
        self.version = version
        self._weights_hash = None
        for generation in self._generations.values():
            self._abort(generation)
        missing = expected_weights(engine.model_config.hf_config)
        hashes: list[str] = []
        try:
            load_into_workers(engine, checked(tensors, missing, hashes))
        except (KeyError, ValueError, RuntimeError, AssertionError, AttributeError) as error:
            raise EngineError(
                f"vllm refuses the weights: {type(error).__name__}: {first_line(error)}"
            ) from error
        if missing:
            first = min(min(names) for names in missing)
            raise EngineError(
                f"{len(missing)} weights were not given, the first is {first}: give all of them"
            )
        engine.reset_prefix_cache()
        self._weights_hash = combined_hash(*sorted(hashes))

    def fingerprint(self) -> str:
        """Hash of the weights, the tokenizer and the chat template; at first of the checkpoint's files."""
        engine = self._require_open()
        if self._weights_hash is None:
            self._weights_hash = weight_files_hash(_checkpoint_folder(self.config))
        dtype = str(engine.model_config.dtype)
        return combined_hash(_SAMPLER, dtype, self._weights_hash, tokenizer_hash(self.tokenizer))

    def close(self) -> None:
        """Stop vLLM's workers and free its memory. The engine can't be used afterwards."""
        if self._engine is None:
            return
        from vllm.distributed import cleanup_dist_env_and_memory

        self._engine.engine_core.shutdown()
        self._engine = None
        gc.collect()
        cleanup_dist_env_and_memory()

    def _run(self, requests: list[_Request], sampling: Sampling) -> Iterator[Completion]:
        """Feed the requests to vLLM two batches ahead, so that closing early leaves little to abort."""
        version, number = self.version, next(self._numbers)
        generation = self._generations[number] = _Generation()
        waiting = deque(enumerate(requests))
        try:
            while waiting or generation.running:
                engine = self._require_open()
                if self.version != version:
                    raise EngineError(
                        "the weights were replaced during a generation: close the iterator first"
                    )
                while waiting and len(generation.running) < 2 * self.config.batch_size:
                    place, request = waiting.popleft()
                    name = f"{number}/{place}"
                    prompt = {"prompt_token_ids": list(request.prompt)}
                    engine.add_request(name, prompt, self._parameters(request, sampling))
                    generation.running.add(name)
                if not generation.finished:
                    self._step(engine)
                while generation.finished:
                    output = generation.finished.popleft()
                    request = requests[int(output.request_id.split("/")[1])]
                    yield self._completion(request, output.outputs[0], sampling, version)
        finally:
            self._abort(self._generations.pop(number))

    def _step(self, engine: Any) -> None:
        """One step of vLLM; what it finishes goes to the generation that asked for it."""
        for output in engine.step():
            generation = self._generations.get(int(output.request_id.split("/")[0]))
            if output.finished and generation is not None:
                generation.running.discard(output.request_id)
                generation.finished.append(output)

    def _abort(self, generation: _Generation) -> None:
        if generation.running and self._engine is not None:
            self._engine.abort_request(sorted(generation.running))
            generation.running.clear()

    def _parameters(self, request: _Request, sampling: Sampling) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        return SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            max_tokens=request.max_tokens,
            seed=request.seed,
            stop=list(sampling.stop) or None,
            include_stop_str_in_output=True,
            stop_token_ids=sorted(self._stop_tokens),
            logprobs=0,
            # The text is decoded here, as in every engine; vLLM needs it only to see stop strings.
            detokenize=bool(sampling.stop),
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

    def _completion(self, request: _Request, output: Any, sampling: Sampling, version: int) -> Completion:
        token_ids = tuple(output.token_ids)
        reason = _FINISH_REASONS.get(output.finish_reason, "abort")
        text = decode_text(self.tokenizer, token_ids)
        return Completion(
            prompt_index=request.prompt_index,
            sample_index=request.sample_index,
            prompt_token_ids=request.prompt,
            token_ids=token_ids,
            logprobs=tuple(
                drawn[token].logprob for token, drawn in zip(token_ids, output.logprobs, strict=True)
            ),
            text=cut_after_stop(text, sampling.stop) if reason == "stop" else text,
            finish_reason=reason,
            policy_version=version,
        )

    def _find_stop_tokens(self) -> frozenset[int]:
        model = self._engine.model_config
        generation = SimpleNamespace(**model.try_get_generation_config())
        return stop_token_ids(generation, model.hf_text_config, self.tokenizer)

    def _require_open(self) -> Any:
        if self._engine is None:
            raise EngineError("the engine is closed: make a new one")
        return self._engine


def _engine_arguments(config: EngineConfig) -> dict[str, Any]:
    """Arguments of `vllm.EngineArgs`; the user's `extra` come last and win."""
    from vllm.platforms import current_platform

    options = config.vllm
    arguments: dict[str, Any] = {
        "model": config.model,
        "revision": config.revision,
        "tokenizer": config.tokenizer or config.model,
        "dtype": config.dtype,
        "trust_remote_code": config.trust_remote_code,
        "max_num_seqs": config.batch_size,
        "max_model_len": options.max_model_len,
        "tensor_parallel_size": options.tensor_parallel_size,
        "gpu_memory_utilization": options.gpu_memory_utilization,
        "enforce_eager": options.enforce_eager,
        "logprobs_mode": "processed_logprobs",
        "disable_log_stats": True,
    }
    if current_platform.is_cpu():
        # On CPU a prompt that is prefilled in parts crashes requests that have a seed of their own.
        arguments["enable_chunked_prefill"] = False
        arguments["max_num_batched_tokens"] = max(32_768, options.max_model_len or 0)
    arguments.update(options.extra)
    return arguments


def _checkpoint_folder(config: EngineConfig) -> Path:
    folder = Path(config.model)
    if folder.is_dir():
        return folder
    from huggingface_hub import snapshot_download

    # vLLM has downloaded it by now; this only looks up where.
    return Path(snapshot_download(config.model, revision=config.revision, local_files_only=True))


@contextmanager
def _random_states_kept() -> Iterator[None]:
    """vLLM seeds every global generator of the process when it starts; the caller's states come back."""
    import numpy as np

    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        if cuda:
            torch.cuda.set_rng_state_all(cuda)
