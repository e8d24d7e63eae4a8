"""Files that survive a kill: atomic writes, and JSONL that is appended to and recovered.

A process can end between any two instructions (kill -9, power). Whole files are therefore written beside
their place and renamed into it; append-only files may end in a torn line, which the next opening cuts off.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import io
import json
import lzma
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, BinaryIO, Self, cast

from verifiers import InputError


def canonical_json(value: Any) -> str:
    """JSON text that is the same for equal values: sorted keys, no spaces, Unicode as it is."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def digest(*parts: Any) -> str:
    """Hash (BLAKE2b, 128 bits, hexadecimal) of JSON-able parts: the identity under which work is kept."""
    return hashlib.blake2b(canonical_json(parts).encode(), digest_size=16).hexdigest()


def file_digest(path: Path) -> str:
    """Hash of a file's bytes (BLAKE2b, 128 bits, hexadecimal), read in pieces."""
    state = hashlib.blake2b(digest_size=16)
    with path.open("rb") as stream:
        while piece := stream.read(1 << 20):
            state.update(piece)
    return state.hexdigest()


def sync_folder(folder: Path) -> None:
    """Make renames and new names in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Give a path beside `path` to write to; it replaces `path` when the block ends without error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def atomic_write(path: Path | str, data: bytes | str) -> None:
    """Put `data` (text as UTF-8) under `path`: a reader sees the old file or the new one, never a part."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


def open_binary(path: Path | str) -> BinaryIO:
    """Open for reading, decompressing by what the file holds (gzip, xz, zstd), not by what it is called.

    Raises:
        InputError: there is no such file, or zstd is needed and no reader for it is installed.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    with path.open("rb") as stream:
        magic = stream.read(6)
    if magic.startswith(b"\x1f\x8b"):
        return cast("BinaryIO", gzip.open(path, "rb"))
    if magic == b"\xfd7zXZ\x00":
        return cast("BinaryIO", lzma.open(path, "rb"))
    if magic.startswith(b"\x28\xb5\x2f\xfd"):
        import pyarrow as pa

        return cast("BinaryIO", io.BufferedReader(pa.CompressedInputStream(pa.OSFile(str(path)), "zstd")))
    return path.open("rb")


def read_jsonl(path: Path | str) -> Iterator[Any]:
    """Values of a JSONL file that we wrote, one per line.

    Raises:
        InputError: a line is not JSON; names the file and the line.
    """
    with open_binary(path) as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield json.loads(line)
            except ValueError as error:
                raise InputError(f"{path}:{number}: not a JSON line ({error})") from None


def write_jsonl(path: Path | str, rows: Iterable[Any]) -> int:
    """Write rows as one JSONL file, atomically; returns their number."""
    count = 0
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as lines:
        for row in rows:
            lines.write(canonical_json(row) + "\n")
            count += 1
    return count


def whole_length(stream: IO[bytes], size: int) -> int:
    """Bytes up to and including the last newline: a line without one was torn by a kill."""
    end = size
    while end > 0:
        start = max(0, end - (1 << 16))
        stream.seek(start)
        found = stream.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


class JsonlAppender:
    """An append-only JSONL file with one writer: opening cuts a torn last line, `write` is durable.

    Use as a context manager. A second process that opens the same file gets an `InputError` at once.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = self.path.open("a+b")
        try:
            fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._stream.close()
            raise InputError(
                f"{self.path}: another process is writing here; wait for it or stop it"
            ) from None
        size = self._stream.seek(0, os.SEEK_END)
        self._stream.truncate(whole_length(self._stream, size))

    def write(self, rows: Iterable[Any]) -> None:
        """Append rows; when this returns they are on disk."""
        lines = "".join(canonical_json(row) + "\n" for row in rows)
        if lines:
            self._stream.write(lines.encode())
            self._stream.flush()
            os.fsync(self._stream.fileno())

    def close(self) -> None:
        """Release the file."""
        self._stream.close()

    def __enter__(self) -> Self:
        """Return the appender."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()


@contextmanager
def locked(path: Path | str) -> Iterator[None]:
    """Hold the lock file at `path`; raises `InputError` at once when another process holds it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{path.parent}: another process works here; wait for it or stop it") from None
        yield
