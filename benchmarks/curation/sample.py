"""A seeded sample of what every stage kept and dropped, to be read and judged.

    python -m benchmarks.curation.sample RAW_FOLDER SET_FOLDER [--stage NAME] [--reason TEXT] [--count 20]

SET_FOLDER is a data set that `rlvr curate` made of RAW_FOLDER's NAME.jsonl.gz. A row that a stage kept is one that
reached it and was not dropped there, whatever became of it later. Rows are shown as the source has them, with what
decided about the drops; what a duplicate or a benchmark item was matched with is shown below it.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from curation import read_lineage
from curation.files import read_jsonl

_OTHER = re.compile(r"\b([\w.-]+:\d+)\b")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("raw", type=Path, help="folder of the raw sets")
    parser.add_argument("set", type=Path, help="folder of the curated set")
    parser.add_argument("--stage", help="one stage; by default each that dropped something")
    parser.add_argument("--reason", default="", help="beginning of the reason of the drops that are shown")
    parser.add_argument("--count", type=int, default=20, help="rows kept and rows dropped per stage")
    parser.add_argument("--seed", type=int, default=0, help="seed of the sample")
    parser.add_argument("--width", type=int, default=700, help="characters of a problem that are shown")
    options = parser.parse_args()
    rows = raw_rows(options.raw)
    lineage = list(read_lineage(options.set))
    stages = [stage["name"] for stage in json.loads((options.set / "funnel.json").read_text())["stages"]]
    for place, stage in enumerate(stages):
        dropped = [line for line in lineage if line.stage == stage]
        dropped = [line for line in dropped if line.reason.startswith(options.reason)]
        if not dropped or options.stage not in (None, stage):
            continue
        kept = [line for line in lineage if line.kept or stages.index(line.stage) > place]
        dice = random.Random(f"{options.seed}:{stage}")
        for name, lines in (("dropped", dropped), ("kept", kept)):
            print(f"\n===== {stage}: {name}, {min(options.count, len(lines))} of {len(lines)}")
            for number, line in enumerate(dice.sample(lines, min(options.count, len(lines))), 1):
                print(f"\n{number}. {line.raw_id}  {line.reason if name == 'dropped' else ''}")
                print(shown(line.raw_id, rows, options.width))
                for other in _OTHER.findall(line.reason) if name == "dropped" else []:
                    if other in rows and other != line.raw_id:
                        print(f"   with {other}:\n{shown(other, rows, options.width)}")


def raw_rows(folder: Path) -> dict[str, dict[str, Any]]:
    """Raw rows by their raw id."""

    def numbered(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
        name = path.name.partition(".")[0]
        yield from ((f"{name}:{number}", row) for number, row in enumerate(read_jsonl(path), 1))

    return dict(item for path in sorted(folder.glob("*.jsonl.gz")) for item in numbered(path))


def shown(raw_id: str, rows: dict[str, dict[str, Any]], width: int) -> str:
    row = rows[raw_id]
    text = " ".join(str(row["problem"]).split())
    options = (row.get("meta") or {}).get("options")
    choices = f"\n   options: {options}" if options else ""
    return f"   {text[:width]}{' ...' if len(text) > width else ''}{choices}\n   gold: {str(row['answer'])[:120]}"


if __name__ == "__main__":
    main()
