"""The journal of `rlvr score`: what is done, in the order of the rows, so that a kill at any instant costs little.

Behind a line that says which run it belongs to stands a record for every chunk of rows: a line of JSON (counts of
the heads of the results, see `rlvr.score_rows`, and the sizes of what follows), the chunk's text of the output,
and its text of the rejected rows.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from rlvr.score_rows import HEAD, OVERWRITES, REJECTED
from rlvr.score_tally import Tally
from verifiers import InputError

_FORMAT = 2


@dataclass(frozen=True, slots=True)
class _Record:
    """The line of a record."""

    heads: dict[str, int]
    output: int
    """Bytes of the chunk's output."""
    rejected: int
    """Bytes of the chunk's rejected rows."""
    overwritten: list[str]
    """Columns of the input that the added ones would overwrite in this chunk."""


class Journal:
    """Opens what an earlier run left, as far as it is whole, and adds to it; use as a context manager.

    Args:
        path: the file; made if there is none.
        identity: what a run must have in common with the one that it goes on with.
        skipped: what stands in the output for a rejected row.

    Raises:
        InputError: the file belongs to another run, or to one that is still going on.
    """

    def __init__(self, path: Path, identity: object, *, skipped: bytes = b"") -> None:
        self.path = path
        self.tally = Tally(Counter())
        self.overwritten: set[str] = set()
        self._skipped = skipped
        text = json.dumps([_FORMAT, identity], sort_keys=True)
        header = json.dumps({"run": hashlib.sha256(text.encode()).hexdigest()}).encode() + b"\n"
        self._start = len(header)
        self._file = path.open("a+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise InputError(f"{path}: another process is scoring here; wait for it or stop it") from None
        self._file.seek(0)
        found = self._file.readline()
        if found and found != header and not header.startswith(found):
            self._file.close()
            raise InputError(
                f"{path} is the journal of another run (other input or settings); finish that run, "
                "or give --restart to drop it"
            )
        if found != header:
            # New, or torn in its first line.
            self._file.truncate(0)
            self._file.write(header)
        whole = self._start
        for record, end in self._records(self._file):
            self._count(record)
            whole = end
        self._file.truncate(whole)

    def _records(self, file: BinaryIO) -> Iterator[tuple[_Record, int]]:
        """Whole records, each with where it ends; the file then stands at its texts."""
        size = os.fstat(file.fileno()).st_size
        at = self._start
        file.seek(at)
        while (line := file.readline()).endswith(b"\n"):
            try:
                record = _Record(**json.loads(line))
            except (ValueError, TypeError):
                return
            texts = at + len(line)
            at = texts + record.output + record.rejected
            if at > size:
                return
            yield record, at
            file.seek(at)

    def _count(self, record: _Record) -> None:
        self.tally.heads.update(record.heads)
        self.overwritten.update(record.overwritten)

    def add(self, results: list[bytes]) -> None:
        """Add the results of the next rows."""
        counts = Counter(result[:HEAD] for result in results)
        overwritten: set[str] = set()
        rejected = b""
        if any(head[0] in (OVERWRITES, REJECTED[0]) for head in counts):
            rejected = b"".join(result[HEAD:] for result in results if result[0] == REJECTED[0])
            results = [self._plain(result, overwritten) for result in results]
        output = b"".join([result[HEAD:] for result in results])
        heads = {head.decode(): count for head, count in counts.items()}
        record = _Record(heads, len(output), len(rejected), sorted(overwritten))
        self._file.writelines((json.dumps(asdict(record)).encode(), b"\n", output, rejected))
        self._file.flush()
        self._count(record)

    def _plain(self, result: bytes, overwritten: set[str]) -> bytes:
        """The result with nothing but a head and its text of the output; columns that are in the way are added."""
        if result[0] == REJECTED[0]:
            return REJECTED + self._skipped
        if result[0] != OVERWRITES:
            return result
        columns, _, text = result[HEAD:].partition(b"\n")
        overwritten.update(json.loads(columns))
        return result[:HEAD] + text

    def output(self) -> Iterator[bytes]:
        """Text of the output, in pieces that end with a row."""
        with self.path.open("rb") as file:
            for record, _ in self._records(file):
                yield file.read(record.output)

    def rejected(self) -> Iterator[bytes]:
        """Text of the rejected rows, in pieces that end with a row."""
        with self.path.open("rb") as file:
            for record, _ in self._records(file):
                if record.rejected:
                    file.seek(record.output, os.SEEK_CUR)
                    yield file.read(record.rejected)

    def remove(self) -> None:
        """Delete the file: what it holds is written elsewhere."""
        with suppress(FileNotFoundError):
            self.path.unlink()

    def __enter__(self) -> Self:
        """Return the journal."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self._file.close()
