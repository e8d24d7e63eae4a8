"""The files of `rlvr score`: raw rows of JSONL, CSV and Parquet in, the rows with their verdicts out.

Rows are taken apart in the worker processes (`rlvr.score_rows`); here is what only one process can do.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import lzma
import sys
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any, TextIO

from curation.files import atomic_path, open_binary
from verifiers import InputError

_SUFFIXES = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet"}
_GZIP_BLOCK = 1 << 20
_PARQUET_ROWS = 4096


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


def check_formats(source: Path, target: Path) -> None:
    """Refuse a pair of formats between which rows can't be carried as they are."""
    kinds = file_format(source), file_format(target)
    if kinds[0] != kinds[1] and kinds[1] != "jsonl":
        raise InputError(f"{target}: from {kinds[0]} write {kinds[0]} or jsonl, not {kinds[1]}")


def read_raw(path: Path) -> Iterator[Any]:
    """Every row in order, as little looked at as its format allows.

    JSONL: the line, bytes, also an empty one. CSV: the number of the record's first line, and its cells or what is
    wrong with them. Parquet: the values.

    Raises:
        InputError: the file is missing, truncated, damaged, or not of its format as a whole.
    """
    reader = {"jsonl": _read_lines, "csv": _read_csv, "parquet": _read_parquet}[file_format(path)]
    try:
        yield from reader(path)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except EOFError as error:
        raise InputError(f"{path}: the compressed data end too early; the file is truncated") from error
    except (zlib.error, lzma.LZMAError) as error:
        raise InputError(f"{path}: the compressed data are damaged ({error})") from error


def _read_lines(path: Path) -> Iterator[bytes]:
    with open_binary(path) as lines:
        yield from lines


@contextmanager
def _csv_text(path: Path) -> Iterator[TextIO]:
    csv.field_size_limit(sys.maxsize)
    with (
        open_binary(path) as data,
        io.TextIOWrapper(data, "utf-8-sig", errors="surrogateescape", newline="") as text,
    ):
        yield text


def csv_header(path: Path) -> list[str]:
    """The columns of a CSV file.

    Raises:
        InputError: there are none, or two of a name.
    """
    with _csv_text(path) as text:
        header = next(csv.reader(text), None)
    if not header:
        raise InputError(f"{path}: no header line")
    if len(set(header)) < len(header):
        raise InputError(f"{path}: a column name stands twice in the header: {', '.join(header)}")
    return header


def _read_csv(path: Path) -> Iterator[tuple[int, list[str] | str]]:
    with _csv_text(path) as text:
        reader = csv.reader(text)
        next(reader, None)
        while True:
            number = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield number, f"not CSV: {error}"
                continue
            if cells:
                yield number, cells


def _read_parquet(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_PARQUET_ROWS):
                yield from batch.to_pylist()
    except pa.ArrowInvalid as error:
        raise InputError(
            f"{path}: not a Parquet file that can be read: {str(error).splitlines()[0]}"
        ) from error


def write_text(path: Path, pieces: Iterable[bytes], *, threads: int = 1) -> None:
    """Write `pieces` to `path`, at once or not at all; compressed by `threads` threads if it is called `.gz`.

    The same text gives the same bytes, however it comes in pieces.
    """
    with atomic_path(path) as temporary, temporary.open("wb") as out:
        out.writelines(_compressed(pieces, threads) if path.suffix == ".gz" else pieces)


def _compressed(pieces: Iterable[bytes], threads: int) -> Iterator[bytes]:
    """Gzip members of a MiB of text each, which any reader takes for one file."""
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[bytes]] = deque()
        for block in _blocks(pieces):
            waiting.append(pool.submit(gzip.compress, block, compresslevel=6, mtime=0))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _blocks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    held = bytearray()
    for piece in pieces:
        held += piece
        while len(held) >= _GZIP_BLOCK:
            yield bytes(held[:_GZIP_BLOCK])
            del held[:_GZIP_BLOCK]
    if held:
        yield bytes(held)


def write_parquet(path: Path, pieces: Iterable[bytes], source: Path, names: dict[str, type]) -> None:
    """Write the rows of the Parquet file `source` with added columns, at once or not at all.

    Args:
        path: the new file.
        pieces: text with one line for every row of `source`: a JSON list of the added values, or null where the
            row is left out.
        source: the file that the rows come from; their columns go over as they are.
        names: names and types of the added columns.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    lines = chain.from_iterable(piece.splitlines() for piece in pieces)
    types = [{float: pa.float64(), str: pa.string()}[kind] for kind in names.values()]
    with pq.ParquetFile(source) as file, atomic_path(path) as temporary:
        schema = file.schema_arrow
        for name, kind in zip(names, types, strict=True):
            schema = schema.append(pa.field(name, kind))
        with pq.ParquetWriter(temporary, schema) as writer:
            for batch in file.iter_batches(batch_size=_PARQUET_ROWS):
                found = [json.loads(line) for line in islice(lines, batch.num_rows)]
                kept = batch.filter(pa.array([values is not None for values in found], pa.bool_()))
                if not kept.num_rows:
                    continue
                columns = zip(*(values for values in found if values is not None), strict=True)
                added = [pa.array(column, kind) for column, kind in zip(columns, types, strict=True)]
                writer.write_batch(pa.RecordBatch.from_arrays([*kept.columns, *added], schema=schema))
