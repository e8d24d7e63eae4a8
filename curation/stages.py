"""The stages that need no model: reading, normalisation, types, gold, duplicates, decontamination.

Each takes the rows file of the stage before it, yields the rows that stay, in their order, and logs the others.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np

from curation.answers import canonical
from curation.choices import close, parse_options, with_options
from curation.compare import Comparable
from curation.config import CurateConfig, SourceConfig
from curation.decontaminate import BenchmarkIndex
from curation.duplicates import Duplicates, find_duplicates
from curation.fields import to_row
from curation.gold import GoldCheck, respond
from curation.kinds import kinds_of
from curation.row import Row, decode_row, read_rows
from curation.semantic import embed, load_encoder, semantic_matches
from curation.sources import Unreadable, read_source
from curation.stage import DropLog, Reason
from curation.text import repair, strip_instructions
from verifiers import InputError, get_verifier

GOLD_BATCH = 1024


def read(config: CurateConfig, log: DropLog) -> Iterator[Row]:
    """Rows of all inputs; what can't be read is dropped with its place and why."""
    ordinal = 0
    for source in config.all_sources():
        for row in _read_source(source, config, log, ordinal):
            ordinal = row.ordinal + 1
            yield row


def _read_source(source: SourceConfig, config: CurateConfig, log: DropLog, ordinal: int) -> Iterator[Row]:
    verifier = source.verifier or config.verifier
    for position, value in islice(read_source(source.path, source.split), source.limit):
        log.report.entered += 1
        raw_id = f"{source.name}:{position}"
        row = to_row(value, ordinal, raw_id, source.name, source.fields, verifier)
        if isinstance(row, Unreadable):
            log.drop_raw(ordinal, raw_id, source.name, Reason("unreadable", row.why))
        else:
            yield row
        ordinal += 1


def normalise(source: Path, config: CurateConfig, log: DropLog) -> Iterator[Row]:
    """Repaired texts; the original stays beside what was changed."""
    filters = config.filters
    for row in read_rows(source):
        log.report.entered += 1
        repaired = repair(row.problem)
        stripped = strip_instructions(repaired.text)
        repairs = repaired.repairs + stripped.repairs
        if repairs:
            row.original["problem"] = row.problem
            row.problem = stripped.text
            row.facts["repairs"] = list(repairs)
            log.report.notes.update(repairs)
        if row.answer is not None:
            answer = repair(row.answer).text
            if answer != row.answer:
                row.original["answer"], row.answer = row.answer, answer
        row.options = [repair(option).text for option in parse_options(row.options)]
        if len(row.problem) < filters.min_characters:
            log.drop(row, Reason("too short", f"{len(row.problem)} characters"))
        elif len(row.problem) > filters.max_characters:
            log.drop(row, Reason("too long", f"{len(row.problem)} characters"))
        else:
            yield row


def types(source: Path, config: CurateConfig, log: DropLog) -> Iterator[Row]:
    """Rows of wanted types; multiple choice is closed first where that is asked for."""
    filters = config.filters
    for row in read_rows(source):
        log.report.entered += 1
        kinds = kinds_of(row.problem, row.answer, row.options, filters.languages)
        refused = None
        if filters.convert_choices and "multiple_choice" in kinds:
            refused = close(row)
            if refused is None:
                log.report.notes["choice converted"] += 1
                kinds = kinds_of(row.problem, row.answer, row.options, filters.languages)
        dropped = next((kind for kind in filters.drop if kind in kinds), None)
        if dropped is not None:
            detail = kinds[dropped] + (
                f"; not converted: {refused}" if refused and dropped == "multiple_choice" else ""
            )
            log.drop(row, Reason(dropped.replace("_", " "), detail))
            continue
        if "multiple_choice" in kinds and row.options:
            row.problem = with_options(row.problem, row.options)
            row.verifier = "multiple_choice"
        yield row


def gold(source: Path, config: CurateConfig, log: DropLog, workers: int, store: Path) -> Iterator[Row]:
    """Rows whose own verifier accepts their gold and rejects wrong answers that resemble it."""
    rows = read_rows(source)
    settings = config.gold
    unverified = settings.unverified == "keep"
    with GoldCheck(workers, settings.timeout, store, settings.from_solution, unverified) as checker:
        while batch := list(islice(rows, GOLD_BATCH)):
            log.report.entered += len(batch)
            for row, reason in checker.check(batch):
                if reason is None:
                    if "gold_from" in row.facts:
                        log.report.notes["gold taken from the solution"] += 1
                    if row.facts.get("gold") == "unverified":
                        log.report.notes["tests without a reference solution"] += 1
                    yield row
                else:
                    log.drop(row, reason)


class RowFile:
    """Random access to the rows of a work file."""

    def __init__(self, path: Path) -> None:
        self._stream = path.open("rb")
        self._offsets = array("q")

    def texts(self) -> Iterator[str]:
        """Problem texts, in order; their places are remembered."""
        offset = 0
        for line in self._stream:
            self._offsets.append(offset)
            offset += len(line)
            yield decode_row(line).problem

    def __getitem__(self, index: int) -> Row:
        """Row number `index`."""
        self._stream.seek(self._offsets[index])
        return decode_row(self._stream.readline())


def duplicates(source: Path, config: CurateConfig, log: DropLog) -> Iterator[Row]:
    """One row of each duplicate group; variants of a template stay, with the template's name."""
    settings = config.duplicates
    rows = RowFile(source)
    found = find_duplicates(
        rows.texts(), lambda index: rows[index].problem, settings.threshold if settings.near else 2.0
    )
    drops: dict[int, Reason] = {}
    merged: dict[int, list[str]] = {}
    similar: dict[int, str] = {}
    for group in found.groups():
        _settle([(int(index), rows[index]) for index in group], found, config, drops, merged, similar)
    for index, earlier in found.neighbour.items():
        row, first = rows[index], rows[int(found.parent[earlier])]
        if not same_gold(first, row):
            similar.setdefault(index, first.raw_id)
    if settings.semantic:
        _merge_semantic(rows, found, config, drops, merged, similar)
    sizes = np.bincount(found.template, minlength=1)
    template_name = lru_cache(maxsize=4096)(lambda index: rows[index].raw_id)
    for index, row in enumerate(read_rows(source)):
        log.report.entered += 1
        if index in drops:
            log.drop(row, drops[index])
            continue
        row.duplicates = merged.get(index, [])
        if index in similar:
            row.facts["similar_to"] = similar[index]
            log.report.notes["near texts with another gold kept"] += 1
        template = int(found.template[index])
        if sizes[template] > 1:
            row.facts["template"] = template_name(template)
            row.facts["template_size"] = int(sizes[template])
            if template != index:
                log.report.notes["template variants kept"] += 1
        yield row


def _settle(
    group: Sequence[tuple[int, Row]],
    found: Duplicates,
    config: CurateConfig,
    drops: dict[int, Reason],
    merged: dict[int, list[str]],
    similar: dict[int, str],
) -> None:
    """Decide about one duplicate group: which row stays, and why the others go.

    Rows that stay beside one with nearly the same text and another gold are noted in `similar`.
    """
    golds: list[tuple[Row, list[tuple[int, Row]]]] = []
    for index, row in group:
        for example, members in golds:
            if same_gold(example, row):
                members.append((index, row))
                break
        else:
            golds.append((row, [(index, row)]))
    if len(golds) > 1 and not _conflict([row for _, row in group]):
        # Near texts whose content words differ, with different answers, are different questions.
        for first, members in golds:
            _merge(members, found, drops, merged)
            if first is not golds[0][0]:
                similar[members[0][0]] = golds[0][0].raw_id
        return
    if len(golds) == 1:
        _merge(group, found, drops, merged)
        return
    seen = "; ".join(f"{row.answer!r} in {row.raw_id}" for row, _ in golds[:4])
    settle = config.duplicates.conflicts
    largest = max(golds, key=lambda item: len(item[1]))[1]
    if settle == "majority" and 2 * len(largest) > len(group):
        winners = largest
    elif settle == "first":
        winners = golds[0][1]
    else:
        drops.update((index, Reason("conflicting golds", seen)) for index, _ in group)
        return
    _merge(winners, found, drops, merged)
    kept = {index for index, _ in winners}
    drops.update((index, Reason("outvoted gold", seen)) for index, _ in group if index not in kept)


def _conflict(rows: Sequence[Row]) -> bool:
    """Whether texts of a near-duplicate group agree in every content word, so that golds should agree as well."""
    first = Comparable.of(rows[0].problem)
    return all(
        other.squeezed == first.squeezed and other.numbers == first.numbers
        for other in (Comparable.of(row.problem) for row in rows[1:])
    )


def _merge(
    group: Sequence[tuple[int, Row]],
    found: Duplicates,
    drops: dict[int, Reason],
    merged: dict[int, list[str]],
) -> None:
    kept, first = group[0]
    for index, row in group[1:]:
        name = "exact duplicate" if found.exact[index] and found.exact[kept] else "near duplicate"
        drops[index] = Reason(name, f"of {first.raw_id}")
        merged.setdefault(kept, []).append(row.raw_id)


def _merge_semantic(
    rows: RowFile,
    found: Duplicates,
    config: CurateConfig,
    drops: dict[int, Reason],
    merged: dict[int, list[str]],
    similar: dict[int, str],
) -> None:
    """Drop paraphrases with the same gold; those with another gold are noted in `similar`."""
    left = [index for index in range(len(found.parent)) if index not in drops]
    encoder = load_encoder(config.duplicates.semantic)
    vectors = embed((rows[index].problem for index in left), encoder)
    matches = semantic_matches(
        vectors,
        found.template[left].tolist(),
        lambda place: rows[left[place]].problem,
        config.duplicates.semantic_threshold,
    )
    for place, earlier, cosine in matches:
        index, kept = left[place], left[earlier]
        if index in drops or kept in drops:
            continue
        row, first = rows[index], rows[kept]
        if same_gold(first, row):
            drops[index] = Reason("semantic duplicate", f"cosine {cosine:.3f} of {first.raw_id}")
            merged.setdefault(kept, []).extend([row.raw_id, *merged.pop(index, [])])
            similar.pop(index, None)
        else:
            similar.setdefault(index, first.raw_id)


def same_gold(one: Row, other: Row) -> bool:
    """Whether two rows have the same gold: the same text, or each accepted by the other's verifier."""
    if one.tests is not None or other.tests is not None:
        return bool(one.tests == other.tests)
    left, right = canonical(one.answer or ""), canonical(other.answer or "")
    if left == right:
        return True
    return bool(get_verifier(one.verifier).verify(respond(right), left).correct)


def load_benchmarks(config: CurateConfig) -> tuple[list[str], list[str]]:
    """Names and texts of all benchmark items."""
    names: list[str] = []
    texts: list[str] = []
    locations = [*config.decontamination.against, *config.decontaminate_against]
    for source in CurateConfig(inputs=locations, fields=config.decontamination.fields).all_sources():
        before = len(texts)
        for position, value in read_source(source.path):
            row = to_row(value, position, f"{source.name}:{position}", source.name, source.fields)
            if isinstance(row, Row):
                names.append(row.raw_id)
                texts.append(row.problem)
        if len(texts) == before:
            raise InputError(f"{source.path}: no problem text in any row; set decontamination.fields")
    return names, texts


def decontaminate(
    source: Path, config: CurateConfig, log: DropLog, names: Sequence[str], texts: Sequence[str]
) -> Iterator[Row]:
    """Rows that repeat no benchmark item."""
    index = BenchmarkIndex(texts)
    near = index.match(row.problem for row in read_rows(source))
    for row, match in zip(read_rows(source), near, strict=True):
        log.report.entered += 1
        relation = match.relation if match is not None else "different"
        if match is None or relation == "different":
            yield row
            continue
        benchmark = names[match.item].rsplit(":", 1)[0]
        detail = f"{names[match.item]}, {match.score:.2f} of 5-grams: {texts[match.item][:80]!r}"
        if relation == "same" or config.decontamination.drop_variants:
            word = "variant of" if relation == "variant" else "in"
            log.drop(row, Reason(f"{word} {benchmark}", detail))
        else:
            row.facts["variant_of"] = names[match.item]
            log.report.notes[f"variant of {benchmark} kept"] += 1
            yield row
