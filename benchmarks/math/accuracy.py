"""Accuracy and speed of math graders on labelled pairs, one row for each grader.

    python -m benchmarks.math.accuracy DATA [--peers build/peers] [--only "rlvr math"] [--most N] [--misses]
        [--cache build/peers.jsonl]

DATA is a folder of `*.jsonl.gz` with `prediction`, `gold`, `label` (true, false, or null: not scored) and `kind`
(`answer` or `response`); rows with `contested` are left out. Rates are in percent: FN of the pairs labelled
equal, FP of those labelled different. Times are CPU time of the process that gives the verdict, without its
start; what inspect_ai does in a process of its own is not in them. With `--cache` the verdicts of the peers are
kept in a file, from which a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import random
import statistics
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.math.peers import Timed, installed, label
from verifiers import MathVerifier, Verdict, Verifier, VerifierPool
from verifiers.math.normalisation import strip_wrapping

COLUMNS = {
    "unit tests": ("mathverify_tests", "unit_tests_misc", "lighteval_tests_extra"),
    "hardened": ("unit_tests_hardened",),
    "from issues": ("github_issues",),
    "HardVerify": ("hardverify_math",),
    "GSM8K labels": ("gsm8k_openai_labelled", "mrgsm8k_human", "mrmath_human"),
    "gold itself": ("gold_identity",),
    "other gold": ("gold_mismatch",),
    "digit changed": ("gold_near_miss",),
    "part missing": ("gold_partial",),
}


@dataclass(frozen=True, slots=True)
class Case:
    """One labelled pair."""

    column: str
    prediction: str
    gold: str
    equal: bool
    bare: bool


def read_cases(folder: Path) -> list[Case]:
    """Scored cases of every column, and those of the adversarial file by category."""
    columns = {name: column for column, names in COLUMNS.items() for name in names}
    cases: list[Case] = []
    for path in sorted(folder.glob("*.jsonl.gz")):
        name = path.name.removesuffix(".jsonl.gz")
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
        for row in rows:
            column = columns.get(name, row.get("category", ""))
            if column and row["label"] is not None and not row.get("contested"):
                cases.append(
                    Case(column, row["prediction"], row["gold"], row["label"], row["kind"] == "answer")
                )
    return cases


def sampled(cases: list[Case], most: int) -> list[Case]:
    """At most `most` cases of each column, drawn with a fixed seed."""
    by_column: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        by_column[case.column].append(case)
    generator = random.Random(0)
    return [case for group in by_column.values() for case in generator.sample(group, min(most, len(group)))]


class Cache:
    """Verdicts of peers in a JSONL file; without a path it keeps nothing."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.known: dict[str, Verdict] = {}
        if path is not None and path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                row = json.loads(line)
                self.known[row["key"]] = Verdict.model_validate(row["verdict"])

    def key(self, grader: Verifier, case: Case) -> str:
        """Name of one verdict."""
        text = json.dumps([label(grader), case.prediction, case.gold, case.bare])
        return hashlib.sha256(text.encode()).hexdigest()

    def add(self, key: str, verdict: Verdict) -> None:
        """Keep a verdict, on disk at once."""
        self.known[key] = verdict
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as out:
                out.write(json.dumps({"key": key, "verdict": verdict.model_dump(mode="json")}) + "\n")


def judge(grader: Verifier, cases: list[Case], cache: Cache) -> list[Verdict]:
    """Verdicts in one worker process. Bare answers go to ours as they are, to others in the form they read."""
    with VerifierPool(Timed(grader), workers=1) as pool:
        pool.submit("\\boxed{1}", "1").result()
        if isinstance(grader, MathVerifier):
            whole = Timed(MathVerifier("whole", rounding=grader.rounding))
            futures = [
                pool.submit(case.prediction, case.gold, verifier=whole if case.bare else None)
                for case in cases
            ]
            return [future.result() for future in futures]
        verdicts: list[Verdict] = []
        for number, case in enumerate(cases):
            key = cache.key(grader, case)
            if key not in cache.known:
                response = bare_response(grader, case.prediction) if case.bare else case.prediction
                cache.add(key, pool.submit(response, case.gold).result())
            verdicts.append(cache.known[key])
            if number % 200 == 0:
                print(f"{label(grader)}: {number} of {len(cases)}", file=sys.stderr, flush=True)
        return verdicts


def bare_response(grader: Verifier, answer: str) -> str:
    """A response that gives a bare answer in the form that the grader reads."""
    form = getattr(grader, "answer_form", "\\boxed{%s}")
    return form.replace("%s", strip_wrapping(answer))


def rates(cases: list[Case], verdicts: list[Verdict]) -> dict[str, str]:
    """ "FN / FP" in percent for every column that has such cases."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for case, verdict in zip(cases, verdicts, strict=True):
        count = counts[case.column]
        count[0 if case.equal else 2] += verdict.correct != case.equal
        count[1 if case.equal else 3] += 1
    return {
        column: " / ".join(f"{100 * wrong / of:.3g}" if of else "-" for wrong, of in ((a, b), (c, d)))
        for column, (a, b, c, d) in counts.items()
    }


def throughput(seconds: float = 2.0) -> float:
    """Verdicts per second of this process where the answer is a plain number or the same text."""
    verifier = MathVerifier()
    pairs = [
        ("So the answer is \\boxed{42}.", "42"),
        ("So the answer is \\boxed{1,234}.", "1234"),
        ("So the answer is \\boxed{\\frac{1}{2}}.", "\\frac{1}{2}"),
        ("So the answer is \\boxed{17}.", "42"),
    ]
    done = 0
    started = time.process_time()
    while time.process_time() - started < seconds:
        for response, gold in pairs:
            verifier.verify(response, gold)
        done += len(pairs)
    return done / (time.process_time() - started)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="folder of labelled pairs")
    parser.add_argument("--peers", type=Path, help="folder with other graders, from pip install --target")
    parser.add_argument("--only", help="run the grader of this name only")
    parser.add_argument(
        "--most", type=int, help="take at most this many pairs of each kind, the same for all"
    )
    parser.add_argument("--cache", type=Path, help="file that keeps the verdicts of the peers")
    parser.add_argument("--misses", action="store_true", help="print every case that ours misses")
    arguments = parser.parse_args()
    if arguments.peers is not None:
        sys.path.append(str(arguments.peers.resolve()))
    console = Console(width=None if sys.stdout.isatty() else 140)
    cases = read_cases(arguments.data)
    if arguments.most is not None:
        cases = sampled(cases, arguments.most)
    kinds = list(dict.fromkeys(case.column for case in cases))
    columns: dict[str, list[str]] = {}
    cache = Cache(arguments.cache)
    for grader in installed():
        if arguments.only is not None and label(grader) != arguments.only:
            continue
        verdicts = judge(grader, cases, cache)
        found = rates(cases, verdicts)
        columns[label(grader)] = [*(found[kind] for kind in kinds), *times(verdicts)]
        if arguments.misses and isinstance(grader, MathVerifier) and not grader.rounding:
            print_misses(console, cases, verdicts)
    title = f"FN / FP in % of {len(cases):,} labelled pairs, and CPU time for one verdict"
    table = Table("", *columns, title=title, title_justify="left")
    rows = [*kinds, "no verdict", "mean ms", "p50 ms", "p99 ms"]
    for index, row in enumerate(rows):
        table.add_row(row, *(column[index] for column in columns.values()), end_section=row == kinds[-1])
    console.print(table)
    console.print(
        f"rlvr math on plain numbers and equal text: {throughput():,.0f} verdicts per second and core"
    )


def times(verdicts: list[Verdict]) -> list[str]:
    """How many got no verdict; mean, median and 99th percentile of the milliseconds of the others."""
    milliseconds = sorted(1000 * verdict.seconds for verdict in verdicts if not verdict.failed)
    late = milliseconds[int(0.99 * len(milliseconds))]
    figures = (statistics.fmean(milliseconds), statistics.median(milliseconds), late)
    return [str(len(verdicts) - len(milliseconds)), *(f"{figure:.2f}" for figure in figures)]


def print_misses(console: Console, cases: list[Case], verdicts: list[Verdict]) -> None:
    """Every case that was decided against its label, with the rule that did it."""
    for case, verdict in zip(cases, verdicts, strict=True):
        if verdict.correct != case.equal:
            kind = "not found equal" if case.equal else "found equal"
            console.print(f"{case.column}: {kind}", markup=False)
            console.print(f"    {case.prediction[-120:]!r} | {case.gold[-120:]!r}", markup=False)
            console.print(f"    {verdict.method}: {verdict.detail}", markup=False)


if __name__ == "__main__":
    main()
