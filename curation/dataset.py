"""The data set folder: `data.parquet` (or `data.jsonl`), `card.md`, `lineage.parquet`, `config.yaml`.

Columns are flat and the same for every data set, so that `datasets.load_dataset("parquet", ...)` opens it and
sets can be concatenated. What has no fixed shape (tests, metadata) is JSON text in a string column.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from curation.files import atomic_path, atomic_write, canonical_json, read_jsonl, write_jsonl
from curation.types import CuratedProblem, LineageRow, PassRate
from verifiers import InputError, Problem

Format = Literal["parquet", "jsonl"]

MESSAGE = pa.struct([("role", pa.string()), ("content", pa.string())])
DATA_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("prompt", pa.string()),
        ("messages", pa.list_(MESSAGE)),
        ("answer", pa.string()),
        ("tests", pa.string()),
        ("verifier", pa.string()),
        ("source", pa.string()),
        ("band", pa.string()),
        ("split", pa.string()),
        ("pass_rate", pa.float64()),
        ("rollouts", pa.int64()),
        ("passed", pa.int64()),
        ("failed", pa.int64()),
        ("alpha", pa.float64()),
        ("beta", pa.float64()),
        ("lineage", pa.list_(pa.string())),
        ("metadata", pa.string()),
        ("extra", pa.string()),
    ]
)
LINEAGE_SCHEMA = pa.schema(
    [
        ("raw_id", pa.string()),
        ("source", pa.string()),
        ("kept", pa.bool_()),
        ("stage", pa.string()),
        ("reason", pa.string()),
        ("problem_id", pa.string()),
    ]
)
ROWS_PER_GROUP = 8192


def to_columns(curated: CuratedProblem) -> dict[str, Any]:
    """One row of `data.parquet`; `pass_rate` is the posterior mean, null where nothing was measured."""
    problem, rate = curated.problem, curated.pass_rate
    text: object = problem.prompt
    messages: list[dict[str, object]] | None = None
    if not isinstance(problem.prompt, str):
        text, messages = None, [dict(message) for message in problem.prompt]
    return {
        "id": problem.id,
        "prompt": text,
        "messages": messages,
        "answer": problem.answer,
        "tests": None if problem.tests is None else canonical_json(problem.tests),
        "verifier": problem.verifier,
        "source": problem.source,
        "band": curated.band,
        "split": curated.split,
        "pass_rate": rate.mean if rate else None,
        "rollouts": rate.rollouts if rate else None,
        "passed": rate.passed if rate else None,
        "failed": rate.failed if rate else None,
        "alpha": rate.alpha if rate else None,
        "beta": rate.beta if rate else None,
        "lineage": list(curated.lineage),
        "metadata": canonical_json(problem.metadata),
        "extra": canonical_json(curated.extra),
    }


def from_columns(row: dict[str, Any]) -> CuratedProblem:
    """The inverse of `to_columns`."""
    problem = Problem(
        id=row["id"],
        prompt=row["prompt"] if row["messages"] is None else tuple(row["messages"]),
        answer=row["answer"],
        tests=None if row["tests"] is None else json.loads(row["tests"]),
        verifier=row["verifier"],
        source=row["source"],
        metadata=json.loads(row["metadata"]),
    )
    rate = None
    if row["rollouts"] is not None:
        rate = PassRate(**{name: row[name] for name in ("rollouts", "passed", "failed", "alpha", "beta")})
    return CuratedProblem(
        problem=problem,
        pass_rate=rate,
        band=row["band"],
        split=row["split"],
        lineage=tuple(row["lineage"]),
        extra=json.loads(row["extra"]),
    )


def write_parquet(path: Path, rows: Iterable[dict[str, Any]], schema: pa.Schema) -> int:
    """Write rows as one Parquet file, atomically and a row group at a time; returns their number."""
    count = 0
    iterator = iter(rows)
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        while batch := list(itertools.islice(iterator, ROWS_PER_GROUP)):
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))
            count += len(batch)
    return count


def read_parquet(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a Parquet file, a batch in memory at a time."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(ROWS_PER_GROUP):
            yield from batch.to_pylist()


def write_curated(
    folder: Path | str,
    problems: Iterable[CuratedProblem],
    lineage: Iterable[LineageRow] = (),
    *,
    card: str = "",
    config: str = "",
    format: Format = "parquet",
) -> int:
    """Write a data set folder; returns the number of problems.

    Every file is replaced whole. `data.*` comes last: where it is, the rest is complete.

    Args:
        folder: made if it is not there.
        problems: rows of the data set, in their order.
        lineage: what became of every raw row.
        card: text of `card.md`.
        config: YAML text of `config.yaml`, what made the set.
        format: of the data file.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write(folder / "config.yaml", config)
    atomic_write(folder / "card.md", card)
    write_parquet(folder / "lineage.parquet", (row.model_dump() for row in lineage), LINEAGE_SCHEMA)
    rows = (to_columns(problem) for problem in problems)
    other = folder / ("data.jsonl" if format == "parquet" else "data.parquet")
    if format == "parquet":
        count = write_parquet(folder / "data.parquet", rows, DATA_SCHEMA)
    else:
        count = write_jsonl(folder / "data.jsonl", rows)
    other.unlink(missing_ok=True)
    return count


def read_curated(folder: Path | str) -> Iterator[CuratedProblem]:
    """The problems of a data set folder, one at a time.

    Raises:
        InputError: there is no data file, or it is not one that `write_curated` wrote.
    """
    folder = Path(folder)
    parquet, jsonl = folder / "data.parquet", folder / "data.jsonl"
    if parquet.is_file():
        rows = read_parquet(parquet)
    elif jsonl.is_file():
        rows = read_jsonl(jsonl)
    else:
        raise InputError(
            f"{folder}: no data.parquet or data.jsonl here; give a folder that `rlvr curate` wrote"
        )
    for number, row in enumerate(rows, 1):
        try:
            yield from_columns(row)
        except (KeyError, TypeError, ValueError) as error:
            name = parquet if parquet.is_file() else jsonl
            raise InputError(f"{name}: row {number} is not a curated problem ({error!r})") from None


def load_curated(folder: Path | str) -> list[CuratedProblem]:
    """All problems of a data set folder; raises `InputError` as `read_curated` does."""
    return list(read_curated(folder))


def read_lineage(folder: Path | str) -> Iterator[LineageRow]:
    """What became of every raw row of a data set folder."""
    path = Path(folder) / "lineage.parquet"
    if not path.is_file():
        raise InputError(f"{path}: no such file; give a folder that `rlvr curate` wrote")
    return (LineageRow(**row) for row in read_parquet(path))
