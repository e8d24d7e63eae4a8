"""Decontamination on labelled pairs, and what it removes from a real set; peers beside it.

    python -m benchmarks.curation.decontamination PAIRS [--raw FOLDER] [--show]

PAIRS is JSONL with `train_problem`, `eval_problem` and `label` (same, variant, different); `same` is what must be
found. With --raw, DAPO-Math-17K (dapo_math_17k.jsonl.gz) is decontaminated against AIME24, AIME25 and MATH-500
of that folder. Beside our rule: containment of character 5-grams at its best threshold, and a word 8-gram in
common.
"""

from __future__ import annotations

import argparse
import re
import time
from pathlib import Path

from curation.decontaminate import BenchmarkIndex, prepare, relate
from curation.files import read_jsonl
from curation.text import repair, strip_instructions


def characters(text: str) -> set[str]:
    plain = re.sub(r"\W+", "", text.lower())
    return {plain[at : at + 5] for at in range(max(1, len(plain) - 4))}


def words(text: str) -> set[tuple[str, ...]]:
    found = re.findall(r"\w+", text.lower())
    return {tuple(found[at : at + 8]) for at in range(max(0, len(found) - 7))}


def scores(found: list[bool], labels: list[bool]) -> str:
    both = sum(one and other for one, other in zip(found, labels, strict=True))
    return f"precision {both / max(sum(found), 1):.3f}  recall {both / max(sum(labels), 1):.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pairs", type=Path, help="labelled pairs")
    parser.add_argument("--raw", type=Path, help="folder of the raw sets")
    parser.add_argument("--show", action="store_true", help="print the pairs that are judged wrongly")
    options = parser.parse_args()
    pairs = list(read_jsonl(options.pairs))
    labels = [pair["label"] == "same" for pair in pairs]
    ours = []
    for pair in pairs:
        relation, score = relate(prepare(pair["train_problem"]), prepare(pair["eval_problem"]))
        ours.append(relation == "same")
        if options.show and ours[-1] != (pair["label"] == "same"):
            print(f"\n{pair['label']}, found {relation} ({score:.2f})\n  {pair['train_problem'][:300]!r}")
            print(f"  {pair['eval_problem'][:300]!r}")
    print(f"{len(pairs)} pairs, {sum(labels)} of them the same")
    print(f"{'ours':34} {scores(ours, labels)}")
    contained = []
    for pair in pairs:
        one, other = characters(pair["train_problem"]), characters(pair["eval_problem"])
        contained.append(len(one & other) / min(len(one), len(other)))
    best = max(
        (at / 100 for at in range(30, 100)),
        key=lambda limit: sum(
            (score >= limit) == label for score, label in zip(contained, labels, strict=True)
        ),
    )
    print(
        f"{f'character 5-grams, at best ({best:.2f})':34} {scores([score >= best for score in contained], labels)}"
    )
    shared = [bool(words(pair["train_problem"]) & words(pair["eval_problem"])) for pair in pairs]
    print(f"{'a word 8-gram in common':34} {scores(shared, labels)}")
    if options.raw is not None:
        real_set(options.raw, show=options.show)


def real_set(raw: Path, *, show: bool) -> None:
    items = [
        row["problem"]
        for name in ("polaris_aime24", "polaris_aime25", "math500_oai")
        for row in read_jsonl(raw / f"{name}.jsonl.gz")
    ]
    rows = [
        strip_instructions(repair(row["problem"]).text).text
        for row in read_jsonl(raw / "dapo_math_17k.jsonl.gz")
    ]
    started = time.process_time()
    index = BenchmarkIndex(items)
    matches = list(index.match(rows))
    seconds = time.process_time() - started
    near = [(text, match) for text, match in zip(rows, matches, strict=True) if match is not None]
    same = [(text, match) for text, match in near if match.relation == "same"]
    variants = sum(match.relation == "variant" for _, match in near)
    print(
        f"DAPO-Math-17K against {len(items)} items: {len(same)} of {len(rows)} rows removed "
        f"({len(same) / len(rows):.2%}), {variants} variants reported, {len(rows) / seconds:.0f} rows/CPU-s"
    )
    grams: set[tuple[str, ...]] = set().union(*map(words, items))
    print(f"word 8-grams would remove {sum(bool(words(text) & grams) for text in rows)} rows")
    if show:
        for text, match in same:
            print(f"\n{match.score:.2f}\n  {text[:300]!r}\n  {items[match.item][:300]!r}")


if __name__ == "__main__":
    main()
