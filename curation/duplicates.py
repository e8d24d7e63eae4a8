"""Duplicates: exact after normalisation, near by MinHash; template variants are told apart and kept.

Two texts are *near* duplicates when they hold the same numbers and nearly the same formulas and content words
(or the same ones, asked for in other words). The same text with other numbers is a *variant* of a template:
another problem, and kept. Numbers are part of every band key, so variants never even meet as candidates.

The buckets are those of MinHashLSH (datasketch gives the same candidates for the same signatures); they are found
by sorting one band's keys at a time from disk, since an index that holds every row's keys as objects in memory
takes gigabytes for a million rows.

Memory: 8 bytes per row and hash while one hash column is sorted; texts of candidates are read back from disk.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from curation.compare import Comparable, opposed
from curation.minhash import Hashes, MinHasher

BATCH = 512


def hash64(parts: Iterable[str]) -> int:
    """64-bit hash of a sequence of tokens, the same in every process."""
    return int.from_bytes(blake2b("\x1f".join(parts).encode(), digest_size=8).digest(), "little")


Nearness = Literal["same", "neighbour", "apart"]


def nearness(one: Comparable, other: Comparable, threshold: float) -> Nearness:
    """How two texts with the same numbers are related: the same question, nearly its text, or neither.

    A neighbour has the text of the other but for a variable or a word that makes another question of it.

    Args:
        one: a text.
        other: another.
        threshold: least share of character 5-grams in common (Jaccard).
    """
    if one.numbers != other.numbers:
        return "apart"
    if one.squeezed == other.squeezed:
        return "same"
    if len(one.grams & other.grams) < threshold * len(one.grams | other.grams):
        return "apart"
    if opposed(one, other):
        return "neighbour"
    if one.formula != other.formula:
        ratio = SequenceMatcher(None, one.formula, other.formula, autojunk=False).ratio()
        if ratio < (0.92 if min(len(one.formula), len(other.formula)) > 24 else 1.0):
            return "neighbour"
    return "same"


@dataclass
class Duplicates:
    """What was found among n texts."""

    parent: NDArray[np.int64]
    """Index of the first text of each text's duplicate group; its own where it is the first or alone."""
    exact: NDArray[np.bool_]
    """Whether the text equals its group's first after normalisation (only near otherwise)."""
    template: NDArray[np.int64]
    """Index of the first text of the same template (same text up to numbers)."""
    neighbour: dict[int, int]
    """For texts that have one: an earlier text that is nearly the same, with the same numbers, and asks another
    question."""

    def groups(self) -> Iterator[NDArray[np.int64]]:
        """Indices of each group of two or more, ascending, groups by their first."""
        order = np.argsort(self.parent, kind="stable")
        cuts = np.flatnonzero(np.diff(self.parent[order])) + 1
        return (group for group in np.split(order, cuts) if group.size > 1)


@dataclass
class _Columns:
    """Hash columns of all texts, one file each."""

    folder: Path
    count: int = 0

    def append(self, name: str, values: NDArray[np.uint64]) -> None:
        with (self.folder / name).open("ab") as stream:
            stream.write(np.ascontiguousarray(values).tobytes())

    def load(self, name: str) -> Hashes:
        return np.fromfile(self.folder / name, dtype=np.uint64)


class _Forest:
    """Union-find in which the smallest index of a group is its root."""

    def __init__(self, count: int) -> None:
        self.parent = array("q", range(count))

    def find(self, index: int) -> int:
        parent = self.parent
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    def union(self, one: int, other: int) -> None:
        one, other = self.find(one), self.find(other)
        if one != other:
            self.parent[max(one, other)] = min(one, other)


def _first_equal(hashes: Hashes) -> NDArray[np.int64]:
    """For each element, the first index that holds the same value."""
    _, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    result: NDArray[np.int64] = first[inverse]
    return result


def find_duplicates(
    texts: Iterable[str],
    fetch: Callable[[int], str],
    threshold: float = 0.8,
    comparisons: int = 24,
    seed: int = 1,
) -> Duplicates:
    """Find duplicate groups and templates among texts.

    Args:
        texts: all texts, in order; read once.
        fetch: gives the text of an index again, to compare candidates.
        threshold: least character 5-gram Jaccard similarity of near duplicates.
        comparisons: most representatives that a text of one bucket is compared with.
        seed: of the hash functions.
    """
    hasher = MinHasher(seed=seed)
    bands = [f"band{index}" for index in range(hasher.bands)]
    with TemporaryDirectory(prefix="curation-duplicates-") as folder:
        columns = _Columns(Path(folder))
        for batch in _batched(texts, BATCH):
            _hash_batch(batch, hasher, columns)
        exact_first = _first_equal(columns.load("exact"))
        template = _first_equal(columns.load("template"))
        forest = _Forest(columns.count)
        for index, first in enumerate(exact_first.tolist()):
            if first != index:
                forest.union(first, index)
        for index, first in enumerate(_first_equal(columns.load("core")).tolist()):
            if first != index:
                forest.union(first, index)
        neighbour: dict[int, int] = {}
        comparable = lru_cache(maxsize=4096)(lambda index: Comparable.of(fetch(index)))
        for band in bands:
            _link_band(columns.load(band), forest, neighbour, comparable, threshold, comparisons)
    parent = np.array([forest.find(index) for index in range(columns.count)], dtype=np.int64)
    return Duplicates(parent, exact_first == exact_first[parent], template, neighbour)


def _batched(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    batch: list[str] = []
    for text in texts:
        batch.append(text)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _hash_batch(batch: list[str], hasher: MinHasher, columns: _Columns) -> None:
    comparables = [Comparable.of(text) for text in batch]
    exact = [hash64(item.tokens) for item in comparables]
    core = [hash64((item.squeezed, *item.numbers)) for item in comparables]
    template = [hash64(item.template) for item in comparables]
    numbers = np.array([hash64(item.numbers) for item in comparables], dtype=np.uint64)
    columns.append("exact", np.array(exact, dtype=np.uint64))
    columns.append("core", np.array(core, dtype=np.uint64))
    columns.append("template", np.array(template, dtype=np.uint64))
    keys = hasher.band_keys([item.squeezed for item in comparables], numbers)
    for index in range(hasher.bands):
        columns.append(f"band{index}", keys[:, index])
    columns.count += len(batch)


def _link_band(
    keys: Hashes,
    forest: _Forest,
    neighbour: dict[int, int],
    comparable: Callable[[int], Comparable],
    threshold: float,
    comparisons: int,
) -> None:
    """Join the texts that share a bucket of this band and are similar."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    sizes = np.diff(np.append(starts, ordered.size))
    for start, size in zip(starts[sizes > 1].tolist(), sizes[sizes > 1].tolist(), strict=True):
        roots = list(dict.fromkeys(forest.find(index) for index in order[start : start + size].tolist()))
        representatives: list[int] = []
        for root in roots:
            match = None
            for known in representatives:
                near = nearness(comparable(known), comparable(root), threshold)
                if near == "same":
                    match = known
                    break
                if near == "neighbour":
                    neighbour.setdefault(root, known)
            if match is not None:
                forest.union(match, root)
            elif len(representatives) < comparisons:
                representatives.append(root)
