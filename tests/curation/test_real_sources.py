"""Readers on real problem sets that other libraries wrote: XML by ElementTree, data sets by `datasets`, CSV."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from curation.fields import to_row
from curation.row import Row
from curation.sources import read_source
from tests.shared_data import shared_rows
from verifiers import InputError

SETS = ("raw/math500_oai.jsonl.gz", "raw/svamp.jsonl.gz", "raw/polaris_amc23.jsonl.gz")


def real_rows(name: str) -> list[dict[str, Any]]:
    return [
        {"problem": row["problem"], "answer": str(row["answer"]), "level": number % 5}
        for number, row in enumerate(shared_rows(name))
    ]


def read(path: Path | str, split: str | None = None, **mapping: str) -> list[tuple[str, str | None]]:
    made = [to_row(value, n, f"s:{n}", "s", mapping) for n, value in read_source(str(path), split)]
    assert all(isinstance(row, Row) for row in made)
    return [(row.problem, row.answer) for row in made if isinstance(row, Row)]


def pairs(rows: list[dict[str, Any]]) -> list[tuple[str, str | None]]:
    return [(row["problem"], row["answer"]) for row in rows]


@pytest.mark.parametrize("name", SETS)
def test_xml_that_elementtree_wrote_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    rows = real_rows(name)
    root = ElementTree.Element("problems", {"origin": name})
    ElementTree.SubElement(root, "title").text = "A set & its <problems>"
    for row in rows:
        item = ElementTree.SubElement(root, "item", {"level": str(row["level"])})
        body = ElementTree.SubElement(item, "body")
        ElementTree.SubElement(body, "statement").text = row["problem"]
        ElementTree.SubElement(item, "key").text = row["answer"]
    path = tmp_path / "set.xml"
    ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)
    found = read(path, problem="body.statement", answer="key")
    # XML reads a carriage return as a line feed.
    assert found == [(text.replace("\r\n", "\n"), answer) for text, answer in pairs(rows)]


@pytest.mark.parametrize("name", SETS)
def test_a_set_that_datasets_saved_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    import datasets

    rows = real_rows(name)
    datasets.Dataset.from_list(rows).save_to_disk(str(tmp_path / "saved"), num_shards=3)
    assert read(tmp_path / "saved") == pairs(rows)


def test_splits_that_datasets_saved_are_read_by_name(tmp_path: Path) -> None:
    import datasets

    rows = real_rows(SETS[0])
    parts = {"train": datasets.Dataset.from_list(rows[:400]), "test": datasets.Dataset.from_list(rows[400:])}
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "saved"))
    assert read(tmp_path / "saved" / "test") == pairs(rows[400:])
    assert read(tmp_path / "saved", split="test") == pairs(rows[400:])
    assert read(tmp_path / "saved", split="train") == pairs(rows[:400])
    assert read(tmp_path / "saved") == pairs(rows[:400])
    with pytest.raises(InputError, match="no split 'dev'; set split to one of train, test"):
        read(tmp_path / "saved", split="dev")


def test_csv_that_the_csv_module_wrote_gives_the_same_rows(tmp_path: Path) -> None:
    rows = real_rows(SETS[0])
    with (tmp_path / "set.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=["problem", "answer", "level"])
        writer.writeheader()
        writer.writerows(rows)
    assert read(tmp_path / "set.csv") == pairs(rows)
