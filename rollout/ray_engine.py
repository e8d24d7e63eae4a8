"""An engine made of engines: replicas of one model, each an actor of Ray with GPUs of its own, on any machine.

The driver shares out the prompts, takes completions as they come from whichever replica, and hands new weights
to all of them through Ray's object store. A completion depends only on weights, prompt, sampling and sample
number, so how many replicas there are changes no sample beyond what batching does in a single engine, and a
replica that dies is replaced by one that draws the same again.
"""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch

from rollout.config import EngineConfig, RayOptions, create_engine, first_line, load_tokenizer
from rollout.prompts import check_request, render_prompt, render_prompts
from rollout.types import Completion, EngineError, Prompt, PromptMeter, Sampling

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

_CHUNK_BYTES = 1 << 29
"""Weights that are put into the object store together."""
_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Types that numpy has, by their size: bfloat16 passes as its bits."""

_PackedTensor = tuple[str, torch.dtype, "np.ndarray[Any, Any]"]


@dataclass(slots=True)
class _Share:
    """What one replica draws of a call."""

    prompts: Sequence[int]
    """Positions in the call's prompts."""
    first_sample: int
    n: int
    received: set[tuple[int, int]] = field(default_factory=set)


class RayEngine:
    """Samples with `config.ray.replicas` engines of `config`; see `rollout.types.Engine` for the contract.

    Joins the cluster that this process already joined, or `ray.address`, or starts Ray on this machine. A
    replica that dies is started again, with the weights of the moment, `ray.restarts` times in all. Aborting a
    call lets each replica finish the decoding up to its next completion. Not safe for use from several threads.

    Raises `EngineError` where Ray is missing, or the cluster has no room for the replicas.
    """

    def __init__(self, config: EngineConfig):
        if config.ray is None:
            raise EngineError("the engine's settings have no `ray` section")
        try:
            import ray
        except ImportError as error:
            raise EngineError(f"replicas need ray: install rlvr[ray] ({first_line(error)})") from error
        self.config = config
        self.tokenizer = load_tokenizer(config)
        self.version = 0
        self._ray: Any = ray
        self._options = config.ray
        self._restarts = 0
        self._weights: tuple[list[Any], int] | None = None
        self._numbers = itertools.count()
        self._replicas: list[Any] = []
        self._owns_ray = not ray.is_initialized()
        if self._owns_ray:
            _join(ray, self._options)
        try:
            resources = self._resources()
            self._actor = ray.remote(max_concurrency=16, **resources)(_Replica)
            self._replicas = [self._start() for _ in range(self._options.replicas)]
            self._longest = min(self._await_ready(self._replicas))
        except BaseException:
            self.close()
            raise

    def generate(
        self, prompts: Sequence[Prompt], n: int, sampling: Sampling, *, first_sample: int = 0
    ) -> Iterator[Completion]:
        """Yield `n` completions for each prompt, as they finish on any replica.

        Prompts are rendered and checked before this returns. Raises `EngineError` for prompts that can't be
        rendered or leave no room for a token, when a replica fails or dies too often, and when the weights
        are replaced while the iterator still runs.
        """
        check_request(prompts, n, first_sample)
        self._require_open()
        for index, token_ids in enumerate(render_prompts(self.tokenizer, prompts)):
            if len(token_ids) > self._longest:
                raise EngineError(
                    f"prompt {index} has {len(token_ids)} tokens, but the model has room for "
                    f"{self._longest} and one more: shorten it or leave it out"
                )
        return self._run(list(prompts), shares(len(prompts), n, first_sample, len(self._replicas)), sampling)

    @property
    def max_prompt_tokens(self) -> int:
        """Longest prompt that leaves room for one token, in tokens."""
        return self._longest

    def prompt_tokens(self, prompt: Prompt) -> int:
        """Length of the rendered prompt, in tokens; raises `EngineError` for one that can't be rendered."""
        return len(render_prompt(self.tokenizer, prompt))

    def load_weights(self, tensors: Iterable[tuple[str, Tensor]], version: int) -> None:
        """Put the weights into the object store once, from where every replica takes them.

        The store must hold one copy of the model on each machine (Ray spills to disk beyond that). Raises
        `EngineError` for names and shapes that the model doesn't have and for missing parameters.
        """
        self._require_open()
        self.version = version
        self._weights = [self._ray.put(chunk) for chunk in _chunks(tensors)], version
        self._of_all("load_weights", *self._weights)

    def fingerprint(self) -> str:
        """Hash of the weights, the tokenizer and the chat template; that of a single engine."""
        self._require_open()
        found = set(self._of_all("fingerprint"))
        if len(found) > 1:
            raise EngineError("the replicas hold different models: is the folder the same on all machines?")
        return str(found.pop())

    def close(self) -> None:
        """Stop the replicas, and Ray where it was started here. The engine can't be used afterwards."""
        for replica in self._replicas:
            self._ray.kill(replica)
        self._replicas = []
        self._weights = None
        if self._owns_ray:
            self._ray.shutdown()
            self._owns_ray = False

    def _run(self, prompts: list[Prompt], work: list[_Share], sampling: Sampling) -> Iterator[Completion]:
        """Ask each replica for its share, and for the next completions whenever it sent some."""
        number, version = next(self._numbers), self.version
        waiting: dict[Any, tuple[int, _Share]] = {}

        def begin(place: int, share: _Share) -> None:
            own = [prompts[index] for index in share.prompts]
            begun = self._replicas[place].begin.remote(number, own, share.n, sampling, share.first_sample)
            waiting[begun] = (place, share)

        try:
            for place, share in enumerate(work):
                begin(place, share)
            while waiting:
                self._require_open()
                if self.version != version:
                    raise EngineError(
                        "the weights were replaced during a generation: close the iterator first"
                    )
                (ready, *_), _ = self._ray.wait(list(waiting), num_returns=1)
                place, share = waiting.pop(ready)
                try:
                    completions, ended = self._result(ready)
                except self._ray.exceptions.RayActorError as error:
                    self._replace(place, error)
                    begin(place, share)
                    continue
                if not ended:
                    waiting[self._replicas[place].collect.remote(number)] = (place, share)
                for completion in completions:
                    drawn = completion.prompt_index, completion.sample_index
                    if drawn not in share.received:
                        share.received.add(drawn)
                        yield replace(completion, prompt_index=share.prompts[completion.prompt_index])
        finally:
            self._end(number, len(work))

    def _end(self, number: int, parts: int) -> None:
        """Let the replicas that have a part of a call abort what is under way, and forget it."""
        for ending in [replica.end.remote(number) for replica in self._replicas[:parts]]:
            try:
                self._ray.get(ending)
            except self._ray.exceptions.RayActorError:
                continue

    def _of_all(self, method: str, *arguments: Any) -> list[Any]:
        """What every replica answers; one that died is replaced and asked again."""
        asked = [getattr(replica, method).remote(*arguments) for replica in self._replicas]
        answers = []
        for place, answer in enumerate(asked):
            try:
                answers.append(self._result(answer))
            except self._ray.exceptions.RayActorError as error:
                self._replace(place, error)
                answers.append(self._result(getattr(self._replicas[place], method).remote(*arguments)))
        return answers

    def _result(self, reference: Any) -> Any:
        """The value behind a reference; an error that the replica raised is raised here as it was."""
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            cause = error.cause
            if isinstance(cause, EngineError):
                raise EngineError(str(cause)) from None
            raise EngineError(f"a replica failed: {type(cause).__name__}: {first_line(cause)}") from error

    def _start(self) -> Any:
        return self._actor.options(
            runtime_env={"env_vars": dict(self._options.environment)} if self._options.environment else None
        ).remote(_replica_config(self.config))

    def _await_ready(self, replicas: Sequence[Any]) -> list[int]:
        """Wait until the models are loaded; the longest prompt of each."""
        loading = [replica.longest_prompt.remote() for replica in replicas]
        ready, late = self._ray.wait(loading, num_returns=len(loading), timeout=self._options.start_timeout)
        if late:
            raise EngineError(
                f"{len(late)} of {len(loading)} replicas were not there after "
                f"{self._options.start_timeout:.0f} s: is the cluster busy? (ray.start_timeout)"
            )
        try:
            return [self._result(reference) for reference in ready]
        except self._ray.exceptions.RayActorError as error:
            raise EngineError(f"a replica can't start: {_reason(error)}") from error

    def _replace(self, place: int, error: Exception) -> None:
        """Start another replica in the place of one that died, with the weights of the moment."""
        self._restarts += 1
        if self._restarts > self._options.restarts:
            raise EngineError(
                f"replicas died {self._restarts} times (ray.restarts allows {self._options.restarts}): "
                f"{_reason(error)}"
            ) from error
        self._replicas[place] = self._start()
        self._await_ready([self._replicas[place]])
        if self._weights is not None:
            self._result(self._replicas[place].load_weights.remote(*self._weights))

    def _resources(self) -> dict[str, float]:
        """Processors and GPUs of one replica, after a look whether the cluster has them."""
        options, config, total = self._options, self.config, self._ray.cluster_resources()
        gpus = options.gpus
        if gpus is None:
            wanted = config.vllm.tensor_parallel_size if config.kind == "vllm" else 1
            gpus = 0.0 if config.device == "cpu" or not total.get("GPU") else float(wanted)
        for name, each in (("GPU", gpus), ("CPU", options.cpus)):
            if total.get(name, 0.0) < each * options.replicas:
                raise EngineError(
                    f"{options.replicas} replicas need {each * options.replicas:g} {name}, but the cluster has "
                    f"{total.get(name, 0.0):g}: lower ray.replicas or ray.{name.lower()}s"
                )
        return {"num_gpus": gpus, "num_cpus": options.cpus}

    def _require_open(self) -> None:
        if not self._replicas:
            raise EngineError("the engine is closed: make a new one")


class _Replica:
    """One engine in an actor's process. Calls run in threads of their own; the engine works for one at a time."""

    def __init__(self, config: EngineConfig):
        self._engine = create_engine(config)
        self._lock = threading.Lock()
        self._calls: dict[int, _Call] = {}

    def longest_prompt(self) -> int:
        if not isinstance(self._engine, PromptMeter):
            raise EngineError("this kind of engine can't be replicated")
        return self._engine.max_prompt_tokens

    def begin(
        self, number: int, prompts: list[Prompt], n: int, sampling: Sampling, first_sample: int
    ) -> tuple[list[Completion], bool]:
        """Start a call; answers as `collect` does, so that a driver can't ask for what has not begun."""
        with self._lock:
            completions = self._engine.generate(prompts, n, sampling, first_sample=first_sample)
        self._calls[number] = _Call(completions, self._lock)
        return [], False

    def collect(self, number: int) -> tuple[list[Completion], bool]:
        return self._calls[number].collect()

    def end(self, number: int) -> None:
        call = self._calls.pop(number, None)
        if call is not None:
            call.end()

    def load_weights(self, chunks: list[Any], version: int) -> None:
        import ray

        with self._lock:
            self._engine.load_weights(_unpacked(map(ray.get, chunks)), version)

    def fingerprint(self) -> str:
        with self._lock:
            return self._engine.fingerprint()


class _Call:
    """One `generate` of a replica: a thread that draws, and what it drew since the driver last asked."""

    def __init__(self, completions: Iterator[Completion], lock: threading.Lock):
        self._completions: Any = completions
        self._lock = lock
        self._drawn: queue.SimpleQueue[Completion | Exception | None] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._draw, daemon=True)
        self._thread.start()

    def collect(self) -> tuple[list[Completion], bool]:
        """Completions since the last time, at least one of them or the end, and whether that is all."""
        found: list[Completion] = []
        item = self._drawn.get()
        while isinstance(item, Completion):
            found.append(item)
            if self._drawn.empty():
                return found, False
            item = self._drawn.get()
        if isinstance(item, Exception):
            raise item
        return found, True

    def end(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _draw(self) -> None:
        try:
            with closing(self._completions):
                while not self._stopped.is_set():
                    with self._lock:
                        completion = next(self._completions, None)
                    if completion is None:
                        break
                    self._drawn.put(completion)
            self._drawn.put(None)
        except Exception as error:  # raised to the driver, by `collect`
            self._drawn.put(error)


def shares(prompts: int, n: int, first_sample: int, replicas: int) -> list[_Share]:
    """Cut a call for the replicas: by prompts where they suffice, else by samples of every prompt."""
    if prompts >= replicas or prompts >= n:
        return [
            _Share(range(place, prompts, replicas), first_sample, n)
            for place in range(min(replicas, prompts))
        ]
    parts = min(replicas, n)
    bounds = [n * part // parts for part in range(parts + 1)]
    return [
        _Share(range(prompts), first_sample + low, high - low) for low, high in itertools.pairwise(bounds)
    ]


def _join(ray: Any, options: RayOptions) -> None:
    """Join a cluster, or start Ray here."""
    try:
        ray.init(
            address=options.address,
            logging_level="warning",
            log_to_driver=False,
            **({} if options.address else {"include_dashboard": False}),
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise EngineError(
            f"can't join Ray at {options.address or 'this machine'}: {first_line(error)}"
        ) from error


def _replica_config(config: EngineConfig) -> EngineConfig:
    """A replica sees only its own GPUs, so the number of a device means nothing to it."""
    device = config.device.split(":")[0]
    return config.model_copy(update={"ray": None, "device": device})


def _chunks(tensors: Iterable[tuple[str, Tensor]]) -> Iterator[list[_PackedTensor]]:
    """Tensors as arrays of their bits, in lists of about `_CHUNK_BYTES`."""
    chunk: list[_PackedTensor] = []
    size = 0
    for name, tensor in tensors:
        array = tensor.detach().cpu().contiguous().view(_BITS[tensor.element_size()]).numpy()
        chunk.append((name, tensor.dtype, array))
        size += array.nbytes
        if size >= _CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _unpacked(chunks: Iterable[list[_PackedTensor]]) -> Iterator[tuple[str, Tensor]]:
    for chunk in chunks:
        for name, dtype, array in chunk:
            # The array lies read-only in the object store; torch wants memory that it may write to.
            yield name, torch.from_numpy(array.copy()).view(dtype)


def _reason(error: Exception) -> str:
    """The last line of Ray's report of a death is its cause."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
