"""`rlvr demo`: raw problems, a tiny model, a curated set, DAPO, and a report; on a CPU, in some minutes.

The same code as a run on GPUs, on a toy task (`rlvr.quickstart.tasks`). What it shows: from the warm start the
model knows careful work, but its most likely response is a bare guess; reinforcement learning with nothing but
the verifier's verdict makes careful work its habit. What it does not show: that the model learns arithmetic which
it did not know. The held-out problems are in neither the warm start nor the training set.
"""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from curation.files import atomic_write, locked, write_jsonl
from rlvr.quickstart.scrape import write_scrape
from rlvr.quickstart.tasks import held_out, phrases, warm_start_pairs
from verifiers import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from curation.config import CurateConfig
    from rlvr.quickstart.summary import Caught
    from trainer.config import TrainConfig

MAX_TOKENS = 48
"""Longest response: eight operations with their work take 40."""
BENCHMARK, BEYOND = "held_out", "beyond"
"""Held-out problems of the kinds to learn, and of kinds that nothing shows how to solve."""

_FAST: dict[str, Any] = {
    "rows": 400,
    "held_out": 60,
    "warm_start_steps": 150,
    "train_steps": 4,
    "prompts_per_step": 8,
    "group_size": 8,
    "rollouts": 8,
}


class DemoConfig(BaseModel):
    """The whole way on a toy task: raw problems, curated set, DAPO training, report."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    output: Path = Field(
        default=Path("demo"), description="Folder of everything; a demo that was stopped goes on there."
    )
    seed: int = Field(default=0, description="Seed of the problems, the model and all sampling.")
    fast: bool = Field(
        default=False,
        description="Small sizes for what is not set: all steps in half a minute; the model learns little.",
    )
    rows: int = Field(default=4000, ge=200, description="Lines of the raw problem file.")
    held_out: int = Field(default=400, ge=20, description="Held-out problems.")
    warm_start_steps: int = Field(default=1600, ge=1, description="Optimizer steps of the warm start.")
    rollouts: int = Field(default=16, ge=4, description="Rollouts per problem for its pass rate, at most.")
    train_steps: int = Field(default=25, ge=1, description="Rollout steps of DAPO.")
    prompts_per_step: int = Field(default=32, ge=1, description="Prompts (groups) that a step learns from.")
    group_size: int = Field(default=16, ge=2, description="Responses to each prompt.")

    @model_validator(mode="before")
    @classmethod
    def _fill_in_fast(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and given.get("fast") in (True, "true", "True", "1"):
            return {**_FAST, **given}
        return given


@dataclass(frozen=True)
class DemoResult:
    """What a demo made and found."""

    folder: Path
    lines: Mapping[str, int]
    """Raw lines by what they were planted as."""
    caught: tuple[Caught, ...]
    before: Mapping[str, Any]
    """The held-out evaluation before the training: a row of `metrics.jsonl`."""
    after: Mapping[str, Any]
    beyond: tuple[Mapping[str, Any], Mapping[str, Any]]
    """The same two rows for problems of kinds that nothing shows how to solve."""
    seconds: Mapping[str, float]
    """Wall time of each phase."""
    cpu_seconds: Mapping[str, float]
    checkpoint: Path
    report: Path


class _Phases:
    """Runs each phase once: `demo.json` in the folder says which are done, and how long they took."""

    def __init__(self, config: DemoConfig, console: Console | None) -> None:
        self.path, self.console = config.output / "demo.json", console
        settings = config.model_dump(mode="json", exclude={"output"})
        self.state: dict[str, Any] = {"settings": settings, "phases": {}}
        if self.path.is_file():
            found = json.loads(self.path.read_text(encoding="utf-8"))
            changed = [
                f"{name} was {found['settings'].get(name)} and is {value}"
                for name, value in settings.items()
                if found["settings"].get(name) != value
            ]
            if changed:
                raise InputError(
                    f"{config.output}: holds a demo with other settings ({', '.join(changed)}); "
                    "give another --output, or delete the folder"
                )
            self.state = found
            if "report" in found["phases"]:
                self.say(
                    f"{config.output} holds a finished demo; to start again, delete it or give another --output"
                )
        elif any(item.name != ".lock" for item in config.output.iterdir()):
            raise InputError(f"{config.output}: is not empty and holds no demo; give another --output")
        else:
            self._save()

    def _save(self) -> None:
        atomic_write(self.path, json.dumps(self.state, indent=1) + "\n")

    def say(self, text: str) -> None:
        """Print one line."""
        if self.console is not None:
            self.console.print(text, highlight=False, soft_wrap=True)

    def run(self, name: str, title: str, work: Callable[[], Mapping[str, Any] | None]) -> dict[str, Any]:
        """Do a phase, or say that it is done; returns what it noted."""
        done: dict[str, dict[str, Any]] = self.state["phases"]
        heading = f"[bold]{title}[/bold]"
        if name in done:
            self.say(f"{heading}: done before, in {done[name]['seconds']:.1f} s")
            return done[name]
        self.say(heading)
        began, cpu = time.monotonic(), _cpu_seconds()
        notes = dict(work() or {})
        notes |= {"seconds": time.monotonic() - began, "cpu_seconds": _cpu_seconds() - cpu}
        done[name] = notes
        self._save()
        self.say(f"  {notes['seconds']:.1f} s")
        return notes


def _cpu_seconds() -> float:
    """CPU time of this process and of its children that have ended."""
    usage = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in usage)


def run_demo(config: DemoConfig, console: Console | None = None) -> DemoResult:
    """Go the whole way, from where an earlier call with the same settings was stopped.

    Raises:
        InputError: the output folder holds something else, a demo with other settings, or a running one.
    """
    from rlvr.quickstart import summary
    from rlvr.report import write_report

    with locked(config.output / ".lock"):
        phases = _Phases(config, console)
        with _quiet_single_thread():
            noted = phases.run("raw", "1/5 raw problems", lambda: _make_raw(config, phases))
            phases.run("model", "2/5 tiny model, warm start", lambda: _make_model(config, phases))
            phases.run("curate", "3/5 curation", lambda: _curate(config, console))
            caught = summary.caught(config.output)
            if console is not None:
                console.print(summary.caught_table(caught))
            phases.run("train", "4/5 training by DAPO", lambda: _train(config, console))
            data, run = config.output / "curated", config.output / "run"
            phases.run("report", "5/5 report", lambda: {"page": str(write_report(run, data=data))})
        done = phases.state["phases"]
        before, after = summary.evaluations(run / "metrics.jsonl", BENCHMARK)
        beyond = summary.evaluations(run / "metrics.jsonl", BEYOND)
        result = DemoResult(
            folder=config.output,
            lines=noted["lines"],
            caught=tuple(caught),
            before=before,
            after=after,
            beyond=beyond,
            seconds={name: notes["seconds"] for name, notes in done.items()},
            cpu_seconds={name: notes["cpu_seconds"] for name, notes in done.items()},
            checkpoint=config.output / "run" / "checkpoints" / done["train"]["checkpoint"],
            report=run / "report.html",
        )
        if console is not None:
            summary.print_result(result, console)
        return result


@contextmanager
def _quiet_single_thread() -> Iterator[None]:
    """One torch thread: the model is too small to share out, and the verifiers want the other core; no bars."""
    import torch
    from transformers.utils import logging

    threads, bars = torch.get_num_threads(), logging.is_progress_bar_enabled()
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        if bars:
            logging.enable_progress_bar()


def _make_raw(config: DemoConfig, phases: _Phases) -> dict[str, Any]:
    """The raw file, the truth about it, the benchmark, and the warm start's pairs."""
    benchmark = held_out(config.held_out, config.seed)
    beyond = held_out(config.held_out // 4, config.seed, "hard")
    for name, items in ((BENCHMARK, benchmark), (BEYOND, beyond)):
        write_jsonl(
            config.output / f"{name}.jsonl",
            ({"problem": item.question(), "answer": item.answer, "solution": item.work} for item in items),
        )
    lines = write_scrape(config.output / "raw", config.rows, benchmark, config.seed, excluded=beyond)
    pairs = warm_start_pairs(10 * config.rows, config.seed, benchmark)
    count = write_jsonl(
        config.output / "warm_start.jsonl",
        ({"prompt": prompt, "response": response} for prompt, response in pairs),
    )
    phases.say(
        f"  {config.output}/raw/problems.jsonl: {config.rows:,} lines as a scrape would leave them\n"
        f"  {config.output}/{BENCHMARK}.jsonl: {config.held_out:,} held-out problems\n"
        f"  {config.output}/{BEYOND}.jsonl: {len(beyond):,} of kinds that nothing shows how to solve\n"
        f"  {config.output}/warm_start.jsonl: {count:,} responses to imitate, 60 % guesses, 40 % careful"
    )
    return {"lines": lines}


def _make_model(config: DemoConfig, phases: _Phases) -> dict[str, Any]:
    """Model and tokenizer from nothing, and the warm start."""
    from rlvr.quickstart.model import build_model, build_tokenizer, save_model
    from trainer import WarmStartConfig, read_pairs, warm_start

    tokenizer = build_tokenizer(phrases())
    model = build_model(tokenizer, config.seed)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    phases.say(f"  Qwen2 with {parameters:,} parameters, {len(tokenizer)} tokens")
    recipe = WarmStartConfig(
        steps=config.warm_start_steps,
        batch_size=64,
        learning_rate=3e-3,
        betas=(0.9, 0.95),
        weight_decay=0.0,
        seed=config.seed,
    )
    every = max(1, config.warm_start_steps // 8)

    def show(step: int, steps: int, loss: float) -> None:
        if step % every == 0:
            phases.say(f"  step {step}/{steps}  loss {loss:.3f} nats per token")

    result = warm_start(model, tokenizer, read_pairs(config.output / "warm_start.jsonl"), recipe, show)
    save_model(model, tokenizer, config.output / "model")
    return {"tokens": result.tokens}


def curate_config(config: DemoConfig) -> CurateConfig:
    """The curation of the demo; `rlvr curate --config demo/curate.yaml` does it again."""
    from curation.config import (
        BalanceConfig,
        CurateConfig,
        DecontaminationConfig,
        DifficultyConfig,
        PromptConfig,
    )
    from rollout import EngineConfig, Sampling

    return CurateConfig(
        inputs=[str(config.output / "raw" / "problems.jsonl")],
        output=config.output / "curated",
        decontamination=DecontaminationConfig(
            against=[str(config.output / f"{name}.jsonl") for name in (BENCHMARK, BEYOND)]
        ),
        engine=EngineConfig(model=str(config.output / "model"), device="cpu"),
        prompt=PromptConfig(template="{problem}", chat=False),
        sampling=Sampling(max_tokens=MAX_TOKENS, seed=config.seed),
        difficulty=DifficultyConfig(rollouts=config.rollouts, keep=(0.2, 0.9)),
        balance=BalanceConfig(target="gaussian", size=round(0.25 * config.rows)),
        seed=config.seed,
    )


def train_config(config: DemoConfig) -> TrainConfig:
    """The training of the demo; `rlvr train --config demo/train.yaml` goes on with it."""
    from rollout import EngineConfig
    from trainer.config import (
        CheckpointConfig,
        EvalSettings,
        LearnerConfig,
        RolloutConfig,
        TrainConfig,
    )

    return TrainConfig(
        data=config.output / "curated",
        model=str(config.output / "model"),
        output=config.output / "run",
        steps=config.train_steps,
        seed=config.seed,
        engine=EngineConfig(device="cpu"),
        rollout=RolloutConfig(
            prompts_per_step=config.prompts_per_step, group_size=config.group_size, max_tokens=MAX_TOKENS
        ),
        learner=LearnerConfig(
            mini_batch=config.prompts_per_step * config.group_size // 2,
            learning_rate=2e-4,
            warmup_steps=2,
            weight_decay=0.0,
            device="cpu",
        ),
        evaluation=EvalSettings(
            files={name: config.output / f"{name}.jsonl" for name in (BENCHMARK, BEYOND)},
            every=5,
            k=4,
            top_p=1.0,
        ),
        checkpoint=CheckpointConfig(every=10),
    )


def _write_yaml(path: Path, settings: BaseModel) -> None:
    """Only what is set: the rest are the defaults, which `--help` explains."""
    text = yaml.safe_dump(settings.model_dump(mode="json", exclude_unset=True), sort_keys=False)
    atomic_write(path, text)


def _curate(config: DemoConfig, console: Console | None) -> dict[str, Any]:
    from curation import curate

    settings = curate_config(config)
    _write_yaml(config.output / "curate.yaml", settings)
    result = curate(settings, console=console)
    return {"problems": result.count}


def _train(config: DemoConfig, console: Console | None) -> dict[str, Any]:
    from trainer import train

    settings = train_config(config)
    _write_yaml(config.output / "train.yaml", settings)
    result = train(settings, console=console)
    return {"checkpoint": result.checkpoint.name}
