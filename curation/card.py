"""`card.md`: where a data set comes from, what was done to it, and what is known about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from curation.balance import pass_rate
from curation.config import CurateConfig
from curation.funnel import funnel_markdown, histogram_text, share_text
from curation.row import read_rows
from curation.stage import StageReport
from curation.statistics import mean_interval


def write_card(
    config: CurateConfig, reports: Sequence[StageReport], rows: Path, before: list[int], after: list[int]
) -> str:
    """The card's text.

    Args:
        config: of the run.
        reports: statistics of its stages.
        rows: work file of the rows in the set.
        before: measured problems by pass rate in ten bins, before the keep band.
        after: the same of the set.
    """
    sources: Counter[str] = Counter()
    answer_types: Counter[str] = Counter()
    verifiers: Counter[str] = Counter()
    bands: Counter[str] = Counter()
    splits: Counter[str] = Counter()
    rates: list[float] = []
    for row in read_rows(rows):
        sources[row.source] += 1
        answer_types[row.answer_type or "unchecked"] += 1
        verifiers[row.verifier] += 1
        bands[row.band] += 1
        splits[row.split] += 1
        rate = pass_rate(row)
        if rate is not None:
            rates.append(rate)
    count = sum(sources.values())
    raw = reports[0].entered if reports else 0
    parts = [
        f"# {config.output.name}",
        f"{count:,} problems with verifiable answers, curated from {raw:,} raw rows.",
        "```python\nfrom datasets import load_dataset\n"
        f'problems = load_dataset("parquet", data_files="{config.output.name}/data.parquet")["train"]\n```'
        if config.format == "parquet"
        else "The rows are in `data.jsonl`, one JSON object per line.",
        "`lineage.parquet` says of every raw row whether it is here, or which stage dropped it and why. "
        "`config.yaml` holds the settings that made the set.",
        "## Sources",
        _table(
            ["source", "licence", "path", "problems"],
            [
                [source.name, source.licence or "not stated", f"`{source.path}`", f"{sources[source.name]:,}"]
                for source in config.all_sources()
            ],
        ),
        "## What happened to the rows",
        funnel_markdown(reports),
        "![Share of the rows that each stage dropped](drops.svg)",
        "Intervals are those of the share in what these rows were drawn from (Wilson).",
        "## What is in it",
        _counts("verifier", verifiers, count),
        _counts("answer type", answer_types, count),
    ]
    if len(splits) > 1:
        parts.append(_counts("split", splits, count))
    if rates:
        parts += ["## Difficulty", _measured(config, rates), _counts("band", bands, count)]
        parts.append("![Pass rates before the keep band and in the set](difficulty.svg)")
        parts.append(f"Pass rates before the keep band:\n\n```text\n{histogram_text(before)}\n```")
        parts.append(f"and in the set:\n\n```text\n{histogram_text(after)}\n```")
    return "\n\n".join(parts) + "\n"


def _measured(config: CurateConfig, rates: list[float]) -> str:
    model = config.engine.model if config.engine is not None else "a model given by the caller"
    mean = sum(rates) / len(rates)
    text = (
        f"Measured with {model}, {config.difficulty.mode} with at most {config.difficulty.at_most} "
        f"rollouts per problem at temperature {config.sampling.temperature:g}, top-p {config.sampling.top_p:g}, "
        f"at most {config.sampling.max_tokens} tokens. Mean pass rate {mean:.3f}"
    )
    if len(rates) > 1:
        low, high = mean_interval(rates)
        text += f" (95 % interval over problems {low:.3f} to {high:.3f})"
    return text + "."


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _counts(name: str, counts: Counter[str], total: int) -> str:
    rows = [[key, f"{value:,}", share_text(value, total)] for key, value in counts.most_common()]
    return _table([name, "problems", "share (95 % interval)"], rows)
