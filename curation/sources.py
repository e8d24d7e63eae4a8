"""Raw rows from files and hub data sets, whatever their format; a bad row is reported, never lost silently.

A reader yields `(position, value)` pairs: the position is the line, row or element number, from 1, and the
value a mapping, a list, or an `Unreadable` that says what is wrong there.
"""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation.files import open_binary
from verifiers import InputError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A row that could not be read, or what is left of a file behind a break."""

    why: str


Numbered = Iterator[tuple[int, Any]]
_PIECE = 1 << 18
_DATA_KEYS = ("data", "rows", "examples", "problems", "questions", "instances", "items", "train", "test")


def read_lines(path: Path) -> Numbered:
    """JSONL: one value per line; blank lines are skipped."""
    with open_binary(path) as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                yield number, json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except (ValueError, RecursionError) as error:
                yield number, Unreadable(f"not JSON: {error}")


def _one_line_is_one_value(path: Path) -> bool:
    with open_binary(path) as stream:
        lines = [stream.readline(_PIECE) for _ in range(2)]
    try:
        return all(isinstance(json.loads(line), dict | list) for line in lines if line.strip())
    except ValueError:
        return False


def read_json(path: Path) -> Numbered:
    """JSON: a list of rows, an object of rows by key, or an object that holds the list under a usual name.

    A list is read element by element, so a truncated file gives every whole element and then one `Unreadable`
    that says where it broke off.
    """
    if _one_line_is_one_value(path) and _has_second_line(path):
        yield from read_lines(path)
        return
    with open_binary(path) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace").read()
    start = len(text) - len(text.lstrip())
    if text[start : start + 1] == "[":
        yield from _elements(text, start + 1)
        return
    try:
        value = json.loads(text)
    except ValueError as error:
        nested = _nested_list(text)
        if nested is None:
            yield 1, Unreadable(f"not JSON: {error}")
        else:
            yield from _elements(text, nested)
        return
    yield from _rows_of(value)


def _has_second_line(path: Path) -> bool:
    with open_binary(path) as stream:
        stream.readline()
        return bool(stream.readline().strip())


def _nested_list(text: str) -> int | None:
    """Where the list of a broken `{"data": [...` begins."""
    match = re.search(r'"(?:' + "|".join(_DATA_KEYS) + r')"\s*:\s*\[', text)
    return match.end() if match else None


def _elements(text: str, at: int) -> Numbered:
    decoder = json.JSONDecoder()
    blank = re.compile(r"[\s,]*")
    number = 0
    while True:
        match = blank.match(text, at)
        at = match.end() if match else at
        if text[at : at + 1] == "]":
            return
        number += 1
        if at >= len(text):
            yield number, Unreadable(f"the file ends here, after {number - 1} whole elements, without its ]")
            return
        try:
            value, at = decoder.raw_decode(text, at)
        except ValueError as error:
            line = text.count("\n", 0, at) + 1
            yield (
                number,
                Unreadable(
                    f"broken from line {line} on, after {number - 1} whole elements: {len(text) - at} "
                    f"characters "
                    f"left unread ({error})"
                ),
            )
            return
        yield number, value


def _rows_of(value: Any) -> Numbered:
    if isinstance(value, list):
        yield from enumerate(value, 1)
        return
    if not isinstance(value, dict):
        yield 1, Unreadable(f"a {type(value).__name__} where rows were expected")
        return
    for key in _DATA_KEYS:
        if isinstance(value.get(key), list):
            yield from enumerate(value[key], 1)
            return
    if value and all(isinstance(row, dict | list) for row in value.values()):
        for number, (key, row) in enumerate(value.items(), 1):
            yield number, {"id": key, **row} if isinstance(row, dict) else row
        return
    yield 1, value


def read_csv(path: Path) -> Numbered:
    """CSV or TSV with a header line; the delimiter is taken from the header."""
    csv.field_size_limit(min(sys.maxsize, 1 << 31))
    with open_binary(path) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace", newline="")
        header = text.readline()
        delimiter = "\t" if header.count("\t") > header.count(",") else ","
        names = next(csv.reader([header], delimiter=delimiter), [])
        reader = csv.reader(text, delimiter=delimiter)
        for row in reader:
            number = reader.line_num + 1
            if not row:
                continue
            if len(row) != len(names):
                yield number, Unreadable(f"{len(row)} fields where the header has {len(names)}")
            else:
                yield number, dict(zip(names, row, strict=True))


def read_parquet_rows(path: Path) -> Numbered:
    """Parquet, a batch in memory at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            yield from _batches(file.iter_batches(2048))
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path}: not a whole Parquet file ({error}); download it again") from None


def read_arrow_rows(path: Path) -> Numbered:
    """Arrow: the IPC stream that `datasets` saves, or an IPC file (Feather)."""
    import pyarrow as pa

    try:
        source = pa.memory_map(str(path))
        try:
            file = pa.ipc.open_file(source)
            batches: Iterable[Any] = (file.get_batch(index) for index in range(file.num_record_batches))
        except pa.ArrowInvalid:
            source.seek(0)
            batches = pa.ipc.open_stream(source)
        yield from _batches(batches)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path}: not a whole Arrow file ({error})") from None


def _batches(batches: Iterable[Any]) -> Numbered:
    number = 0
    for batch in batches:
        for row in batch.to_pylist():
            number += 1
            yield number, row


def read_xml(path: Path) -> Numbered:
    """XML: the elements that repeat most are the rows; attributes and children are the fields, nested as they are.

    The file is read twice, an element in memory at a time.
    """
    with open_binary(path) as stream:
        head = stream.read(1 << 16)
    if b"<!ENTITY" in head:
        raise InputError(f"{path}: declares XML entities, which are not read (they can grow without bound)")
    counts: dict[str, int] = {}
    for element, depth in _xml_elements(path):
        if depth and (len(element) or element.attrib):
            counts[element.tag] = counts.get(element.tag, 0) + 1
    if not counts:
        return
    # Of equals, the outermost one: its children repeat as often as it does.
    most = max(counts.values())
    equals = {tag for tag, count in counts.items() if count == most}
    number = 0
    for element, outer in _xml_elements(path, equals):
        if outer and element.tag in equals:
            number += 1
            fields = _xml_fields(element)
            yield number, fields if isinstance(fields, dict) else {element.tag: fields}


def _xml_elements(path: Path, rows: Collection[str] = ()) -> Iterator[tuple[Element, bool]]:
    """Elements as they end, and whether they stand in no other one of `rows`; each is emptied after its use."""
    from xml.etree import ElementTree

    with open_binary(path) as stream:
        open_elements: list[Element] = []
        inside = 0
        try:
            for event, element in ElementTree.iterparse(stream, events=("start", "end")):
                if event == "start":
                    open_elements.append(element)
                    inside += element.tag in rows
                    continue
                open_elements.pop()
                inside -= element.tag in rows
                yield element, bool(open_elements) and not inside
                if not inside and open_elements:
                    _xml_empty(element, open_elements[-1], keep=not rows)
        except ElementTree.ParseError as error:
            raise InputError(f"{path}: not XML ({error})") from None


def _xml_empty(element: Element, parent: Element, *, keep: bool) -> None:
    """Free what an element holds; `keep` leaves a shell to its parent, which is then known to have children."""
    if keep and len(parent) == 1:
        element.clear()
    else:
        parent.remove(element)


def _xml_fields(element: Element) -> Any:
    """Attributes and children as a mapping, a tag that repeats as a list; text where there are neither."""
    text = "".join(element.itertext()).strip()
    own = (element.text or "").strip() + "".join((child.tail or "").strip() for child in element)
    if not element.attrib and (not len(element) or own):
        return text
    fields: dict[str, Any] = dict(element.attrib)
    for child in element:
        value = _xml_fields(child)
        if child.tag not in fields:
            fields[child.tag] = value
        elif isinstance(fields[child.tag], list):
            fields[child.tag].append(value)
        else:
            fields[child.tag] = [fields[child.tag], value]
    if own or not len(element):
        fields["text"] = text
    return fields


def read_hub(name: str, split: str | None) -> Numbered:
    """Any data set that `datasets.load_dataset` finds (`owner/name` or `owner/name:config`), streamed."""
    import datasets

    path, _, config = name.partition(":")
    try:
        rows = datasets.load_dataset(path, config or None, split=split or "train", streaming=True)
        yield from enumerate(rows, 1)
    except Exception as error:
        reason = str(error).strip().splitlines()
        raise InputError(
            f"{name}: neither a file here nor a data set that `datasets` can load "
            f"({type(error).__name__}: {reason[0] if reason else 'no reason given'})"
        ) from None


READERS: dict[str, Callable[[Path], Numbered]] = {
    ".jsonl": read_lines,
    ".ndjson": read_lines,
    ".json": read_json,
    ".csv": read_csv,
    ".tsv": read_csv,
    ".parquet": read_parquet_rows,
    ".arrow": read_arrow_rows,
    ".feather": read_arrow_rows,
    ".xml": read_xml,
}
_COMPRESSION = {".gz", ".xz", ".zst", ".zstd"}


def reader_of(path: Path) -> Callable[[Path], Numbered]:
    """The reader for a file's name, under its compression suffix."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    while suffixes and suffixes[-1] in _COMPRESSION:
        suffixes.pop()
    if not suffixes or suffixes[-1] not in READERS:
        raise InputError(f"{path}: unknown format; known: {', '.join(READERS)}, each also .gz, .xz or .zst")
    return READERS[suffixes[-1]]


def files_of(location: str) -> list[Path]:
    """The files that a path, folder or glob stands for, sorted; empty when it is none of these."""
    path = Path(location).expanduser()
    if path.is_file():
        return [path]
    if path.is_dir():
        found = sorted(
            file
            for file in path.rglob("*")
            if file.is_file() and any(suffix.lower() in READERS for suffix in file.suffixes)
        )
        if path / "data.parquet" in found and path / "lineage.parquet" in found:
            return [path / "data.parquet"]  # a set that we wrote
        saved = [file for file in found if file.suffix == ".arrow"]
        return saved or found
    if any(char in location for char in "*?["):
        anchor = Path(path.anchor) if path.is_absolute() else Path()
        return sorted(file for file in anchor.glob(str(path.relative_to(path.anchor))) if file.is_file())
    return []


def _saved_split(location: str, split: str | None) -> str:
    """The folder of the wanted split where `datasets` saved several; any other location as it is."""
    folder = Path(location).expanduser()
    listed = folder / "dataset_dict.json"
    if not listed.is_file():
        return location
    splits = json.loads(listed.read_text())["splits"]
    wanted = split or "train"
    if wanted not in splits:
        raise InputError(f"{location}: no split {wanted!r}; set split to one of {', '.join(splits)}")
    return str(folder / wanted)


def read_source(location: str, split: str | None = None) -> Numbered:
    """Rows of one input: a file, a folder, a glob, or a hub data set. Positions count through all its files.

    Raises:
        InputError: there is nothing of that name, or its format is unknown.
    """
    files = files_of(_saved_split(location, split))
    if not files:
        looks_like_a_path = location.startswith(("/", ".", "~")) or bool(Path(location.split(":")[0]).suffix)
        if looks_like_a_path or location.count("/") > 1:
            raise InputError(f"{location}: no such file or folder")
        yield from read_hub(location, split)
        return
    offset = 0
    for path in files:
        last = 0
        for position, value in reader_of(path)(path):
            last = position
            yield offset + position, value
        offset += last
