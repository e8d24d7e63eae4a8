"""What the demo found, read from its folders: which planted defects were caught, and what training changed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from curation.files import read_jsonl
from rlvr.quickstart.scrape import EXPECTED_STAGE, KINDS, Kind

if TYPE_CHECKING:
    from rich.console import Console

    from rlvr.quickstart.demo import DemoResult


@dataclass(frozen=True, slots=True)
class Caught:
    """What the curation did with the raw lines of one kind."""

    kind: Kind
    planted: int
    expected: int
    """Lines that ended at the stage that is there for them (for sound problems: that were kept)."""
    elsewhere: Mapping[str, int]
    """Lines that ended at other stages."""
    kept: int
    """Lines that are in the data set."""


def caught(folder: Path) -> list[Caught]:
    """Compare the lineage of `folder`/curated with the truth about `folder`/raw."""
    from curation import read_lineage

    kinds: dict[str, Kind] = {
        f"problems:{row['line']}": row["kind"] for row in read_jsonl(folder / "raw" / "truth.jsonl")
    }
    ends: dict[Kind, Counter[str]] = {kind: Counter() for kind in KINDS}
    for row in read_lineage(folder / "curated"):
        ends[kinds[row.raw_id]]["" if row.kept else row.stage] += 1
    return [
        Caught(
            kind=kind,
            planted=counts.total(),
            expected=counts[EXPECTED_STAGE[kind]],
            elsewhere={
                stage: count for stage, count in counts.items() if stage not in ("", EXPECTED_STAGE[kind])
            },
            kept=counts[""],
        )
        for kind, counts in ends.items()
    ]


_MEANING: dict[Kind, str] = {
    "right": "sound, of the right difficulty",
    "easy": "sound, solved by guessing",
    "hard": "sound, beyond the model",
}


def caught_table(found: Sequence[Caught]) -> Table:
    """One line a kind: planted, ended where it should, ended elsewhere, in the data set."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("planted in the raw file", no_wrap=True)
    table.add_column("lines", justify="right")
    table.add_column("should end at", no_wrap=True)
    for heading in ("did", "other", "in set"):
        table.add_column(heading, justify="right")
    for item in found:
        stage = EXPECTED_STAGE[item.kind] or "the data set"
        counts = (item.expected, sum(item.elsewhere.values()), item.kept)
        table.add_row(_MEANING.get(item.kind, item.kind), str(item.planted), stage, *map(str, counts))
    return table


def evaluations(metrics: Path, benchmark: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """First and last evaluation of a run on one benchmark."""
    lines = metrics.read_text(encoding="utf-8").splitlines()
    rows = [row for line in lines if (row := json.loads(line)).get("benchmark") == benchmark]
    return rows[0], rows[-1]


def careful_share(record: Path) -> float:
    """Share of a step's sampled responses that show work before their answer."""
    import pyarrow.parquet as pq

    responses = pq.read_table(record, columns=["response"])["response"].to_pylist()
    return sum(not response.startswith("\\boxed") for response in responses) / len(responses)


def before_after_table(result: DemoResult) -> Table:
    """Greedy, avg@k, pass@k and mean length, with 95 % intervals."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(f"{result.before['problems']} held-out problems")
    for heading in ("before", "after"):
        table.add_column(heading, justify="right")
    rows, k = (result.before, result.after), result.before["k"]
    table.add_row("greedy accuracy", *(_share(row, "greedy_accuracy", "greedy") for row in rows))
    table.add_row(f"avg@{k}", *(_share(row, "avg_at_k", "avg") for row in rows))
    table.add_row(f"pass@{k}", *(f"{row['pass_at_k']:.3f}" for row in rows))
    table.add_row("mean length, tokens", *(f"{row['length_mean']:.1f}" for row in rows))
    table.add_row("")
    table.add_row(f"[dim]{result.beyond[0]['problems']} of kinds never shown[/dim]")
    table.add_row("greedy accuracy", *(_share(row, "greedy_accuracy", "greedy") for row in result.beyond))
    return table


def _share(row: Mapping[str, Any], value: str, bounds: str) -> str:
    return f"{row[value]:.3f} [{row[f'{bounds}_low']:.3f}, {row[f'{bounds}_high']:.3f}]"


_MEANS = (
    "The warm start half taught the model to work carefully; training made that its habit. It learned no "
    "arithmetic that the warm start had not shown."
)


def print_result(result: DemoResult, console: Console) -> None:
    """Before and after, how long it took, where everything is, and what to run next."""
    folder = result.folder
    console.print()
    console.print(before_after_table(result))
    times = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in result.seconds.items())
    records = sorted((folder / "run" / "rollouts").glob("step-*.parquet"))
    first, last = records[0], records[-1]
    shares = [careful_share(record) for record in (first, last)]
    improved = result.after["greedy_low"] > result.before["greedy_high"]
    lines = [
        f"training responses that show their work: {shares[0]:.0%} in the first step, {shares[1]:.0%} in the last",
        *([_MEANS] if improved else []),
        f"time: {sum(result.seconds.values()):.0f} s ({times})",
        "",
        f"report      {result.report}",
        f"data set    {folder}/curated    (data.parquet, card.md, lineage.parquet, config.yaml)",
        f"run         {folder}/run    (config.yaml, metrics.jsonl, rollouts/, checkpoints/)",
        f"model       {result.checkpoint}",
        "",
        "next, on the files just made:",
        f"  rlvr score {last} scored.jsonl --answer-field gold",
        f"  rlvr eval {result.checkpoint} --files {folder}/held_out.jsonl --max-tokens 48",
        f"  rlvr curate --config {folder}/curate.yaml --output {folder}/curated-2 --balance.target flat "
        f"--cache {folder}/curated/.work/cache",
        f"  OMP_NUM_THREADS=1 rlvr train --config {folder}/train.yaml --output {folder}/run-grpo --preset grpo",
        f"  rlvr report {folder}/run --output report.html",
    ]
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True, markup=False)
