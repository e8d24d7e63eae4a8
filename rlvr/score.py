"""`rlvr score`: verdicts for a file of model outputs, offline.

Verdicts go to a journal beside the output as they come. Stopped at any instant and started again with the same
command, scoring goes on behind the last complete verdict and ends with the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from rlvr.score_files import Row, check_formats, open_output, read_rows, write_rows
from verifiers import InputError, Problem, Verdict, Verifier, get_verifier, score_stream


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


class Agreement(BaseModel):
    """How the verdicts agree with the labels of the input."""

    labelled: int = 0
    agree: int = 0
    false_negatives: int = Field(default=0, description="Labelled right, found not right.")
    false_positives: int = Field(default=0, description="Labelled wrong, found right.")


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


_ADDED = ("reward", "status", "extracted", "method")


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
    survey = _survey(config)
    names = _column_names(config, survey.columns, console)
    config.output.parent.mkdir(parents=True, exist_ok=True)
    journal = _Journal(config)
    summary = ScoreSummary(resumed=journal.done)
    started = time.monotonic()
    columns = _score_into_journal(config, verifier, journal, survey.rows, console)
    summary.seconds = time.monotonic() - started
    if not columns <= survey.columns:
        # Later rows have columns that the first ones have not.
        names = _column_names(config, columns | survey.columns, console)
    _write_output(config, journal, names, summary)
    fresh = summary.rows - summary.resumed
    summary.verdicts_per_second = fresh / summary.seconds if fresh else None
    journal.path.unlink()
    console.print(_table(config, summary))
    return summary


@dataclass(slots=True)
class _Survey:
    """What the first rows of the input show; `rows` counts the readable ones where these are all there are."""

    columns: set[str]
    rows: int | None = None


_SURVEYED = 1000


def _survey(config: ScoreConfig) -> _Survey:
    """Read the first rows, so that what is wrong with the command shows before the work."""
    survey = _Survey(set())
    fault, readable = "", 0
    for row in read_rows(config.input):
        item = _item(row, config)
        if isinstance(item, str):
            fault = fault or f"line {row.number}: {item}"
        else:
            readable += 1
        if row.values is not None:
            survey.columns |= row.values.keys()
        if readable and row.number >= _SURVEYED:
            return survey
    fault, survey.rows = fault or "it has no rows", readable
    if not readable:
        columns = f"; the columns are {', '.join(sorted(survey.columns))}" if survey.columns else ""
        raise InputError(f"{config.input}: no row can be scored: {fault}{columns}")
    return survey


def _column_names(config: ScoreConfig, columns: set[str], console: Console) -> dict[str, str]:
    """Names of the added columns; where one is taken by the input, all get another prefix."""
    added = (*_ADDED, "detail") if config.explain else _ADDED
    for prefix in (config.prefix, config.prefix + "rlvr_"):
        names = {name: prefix + name for name in added}
        taken = sorted(columns & set(names.values()))
        if not taken:
            return names
        console.print(
            f"{config.input.name} already has {', '.join(taken)}: the new columns are {prefix}rlvr_…"
        )
    raise InputError(
        f"{config.input} already has a column {taken[0]!r}; give --prefix to name the new ones apart"
    )


class _Journal:
    """Verdicts in the order of the rows, one JSON list a line, behind a line that says what they belong to."""

    def __init__(self, config: ScoreConfig) -> None:
        self.path = config.output.with_name(config.output.name + ".journal")
        status = config.input.stat()
        fields = config.model_dump(mode="json", exclude={"workers", "restart", "output", "label_field"})
        identity = json.dumps([fields, status.st_size, status.st_mtime_ns], sort_keys=True)
        self.header = json.dumps({"run": hashlib.sha256(identity.encode()).hexdigest()}) + "\n"
        self.done = 0
        if config.restart:
            self.path.unlink(missing_ok=True)
        if not self.path.exists():
            self.path.write_text(self.header)
            return
        with self.path.open("rb+") as journal:
            if journal.readline() != self.header.encode():
                raise InputError(
                    f"{self.path} is the journal of another run (other input or settings); finish that run, "
                    "or give --restart to drop it"
                )
            end = journal.tell()
            for line in journal:
                if not line.endswith(b"\n"):
                    break
                end += len(line)
                self.done += 1
            journal.truncate(end)

    def append(self) -> IO[str]:
        """Open to add verdicts."""
        return self.path.open("a", encoding="utf-8", newline="\n")

    def verdicts(self) -> Iterator[list[Any]]:
        """All verdicts, in order."""
        with self.path.open(encoding="utf-8", newline="\n") as lines:
            next(lines)
            for line in lines:
                yield json.loads(line)


def _item(row: Row, config: ScoreConfig) -> tuple[str, Problem] | str:
    """Response and problem of a row, or what is wrong with it."""
    found = _gold(row, config)
    if isinstance(found, str):
        return found
    assert row.values is not None
    answer, tests = found
    name = str(row.values.get("id", row.number))
    return row.values[config.response_field], Problem(
        id=name, answer=answer, tests=tests, verifier=config.verifier
    )


def _gold(row: Row, config: ScoreConfig) -> tuple[str | None, Any] | str:
    """Gold answer and tests of a row that can be scored, or what is wrong with it."""
    if row.values is None:
        return row.fault
    values = row.values
    response = values.get(config.response_field)
    if not isinstance(response, str):
        have = (
            "is missing" if config.response_field not in values else f"is {type(response).__name__}, not text"
        )
        return f"column {config.response_field!r} {have}"
    answer = values.get(config.answer_field)
    tests = values.get(config.tests_field)
    if isinstance(answer, (int, float)) and not isinstance(answer, bool):
        answer = repr(answer)
    if isinstance(tests, str):
        # Tests may also be plain program text; the code verifier reads both.
        with suppress(ValueError):
            tests = json.loads(tests)
    if answer is not None and not isinstance(answer, str):
        return f"column {config.answer_field!r} is {type(answer).__name__}, not text or a number"
    if answer is None and tests is None:
        return f"no gold: column {config.answer_field!r} is missing or empty"
    return answer, tests


def _score_into_journal(
    config: ScoreConfig, verifier: Verifier, journal: _Journal, total: int | None, console: Console
) -> set[str]:
    """Add the verdicts that the journal lacks; return the columns of all rows."""
    columns: set[str] = set()

    def items() -> Iterator[tuple[str, Problem]]:
        readable = 0
        for row in read_rows(config.input):
            if row.values is not None:
                columns.update(row.values)
            item = _item(row, config)
            if isinstance(item, str):
                continue
            readable += 1
            if readable > journal.done:
                yield item

    verdicts = score_stream(items(), verifier, workers=config.workers or None, timeout=config.timeout)
    with closing(verdicts), journal.append() as out, _progress(console) as progress:
        task = progress.add_task("scoring", total=total, completed=journal.done)
        written = time.monotonic()
        for verdict in verdicts:
            out.write(json.dumps(_fields(verdict, explain=config.explain)) + "\n")
            if time.monotonic() - written > 0.5:
                out.flush()
                written = time.monotonic()
            progress.advance(task)
    return columns


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal, transient=True)


def _fields(verdict: Verdict, *, explain: bool) -> list[Any]:
    fields = [verdict.reward, verdict.status, verdict.extracted, verdict.method]
    return [*fields, verdict.detail] if explain else fields


def _write_output(
    config: ScoreConfig, journal: _Journal, names: dict[str, str], summary: ScoreSummary
) -> None:
    """Join input and journal into the output; count; keep rejected rows with their line numbers."""
    counts: Counter[str] = Counter()
    agreement = Agreement()
    kept = config.output.with_name(config.output.name + ".rejected.jsonl")
    kept.unlink(missing_ok=True)

    def rows() -> Iterator[tuple[Row, dict[str, Any]]]:
        verdicts = journal.verdicts()
        with ExitStack() as stack:
            rejected: IO[str] | None = None
            for row in read_rows(config.input):
                item = _gold(row, config)
                if isinstance(item, str):
                    rejected = rejected or stack.enter_context(open_output(kept, packed=False))
                    raw: Any = row.raw if row.values is None else row.values
                    record = {"line": row.number, "reason": item, "row": raw}
                    rejected.write(json.dumps(record, ensure_ascii=False, default=str) + "\n")
                    summary.rejected += 1
                    continue
                fields = next(verdicts)
                summary.rows += 1
                counts[fields[1]] += 1
                summary.undecided += fields[1] == "incorrect" and fields[3] == "undecided"
                assert row.values is not None
                _compare(agreement, row.values.get(config.label_field), fields[1])
                yield row, dict(zip(names.values(), fields, strict=True))

    added = {name: float if key == "reward" else str for key, name in names.items()}
    write_rows(config.output, rows(), config.input, added)
    summary.status = {
        status: counts[status] for status in ("correct", "incorrect", "no_answer", "timeout", "error")
    }
    judged = counts["correct"] + counts["incorrect"] + counts["no_answer"]
    summary.accuracy = counts["correct"] / judged if judged else None
    summary.agreement = agreement if agreement.labelled else None


def _compare(agreement: Agreement, label: Any, status: str) -> None:
    if isinstance(label, str):
        label = {"true": True, "false": False, "1": True, "0": False}.get(label.strip().lower())
    if not isinstance(label, (bool, int)) or status in ("timeout", "error"):
        return
    right = status == "correct"
    agreement.labelled += 1
    agreement.agree += right == bool(label)
    agreement.false_negatives += bool(label) and not right
    agreement.false_positives += right and not label


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
