"""What `rlvr score` does with one row, in a worker process: read it, ask for a verdict, write it up.

The result of a row is a head of four characters and the row's text. Heads are all that the summary needs, so the
parent process counts them and looks no further:

    + or *    scored (*: the text begins with a line of the columns that the new ones would overwrite)
    -         rejected; the text is its line of the rejected rows
    blank     an empty line

then for scored rows the status, whether the verifier could not tell, and somebody else's judgement.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, get_args

from verifiers import Problem, Status, Verdict

HEAD = 4
BLANK = b" " * HEAD
REJECTED = b"-" + b" " * (HEAD - 1)
OVERWRITES = ord("*")
ADDED = ("reward", "status", "extracted", "method")
STATUSES: tuple[Status, ...] = get_args(Status)
_LABELS = {"true": True, "false": False, "1": True, "0": False}


@dataclass(slots=True)
class Row:
    """One row of the input: its line (Parquet: row) number from 1, its values or what is wrong with it."""

    number: int
    values: dict[str, Any] | None
    raw: str = ""
    fault: str = ""


@dataclass(frozen=True, slots=True)
class RowScorer:
    """Reads rows of one format, and writes them up for another with the verdict's columns.

    `source` and `target` are jsonl, csv or parquet; `header` holds the columns of a CSV file, `names` the new
    name of each column in `ADDED` (and of `detail`, where that is wanted), and `watched` the columns that the new
    ones must not meet.
    """

    source: str
    target: str
    header: Sequence[str]
    verifier: str
    response_field: str
    answer_field: str
    tests_field: str
    label_field: str
    names: dict[str, str] = field(default_factory=dict)
    watched: frozenset[str] = frozenset()

    def read(self, position: int, raw: Any) -> Row | None:
        """The row of what `score_files.read_raw` gave; None for an empty line."""
        if self.source == "jsonl":
            return _json_row(position, raw)
        if self.source == "csv":
            return self._csv_row(*raw)
        return Row(position, raw)

    def _csv_row(self, number: int, cells: list[str] | str) -> Row:
        if isinstance(cells, str):
            return Row(number, None, "", cells)
        if len(cells) != len(self.header):
            fault = f"{len(cells)} cells but {len(self.header)} columns"
            return Row(number, None, json.dumps(cells), fault)
        return Row(number, dict(zip(self.header, cells, strict=True)))

    def gold(self, row: Row) -> tuple[str, str | None, Any] | str:
        """Response, gold answer and tests of a row that can be scored, or what is wrong with it."""
        values = row.values
        if values is None:
            return row.fault
        response = values.get(self.response_field)
        if not isinstance(response, str):
            have = (
                "is missing"
                if self.response_field not in values
                else f"is {type(response).__name__}, not text"
            )
            return f"column {self.response_field!r} {have}"
        answer = values.get(self.answer_field)
        tests = values.get(self.tests_field)
        if isinstance(answer, (int, float)) and not isinstance(answer, bool):
            answer = repr(answer)
        if isinstance(tests, str):
            # Tests may also be plain program text; the code verifier reads both.
            with suppress(ValueError):
                tests = json.loads(tests)
        if answer is not None and not isinstance(answer, str):
            return f"column {self.answer_field!r} is {type(answer).__name__}, not text or a number"
        if answer is None and tests is None:
            return f"no gold: column {self.answer_field!r} is missing or empty"
        return response, answer, tests

    def ask(self, position: int, raw: Any) -> bytes | tuple[str, Problem, Row]:
        """Response and problem of the row, or the result of one without."""
        row = self.read(position, raw)
        if row is None:
            return BLANK
        found = self.gold(row)
        if isinstance(found, str):
            return REJECTED + _rejected(row, found)
        assert row.values is not None
        response, answer, tests = found
        name = str(row.values.get("id", row.number))
        return response, Problem(id=name, answer=answer, tests=tests, verifier=self.verifier), row

    def result(self, row: Row, verdict: Verdict) -> bytes:
        """The row with its verdict."""
        assert row.values is not None
        undecided = verdict.status == "incorrect" and verdict.method == "undecided"
        label = _label(row.values.get(self.label_field))
        head = f"+{STATUSES.index(verdict.status)}{undecided:d}{label}".encode()
        added = {name: getattr(verdict, key) for key, name in self.names.items()}
        text = self._text(row, added)
        if self.watched.isdisjoint(row.values):
            return head + text
        overwritten = json.dumps(sorted(self.watched & row.values.keys())).encode()
        return b"*" + head[1:] + overwritten + b"\n" + text

    def _text(self, row: Row, added: dict[str, Any]) -> bytes:
        assert row.values is not None
        if self.target == "csv":
            return csv_line([*row.values.values(), *added.values()])
        if self.target == "parquet":
            return json.dumps(list(added.values())).encode() + b"\n"
        text = row.raw or json.dumps(row.values, ensure_ascii=False, default=str)
        # Splicing keeps numbers, key order and escapes of the row exactly as they were written.
        spliced = f"{text[:-1].rstrip()}{', ' if row.values else ''}{json.dumps(added)[1:-1]}}}\n"
        return spliced.encode("utf-8", "surrogateescape")


def csv_line(cells: Sequence[Any]) -> bytes:
    """One line of a CSV file."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue().encode("utf-8", "surrogateescape")


def _json_row(number: int, line: bytes) -> Row | None:
    if number == 1:
        line = line.removeprefix(b"\xef\xbb\xbf")
    if not line.strip():
        return None
    try:
        text = line.decode("utf-8").strip()
        values = json.loads(text)
    except UnicodeDecodeError as error:
        return Row(number, None, line.decode("utf-8", "replace"), f"not UTF-8 at byte {error.start}")
    except (ValueError, RecursionError) as error:
        return Row(number, None, line.decode("utf-8").rstrip("\r\n"), f"not JSON: {error}")
    if isinstance(values, dict):
        return Row(number, values, text)
    return Row(number, None, text, f"expected a JSON object, got {type(values).__name__}")


def _rejected(row: Row, reason: str) -> bytes:
    record = {
        "line": row.number,
        "reason": reason,
        "row": row.raw if row.values is None else row.values,
    }
    try:
        text = json.dumps(record, ensure_ascii=False, default=str)
        return text.encode("utf-8", "surrogateescape") + b"\n"
    except UnicodeEncodeError:
        # Half a surrogate pair, which JSON can escape and UTF-8 can't write.
        return json.dumps(record, default=str).encode() + b"\n"


def _label(label: Any) -> str:
    if isinstance(label, str):
        label = _LABELS.get(label.strip().lower())
    return str(int(bool(label))) if isinstance(label, (bool, int)) else "-"


def renamed(line: bytes, old: Sequence[str], new: Sequence[str]) -> bytes:
    """A JSONL result with other names for its added columns, whose first was called `old[0]`."""
    # Quotes inside of values are escaped, so this is the first of the added names and nothing else.
    start = line.rindex(json.dumps(old[0]).encode() + b": ")
    values = json.loads(b"{" + line[start:])
    added = dict(zip(new, (values[name] for name in old), strict=True))
    return line[:start] + json.dumps(added)[1:].encode() + b"\n"
