"""`rlvr score`: verdicts for a file of model outputs, offline.

Worker processes read the rows, verify and write them up (`rlvr.score_rows`); this process hands raw rows out and
adds what comes back, in order, to a journal beside the output (`rlvr.score_journal`), from which the output is
written in the end. Stopped at any instant and started again with the same command, scoring goes on behind the last
whole record and ends with the same bytes.
"""

from __future__ import annotations

import glob
import os
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from rlvr.score_files import check_formats, csv_header, file_format, read_raw, write_parquet, write_text
from rlvr.score_journal import Journal
from rlvr.score_rows import ADDED, RowScorer, csv_line, renamed
from rlvr.score_tally import Agreement
from verifiers import InputError, Verifier, get_verifier
from verifiers.rows import verify_rows


class ScoreConfig(BaseModel):
    """Score model outputs against gold answers with a verifier."""

    model_config = ConfigDict(extra="forbid")

    input: Path = Field(description="File of model outputs: .jsonl or .csv (also .gz), or .parquet.")
    output: Path = Field(description="Where the same rows go, in order, with the verdict's columns.")
    verifier: str = Field(default="math", description="Registered name of the verifier that decides.")
    options: dict[str, JsonValue] = Field(
        default_factory=dict, description='Options of the verifier, as JSON: {"extraction": "boxed"}.'
    )
    workers: int = Field(default=0, ge=0, description="Worker processes; 0 takes the number of usable cores.")
    timeout: float | None = Field(
        default=None,
        gt=0,
        description="CPU seconds that one verdict may cost; the verifier's own limit if not set.",
    )
    response_field: str = Field(default="response", description="Column with the model's response.")
    answer_field: str = Field(default="answer", description="Column with the gold answer.")
    tests_field: str = Field(
        default="tests", description="Column with the tests of a code problem, where there is one."
    )
    label_field: str = Field(
        default="label",
        description="Column with somebody else's true/false judgement; agreement is reported.",
    )
    explain: bool = Field(default=False, description="Add the column `detail`: why, in a sentence.")
    prefix: str = Field(default="", description="Text put before the names of the added columns.")
    restart: bool = Field(default=False, description="Drop the journal of an earlier, stopped run.")


class ScoreSummary(BaseModel):
    """What a run of `rlvr score` found."""

    rows: int = Field(default=0, description="Rows read, without the rejected ones.")
    rejected: int = 0
    resumed: int = Field(default=0, description="Rows whose verdict came from the journal of an earlier run.")
    status: dict[str, int] = Field(default_factory=dict, description="Rows by status of the verdict.")
    undecided: int = Field(default=0, description="Rows found not right because the verifier could not tell.")
    accuracy: float | None = Field(default=None, description="Correct of all rows that the verifier judged.")
    seconds: float = Field(default=0.0, description="Wall seconds of the verification.")
    verdicts_per_second: float | None = None
    agreement: Agreement | None = None


def run_score(config: ScoreConfig, console: Console) -> ScoreSummary:
    """Score `config.input` into `config.output`, print a table, and return the figures.

    Raises:
        InputError: a file, column, verifier or option is wrong.
    """
    check_formats(config.input, config.output)
    if not config.input.is_file():
        raise InputError(f"cannot read {config.input}: no such file")
    if config.output.exists() and config.output.samefile(config.input):
        raise InputError(f"{config.output} is the input; write to another file")
    verifier = get_verifier(config.verifier, **config.options)
    scorer = _scorer(config)
    survey = _survey(config, scorer)
    names = _column_names(config, survey.columns, console)
    scorer = replace(scorer, names=names)
    if scorer.source == "jsonl":
        # Other than those of CSV and Parquet, a later row may bring a column that is in the way.
        every = chain.from_iterable(candidate.values() for candidate in _candidates(config))
        scorer = replace(scorer, watched=frozenset(every))
    config.output.parent.mkdir(parents=True, exist_ok=True)
    with _journal(config, scorer) as journal:
        summary = ScoreSummary(resumed=journal.tally.scored)
        started = time.monotonic()
        _score_into_journal(config, verifier, scorer, journal, survey.rows, console)
        summary.seconds = time.monotonic() - started
        if journal.overwritten & set(names.values()):
            names = _column_names(config, journal.overwritten | survey.columns, console)
        _write_output(config, scorer, journal, names)
        journal.remove()
    _fill(summary, journal)
    console.print(_table(config, summary))
    return summary


def _scorer(config: ScoreConfig) -> RowScorer:
    source = file_format(config.input)
    return RowScorer(
        source=source,
        target=file_format(config.output),
        header=csv_header(config.input) if source == "csv" else (),
        verifier=config.verifier,
        response_field=config.response_field,
        answer_field=config.answer_field,
        tests_field=config.tests_field,
        label_field=config.label_field,
    )


@dataclass(slots=True)
class _Survey:
    """What the first rows of the input show; `rows` counts the readable ones where these are all there are."""

    columns: set[str]
    rows: int | None = None


_SURVEYED = 1000


def _survey(config: ScoreConfig, scorer: RowScorer) -> _Survey:
    """Read the first rows, so that what is wrong with the command shows before the work."""
    survey = _Survey(set())
    fault, readable = "", 0
    for position, raw in enumerate(read_raw(config.input), 1):
        row = scorer.read(position, raw)
        if row is None:
            continue
        found = scorer.gold(row)
        if isinstance(found, str):
            fault = fault or f"line {row.number}: {found}"
        else:
            readable += 1
        if row.values is not None:
            survey.columns |= row.values.keys()
        if readable and position >= _SURVEYED:
            return survey
    fault, survey.rows = fault or "it has no rows", readable
    if not readable:
        columns = f"; the columns are {', '.join(sorted(survey.columns))}" if survey.columns else ""
        raise InputError(f"{config.input}: no row can be scored: {fault}{columns}")
    return survey


def _candidates(config: ScoreConfig) -> list[dict[str, str]]:
    """Names of the added columns: the usual ones, and those with another prefix."""
    added = (*ADDED, "detail") if config.explain else ADDED
    return [{name: prefix + name for name in added} for prefix in (config.prefix, config.prefix + "rlvr_")]


def _column_names(config: ScoreConfig, columns: set[str], console: Console) -> dict[str, str]:
    """Names of the added columns; where one is taken by the input, all get another prefix."""
    usual, other = _candidates(config)
    taken = sorted(columns & set(usual.values()))
    if not taken:
        return usual
    console.print(
        f"{config.input.name} already has {', '.join(taken)}: the new columns are {config.prefix}rlvr_…"
    )
    taken = sorted(columns & set(other.values()))
    if not taken:
        return other
    raise InputError(
        f"{config.input} already has a column {taken[0]!r}; give --prefix to name the new ones apart"
    )


def _journal(config: ScoreConfig, scorer: RowScorer) -> Journal:
    """The journal of an earlier run with the same command, or a new one."""
    path = config.output.with_name(config.output.name + ".journal")
    if config.restart:
        path.unlink(missing_ok=True)
    status = config.input.stat()
    fields = config.model_dump(mode="json", exclude={"workers", "restart", "output"})
    identity = [fields, scorer.target, status.st_size, status.st_mtime_ns]
    return Journal(path, identity, skipped=b"null\n" if scorer.target == "parquet" else b"")


def _score_into_journal(
    config: ScoreConfig,
    verifier: Verifier,
    scorer: RowScorer,
    journal: Journal,
    total: int | None,
    console: Console,
) -> None:
    """Add the verdicts that the journal lacks."""
    done = journal.tally.raw
    chunks = verify_rows(
        scorer,
        verifier,
        islice(read_raw(config.input), done, None),
        first=done + 1,
        workers=config.workers or None,
        timeout=config.timeout,
    )
    with closing(chunks), _progress(console) as progress:
        task = progress.add_task("scoring", total=total, completed=journal.tally.scored)
        for results in chunks:
            journal.add(results)
            progress.update(task, completed=journal.tally.scored)


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal, transient=True)


def _write_output(config: ScoreConfig, scorer: RowScorer, journal: Journal, names: dict[str, str]) -> None:
    """Write what the journal holds to its places, with the added columns under `names`."""
    output = config.output
    rejected = output.with_name(output.name + ".rejected.jsonl")
    for path in (output, rejected):
        # What a run left behind that was killed in the middle of this.
        for left in path.parent.glob(f".{glob.escape(path.name)}.[0-9]*.tmp"):
            left.unlink()
    if journal.tally.rejected:
        write_text(rejected, journal.rejected())
    else:
        rejected.unlink(missing_ok=True)
    if scorer.target == "parquet":
        types: dict[str, type] = {name: float if key == "reward" else str for key, name in names.items()}
        write_parquet(output, journal.output(), config.input, types)
        return
    pieces = journal.output()
    if names != scorer.names:
        pieces = _renamed(pieces, list(scorer.names.values()), list(names.values()))
    if scorer.target == "csv":
        pieces = chain([csv_line([*scorer.header, *names.values()])], pieces)
    write_text(output, pieces, threads=config.workers or len(os.sched_getaffinity(0)))


def _renamed(pieces: Iterator[bytes], old: list[str], new: list[str]) -> Iterator[bytes]:
    for piece in pieces:
        # A carriage return may stand inside of a row.
        yield b"".join(renamed(line, old, new) for line in piece.split(b"\n") if line)


def _fill(summary: ScoreSummary, journal: Journal) -> None:
    """Fill in the figures that the heads of the results give."""
    tally = journal.tally
    summary.rows, summary.rejected = tally.scored, tally.rejected
    summary.status, summary.undecided = tally.status(), tally.undecided()
    judged = sum(summary.status[status] for status in ("correct", "incorrect", "no_answer"))
    summary.accuracy = summary.status["correct"] / judged if judged else None
    summary.agreement = tally.agreement()
    fresh = summary.rows - summary.resumed
    summary.verdicts_per_second = fresh / summary.seconds if fresh else None


def _table(config: ScoreConfig, summary: ScoreSummary) -> Table:
    table = Table(
        title=f"{config.input.name} with {config.verifier}", title_justify="left", show_header=False
    )
    table.add_column(justify="left")
    table.add_column(justify="right")

    def add(name: str, count: int, of: int) -> None:
        table.add_row(name, f"{count:,}" + (f" ({count / of:.1%})" if of else ""))

    table.add_row("rows", f"{summary.rows:,}")
    for status, count in summary.status.items():
        if count or status in ("correct", "incorrect", "no_answer"):
            add(status, count, summary.rows)
    if summary.undecided:
        add("incorrect because undecided", summary.undecided, summary.rows)
    if summary.accuracy is not None:
        table.add_row("accuracy", f"{summary.accuracy:.2%}")
    if summary.rejected:
        table.add_row("rejected rows", f"{summary.rejected:,} (see {config.output.name}.rejected.jsonl)")
    if summary.resumed:
        table.add_row("from the stopped run", f"{summary.resumed:,}")
    if summary.verdicts_per_second is not None:
        table.add_row("verdicts per second", f"{summary.verdicts_per_second:,.0f}")
    if summary.agreement is not None:
        found = summary.agreement
        add(f"agrees with {config.label_field!r}", found.agree, found.labelled)
        table.add_row("labelled right, found not right", f"{found.false_negatives:,}")
        table.add_row("labelled wrong, found right", f"{found.false_positives:,}")
    return table
