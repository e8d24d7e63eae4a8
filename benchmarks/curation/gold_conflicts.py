"""How many known gold conflicts the duplicates stage reports.

    python -m benchmarks.curation.gold_conflicts CONFLICTS

CONFLICTS is JSONL of pairs with nearly the same text and different golds: `problem_a`, `gold_a`, `problem_b`,
`gold_b`. Each pair goes through `curate` as two rows; the pair is found when neither gold comes out unquestioned.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from curation import CurateConfig, curate, read_lineage
from curation.config import FilterConfig
from curation.files import read_jsonl


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
        fates = [line.reason.partition(":")[0] or "kept" for line in read_lineage(Path(folder) / "set")]
    kinds: Counter[str] = Counter()
    for number, pair in enumerate(pairs):
        both = fates[2 * number : 2 * number + 2]
        kind = "conflict reported" if "conflicting golds" in both else " and ".join(sorted(both))
        kinds[kind] += 1
        if options.show and kind != "conflict reported":
            print(
                f"{kind}: {pair['gold_a']!r} {pair['gold_b']!r}\n  {pair['problem_a']!r}\n  {pair['problem_b']!r}"
            )
    for kind, count in kinds.most_common():
        print(f"{count:4} {kind}")


if __name__ == "__main__":
    main()
