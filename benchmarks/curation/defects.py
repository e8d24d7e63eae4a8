"""How many rows of a set have each known kind of defect, every kind counted among all rows.

python -m benchmarks.curation.defects RAW/dapo_math_17k.jsonl.gz [--against RAW/polaris_aime24.jsonl.gz ...]
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from curation.answers import canonical, impossible
from curation.decontaminate import BenchmarkIndex
from curation.duplicates import find_duplicates
from curation.fields import answer_text
from curation.files import read_jsonl
from curation.gold import GoldCheck
from curation.kinds import kinds_of
from curation.row import Row
from curation.text import repair, strip_instructions


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("set", type=Path, help="JSONL with problem and answer")
    parser.add_argument("--against", type=Path, nargs="*", default=[], help="benchmarks")
    options = parser.parse_args()
    repairs: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    texts: list[str] = []
    golds: list[str] = []
    for row in read_jsonl(options.set):
        repaired = repair(row["problem"])
        stripped = strip_instructions(repaired.text)
        texts.append(stripped.text)
        golds.append(canonical(answer_text(row["answer"]) or ""))
        repairs.update(set(repaired.repairs + stripped.repairs))
        kinds.update(list(kinds_of(stripped.text, golds[-1])))
    found = find_duplicates(texts, texts.__getitem__)
    groups = list(found.groups())
    duplicates = sum(group.size - 1 for group in groups)
    exact = sum(int(found.exact[group[1:]].sum()) for group in groups)
    conflicts = [group for group in groups if len({golds[index] for index in group}) > 1]
    print(f"{len(texts)} rows of {options.set.name}")
    print(f"duplicates: {duplicates} ({exact} exact after normalisation, {duplicates - exact} near)")
    print(f"duplicate groups with different golds: {len(conflicts)}")
    print(f"golds of -1: {golds.count('-1')}")
    print(f"golds that can't be what is asked for: {sum(map(bool, map(impossible, texts, golds)))}")
    print(f"golds that their verifier can't check: {unchecked(texts, golds)}")
    print("repaired: " + ", ".join(f"{name} {count}" for name, count in repairs.most_common()))
    print("types: " + ", ".join(f"{name} {count}" for name, count in kinds.most_common()))
    for path in options.against:
        items = [row["problem"] for row in read_jsonl(path)]
        matches = [match for match in BenchmarkIndex(items).match(texts) if match]
        same = [match.item for match in matches if match.relation == "same"]
        print(f"{path.name}: {len(same)} rows repeat {len(set(same))} of its {len(items)} items")


def unchecked(texts: list[str], golds: list[str]) -> int:
    rows = [
        Row(number, f"s:{number}", "s", "", gold)
        for number, gold in enumerate(golds)
        if gold and texts[number]
    ]
    with TemporaryDirectory() as folder, GoldCheck(workers=1, store=Path(folder) / "golds.jsonl") as check:
        return sum(
            reason is not None
            for at in range(0, len(rows), 1024)
            for _, reason in check.check(rows[at : at + 1024])
        )


if __name__ == "__main__":
    main()
