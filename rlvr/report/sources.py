"""What the report is made from: metrics, rollouts and configuration of a run, and its curated set."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from verifiers import InputError


@dataclass(frozen=True, slots=True)
class Sample:
    """One response with its verdict, as the run recorded it."""

    step: int
    prompt: str
    response: str
    gold: str
    reward: float
    status: str
    extracted: str
    method: str
    length: int


@dataclass(frozen=True, slots=True)
class FunnelStage:
    """One stage of the curation: rows that entered it and what it dropped, by reason."""

    name: str
    entered: int
    dropped: int
    reasons: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class DataSet:
    """A curated set, as far as the report shows it."""

    folder: Path
    rows: int
    bands: tuple[tuple[str, int], ...]
    funnel: tuple[FunnelStage, ...]
    histogram_before: tuple[int, ...]
    """Measured problems by pass rate in equal bins of 0..1; empty where nothing was measured."""
    histogram_after: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """Everything the page shows."""

    folder: Path
    config: dict[str, Any]
    config_text: str
    train: list[dict[str, Any]]
    evals: dict[str, list[dict[str, Any]]]
    warnings: list[dict[str, Any]]
    samples: list[Sample]
    data: DataSet | None
    attempts: dict[int, Counter[str]] = field(default_factory=dict)
    """What the programs of each step tried that a solution has no need of; empty where none ran or tried."""
    notes: list[str] = field(default_factory=list)


def read_run(folder: Path, *, data: Path | None, samples: int) -> Run:
    """Read a run folder; whatever is missing beside the metrics becomes a note on the page."""
    metrics = folder / "metrics.jsonl"
    if not metrics.is_file():
        raise InputError(f"{folder}: no metrics.jsonl there, so this is not a run folder")
    rows = list(_jsonl(metrics))
    notes: list[str] = []
    config_file = folder / "config.yaml"
    config_text = config_file.read_text(encoding="utf-8") if config_file.is_file() else ""
    config = yaml.safe_load(config_text) or {}
    evals: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if row.get("kind") == "eval":
            evals.setdefault(str(row["benchmark"]), []).append(row)
    chosen = data or (Path(config["data"]) if config.get("data") else None)
    data_set = None
    if chosen is not None and chosen.is_dir():
        data_set = read_data_set(chosen)
    elif chosen is not None:
        notes.append(f"The curated set {chosen} is not there any more, so its funnel is not shown.")
    return Run(
        folder=folder,
        config=config,
        config_text=config_text,
        train=[row for row in rows if row.get("kind") == "train"],
        evals=evals,
        warnings=[row for row in rows if row.get("kind") == "warning"],
        samples=pick_samples(folder / "rollouts", samples),
        data=data_set,
        attempts=read_attempts(folder / "rollouts"),
        notes=notes,
    )


def _jsonl(path: Path) -> Iterable[dict[str, Any]]:
    """Rows of the metrics file; a torn last line of a run still going on is left out."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.endswith("\n"):
                yield json.loads(line)


def read_attempts(folder: Path) -> dict[int, Counter[str]]:
    """Refused system calls, odd paths and early exits of the sandboxed programs, added up by step."""
    import pyarrow.parquet as pq

    from verifiers import Verdict
    from verifiers.code import tried

    attempts: dict[int, Counter[str]] = {}
    for file in sorted(folder.glob("step-*.parquet")):
        for row in pq.read_table(file, columns=["step", "status", "detail"]).to_pylist():
            verdict = Verdict(reward=0.0, status=row["status"], detail=row["detail"] or "")
            if found := tried(verdict):
                attempts.setdefault(row["step"], Counter()).update(found)
    return attempts


def pick_samples(folder: Path, count: int) -> list[Sample]:
    """Responses from the first, the middle and the last recorded step, right and wrong ones in turn."""
    import pyarrow.parquet as pq

    files = sorted(folder.glob("step-*.parquet"))
    if not files or count <= 0:
        return []
    chosen = sorted({0, len(files) // 2, len(files) - 1})
    share = -(-count // len(chosen))
    picked: list[Sample] = []
    for index in chosen:
        rows = pq.read_table(files[index]).to_pylist()
        right = [row for row in rows if row["status"] == "correct"]
        wrong = [row for row in rows if row["status"] != "correct"]
        picked += [_sample(row) for row in _alternate(_spread(right), _spread(wrong))[:share]]
    return picked[:count]


def _spread(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each problem: the first of it."""
    first: dict[str, dict[str, Any]] = {}
    for row in rows:
        first.setdefault(row["problem_id"], row)
    return list(first.values())


def _alternate(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for pair in itertools.zip_longest(first, second) for row in pair if row is not None]


def _sample(row: dict[str, Any]) -> Sample:
    return Sample(
        step=row["step"],
        prompt=str(row["prompt"]),
        response=str(row["response"]),
        gold=str(row["gold"] or ""),
        reward=float(row["reward"]),
        status=row["status"],
        extracted=str(row["extracted"] or "–"),
        method=str(row["method"] or ""),
        length=int(row["length"]),
    )


def read_data_set(folder: Path) -> DataSet:
    """Read the parts of a curated set that the page shows."""
    from curation import load_curated

    problems = load_curated(folder)
    file = folder / "funnel.json"
    funnel = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    stages = [(stage, Counter(stage["reasons"])) for stage in funnel.get("stages", ())]
    return DataSet(
        folder=folder,
        rows=len(problems),
        bands=tuple(Counter(problem.band for problem in problems).most_common()),
        funnel=tuple(
            FunnelStage(stage["name"], stage["entered"], reasons.total(), tuple(reasons.most_common()))
            for stage, reasons in stages
        ),
        histogram_before=tuple(funnel.get("histogram_before", ())),
        histogram_after=tuple(funnel.get("histogram_after", ())),
    )
