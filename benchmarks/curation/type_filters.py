"""Precision and recall of the type rules on a labelled sample of real problems.

    python -m benchmarks.curation.type_filters RAW_FOLDER [--show]

`type_labels.jsonl` holds ids and labels only: for each type, rows that the rules of the day flagged and rows that
hold one of the type's cue words and were not flagged (20 of each, drawn at random from 17 sets; for open-ended all
that were flagged), labelled by
reading. So recall is recall among rows with a cue word. RAW_FOLDER holds the sets as NAME.jsonl.gz with `id` and
`problem`.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from curation.choices import parse_options
from curation.fields import answer_text
from curation.files import read_jsonl
from curation.kinds import kinds_of
from curation.statistics import wilson
from curation.text import repair, strip_instructions

LABELS = Path(__file__).with_name("type_labels.jsonl")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("raw", type=Path, help="folder of the raw sets")
    parser.add_argument("--show", action="store_true", help="print the rows that are judged wrongly")
    options = parser.parse_args()
    labels = list(read_jsonl(LABELS))
    rows = {}
    for name in sorted({label["id"].split("/")[0] for label in labels}):
        rows.update({row["id"]: row for row in read_jsonl(options.raw / f"{name}.jsonl.gz")})
    counts: Counter[tuple[str, bool, bool]] = Counter()
    for label in labels:
        row = rows[label["id"]]
        text = strip_instructions(repair(row["problem"]).text).text
        found = kinds_of(
            text, answer_text(row["answer"]), parse_options((row.get("meta") or {}).get("options"))
        )
        counts[label["kind"], label["label"], label["kind"] in found] += 1
        if options.show and label["label"] != (label["kind"] in found):
            print(f"{label['kind']}: {label['id']} is labelled {label['label']}: {text[:200]!r}")
    print(f"{'type':16} {'labelled':>8} {'precision':>22} {'recall':>22}")
    for kind in sorted({label["kind"] for label in labels}):
        right, wrong = counts[kind, True, True], counts[kind, False, True]
        missed = counts[kind, True, False]
        cells = []
        for of in (right + wrong, right + missed):
            low, high = wilson(right, of)
            cells.append(f"{right}/{of} = {right / max(of, 1):.2f} ({low:.2f}-{high:.2f})")
        total = sum(value for key, value in counts.items() if key[0] == kind)
        print(f"{kind:16} {total:>8} {cells[0]:>22} {cells[1]:>22}")


if __name__ == "__main__":
    main()
