"""A run's parts, put together from its configuration: engine, learner, sampler, files; and the resume.

The run folder holds `config.yaml`, `metrics.jsonl`, `rollouts/`, `checkpoints/` (and in it `replay/`, what was
sampled since the last checkpoint).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from torch import nn

from curation import CuratedProblem, load_curated
from curation.files import atomic_write
from rollout import Engine, EngineConfig, create_engine, load_model, load_tokenizer
from trainer.checkpoint import SAMPLER, STATE, Checkpoints, check_settings, load_state, save_state
from trainer.config import TrainConfig
from trainer.console import Reporter
from trainer.distributed import World
from trainer.evaluation import EvalOptions, evaluate, load_eval_set
from trainer.health import HealthWatch
from trainer.learner import Learner, Sample, UpdateStatistics
from trainer.metrics import MetricsWriter
from trainer.rewards import Shaping
from trainer.sampler import DynamicSampler, Rollout
from trainer.sharding import is_sharded
from trainer.store import ReplayStore, read_groups, write_groups
from trainer.weights import copy_to_cpu, placed, restore_model, save_model
from verifiers import InputError, Problem, VerifierPool

MAY_CHANGE = {
    "output",
    "steps",
    "evaluation",
    "checkpoint",
    "verifier",
    "loggers",
    "data",
    "model",
    # The same numbers, wherever they lie.
    "learner.sharding",
}
"""Settings that a resumed run may have otherwise: they don't decide what a step does; data may move."""

ProblemLike = Problem | CuratedProblem


@dataclass
class Run:
    """The parts of a run, and where it stands."""

    config: TrainConfig
    engine: Engine
    learner: Learner
    sampler: DynamicSampler
    shaping: Shaping
    checkpoints: Checkpoints
    replay: ReplayStore
    metrics: MetricsWriter
    pool: VerifierPool
    eval_sets: Mapping[str, Sequence[Problem]]
    reporter: Reporter
    health: HealthWatch
    tokenizer: Any
    world: World
    start: int = 0
    """Step of the checkpoint that the run goes on from; 0 at the beginning."""

    def sample(self, step: int) -> Rollout:
        """The step's rollout: the one sampled before a kill, or a new one, which is then safe from a kill."""
        found = self.replay.load_rollout(step)
        if found is not None:
            rollout, state = found
            self.sampler.restore(state, rollout.pending)
            return rollout
        rollout = self.sampler.collect(step)
        self.replay.save_rollout(rollout, self.sampler.state())
        return rollout

    def update(self, samples: Sequence[Sample], step: int) -> UpdateStatistics:
        """Learn from the step's samples, in all processes, and give the engine the new weights."""
        self.world.share(("update", samples, step))
        statistics = self.learner.update(samples, step)
        self.publish_weights(step)
        return statistics

    def record(self, row: Mapping[str, Any]) -> None:
        """Write a row of metrics, show it, and warn where it tells of trouble."""
        self.metrics.write(row)
        self.reporter.row(row)
        for warning in self.health.see(row):
            self.metrics.write({"kind": "warning", "step": row["step"], "message": warning})
            self.reporter.warn(warning)

    def evaluate(self, step: int) -> float | None:
        """Evaluate on every benchmark; returns the mean accuracy, None where there is no benchmark."""
        if not self.eval_sets:
            return None
        rows = self.replay.load_evaluation(step)
        if rows is None:
            options = self._eval_options()
            rows = [
                evaluate(self.engine, problems, options, name=name, pool=self.pool).row(step)
                for name, problems in self.eval_sets.items()
            ]
            self.replay.save_evaluation(step, rows)
        for row in rows:
            self.record(row)
        found = [
            row["greedy_accuracy"] if row["greedy_accuracy"] is not None else row["avg_at_k"] for row in rows
        ]
        known = [value for value in found if value is not None]
        return sum(known) / len(known) if known else None

    def save(self, step: int, accuracy: float | None) -> Path:
        """Write a checkpoint after `step`; what was kept for a replay up to there goes."""
        folder = self.checkpoints.begin(step)
        if self.learner.sharded:
            self.world.share(("state", None, step))
        weights, optimizer = self.learner.state()
        save_model(self.learner.model, folder, weights)
        if self.tokenizer is not None:
            self.tokenizer.save_pretrained(folder)
        save_state(folder / STATE, {"step": step, "optimizer": optimizer})
        write_groups(folder / SAMPLER, {"pending": self.sampler.pending}, self.sampler.state())
        path = self.checkpoints.commit(step, accuracy)
        self.replay.forget(step)
        return path

    def resume(self, step: int) -> None:
        """Take over the state of a checkpoint."""
        folder = self.checkpoints.path(step)
        self.world.share(("resume", folder, step))
        resume_learner(self.learner, folder)
        sets, state = read_groups(folder / SAMPLER, self.replay.problems)
        self.sampler.restore(state, sets.get("pending", ()))
        self.publish_weights(step)
        self.start = step

    def publish_weights(self, step: int) -> None:
        """Give the engine the weights as they are after `step`."""
        if self.learner.sharded:
            self.world.share(("weights", None, step))
        shared = not self.learner.sharded and isinstance(getattr(self.engine, "model", None), nn.Module)
        self.engine.load_weights(self.learner.weights(shared=shared), step)

    def _eval_options(self) -> EvalOptions:
        settings = self.config.evaluation
        return EvalOptions(
            greedy=settings.greedy,
            k=settings.k,
            temperature=settings.temperature,
            top_p=settings.top_p,
            max_tokens=settings.max_tokens or self.config.rollout.max_tokens,
            stop=self.config.rollout.stop,
            seed=self.config.seed,
        )


@contextmanager
def open_run(
    config: TrainConfig,
    engine: Engine | None,
    problems: Sequence[ProblemLike] | None,
    eval_sets: Mapping[str, Sequence[ProblemLike]] | None,
    console: Console | None,
    world: World,
) -> Iterator[Run]:
    """Put the parts together, go on where the run folder stands, and close everything in the end.

    Raises:
        InputError: data, model or the run folder are not what they should be.
    """
    config.output.mkdir(parents=True, exist_ok=True)
    for leftover in config.output.rglob(".*.tmp"):
        leftover.unlink()
    train_items, held_out = _problems(config, problems, eval_sets)
    train_problems = [_plain(item) for item in train_items]
    with ExitStack() as stack:
        settings = config.model_dump(mode="json")
        check_settings(config.output / "config.yaml", settings, MAY_CHANGE)
        if engine is None:
            engine = create_engine(_engine_config(config))
            stack.callback(engine.close)
        model, tokenizer = _learner_model(config, engine, world)
        checkpoints = Checkpoints(config.output / "checkpoints", config.checkpoint.keep)
        start = checkpoints.latest() or 0
        run = Run(
            config=config,
            engine=engine,
            learner=_learner(config, model, world),
            sampler=DynamicSampler(
                engine,
                train_problems,
                pool := stack.enter_context(
                    VerifierPool(workers=config.verifier.workers, timeout=config.verifier.timeout)
                ),
                config.rollout,
                config.dynamic_sampling,
                config.seed,
                [item.band if isinstance(item, CuratedProblem) else None for item in train_items],
            ),
            shaping=Shaping(config.reward, config.rollout.max_tokens, config.overlong_cache),
            checkpoints=checkpoints,
            replay=ReplayStore(config.output / "checkpoints" / "replay", train_problems),
            metrics=stack.enter_context(
                MetricsWriter(config.output, config.loggers, settings, start if start else -1)
            ),
            pool=pool,
            eval_sets=held_out,
            reporter=stack.enter_context(Reporter(console, config.steps)),
            health=HealthWatch(),
            tokenizer=tokenizer,
            world=world,
        )
        if start:
            run.resume(start)
            run.replay.forget(start)
            for row in run.metrics.kept:
                run.health.see(row)
            run.reporter.resumed(start)
        atomic_write(config.output / "config.yaml", yaml.safe_dump(settings, sort_keys=False))
        yield run
    world.share(None)


def resume_learner(learner: Learner, folder: Path) -> None:
    """Take over weights, optimizer and random states of a checkpoint."""
    restore_model(learner.model, folder)
    # Sharded processes copy their parts out of one mapped file, which would not fit into memory once for each.
    learner.optimizer.load_state_dict(load_state(folder / STATE, mapped=learner.sharded)["optimizer"])


def follow(config: TrainConfig, engine: Engine | None, world: World) -> None:
    """What the processes beside the first one do: their part of every update, until the run ends."""
    learner = _learner(config, _learner_model(config, engine, world)[0], world)
    while (message := world.share()) is not None:
        kind, content, step = message
        if kind == "resume":
            resume_learner(learner, content)
        elif kind == "update":
            learner.update(content, step)
        elif kind == "weights":
            # The engine is the first process's; here the parts are only handed out.
            for _ in learner.weights(shared=False):
                pass
        else:
            learner.state()


def _problems(
    config: TrainConfig,
    problems: Sequence[ProblemLike] | None,
    eval_sets: Mapping[str, Sequence[ProblemLike]] | None,
) -> tuple[list[ProblemLike], dict[str, list[Problem]]]:
    """Training problems and benchmarks; a curated set's validation split is one where none is named."""
    limit = config.evaluation.limit
    if problems is None:
        if config.data is None:
            raise InputError("there is nothing to train on; set `data` to a folder that `rlvr curate` wrote")
        problems = load_curated(config.data)
    train = [item for item in problems if not isinstance(item, CuratedProblem) or item.split == "train"]
    validation = [item for item in problems if isinstance(item, CuratedProblem) and item.split != "train"]
    held_out = {name: [_plain(item) for item in items][:limit] for name, items in (eval_sets or {}).items()}
    for name, path in config.evaluation.files.items():
        held_out[name] = load_eval_set(
            path,
            limit=limit,
            prompt_template=config.evaluation.prompt_template,
            chat=config.evaluation.chat,
        )
    if not held_out and validation:
        held_out["validation"] = [_plain(item) for item in validation][:limit]
    return train, held_out


def _plain(item: ProblemLike) -> Problem:
    return item.problem if isinstance(item, CuratedProblem) else item


def _engine_config(config: TrainConfig) -> EngineConfig:
    settings = config.engine or EngineConfig()
    model = settings.model or config.model
    if not model:
        raise InputError("there is no model to train; set `model` to a folder or a hub name")
    # The learner shares the engine's weights, so the learner's type and device are the engine's.
    return placed(settings.model_copy(update={"model": model}), config.learner.dtype, config.learner.device)


def _learner_model(config: TrainConfig, engine: Engine | None, world: World) -> tuple[nn.Module, Any]:
    """The model to train: the engine's own where it has one in this process.

    One that will be sharded is a copy of it, in CPU memory.
    """
    model = getattr(engine, "model", None)
    sharded = is_sharded(config.learner, world)
    if isinstance(model, nn.Module):
        return copy_to_cpu(model) if sharded else model, getattr(engine, "tokenizer", None)
    settings = _engine_config(config)
    place = {"device": "cpu"} if sharded else {}
    return load_model(settings.model_copy(update=place)), load_tokenizer(settings)


def _learner(config: TrainConfig, model: nn.Module, world: World) -> Learner:
    return Learner(
        model,
        config.learner,
        config.objective,
        temperature=config.rollout.temperature,
        max_tokens=config.rollout.max_tokens,
        steps=config.steps,
        seed=config.seed,
        world=world,
    )
