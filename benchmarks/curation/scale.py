"""Memory and time of the whole pipeline as the input grows: it must not grow with it.

    python -m benchmarks.curation.scale RAW_FOLDER [--rows 100000 1000000] [--model]

Rows are made from DAPO-Math-17K and GSM8K by changing their numbers; a twentieth are left as they are, so that
there are duplicates to find. Each size runs in a process of its own; the peak is that of its resident memory,
workers not counted. With --model a stand-in that answers at once takes the place of the reference model (one
rollout per problem), so that the stages which decide about all rows together run as well.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from curation.files import read_jsonl

RUN = """
import resource, sys
from pathlib import Path
from curation import CurateConfig, curate
from curation.config import DifficultyConfig
from rollout import Completion
raw, out, model, *benchmarks = sys.argv[1:]

class AtOnce:
    def generate(self, prompts, n, sampling, *, first_sample=0):
        for index in range(len(prompts)):
            for sample in range(first_sample, first_sample + n):
                yield Completion(index, sample, (1,), (2,), (-0.1,), f"\\\\boxed{{{index % 1000}}}", "stop")

    def fingerprint(self):
        return "at once"

difficulty = DifficultyConfig(mode="fixed", rollouts=1, keep=(0, 1))
config = CurateConfig(
    inputs=[raw], output=Path(out), decontaminate_against=benchmarks, difficulty=difficulty
)
result = curate(config, engine=AtOnce() if model == "model" else None)
print(result.count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def perturbed(rows: list[dict[str, str]], count: int, path: Path) -> None:
    dice = random.Random(0)

    def other(match: re.Match[str]) -> str:
        return str(dice.randint(2, 10 ** min(len(match.group()) + 1, 6)))

    with path.open("w") as lines:
        for number in range(count):
            row = rows[number % len(rows)]
            text, answer = row["problem"], row["answer"]
            if dice.random() > 0.05:
                text, answer = re.sub(r"\d+", other, text), str(dice.randint(1, 99999))
            lines.write(json.dumps({"problem": text, "answer": answer}) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("raw", type=Path, help="folder of the raw sets")
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000], help="sizes")
    parser.add_argument("--model", action="store_true", help="run the stages with a reference model too")
    options = parser.parse_args()
    rows = [
        {"problem": row["problem"], "answer": str(row["answer"])}
        for name in ("dapo_math_17k", "gsm8k_train")
        for row in read_jsonl(options.raw / f"{name}.jsonl.gz")
    ]
    benchmarks = [str(options.raw / f"{name}.jsonl.gz") for name in ("math500_oai", "polaris_aime24")]
    for count in options.rows:
        with TemporaryDirectory() as folder:
            raw = Path(folder) / "raw.jsonl"
            perturbed(rows, count, raw)
            started = time.monotonic()
            code = [sys.executable, "-c", RUN, str(raw), str(Path(folder) / "set")]
            code += ["model" if options.model else "none", *benchmarks]
            kept, peak = subprocess.run(code, check=True, capture_output=True, text=True).stdout.split()
            seconds = time.monotonic() - started
            size = raw.stat().st_size / 2**20
        print(
            f"{count:>9} rows ({size:.0f} MiB): {int(kept)} kept, peak {int(peak) / 1024:.0f} MiB, "
            f"{seconds:.0f} s, {count / seconds:.0f} rows/s",
            flush=True,
        )


if __name__ == "__main__":
    main()
