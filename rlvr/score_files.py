"""The files of `rlvr score`: rows of JSONL, CSV and Parquet in, the same rows with verdicts out."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from verifiers import InputError

_SUFFIXES = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet"}


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the input: its line (Parquet: row) number from 1, its values or what is wrong with it."""

    number: int
    values: dict[str, Any] | None
    raw: str
    fault: str = ""


def file_format(path: Path) -> str:
    """jsonl, csv or parquet, from the suffix; `.gz` may follow the first two.

    Raises:
        InputError: another suffix.
    """
    suffixes = path.suffixes
    packed = bool(suffixes) and suffixes[-1] == ".gz"
    suffix = suffixes[-2] if packed and len(suffixes) > 1 else path.suffix
    kind = _SUFFIXES.get(suffix)
    if kind is None or (packed and kind == "parquet"):
        raise InputError(f"{path}: expected .jsonl, .csv (each also with .gz) or .parquet")
    return kind


def read_rows(path: Path) -> Iterator[Row]:
    """Every row in order; a row that can't be read comes with its fault instead of values.

    Raises:
        InputError: the file is missing, truncated, or not of its format as a whole.
    """
    reader = {"jsonl": _read_jsonl, "csv": _read_csv, "parquet": _read_parquet}[file_format(path)]
    try:
        yield from reader(path)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except EOFError as error:
        raise InputError(f"{path}: the gzip data end too early; the file is truncated") from error


def _open(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def _read_jsonl(path: Path) -> Iterator[Row]:
    with _open(path) as lines:
        for number, line in enumerate(lines, 1):
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if not line.strip():
                continue
            try:
                text = line.decode("utf-8").strip()
                values = json.loads(text)
            except UnicodeDecodeError as error:
                yield Row(number, None, line.decode("utf-8", "replace"), f"not UTF-8 at byte {error.start}")
                continue
            except (ValueError, RecursionError) as error:
                yield Row(number, None, line.decode("utf-8").rstrip("\r\n"), f"not JSON: {error}")
                continue
            if isinstance(values, dict):
                yield Row(number, values, text)
            else:
                yield Row(number, None, text, f"expected a JSON object, got {type(values).__name__}")


def _read_csv(path: Path) -> Iterator[Row]:
    csv.field_size_limit(sys.maxsize)
    with (
        _open(path) as data,
        io.TextIOWrapper(data, "utf-8-sig", errors="surrogateescape", newline="") as lines,
    ):
        reader = csv.reader(lines)
        header = next(reader, None)
        if not header:
            raise InputError(f"{path}: no header line")
        if len(set(header)) < len(header):
            raise InputError(f"{path}: a column name stands twice in the header: {', '.join(header)}")
        while True:
            number = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield Row(number, None, "", f"not CSV: {error}")
                continue
            if not cells:
                continue
            if len(cells) != len(header):
                yield Row(number, None, json.dumps(cells), f"{len(cells)} cells but {len(header)} columns")
                continue
            yield Row(number, dict(zip(header, cells, strict=True)), "")


def _read_parquet(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(batch_size=1024):
                for values in batch.to_pylist():
                    number += 1
                    yield Row(number, values, "")
    except pa.ArrowInvalid as error:
        raise InputError(
            f"{path}: not a Parquet file that can be read: {str(error).splitlines()[0]}"
        ) from error


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; it takes the place of `path` only when everything went well."""
    temporary = path.with_name(f".{path.name}.writing")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_rows(
    path: Path, rows: Iterable[tuple[Row, dict[str, Any]]], source: Path, added: Mapping[str, type]
) -> None:
    """Write every row with its added values to `path`, at once or not at all.

    JSONL rows keep their text as it was; `added` names the new columns and their types.
    """
    kind = file_format(path)
    with _replacing(path) as temporary:
        if kind == "jsonl":
            _write_jsonl(temporary, rows, packed=path.suffix == ".gz")
        elif kind == "csv":
            _write_csv(temporary, rows, source, list(added), packed=path.suffix == ".gz")
        else:
            _write_parquet(temporary, rows, source, added)


def check_formats(source: Path, target: Path) -> None:
    """Refuse a pair of formats between which rows can't be carried as they are."""
    kinds = file_format(source), file_format(target)
    if kinds[0] != kinds[1] and kinds[1] != "jsonl":
        raise InputError(f"{target}: from {kinds[0]} write {kinds[0]} or jsonl, not {kinds[1]}")


def open_output(path: Path, *, packed: bool) -> IO[str]:
    """Open for text; gzip without a time stamp, so that the same rows give the same bytes."""
    if not packed:
        return path.open("w", encoding="utf-8", errors="surrogateescape", newline="\n")
    data = gzip.GzipFile(filename="", mode="wb", fileobj=path.open("wb"), mtime=0)
    return io.TextIOWrapper(data, "utf-8", errors="surrogateescape", newline="\n")


def _write_jsonl(path: Path, rows: Iterable[tuple[Row, dict[str, Any]]], *, packed: bool) -> None:
    with open_output(path, packed=packed) as out:
        for row, values in rows:
            assert row.values is not None
            text = row.raw or json.dumps(row.values, ensure_ascii=False, default=str)
            extra = json.dumps(values)[1:-1]
            # Splicing keeps numbers, key order and escapes of the row exactly as they were written.
            out.write(f"{text[:-1].rstrip()}{', ' if row.values else ''}{extra}}}\n")


def _write_csv(
    path: Path, rows: Iterable[tuple[Row, dict[str, Any]]], source: Path, added: list[str], *, packed: bool
) -> None:
    with (
        _open(source) as data,
        io.TextIOWrapper(data, "utf-8-sig", errors="surrogateescape", newline="") as lines,
    ):
        header = next(csv.reader(lines))
    with open_output(path, packed=packed) as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([*header, *added])
        for row, values in rows:
            assert row.values is not None
            writer.writerow([*(row.values[name] for name in header), *(values[name] for name in added)])


def _write_parquet(
    path: Path, rows: Iterable[tuple[Row, dict[str, Any]]], source: Path, added: Mapping[str, type]
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {float: pa.float64(), str: pa.string()}
    schema = pq.read_schema(source)
    for name, kind in added.items():
        schema = schema.append(pa.field(name, types[kind]))
    with pq.ParquetWriter(path, schema) as writer:
        chunk: list[dict[str, Any]] = []
        for row, values in rows:
            assert row.values is not None
            chunk.append({**row.values, **values})
            if len(chunk) == 1024:
                writer.write_table(pa.Table.from_pylist(chunk, schema=schema))
                chunk = []
        if chunk:
            writer.write_table(pa.Table.from_pylist(chunk, schema=schema))
