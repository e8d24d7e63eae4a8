"""Decontamination: rows that repeat an item of a benchmark, however it was typeset or its question rewritten.

Candidates are found by rare character 5-grams in common (weighted by how few benchmark items hold them, so that
"Find the number of positive integers" says little), then judged by containment, numbers, and formulas. A copy
whose answer was turned into an integer ("... find k+m+n") is compared without that tail. The same text with other
numbers is a *variant*: reported, and kept unless variants are asked for.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curation.compare import Comparable, opposed
from curation.duplicates import hash64
from curation.minhash import ngram_hashes
from curation.text import repair, strip_instructions

_ANSWER_NAMES = frozenset("kmnpqrs")
LIKELY = 0.62
"""Containment from which two texts are taken to stem from one."""

Relation = Literal["same", "variant", "different"]

_TAIL_START = re.compile(
    r"(?:\.|\?|!|\$|\)|\]|\n|^)\s*(?:(?:the |your )?(?:original |final |correct )?answer (?:is|can be|"
    r"should be|has|in)\b"
    r"|(?:please )?(?:express|write|provide|give|present|round|enter) (?:your |the )?(?:final |"
    r"original )?(?:answer|result)\b"
    r"|(?:the )?(?:original|final) answer\b"
    r"|please (?:give|provide|find|calculate|compute|determine|express)\b"
    r"|if (?:the|your) (?:final |original )?answer (?:is|can be)\b"
    r"|(?:can|could) be (?:written|expressed) (?:as|in)\b)",
    re.IGNORECASE,
)
_RELATIVELY_PRIME = re.compile(
    r"(?:,? where|with)\s+[$\\(a-z, ]*?(?:and|,)[^.]{0,40}?(?:relatively prime|coprime|"
    r"co-prime)[^.]*?(?:\.|,|$)\s*"
    r"(?:(?:find|compute|what is|determine)[^.?]{0,30}[.?]?)?",
    re.IGNORECASE,
)


# "p/q = cos(x) is an irreducible fraction, what is p+q": the request is wrapped around the question.
_IRREDUCIBLE = re.compile(
    r"(?:let\s+)?\$?\\?\bd?frac\s*\{?[a-z]\}?\s*\{?[a-z]\}?\s*\$?\s*(?:=|is\b)\s*(?:the\b)?|"
    r"(?:\b(?:is|be|as)\b)?\s*(?:\ban?\b)?\s*\birreducible fraction\b(?:\s+value of\b)?[,.]?|"
    r"\b(?:what is|find)(?: the value of)?\s+\$?[a-z]\s*[-+]\s*[a-z]\$?\s*[?.]?\s*\Z",
    re.IGNORECASE,
)


def without_tail(text: str) -> str:
    """The text without the requests on the form of its answer that stand in its second half.

    What an integer transform appends ("The answer is in the form k/m. Please give k+m.") goes as a whole.
    """
    for match in _TAIL_START.finditer(text, len(text) // 3):
        shorter = text[: match.start() + 1]
        if len(shorter) >= 24:
            text = shorter
            break
    if "irreducible fraction" in text.lower():
        text = _IRREDUCIBLE.sub(" ", text)
    return _RELATIVELY_PRIME.sub(" ", text)


@dataclass(frozen=True)
class Item:
    """A text in both forms that are compared: whole, and without its request on the answer's form."""

    text: str

    @cached_property
    def whole(self) -> Comparable:
        """The whole text."""
        return Comparable.of(self.text)

    @cached_property
    def stem(self) -> Comparable:
        """The text without its tail."""
        shorter = without_tail(self.text)
        return self.whole if shorter == self.text else Comparable.of(shorter)


class Match(NamedTuple):
    """How a row relates to the benchmark item that is nearest to it."""

    relation: Relation
    item: int
    score: float
    """Share of the shorter text's 5-grams that the other holds, 0..1."""


def _substituted(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether each side has elements that the other lacks: something was replaced, not just left out."""
    left, right = Counter(one), Counter(other)
    return bool(left - right) and bool(right - left)


def _sibling(views: Sequence[tuple[Comparable, Comparable]], score: float) -> bool:
    """Whether two texts share their wording only: fewer common numbers ask for more common text, and a function or
    variable that only one of them knows makes another question of the same words."""
    numbers = max(_share(Counter(one.numbers), Counter(other.numbers)) for one, other in views)
    if numbers < 0.75 and score < min(0.9, 1.1 - 0.4 * numbers):
        return True
    same_words = any(one.words == other.words for one, other in views)
    return same_words and numbers == 1 and score < 0.95 and all(_letters(a) != _letters(b) for a, b in views)


def _share(one: Counter[str], other: Counter[str]) -> float:
    """Jaccard similarity of two multisets; 1 where both are empty."""
    union = (one | other).total()
    return (one & other).total() / union if union else 1.0


def _letters(text: Comparable) -> frozenset[str]:
    """Variables and functions of one letter, but for those that name parts of an answer (m/n, p+q)."""
    return frozenset(token for token in text.core if len(token) == 1 and token.isalpha()) - _ANSWER_NAMES


def _bare_expression(one: Comparable, other: Comparable) -> bool:
    """Whether one text is hardly more than an expression, and the other has the same one with letters around it
    ("m/n is ..., what is m+n")."""
    short, long = sorted((one.formula, other.formula), key=len)
    if len(short) < 10 or min(len(one.words), len(other.words)) > 1 or one.numbers != other.numbers:
        return False
    before, found, after = long.partition(short)
    return bool(found) and not re.search(r"\d", before + after)


def relate(row: Item, item: Item) -> tuple[Relation, float]:
    """Judge one pair of a training text and a benchmark text; gives the relation and the containment."""
    for left, right in ((row.whole, item.whole), (row.stem, item.stem)):
        if left.squeezed == right.squeezed and left.numbers == right.numbers:
            return "same", 1.0
    views = [(row.stem, item.stem)]
    if row.stem is not row.whole or item.stem is not item.whole:
        views.append((row.whole, item.whole))
    scores = [containment(one, other) for one, other in views]
    score = max(scores)
    if _bare_expression(row.stem, item.stem):
        return "same", score
    if score < 0.5:
        return "different", score
    one, other = views[scores.index(score)]
    formulas = SequenceMatcher(None, one.formula, other.formula, autojunk=False).ratio()
    if all(_substituted(left.numbers, right.numbers) for left, right in views):
        return ("variant" if score >= LIKELY else "different"), score
    if max(len(one.words), len(other.words)) < 4 and one.numbers != other.numbers:
        return ("variant" if score >= LIKELY else "different"), score
    short = min(len(one.formula), len(other.formula)) <= 24
    if (
        max(len(one.words), len(other.words)) < 4
        and short
        and one.formula.strip("=") != other.formula.strip("=")
    ):
        return ("variant" if score >= LIKELY else "different"), score
    if opposed(one, other) or _sibling(views, score):
        return "variant", score
    few_words = min(len(one.words), len(other.words)) <= 10
    if few_words and score < 0.75 and _substituted(sorted(one.words), sorted(other.words)):
        return ("variant" if formulas > 0.9 else "different"), score
    if score >= 0.85 or formulas >= 0.68 + 0.5 * max(0.0, 0.75 - score):
        return "same", score
    return ("variant" if score >= LIKELY else "different"), score


def containment(one: Comparable, other: Comparable) -> float:
    """Share of the shorter text's character 5-grams that the longer one holds."""
    return len(one.grams & other.grams) / min(len(one.grams), len(other.grams))


def _core_hash(text: Comparable) -> int:
    return hash64((text.squeezed, *text.numbers))


def prepare(text: str) -> Item:
    """A raw text as it is compared."""
    return Item(strip_instructions(repair(text).text).text)


class BenchmarkIndex:
    """Benchmark items, indexed by the 5-grams of their stems.

    Args:
        texts: raw texts of the items.
        candidates: most items that a row is compared with in full.
    """

    def __init__(self, texts: Sequence[str], candidates: int = 4) -> None:
        self.items = [prepare(text) for text in texts]
        self._candidates = candidates
        self._by_core: dict[int, int] = {}
        for index, item in enumerate(self.items):
            self._by_core.setdefault(_core_hash(item.whole), index)
            self._by_core.setdefault(_core_hash(item.stem), index)
        hashes, starts = ngram_hashes([item.stem.squeezed for item in self.items] or [""])
        owner = np.repeat(np.arange(starts.size), np.diff(np.append(starts, hashes.size)))
        pairs = np.unique(np.stack([hashes, owner.astype(np.uint64)]), axis=1)
        self._grams, first, count = np.unique(pairs[0], return_index=True, return_counts=True)
        self._first, self._count = first.astype(np.int64), count.astype(np.int64)
        self._owner = pairs[1].astype(np.int64)
        total = max(len(self.items), 1)
        self._weight = np.log((total + 1) / count)
        # A gram of every tenth item tells nothing and costs most.
        self._count[self._count > max(8, total // 10)] = 0
        used = np.repeat(np.where(self._count > 0, self._weight, 0.0), count)
        self._totals = np.bincount(self._owner, weights=used, minlength=total)
        self._unknown = float(np.log(total + 1))

    def match(self, texts: Iterable[str], batch: int = 256) -> Iterator[Match | None]:
        """For each repaired text, the item it is nearest to, where one comes near at all."""
        pending: list[Item] = []
        for text in texts:
            pending.append(Item(text))
            if len(pending) == batch:
                yield from self._match(pending)
                pending = []
        if pending:
            yield from self._match(pending)

    def _match(self, rows: list[Item]) -> Iterator[Match | None]:
        if not self.items:
            yield from (None for _ in rows)
            return
        scores = self._scores(rows)
        for row, row_scores in zip(rows, scores, strict=True):
            known = self._by_core.get(_core_hash(row.whole), self._by_core.get(_core_hash(row.stem)))
            if known is not None and self.items[known].stem.core:
                yield Match("same", known, 1.0)
                continue
            near = np.flatnonzero(row_scores >= 0.3)
            near = near[np.argsort(-row_scores[near], kind="stable")][: self._candidates]
            matches = [
                Match(relation, index, score)
                for index in near.tolist()
                for relation, score in [relate(row, self.items[index])]
            ]
            rank = {"same": 2, "variant": 1, "different": 0}
            yield max(matches, key=lambda match: (rank[match.relation], match.score), default=None)

    def _scores(self, rows: list[Item]) -> NDArray[np.float64]:
        """Weighted containment of each row's and each item's rare grams [rows, items]."""
        hashes, starts = ngram_hashes([row.stem.squeezed for row in rows])
        owner = np.repeat(np.arange(starts.size), np.diff(np.append(starts, hashes.size)))
        place = np.minimum(np.searchsorted(self._grams, hashes), self._grams.size - 1)
        known = self._grams[place] == hashes
        count = np.where(known, self._count[place], 0)
        weight = np.where(known, np.where(count > 0, self._weight[place], 0.0), self._unknown)
        totals = np.bincount(owner, weights=weight, minlength=len(rows))
        hits = np.flatnonzero(count)
        repeated = np.repeat(hits, count[hits])
        within = np.arange(repeated.size) - np.repeat(np.cumsum(count[hits]) - count[hits], count[hits])
        item = self._owner[self._first[place[repeated]] + within]
        cell = owner[repeated] * len(self.items) + item
        size = len(rows) * len(self.items)
        common = np.bincount(cell, weights=weight[repeated], minlength=size).reshape(len(rows), -1)
        smaller = np.minimum(totals[:, None], self._totals[None, :])
        result: NDArray[np.float64] = common / np.maximum(smaller, 1e-9)
        return result
