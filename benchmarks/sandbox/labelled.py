"""Agreement with labelled samples: programs that models wrote, and whether they passed.

    python -m benchmarks.sandbox.labelled --data FOLDER/code [--tier auto] [--every 1] [--workers N]

The folder holds `model_samples_labelled.jsonl.gz`: one JSON object per line with `id`, `program` (the model's
code and, behind it, `def check(candidate)` with its call), `their_passed` (published) and `measured_passed` (what
the program gave when it was run as it is). Prints every disagreement with either label, and ends with exit code 1
where fewer than 99.9 % agree with what was measured.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from verifiers import Problem, Verdict
from verifiers.code import CodeVerifier

FILE = "model_samples_labelled.jsonl.gz"
REQUIRED = 0.999


class Sample(NamedTuple):
    """A model's code, the tests that stood behind it, and both labels."""

    name: str
    code: str
    problem: Problem
    published: bool
    measured: bool


def read_samples(folder: Path, every: int = 1) -> list[Sample]:
    """The samples of `folder`, or each `every`-th of them. FileNotFoundError where the file is not there."""
    with gzip.open(folder / FILE, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [_sample(row) for row in rows[::every]]


def _sample(row: dict[str, Any]) -> Sample:
    program: str = row["program"]
    cut = program.rindex("\ndef check(")
    described = program.rfind("\nMETADATA = ", 0, cut)
    if described >= 0 and "\ndef " not in program[described + 1 : cut]:
        cut = described
    problem = Problem(id=row["id"], tests=[program[cut:]], verifier="code")
    return Sample(row["id"], program[:cut], problem, bool(row["their_passed"]), bool(row["measured_passed"]))


def judge(verifier: CodeVerifier, samples: Sequence[Sample], workers: int) -> list[Verdict]:
    """A verdict for each sample, in their order."""
    with ThreadPoolExecutor(workers) as threads:
        return list(threads.map(lambda s: verifier.verify(f"````python\n{s.code}\n````", s.problem), samples))


def main() -> int:
    """Print the disagreements and the agreement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tier", default="auto")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    samples = read_samples(options.data, options.every)
    verifier = CodeVerifier(workers=options.workers, tier=options.tier)
    started = time.monotonic()
    verdicts = judge(verifier, samples, options.workers)
    seconds = time.monotonic() - started
    verifier.close()
    agree = {"measured": 0, "published": 0}
    for sample, verdict in zip(samples, verdicts, strict=True):
        for label in agree:
            expected = getattr(sample, label)
            agree[label] += verdict.correct == expected
            if verdict.correct != expected:
                print(f"{sample.name}: {label} {expected}, here {verdict.status}: {verdict.detail[:160]}")
    for label, count in agree.items():
        print(f"{count} of {len(samples)} agree with the {label} label")
    print(f"{len(samples) / seconds:.0f} verdicts per second, {options.workers} at a time")
    return 0 if agree["measured"] >= REQUIRED * len(samples) else 1


if __name__ == "__main__":
    sys.exit(main())
