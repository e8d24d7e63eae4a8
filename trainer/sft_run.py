"""A supervised run in a folder: R1's cold start, or the best responses of an earlier run, before the RL.

    rlvr sft pairs.jsonl --model Qwen/Qwen3-0.6B --output runs/start

The run folder holds `config.yaml`, `metrics.jsonl` (rows of kind `sft` and `held_out`) and `checkpoints/`, each
of which opens with `AutoModelForCausalLM.from_pretrained` and is a `model` for `rlvr train`. Started again after
a stop, kill -9 too, the run goes on from its last checkpoint to the same bytes.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from curation.files import atomic_write, file_digest
from rollout import EngineConfig, load_model, load_tokenizer
from trainer.checkpoint import (
    STATE,
    Checkpoints,
    check_settings,
    checkpoint_path,
    load_state,
    save_state,
)
from trainer.console import Reporter
from trainer.distributed import World
from trainer.metrics import MetricsWriter, peak_memory_bytes
from trainer.policy import TokenSequence
from trainer.sft import SupervisedLearner, batches, read_pairs, tokenize_pairs
from trainer.sft_config import SftConfig, WarmStartConfig
from trainer.weights import add_lora, placed, restore_model, save_model
from verifiers import InputError

if TYPE_CHECKING:
    from rich.console import Console

MAY_CHANGE = {"output", "checkpoint", "loggers", "pairs", "model", "micro_batch_tokens"}
"""Settings that a resumed run may have otherwise; files may move, and the pairs' hash is in every checkpoint."""


@dataclass(frozen=True, slots=True)
class SftResult:
    """Where a supervised run's results are."""

    folder: Path
    checkpoint: Path
    """Of the last step; opens with `AutoModelForCausalLM.from_pretrained`."""
    steps: int


@dataclass(frozen=True, slots=True)
class _Data:
    """The pairs as tokens, and what became of the file."""

    learnt: Sequence[TokenSequence]
    held_out: Sequence[TokenSequence]
    digest: str


def run_sft(config: SftConfig, *, console: Console | None = None) -> SftResult:
    """Learn the pairs of `config.pairs`.

    Raises:
        InputError: pairs, model or run folder are not what they should be.
    """
    with World.join() as world:
        tokenizer = load_tokenizer(_engine_config(config))
        data = _read_data(config, tokenizer)
        recipe = config.recipe(len(data.learnt))
        model: Any = load_model(_engine_config(config))
        if config.lora is not None:
            model = add_lora(model, config.lora, config.seed)
        if config.gradient_checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        learner = SupervisedLearner(model, recipe, world)
        folder = config.output / "checkpoints"
        with ExitStack() as stack:
            run = _open(config, recipe, learner, tokenizer, data, console, stack) if world.rank == 0 else None
            start = world.share(run and run.start)
            if start:
                _resume(learner, folder, start, data)
            model.train()
            for step, batch in enumerate(batches(data.learnt, recipe, start), start + 1):
                began = time.monotonic()
                statistics = learner.step(batch, step)
                row = {
                    "kind": "sft",
                    "step": step,
                    **statistics._asdict(),
                    "tokens": sum(map(len, batch)),
                    "seconds": time.monotonic() - began,
                    "memory_bytes": peak_memory_bytes(),
                }
                checkpoint = step == recipe.steps or step % config.checkpoint.every == 0
                held_out = learner.loss(data.held_out) if checkpoint and data.held_out else None
                if run:
                    run.record(row, held_out, checkpoint=checkpoint)
    return SftResult(config.output, checkpoint_path(folder, recipe.steps), recipe.steps)


@dataclass
class _Run:
    """What the first process writes and shows."""

    learner: SupervisedLearner
    tokenizer: Any
    data: _Data
    checkpoints: Checkpoints
    metrics: MetricsWriter
    reporter: Reporter
    start: int
    """Step of the checkpoint that the run goes on from; 0 at the beginning."""

    def record(self, row: dict[str, Any], held_out: float | None, *, checkpoint: bool) -> None:
        """Write and show a step, and save it where it is time to."""
        rows = [row]
        if held_out is not None:
            rows.append({"kind": "held_out", "step": row["step"], "loss": held_out})
        for each in rows:
            self.metrics.write(each)
            self.reporter.row(each)
        if checkpoint:
            self._save(row["step"], held_out)

    def _save(self, step: int, held_out: float | None) -> None:
        folder = self.checkpoints.begin(step)
        save_model(self.learner.policy.model, folder)
        self.tokenizer.save_pretrained(folder)
        optimizer = self.learner.optimizer.state_dict()
        save_state(folder / STATE, {"step": step, "optimizer": optimizer, "pairs": self.data.digest})
        # The best checkpoint is the one with the highest figure: the lowest loss.
        self.checkpoints.commit(step, None if held_out is None else -held_out)


def _open(
    config: SftConfig,
    recipe: WarmStartConfig,
    learner: SupervisedLearner,
    tokenizer: Any,
    data: _Data,
    console: Console | None,
    stack: ExitStack,
) -> _Run:
    config.output.mkdir(parents=True, exist_ok=True)
    settings = config.model_dump(mode="json")
    check_settings(config.output / "config.yaml", settings, MAY_CHANGE)
    checkpoints = Checkpoints(config.output / "checkpoints", config.checkpoint.keep)
    start = checkpoints.latest() or 0
    run = _Run(
        learner=learner,
        tokenizer=tokenizer,
        data=data,
        checkpoints=checkpoints,
        metrics=stack.enter_context(
            MetricsWriter(config.output, config.loggers, settings, start if start else -1)
        ),
        reporter=stack.enter_context(Reporter(console, recipe.steps)),
        start=start,
    )
    if start:
        run.reporter.resumed(start)
    atomic_write(config.output / "config.yaml", yaml.safe_dump(settings, sort_keys=False))
    return run


def _resume(learner: SupervisedLearner, folder: Path, step: int, data: _Data) -> None:
    path = checkpoint_path(folder, step)
    state = load_state(path / STATE)
    if state["pairs"] != data.digest:
        raise InputError(
            f"{path}: the run was started with other pairs than the file has now; "
            "bring the file back, or take another output folder"
        )
    restore_model(learner.policy.model, path)
    learner.optimizer.load_state_dict(state["optimizer"])


def _read_data(config: SftConfig, tokenizer: Any) -> _Data:
    sequences = tokenize_pairs(tokenizer, read_pairs(config.pairs), config.max_length)
    order = list(range(len(sequences)))
    random.Random(f"held out:{config.seed}").shuffle(order)
    count = round(config.held_out * len(sequences))
    if count == len(sequences):
        raise InputError(f"{config.pairs}: held_out {config.held_out} leaves none of {count} pairs to learn")
    chosen = set(order[:count])
    parts: tuple[list[TokenSequence], list[TokenSequence]] = [], []
    for place, sequence in enumerate(sequences):
        parts[place in chosen].append(sequence)
    return _Data(*parts, digest=file_digest(config.pairs))


def _engine_config(config: SftConfig) -> EngineConfig:
    return placed(EngineConfig(model=config.model), config.dtype, config.device)
