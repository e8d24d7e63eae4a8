"""The figures of `rlvr score`, from the heads of its results (`rlvr.score_rows`)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from pydantic import BaseModel, Field

from rlvr.score_rows import REJECTED, STATUSES


class Agreement(BaseModel):
    """How the verdicts agree with the labels of the input."""

    labelled: int = 0
    agree: int = 0
    false_negatives: int = Field(default=0, description="Labelled right, found not right.")
    false_positives: int = Field(default=0, description="Labelled wrong, found right.")


@dataclass(frozen=True, slots=True)
class Tally:
    """What the heads of many results say together."""

    heads: Counter[str]

    @property
    def raw(self) -> int:
        """Rows that were read, whatever became of them."""
        return self.heads.total()

    @property
    def rejected(self) -> int:
        """Rows that could not be scored."""
        return self.heads[REJECTED.decode()]

    @property
    def scored(self) -> int:
        """Rows with a verdict."""
        return sum(count for _, count in self._scored())

    def _scored(self) -> list[tuple[str, int]]:
        return [(head, count) for head, count in self.heads.items() if head[0] in "+*"]

    def status(self) -> dict[str, int]:
        """Rows by status of the verdict."""
        found = dict.fromkeys(STATUSES, 0)
        for head, count in self._scored():
            found[STATUSES[int(head[1])]] += count
        return {str(status): count for status, count in found.items()}

    def undecided(self) -> int:
        """Rows found not right because the verifier could not tell."""
        return sum(count for head, count in self._scored() if head[2] == "1")

    def agreement(self) -> Agreement | None:
        """How the verdicts agree with the labels; None where no row has one."""
        found = Agreement()
        for head, count in self._scored():
            status = STATUSES[int(head[1])]
            if head[3] == "-" or status in ("timeout", "error"):
                continue
            right, label = status == "correct", head[3] == "1"
            found.labelled += count
            found.agree += count * (right == label)
            found.false_negatives += count * (label and not right)
            found.false_positives += count * (right and not label)
        return found if found.labelled else None
