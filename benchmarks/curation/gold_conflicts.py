"""How many known gold conflicts the duplicates stage reports.

    python -m benchmarks.curation.gold_conflicts CONFLICTS

CONFLICTS is JSONL of pairs with nearly the same text and different golds: `problem_a`, `gold_a`, `problem_b`,
`gold_b`. Each pair goes through `curate` as two rows. It is reported as a conflict, as a gold that can't be
what is asked for, or as near texts that ask for different things (both stay, and the later one names the other).
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from curation import CurateConfig, curate, load_curated, read_lineage
from curation.config import FilterConfig
from curation.files import read_jsonl
from curation.types import LineageRow


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("conflicts", type=Path, help="labelled pairs")
    parser.add_argument("--show", action="store_true", help="print the pairs that are not found")
    options = parser.parse_args()
    pairs = list(read_jsonl(options.conflicts))
    with TemporaryDirectory() as folder:
        raw = Path(folder) / "pairs.jsonl"
        with raw.open("w") as lines:
            for pair in pairs:
                for side in "ab":
                    row = {"problem": pair[f"problem_{side}"], "answer": str(pair[f"gold_{side}"])}
                    lines.write(json.dumps(row) + "\n")
        config = CurateConfig(inputs=[str(raw)], output=Path(folder) / "set", filters=FilterConfig(drop=[]))
        curate(config)
        lineage = list(read_lineage(Path(folder) / "set"))
        similar = {
            raw_id: problem.extra["similar_to"]
            for problem in load_curated(Path(folder) / "set")
            if "similar_to" in problem.extra
            for raw_id in problem.lineage
        }
    kinds: Counter[str] = Counter()
    for number, pair in enumerate(pairs):
        kind = _kind(lineage[2 * number], lineage[2 * number + 1], similar)
        kinds[kind] += 1
        if options.show and kind != "conflict reported":
            print(
                f"{kind}: {pair['gold_a']!r} {pair['gold_b']!r}\n  {pair['problem_a']!r}\n  {pair['problem_b']!r}"
            )
    for kind, count in kinds.most_common():
        print(f"{count:4} {kind}")


def _kind(one: LineageRow, other: LineageRow, similar: dict[str, str]) -> str:
    reasons = [row.reason.partition(":")[0] for row in (one, other)]
    for name in ("conflicting golds", "impossible gold"):
        if name in reasons:
            return "conflict reported" if name == "conflicting golds" else name
    # A duplicate's fate is that of the row it was merged into.
    survivors = [re.sub(r".*: of ", "", row.reason) or row.raw_id for row in (one, other)]
    if survivors[0] != survivors[1] and any(
        similar.get(mine) == yours for mine, yours in (survivors, reversed(survivors))
    ):
        return "told apart, and each other's neighbour reported"
    return "not reported"


if __name__ == "__main__":
    main()
