"""A stage of the funnel: what it counts, why rows leave it, and what it hands on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from curation.files import canonical_json
from curation.row import Row


class Reason(NamedTuple):
    """Why a row leaves: a name to count by, and the value that decided."""

    name: str
    detail: str = ""

    def __str__(self) -> str:
        """As it stands in the lineage."""
        return f"{self.name}: {self.detail}" if self.detail else self.name


@dataclass
class StageReport:
    """Statistics of one stage."""

    name: str
    entered: int = 0
    kept: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    """Dropped rows by reason."""
    notes: Counter[str] = field(default_factory=Counter)
    """Things done to rows that stayed (repairs, merged duplicates, template groups), counted by name."""

    @property
    def dropped(self) -> int:
        """Rows that ended here."""
        return sum(self.reasons.values())

    def to_json(self) -> dict[str, Any]:
        """Plain values, for the work folder."""
        return {
            "name": self.name,
            "entered": self.entered,
            "kept": self.kept,
            "reasons": dict(sorted(self.reasons.items())),
            "notes": dict(sorted(self.notes.items())),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> StageReport:
        """The inverse of `to_json`."""
        return cls(
            value["name"], value["entered"], value["kept"], Counter(value["reasons"]), Counter(value["notes"])
        )


class DropLog:
    """Rows that a stage dropped, written as they come: `[ordinal, raw_id, source, reason, detail]`."""

    def __init__(self, path: Path, report: StageReport) -> None:
        self._stream = path.open("w", encoding="utf-8")
        self.report = report

    def drop(self, row: Row, reason: Reason) -> None:
        """Record that `row` ends here."""
        self.drop_raw(row.ordinal, row.raw_id, row.source, reason)

    def drop_raw(self, ordinal: int, raw_id: str, source: str, reason: Reason) -> None:
        """Record the end of something that never became a row."""
        self.report.reasons[reason.name] += 1
        self._stream.write(canonical_json([ordinal, raw_id, source, str(reason)]) + "\n")

    def __enter__(self) -> Self:
        """Return the log."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self._stream.close()


Rows = Iterator[Row]
