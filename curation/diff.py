"""What changed between two curated sets: problems that came and went, golds, bands, pass rates."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from curation.compare import Comparable
from curation.dataset import read_curated
from curation.duplicates import hash64
from curation.statistics import paired_difference
from curation.types import CuratedProblem


@dataclass(frozen=True)
class SetDifference:
    """Two sets compared; problems are the same when their texts are, whatever their ids."""

    only_first: list[str]
    """Ids in the first set of problems that the second has not."""
    only_second: list[str]
    both: int
    golds: list[tuple[str, str, str]]
    """`(id in the first set, gold there, gold in the second)` where they differ."""
    moves: Counter[tuple[str, str]]
    """Problems by band in the first and in the second set."""
    rate_change: tuple[float, float, float] | None
    """Mean change of the pass rate with its 95 % interval, over problems measured in both; None below two."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "only_first": self.only_first,
            "only_second": self.only_second,
            "both": self.both,
            "golds": [list(change) for change in self.golds],
            "moves": [[*bands, count] for bands, count in sorted(self.moves.items())],
            "rate_change": self.rate_change,
        }

    def print(self, console: Console) -> None:
        """Print a summary, one fact per line."""

        def line(text: str) -> None:
            console.print(text, highlight=False, markup=False, soft_wrap=True)

        line(
            f"{self.both} problems in both, {len(self.only_first)} only in the first, "
            f"{len(self.only_second)} only in the second"
        )
        for name, one, other in self.golds[:20]:
            line(f"gold of {name}: {one!r} became {other!r}")
        if len(self.golds) > 20:
            line(f"and {len(self.golds) - 20} more golds")
        for (one, other), count in self.moves.most_common():
            if one != other:
                line(f"{one} to {other}: {count}")
        if self.rate_change is not None:
            mean, low, high = self.rate_change
            line(f"pass rate changed by {mean:+.3f} on average (95 % interval {low:+.3f} to {high:+.3f})")


def _by_text(folder: Path | str) -> dict[int, tuple[str, str | None, str, float | None]]:
    found = {}
    for curated in read_curated(folder):
        found[_key(curated)] = (
            curated.problem.id,
            curated.problem.answer,
            curated.band,
            curated.pass_rate.mean if curated.pass_rate else None,
        )
    return found


def _key(curated: CuratedProblem) -> int:
    text = curated.extra.get("problem")
    if not isinstance(text, str):
        prompt = curated.problem.prompt
        text = prompt if isinstance(prompt, str) else "\n".join(str(message["content"]) for message in prompt)
    return hash64(Comparable.of(text).tokens)


def diff_curated(first: Path | str, second: Path | str) -> SetDifference:
    """Compare two data set folders; raises `InputError` where one is not such a folder."""
    one, other = _by_text(first), _by_text(second)
    common = [key for key in one if key in other]
    golds = [
        (one[key][0], str(one[key][1]), str(other[key][1])) for key in common if one[key][1] != other[key][1]
    ]
    pairs = [(one[key][3], other[key][3]) for key in common]
    measured = [(before, after) for before, after in pairs if before is not None and after is not None]
    change = None
    if len(measured) > 1:
        mean, (low, high) = paired_difference([pair[0] for pair in measured], [pair[1] for pair in measured])
        change = (mean, low, high)
    return SetDifference(
        only_first=[one[key][0] for key in one if key not in other],
        only_second=[other[key][0] for key in other if key not in one],
        both=len(common),
        golds=golds,
        moves=Counter((one[key][2], other[key][2]) for key in common),
        rate_change=change,
    )
