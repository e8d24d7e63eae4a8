"""The row that goes through the stages, and its form in the work files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from curation.files import read_jsonl, write_jsonl


@dataclass(slots=True)
class Row:
    """One raw problem on its way; stages fill in what they find and never reorder rows."""

    ordinal: int
    """Position among all raw rows of the run, from 0: the order of everything that is written."""
    raw_id: str
    """`source:line` of the row in its file."""
    source: str
    problem: str
    answer: str | None = None
    solution: str | None = None
    options: Any = None
    """Answer choices as the source has them; a list of texts after normalisation."""
    tests: Any = None
    verifier: str = "math"
    meta: dict[str, Any] = field(default_factory=dict)
    original: dict[str, str] = field(default_factory=dict)
    """Fields as they were found, where a stage changed them."""
    answer_type: str = ""
    duplicates: list[str] = field(default_factory=list)
    """Raw ids of rows that were merged into this one."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What stages found out and the data set keeps (`extra`): repairs, template, guessability, ..."""
    rate: dict[str, Any] | None = None
    """Fields of `PassRate`, where a model measured it."""
    band: str = "unmeasured"
    split: str = "train"


def decode_row(line: bytes) -> Row:
    """A row from its line in a work file."""
    return Row(**json.loads(line))


def lightened(row: Row) -> Row:
    """The row without its texts: what decisions about all rows together need to hold."""
    return replace(row, problem="", solution=None, tests=None, meta={}, original={})


def write_rows(path: Path, rows: Iterable[Row]) -> int:
    """Write rows to a work file, atomically."""
    return write_jsonl(path, (asdict(row) for row in rows))


def read_rows(path: Path) -> Iterator[Row]:
    """Rows of a work file, one in memory at a time."""
    return (Row(**fields) for fields in read_jsonl(path))
