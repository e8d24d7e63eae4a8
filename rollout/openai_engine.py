"""An engine over a server with the OpenAI API (vLLM, SGLang, llama.cpp, a hosted model): scoring and curation.

Text goes to `/completions`, chat messages to `/chat/completions`, one request per sample with a seed of its
own. Fields that a server refuses are left out where they only report something, never where that would
change the samples.
"""

from __future__ import annotations

import hashlib
import json
import queue
import re
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rollout.config import EngineConfig, load_tokenizer
from rollout.http_api import DroppedError, HttpApi, RefusedError
from rollout.prompts import check_messages, check_request
from rollout.text import cut_after_stop
from rollout.types import Completion, EngineError, FinishReason, Prompt, PromptTooLongError, Sampling

if TYPE_CHECKING:
    from torch import Tensor

_FINISH_REASONS: dict[str, FinishReason] = {"stop": "stop", "length": "length"}
_OPTIONAL_FIELDS = ("return_token_ids", "include_stop_str_in_output", "logprobs", "seed")
"""Fields that a server may refuse: without them something is not reported or not repeatable, no more."""

# As vLLM, SGLang, llama.cpp, TGI and OpenAI say it.
_TOO_LONG = re.compile(
    r"context[ _]length|context size|context window|max_model_len|maximum (?:model|allowed|input|sequence) length|"
    r"(?:input|prompt) (?:is|was) too long|too many (?:input |prompt )?tokens|inputs. must have less than",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class _Request:
    prompt_index: int
    sample_index: int
    path: str
    body: dict[str, Any]


class OpenAIEngine:
    """Asks a server for completions; see `EngineConfig.server` for where and how.

    `token_ids`, `prompt_token_ids` and `logprobs` are those that the server reports, and empty where it
    reports none. vLLM reports all; its log-probabilities are those of the distribution drawn from when it was
    started with `--logprobs-mode processed_logprobs`. Where the server gives no token ids but
    `EngineConfig.tokenizer` names the tokenizer, `token_ids` are those of the text, without log-probabilities.
    Whether equal seeds give equal samples is up to the server.
    """

    def __init__(self, config: EngineConfig):
        if not config.model:
            raise EngineError("the openai engine needs `model`: the name by which the server knows it")
        self.config = config
        HttpApi(config.server)
        self._tokenizer = load_tokenizer(config) if config.tokenizer else None
        self._refused: frozenset[str] = frozenset()
        self._closed = False

    def generate(
        self, prompts: Sequence[Prompt], n: int, sampling: Sampling, *, first_sample: int = 0
    ) -> Iterator[Completion]:
        """Yield `n` completions for each prompt, as they arrive; prompts are asked in their order.

        Raises `EngineError` when the server refuses a request, or fails more often than `server.retries`.
        Closing the iterator closes the connections of the requests that are under way.
        """
        check_request(prompts, n, first_sample)
        self._require_open()
        requests = []
        for index, prompt in enumerate(prompts):
            path, body = self._question(index, prompt, sampling)
            for sample in range(first_sample, first_sample + n):
                seed = _seed(sampling.seed, prompt, sample)
                requests.append(_Request(index, sample, path, {"seed": seed, **body}))
        return self._run(requests, sampling)

    def load_weights(self, tensors: Iterable[tuple[str, Tensor]], version: int) -> None:
        """Always raises `EngineError`: a server's model can't be trained from here."""
        raise EngineError(
            "the openai engine can't take new weights: train with the transformers or vllm engine"
        )

    def fingerprint(self) -> str:
        """Hash of the server's address and of what it says about the model.

        A server doesn't tell its weights: give the model another name, or `revision` another value, when the
        weights behind the same name have changed.
        """
        self._require_open()
        listed = HttpApi(self.config.server).request("GET", "/models").get("data", [])
        known = [entry for entry in listed if entry.get("id") == self.config.model]
        # Such as `created` and `permission`, which some servers make up anew for every answer.
        facts = {
            k: v for k, v in (known[0] if known else {}).items() if k in ("id", "root", "parent", "owned_by")
        }
        identity = [
            self.config.server.base_url,
            self.config.model,
            self.config.revision,
            self.config.chat_template,
            self.config.template_options,
            self.config.server.extra,
            facts,
        ]
        text = json.dumps(["openai engine, sampler 1", *identity], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def close(self) -> None:
        """Refuse further calls; iterators still open go on until they are closed themselves."""
        self._closed = True

    def _require_open(self) -> None:
        if self._closed:
            raise EngineError("the engine is closed: make a new one")

    def _question(self, index: int, prompt: Prompt, sampling: Sampling) -> tuple[str, dict[str, Any]]:
        """Path and body, without the seed, of the requests for one prompt."""
        body: dict[str, Any] = {
            "model": self.config.model,
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "return_token_ids": True,
        }
        if sampling.top_k:
            body["top_k"] = sampling.top_k
        if sampling.stop:
            body |= {"stop": list(sampling.stop), "include_stop_str_in_output": True}
        if isinstance(prompt, str):
            if not prompt:
                raise EngineError(f"prompt {index} is empty: give at least one character")
            return "/completions", body | {"prompt": prompt, "logprobs": 0} | self.config.server.extra
        try:
            check_messages(prompt)
        except EngineError as error:
            raise EngineError(f"prompt {index}: {error}") from error
        body |= {"messages": [dict(message) for message in prompt], "logprobs": True}
        if self.config.chat_template is not None:
            body["chat_template"] = self.config.chat_template
        if self.config.template_options:
            body["chat_template_kwargs"] = self.config.template_options
        return "/chat/completions", body | self.config.server.extra

    def _run(self, requests: list[_Request], sampling: Sampling) -> Iterator[Completion]:
        """Keep `concurrency` requests under way, and not much more than the caller has taken."""
        api = HttpApi(self.config.server)
        waiting, answers = deque(requests), queue.SimpleQueue[Completion | BaseException]()
        room = threading.Semaphore(2 * self.config.server.concurrency)

        def work() -> None:
            while room.acquire():
                try:
                    answers.put(self._ask(api, waiting.popleft(), sampling))
                except (IndexError, DroppedError):
                    return
                except PromptTooLongError as error:
                    answers.put(error)
                except BaseException as error:
                    answers.put(error)
                    return

        workers = [
            threading.Thread(target=work, name=f"openai-engine-{i}", daemon=True)
            for i in range(min(self.config.server.concurrency, len(requests)))
        ]
        for worker in workers:
            worker.start()
        try:
            too_long: dict[int, str] = {}
            for _ in requests:
                answer = answers.get()
                if isinstance(answer, PromptTooLongError):
                    too_long |= answer.prompts
                elif isinstance(answer, BaseException):
                    raise answer
                room.release()
                if isinstance(answer, Completion):
                    yield answer
            if too_long:
                raise PromptTooLongError(dict(sorted(too_long.items())))
        finally:
            waiting.clear()
            api.drop()
            room.release(len(requests) + len(workers))
            for worker in workers:
                # A thread that is only now connecting ends by itself; nobody has to wait for that.
                worker.join(timeout=1)

    def _ask(self, api: HttpApi, request: _Request, sampling: Sampling) -> Completion:
        """One request; again without an optional field that the server names when it refuses."""
        while True:
            refused = self._refused
            try:
                answer = api.request("POST", request.path, _without(request.body, refused))
            except RefusedError as error:
                if error.status in (400, 413, 422) and _TOO_LONG.search(error.answer):
                    raise PromptTooLongError({request.prompt_index: str(error)}) from error
                named = {name for name in _OPTIONAL_FIELDS if name in request.body and name in error.answer}
                if "max_completion_tokens" in error.answer:
                    named.add("max_tokens")
                if error.status not in (400, 422) or named <= refused:
                    raise
                self._refused |= named
            else:
                return self._completion(request, answer, sampling)

    def _completion(self, request: _Request, answer: Any, sampling: Sampling) -> Completion:
        try:
            choice = answer["choices"][0]
            text = choice["text"] if "text" in choice else choice["message"]["content"] or ""
        except (LookupError, TypeError) as error:
            raise EngineError(
                f"the server at {self.config.server.base_url} answers without a choice: {str(answer)[:200]}"
            ) from error
        stopped_by = choice.get("stop_reason")
        if isinstance(stopped_by, str) and stopped_by in sampling.stop and not text.endswith(stopped_by):
            text += stopped_by
        token_ids = choice.get("token_ids")
        logprobs = _logprobs(choice.get("logprobs") or {}) if token_ids else []
        if token_ids is None and self._tokenizer is not None:
            token_ids = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return Completion(
            prompt_index=request.prompt_index,
            sample_index=request.sample_index,
            prompt_token_ids=tuple(choice.get("prompt_token_ids") or answer.get("prompt_token_ids") or ()),
            token_ids=tuple(token_ids or ()),
            logprobs=tuple(logprobs) if len(logprobs) == len(token_ids or ()) else (),
            text=cut_after_stop(text, sampling.stop),
            finish_reason=_FINISH_REASONS.get(choice.get("finish_reason"), "abort"),
        )


def _seed(seed: int, prompt: Prompt, sample: int) -> int:
    """31 bits, which every server takes, by the hash of what the sample belongs to."""
    text = json.dumps([seed, sample, prompt if isinstance(prompt, str) else [dict(m) for m in prompt]])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "little") >> 1


def _without(body: Mapping[str, Any], refused: frozenset[str]) -> dict[str, Any]:
    """The body without refused fields; a refused `max_tokens` is sent under its newer name."""
    kept = {name: value for name, value in body.items() if name not in refused}
    return kept | {"max_completion_tokens": body["max_tokens"]} if "max_tokens" in refused else kept


def _logprobs(reported: Mapping[str, Any]) -> list[float]:
    """Log-probabilities as `/completions` or `/chat/completions` reports them."""
    if reported.get("content") is not None:
        return [token["logprob"] for token in reported["content"]]
    return list(reported.get("token_logprobs") or ())
