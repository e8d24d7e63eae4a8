"""`rlvr eval`: greedy accuracy, avg@k and pass@k of a model on problem files, with intervals.

Every completion is recorded as it comes, so an evaluation that was stopped goes on where it was, and one that
is asked for again samples nothing.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from curation.files import JsonlAppender, atomic_write, digest, read_jsonl
from rollout import Completion, Engine, EngineConfig, Prompt, Sampling
from verifiers import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from trainer.evaluation import EvalOptions, EvalResult


class EvalConfig(BaseModel):
    """Measure greedy accuracy, avg@k and pass@k of a model on problem files."""

    model_config = ConfigDict(extra="forbid")

    model: str = Field(default="", description="Folder or hub name of the model; short for engine.model.")
    files: list[Path] = Field(
        default_factory=list,
        description="Benchmarks: JSONL, JSON, CSV or Parquet with problem and answer, or curated folders.",
    )
    engine: EngineConfig = Field(default_factory=EngineConfig, description="What samples.")
    preset: str | None = Field(
        default=None, description="`aime`: avg@32 at temperature 1.0 and top-p 0.7, no greedy."
    )
    greedy: bool = Field(default=True, description="Measure greedy accuracy.")
    samples: int = Field(default=4, ge=0, description="k of avg@k and pass@k: samples per problem; 0: none.")
    temperature: float = Field(default=1.0, gt=0, description="Temperature of the k samples.")
    top_p: float = Field(default=0.7, gt=0, le=1, description="Nucleus mass of the k samples.")
    max_tokens: int = Field(default=4096, gt=0, description="Longest response, in tokens.")
    stop: list[str] = Field(default_factory=list, description="Strings that end a response, beside EOS.")
    seed: int = Field(default=0, description="Seed of the samples.")
    limit: int | None = Field(
        default=None, gt=0, description="Problems taken of each benchmark; default all."
    )
    prompt_template: str = Field(
        default="{problem}", description="Prompt of a row that is not curated; {problem} is its text."
    )
    chat: bool = Field(default=False, description="Send that prompt as a user's chat message.")
    workers: int | None = Field(default=None, gt=0, description="Verifier processes; default one a core.")
    output: Path = Field(
        default=Path("eval"), description="Folder of results.json, responses and the record to resume from."
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not self.files:
            raise ValueError("files: name at least one benchmark")
        if not self.model and not self.engine.model:
            raise ValueError("model: name the folder or the hub name of a model")
        if self.preset not in (None, "aime"):
            raise ValueError(f"preset: no preset {self.preset!r}; there is `aime`")
        return self

    def options(self) -> EvalOptions:
        """What is measured."""
        from trainer.evaluation import EvalOptions

        if self.preset == "aime":
            return EvalOptions.aime(self.max_tokens)
        return EvalOptions(
            greedy=self.greedy,
            k=self.samples,
            temperature=self.temperature,
            top_p=self.top_p,
            max_tokens=self.max_tokens,
            stop=tuple(self.stop),
            seed=self.seed,
        )


class RecordedEngine:
    """An engine whose completions are kept in a file: what is there is read, the rest is sampled."""

    def __init__(self, engine: Engine, path: Path, progress: Progress) -> None:
        self.engine = engine
        self.progress = progress
        self.recorded: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
        self.appender = JsonlAppender(path)
        self.pending: list[dict[str, Any]] = []
        self.written = time.monotonic()
        for row in read_jsonl(path):
            self.recorded[row["key"]][row["sample"]] = row

    def generate(
        self, prompts: Sequence[Prompt], n: int, sampling: Sampling, *, first_sample: int = 0
    ) -> Iterator[Completion]:
        """Recorded completions first, then fresh ones."""
        fingerprint = self.engine.fingerprint()
        wanted = range(first_sample, first_sample + n)
        what = "greedy" if sampling.temperature == 0 else f"{n} samples each"
        task = self.progress.add_task(what, total=len(prompts) * n)
        keys = [self._key(fingerprint, prompt, sampling) for prompt in prompts]
        for index, key in enumerate(keys):
            for sample in wanted:
                if row := self.recorded[key].get(sample):
                    self.progress.advance(task)
                    yield _completion(index, row)
        for (start, count), indices in self._missing(keys, wanted).items():
            chosen = [prompts[index] for index in indices]
            for fresh in self.engine.generate(chosen, count, sampling, first_sample=start):
                index = indices[fresh.prompt_index]
                row = {
                    "key": keys[index],
                    "sample": fresh.sample_index,
                    "prompt_token_ids": fresh.prompt_token_ids,
                    "token_ids": fresh.token_ids,
                    "logprobs": fresh.logprobs,
                    "text": fresh.text,
                    "finish_reason": fresh.finish_reason,
                }
                self._keep(row)
                self.progress.advance(task)
                yield _completion(index, row)

        self._flush()

    def _keep(self, row: dict[str, Any]) -> None:
        """Add to the file; each write is synced to disk, so rows of one second share one."""
        self.pending.append(row)
        if time.monotonic() - self.written > 1.0:
            self._flush()

    def _flush(self) -> None:
        self.appender.write(self.pending)
        self.pending = []
        self.written = time.monotonic()

    def _missing(self, keys: Sequence[str], wanted: range) -> dict[tuple[int, int], list[int]]:
        """Prompts by the run of samples `(first, count)` that they lack; a prompt may lack several runs."""
        runs: dict[tuple[int, int], list[int]] = defaultdict(list)
        for index, key in enumerate(keys):
            start = None
            for sample in [*wanted, wanted.stop]:
                lacks = sample in wanted and sample not in self.recorded[key]
                if lacks and start is None:
                    start = sample
                elif not lacks and start is not None:
                    runs[start, sample - start].append(index)
                    start = None
        return runs

    def _key(self, fingerprint: str, prompt: Prompt, sampling: Sampling) -> str:
        text = prompt if isinstance(prompt, str) else [dict(message) for message in prompt]
        return digest(fingerprint, text, sampling.model_dump(mode="json"))

    def load_weights(self, tensors: Iterable[tuple[str, Tensor]], version: int) -> None:
        """Hand on to the engine."""
        self.engine.load_weights(tensors, version)

    def fingerprint(self) -> str:
        """That of the engine."""
        return self.engine.fingerprint()

    def close(self) -> None:
        """Close the record and the engine."""
        self._flush()
        self.appender.close()
        self.engine.close()


def _completion(prompt_index: int, row: dict[str, Any]) -> Completion:
    return Completion(
        prompt_index=prompt_index,
        sample_index=row["sample"],
        prompt_token_ids=tuple(row["prompt_token_ids"]),
        token_ids=tuple(row["token_ids"]),
        logprobs=tuple(row["logprobs"]),
        text=row["text"],
        finish_reason=row["finish_reason"],
    )


def run_eval(config: EvalConfig, console: Console) -> list[EvalResult]:
    """Evaluate on every file, print the table, and write `results.json` into the output folder."""
    from rollout import create_engine
    from trainer.evaluation import evaluate, load_eval_set
    from verifiers import VerifierPool

    options = config.options()
    sets = {
        path.name.split(".")[0] or path.name: load_eval_set(
            path, limit=config.limit, prompt_template=config.prompt_template, chat=config.chat
        )
        for path in config.files
    }
    if len(sets) < len(config.files):
        raise InputError("files: two benchmarks have the same file name; evaluate them apart")
    settings = (
        config.engine if config.engine.model else config.engine.model_copy(update={"model": config.model})
    )
    config.output.mkdir(parents=True, exist_ok=True)
    results = []
    with Progress(console=console, disable=not console.is_terminal) as progress:
        engine = RecordedEngine(create_engine(settings), config.output / "record.jsonl", progress)
        try:
            with VerifierPool(workers=config.workers) as pool:
                for name, problems in sets.items():
                    results.append(evaluate(engine, problems, options, name=name, pool=pool))
        finally:
            engine.close()
    rows = [result.row(0) for result in results]
    for row in rows:
        del row["step"], row["kind"]
    atomic_write(config.output / "results.json", json.dumps(rows, indent=2, ensure_ascii=False) + "\n")
    console.print(results_table(results))
    console.print(f"results: {config.output / 'results.json'}", highlight=False, soft_wrap=True)
    return results


def results_table(results: Sequence[EvalResult]) -> Table:
    """One line a benchmark, with 95 % intervals."""
    table = Table(header_style="dim", box=None, pad_edge=False)
    for heading in (
        "benchmark",
        "problems",
        "greedy",
        "avg@k",
        "pass@k",
        "mean length",
        "truncated",
        "failures",
    ):
        table.add_column(heading, justify="left" if heading == "benchmark" else "right")
    for result in results:
        table.add_row(
            result.benchmark,
            str(result.problems),
            _share(result.greedy_accuracy, result.greedy_low, result.greedy_high),
            _share(result.avg_at_k, result.avg_low, result.avg_high) + (f" k={result.k}" if result.k else ""),
            _share(result.pass_at_k),
            f"{result.length_mean:.1f}",
            _share(result.truncated_share),
            str(result.verifier_failures),
        )
    return table


def _share(value: float | None, low: float | None = None, high: float | None = None) -> str:
    if value is None:
        return "–"
    interval = f" [{100 * low:.1f}, {100 * high:.1f}]" if low is not None and high is not None else ""
    return f"{100 * value:.1f} %{interval}"
