"""Precision and recall of the type rules on a labelled sample of real problems.

    python -m benchmarks.curation.type_filters RAW_FOLDER [--show]

`type_labels.jsonl` holds ids and labels only, drawn at random from 17 sets and labelled by reading: for each
type, rows that the rules of the day flagged and rows that hold one of the type's cue words and were not
flagged (20 or more of each; for open-ended all that were flagged), for figures also rows with drawing code;
and the errors that reading found in unflagged rows. So recall is recall among rows with a cue. What counts:

- figure: the words point to a picture that isn't there ("as shown", "in the figure", "the shaded region"), or
  speak of what only it defines. Drawing code does not stand in for the picture; a text that says everything
  by itself is not labelled for its drawing code; a table or formula in the text is no picture.
- multi_part: more than one thing is asked for, each with an answer of its own; conditions (1), (2) are no
  parts.
- open_ended: many answers are right, or prose is asked for. proof: the statement to show is given.

RAW_FOLDER holds the sets as NAME.jsonl.gz with `id` and
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
