"""`curate`: the stages in their order, each resumable, and the data set that comes out.

    from curation import CurateConfig, curate
    result = curate(CurateConfig(inputs=["raw.jsonl"], output="curated"))

A stage writes its rows, its drops and its statistics into a folder of `OUTPUT/.work` that is named by everything
it depends on: the inputs' bytes, its settings, the stages before it. A run that was stopped at any instant finds
the finished ones there. What is dear (verdicts on golds, rollouts, verdicts on rollouts) is kept as it comes.
"""

from __future__ import annotations

import heapq
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from curation import measure_stages, stages
from curation.balance import balance, in_validation, keep_band, pass_rate
from curation.card import write_card
from curation.config import CurateConfig
from curation.dataset import load_curated, write_curated
from curation.difficulty import Sampler
from curation.files import atomic_write, canonical_json, digest, file_digest, locked, read_jsonl
from curation.funnel import histogram, print_funnel
from curation.plots import drops_svg, histogram_svg
from curation.progress import StageProgress
from curation.rollouts import RolloutStore
from curation.row import Row, lightened, read_rows, write_rows
from curation.semantic import encoder_identity, require_encoder
from curation.sources import files_of
from curation.stage import DropLog, Reason, StageReport
from curation.types import CuratedProblem, LineageRow, PassRate
from rollout import Engine, Sampling, create_engine
from verifiers import InputError, Message, Problem, VerifierPool, get_verifier

VERSION = 3
"""Changes with the stages' rules, so that work of an older version is not taken for the same."""

LARGEST_TEMPLATE = 32
"""Variants that a split keeps together; a procedural generator makes thousands."""

StageRun = Callable[[Path, DropLog], Iterator[Row]]


@dataclass(frozen=True)
class CurationResult:
    """What a run of `curate` made."""

    folder: Path
    funnel: list[StageReport]
    count: int
    """Problems in the data set."""
    histogram_before: list[int] = field(default_factory=list)
    """Measured problems by pass rate, in ten equal bins, before the keep band; empty without a model."""
    histogram_after: list[int] = field(default_factory=list)
    """The same of the data set."""
    rollouts_drawn: int = 0
    """Rollouts that this call sampled; the others were in the store."""

    @cached_property
    def problems(self) -> list[CuratedProblem]:
        """The problems of the data set."""
        return load_curated(self.folder)


def to_prompt(row: Row, config: CurateConfig) -> str | tuple[Message, ...]:
    """The prompt of a row, as it is sampled now and trained on later."""
    text = config.prompt.template.replace("{problem}", row.problem)
    if not config.prompt.chat:
        return text
    user = Message(role="user", content=text)
    if config.prompt.system is None:
        return (user,)
    return (Message(role="system", content=config.prompt.system), user)


def to_problem(row: Row, config: CurateConfig) -> Problem:
    """The problem of a row."""
    return Problem(
        id=row.raw_id,
        prompt=to_prompt(row, config),
        answer=row.answer,
        tests=row.tests,
        verifier=row.verifier,
        source=row.source,
        metadata=row.meta,
    )


def to_curated(row: Row, config: CurateConfig) -> CuratedProblem:
    """The curated problem of a row that went through all stages."""
    extra = {"problem": row.problem, "answer_type": row.answer_type, **row.facts}
    if row.original:
        extra["original"] = row.original
    if row.solution:
        extra["solution"] = row.solution
    return CuratedProblem(
        problem=to_problem(row, config),
        pass_rate=PassRate(**row.rate) if row.rate else None,
        band=row.band,
        split="validation" if row.split == "validation" else "train",
        lineage=(row.raw_id, *row.duplicates),
        extra=extra,
    )


class _Work:
    """The work folder: stages that are done are found again by what they depend on."""

    def __init__(self, folder: Path, key: str, console: Console | None) -> None:
        self.folder, self.key, self.console = folder, key, console
        self.rows = folder / "none"
        self.done: list[Path] = []
        self.reports: list[StageReport] = []
        self.progress = StageProgress(None, "", None)
        """Of the stage that runs."""

    def run(self, name: str, settings: Any, stage: StageRun) -> None:
        """Run one stage on the rows of the stage before it, unless its result is there."""
        self.key = digest(self.key, name, settings)
        folder = self.folder / f"{len(self.done) + 1:02}-{name.replace(' ', '-')}-{self.key[:12]}"
        finished = folder / "report.json"
        if not finished.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            report = StageReport(name)
            total = self.reports[-1].kept if self.reports else None
            with (
                DropLog(folder / "drops.jsonl", report) as log,
                StageProgress(self.console, name, total) as progress,
            ):
                self.progress = progress

                def counted() -> Iterator[Row]:
                    for row in stage(self.rows, log):
                        yield row
                        if report.entered % 256 == 0:
                            progress.set(report.entered)

                report.kept = write_rows(folder / "rows.jsonl", counted())
            atomic_write(finished, canonical_json(report.to_json()))
        self.reports.append(StageReport.from_json(json.loads(finished.read_text())))
        self.done.append(folder)
        self.rows = folder / "rows.jsonl"

    def lineage(self, kept: Callable[[str], str | None]) -> Iterator[LineageRow]:
        """What became of every raw row, in raw order; `kept` gives the curated problem that a kept row "
        "went into."""
        streams: list[Iterator[tuple[int, LineageRow]]] = []
        for folder, report in zip(self.done, self.reports, strict=True):
            streams.append(_dropped(folder / "drops.jsonl", report.name, kept))
        streams.append(
            (
                row.ordinal,
                LineageRow(raw_id=row.raw_id, source=row.source, kept=True, problem_id=row.raw_id),
            )
            for row in read_rows(self.rows)
        )
        return (row for _, row in heapq.merge(*streams, key=lambda item: item[0]))

    def clean(self) -> None:
        """Remove the stages' rows; stores of verdicts and rollouts stay."""
        for folder in self.folder.glob("[0-9][0-9]-*"):
            shutil.rmtree(folder)


def _dropped(path: Path, stage: str, kept: Callable[[str], str | None]) -> Iterator[tuple[int, LineageRow]]:
    for ordinal, raw_id, source, reason in read_jsonl(path):
        merged_into = None
        if reason.partition(": ")[0].endswith(" duplicate"):
            merged_into = kept(reason.rsplit(" of ", 1)[1])
        yield (
            ordinal,
            LineageRow(
                raw_id=raw_id, source=source, kept=False, stage=stage, reason=reason, problem_id=merged_into
            ),
        )


def _inputs_digest(config: CurateConfig) -> str:
    parts: list[Any] = []
    for source in config.all_sources():
        files = files_of(source.path)
        parts.append([source.model_dump(mode="json"), [file_digest(file) for file in files]])
    return digest("inputs", VERSION, parts, config.limit, config.verifier)


def _check_names(config: CurateConfig) -> None:
    """Unknown verifiers and missing inputs are errors before anything runs."""
    for name in {config.verifier, *(source.verifier for source in config.sources)} - {""}:
        get_verifier(name)
    if config.duplicates.semantic:
        require_encoder()
    for location in [*config.inputs, *(source.path for source in config.sources)]:
        if not files_of(location) and location.startswith(("/", ".", "~")):
            raise InputError(f"{location}: no such file or folder")


def curate(
    config: CurateConfig, *, engine: Engine | None = None, console: Console | None = None
) -> CurationResult:
    """Make a curated data set; resumes by itself what an earlier call with the same settings left.

    Args:
        config: what to read, how to decide, where to write.
        engine: reference model for pass rates in place of `config.engine`; the caller closes it.
        console: where progress and the funnel are printed; None prints nothing.

    Raises:
        InputError: an input, a benchmark or a setting is wrong, or another process works in the output folder.
    """
    _check_names(config)
    work_folder = config.output / ".work"
    cache = config.cache or work_folder / "cache"
    with locked(work_folder / "lock"):
        for leftover in config.output.rglob(".*.tmp"):
            leftover.unlink()
        work = _Work(work_folder, _inputs_digest(config), console)
        _prepare(config, work, cache)
        if engine is None and config.engine is not None:
            with closing(create_engine(config.engine)) as created:
                return _with_model(config, work, cache, created, console)
        return _with_model(config, work, cache, engine, console)


def _with_model(
    config: CurateConfig, work: _Work, cache: Path, engine: Engine | None, console: Console | None
) -> CurationResult:
    """The stages after those that need no model."""
    if config.integers.by != "none":
        asked = engine if config.integers.by == "model" else None
        if config.integers.by == "model" and asked is None:
            raise InputError("integers.by is model: set engine.model, or integers.by: rules")
        settings = [config.integers.model_dump(), asked.fingerprint() if asked is not None else None]
        work.run("integers", settings, lambda rows, log: measure_stages.integers(rows, config, log, asked))
    drawn = _measure(config, work, cache, engine) if engine is not None else 0
    return _finish(config, work, drawn, console)


def _prepare(config: CurateConfig, work: _Work, cache: Path) -> None:
    """The stages that need no model."""
    workers = config.workers or len(os.sched_getaffinity(0))
    work.run("read", None, lambda _, log: stages.read(config, log))
    filters = config.filters.model_dump(mode="json")
    work.run("normalise", filters, lambda rows, log: stages.normalise(rows, config, log))
    work.run("types", filters, lambda rows, log: stages.types(rows, config, log))
    if config.gold.check:
        settings = config.gold.model_dump(mode="json")
        store = cache / "golds.jsonl"
        work.run("gold", settings, lambda rows, log: stages.gold(rows, config, log, workers, store))
    semantic = config.duplicates.semantic
    work.run(
        "duplicates",
        [config.duplicates.model_dump(mode="json"), encoder_identity(semantic) if semantic else None],
        lambda rows, log: stages.duplicates(rows, config, log),
    )
    if config.decontamination.against or config.decontaminate_against:
        names, texts = stages.load_benchmarks(config)
        work.run(
            "decontamination",
            [config.decontamination.model_dump(mode="json"), digest(names, texts)],
            lambda rows, log: stages.decontaminate(rows, config, log, names, texts),
        )


def _measure(config: CurateConfig, work: _Work, cache: Path, engine: Engine) -> int:
    """Guesses, pass rates and the keep band; returns the number of rollouts that were sampled now."""
    drawn = 0

    def sampling_stage(stage: Any, sampling: Sampling, to_prompted: Callable[[Row], Problem]) -> StageRun:
        def run(rows: Path, log: DropLog) -> Iterator[Row]:
            nonlocal drawn
            workers = config.workers or len(os.sched_getaffinity(0))
            samplers: list[Sampler] = []
            with (
                RolloutStore(cache) as store,
                VerifierPool(workers=workers, timeout=config.gold.timeout) as pool,
            ):

                def sampler_of(problems: Sequence[Problem]) -> Sampler:
                    samplers.append(Sampler(engine, sampling, problems, store, pool))
                    return samplers[-1]

                yield from stage(rows, config, log, engine, sampler_of, to_prompted, work.progress.set)
            drawn += sum(sampler.drawn for sampler in samplers)

        return run

    model = engine.fingerprint()
    if config.guess.tries:
        sampling = config.sampling.model_copy(update={"max_tokens": config.guess.max_tokens})
        prompt = config.prompt.model_copy(update={"template": config.guess.template})
        guessing = config.model_copy(update={"prompt": prompt})
        work.run(
            "guess",
            [
                config.guess.model_dump(mode="json"),
                prompt.model_dump(),
                sampling.model_dump(mode="json"),
                model,
            ],
            sampling_stage(measure_stages.guess, sampling, lambda row: to_problem(row, guessing)),
        )
    settings = [
        config.prompt.model_dump(mode="json"),
        config.sampling.model_dump(mode="json"),
        config.difficulty.model_dump(mode="json", exclude={"outside"}),
        model,
    ]
    work.run(
        "difficulty",
        settings,
        sampling_stage(measure_stages.pass_rates, config.sampling, lambda row: to_problem(row, config)),
    )

    def in_band(rows_file: Path, log: DropLog) -> Iterator[Row]:
        rows = [lightened(row) for row in read_rows(rows_file)]
        log.report.entered = len(rows)
        choices = keep_band(rows, config.difficulty, config.seed)
        for row, choice in zip(read_rows(rows_file), choices, strict=True):
            if choice.keep:
                yield row
            else:
                log.drop(row, Reason(choice.reason, choice.detail))

    work.run("keep band", [config.difficulty.model_dump(mode="json"), config.seed], in_band)
    return drawn


def _finish(config: CurateConfig, work: _Work, drawn: int, console: Console | None) -> CurationResult:
    """Balance, split, and write the folder."""

    def mix(rows_file: Path, log: DropLog) -> Iterator[Row]:
        rows = [lightened(row) for row in read_rows(rows_file)]
        log.report.entered = len(rows)
        choices = balance(rows, config.balance, config.seed)
        for row, choice in zip(read_rows(rows_file), choices, strict=True):
            if not choice.keep:
                log.drop(row, Reason(choice.reason, choice.detail))
                continue
            yield row

    def split(rows_file: Path, log: DropLog) -> Iterator[Row]:
        for row in read_rows(rows_file):
            log.report.entered += 1
            # Variants of a template stay together, unless there are so many that they are the set.
            together = row.facts.get("template_size", 0) <= LARGEST_TEMPLATE
            group = row.facts.get("template", row.raw_id) if together else row.raw_id
            if in_validation(group, config.validation, config.seed):
                row.split = "validation"
            log.report.notes[row.split] += 1
            yield row

    before: list[int] = []
    measured = next((at for at, report in enumerate(work.reports) if report.name == "difficulty"), None)
    if measured is not None:
        before = histogram(_rates(work.done[measured] / "rows.jsonl"))
    if config.balance != type(config.balance)():
        work.run("balance", [config.balance.model_dump(mode="json"), config.seed], mix)
    work.run("split", [config.validation, config.seed], split)
    after = histogram(_rates(work.rows)) if before else []
    kept = {
        raw_id: row.raw_id
        for row in read_rows(work.rows)
        if row.duplicates
        for raw_id in (row.raw_id, *row.duplicates)
    }
    funnel = {
        "stages": [report.to_json() for report in work.reports],
        "histogram_before": before,
        "histogram_after": after,
    }
    atomic_write(config.output / "funnel.json", json.dumps(funnel, indent=1, ensure_ascii=False) + "\n")
    atomic_write(config.output / "drops.svg", drops_svg(work.reports))
    if before:
        atomic_write(config.output / "difficulty.svg", histogram_svg(before, after))
    settings = config.model_dump(mode="json")
    count = write_curated(
        config.output,
        (to_curated(row, config) for row in read_rows(work.rows)),
        work.lineage(kept.get),
        card=write_card(config, work.reports, work.rows, before, after),
        config=yaml.safe_dump(settings, sort_keys=False, allow_unicode=True),
        format=config.format,
    )
    result = CurationResult(config.output, work.reports, count, before, after, drawn)
    work.clean()
    if console is not None:
        print_funnel(result.funnel, console)
        console.print(f"{config.output}: {count} problems", highlight=False, soft_wrap=True)
    return result


def _rates(path: Path) -> list[float]:
    return [rate for row in read_rows(path) if (rate := pass_rate(row)) is not None]
