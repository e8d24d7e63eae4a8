"""Rows per CPU-second of the curation stages on real sets, peers beside them.

    python -m benchmarks.curation.speed RAW_FOLDER [--set dapo_math_17k] [--golds 3000]

CPU seconds are those of this process and its children (the verifier workers). The gold check is measured on
distinct golds only, as the stage asks for each gold once, and per row of the set; the peer is math-verify's
`verify(parse(gold), parse(answer))` on the same gold and wrong answers. The duplicates stage is measured end to
end, from text to groups; the peers are datasketch's MinHash and MinHashLSH with as many permutations over the same
5-grams, its MinHashLSH fed with our signatures, and text-dedup's command (word 5-grams) where it is installed; its
time holds that of starting it and of reading the rows.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from curation.answers import answer_type, canonical, wrong_answers
from curation.compare import Comparable
from curation.decontaminate import BenchmarkIndex
from curation.duplicates import find_duplicates
from curation.files import read_jsonl
from curation.gold import GoldCheck
from curation.kinds import kinds_of
from curation.minhash import MinHasher
from curation.row import Row
from curation.text import repair, strip_instructions


def cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def measure(name: str, rows: int, work: Callable[[], object], goal: str = "") -> None:
    before = cpu_seconds()
    work()
    spent = cpu_seconds() - before
    print(f"{name:44} {rows:>7} rows {spent:>8.2f} CPU-s {rows / spent:>9.0f} rows/CPU-s  {goal}", flush=True)


def check_golds(rows: list[Row]) -> None:
    with TemporaryDirectory() as folder, GoldCheck(workers=1, store=Path(folder) / "golds.jsonl") as check:
        for at in range(0, len(rows), 1024):
            list(check.check(rows[at : at + 1024]))


def peer_golds(golds: list[str]) -> None:
    from math_verify import parse, verify

    for gold in golds:
        parsed = parse(f"${gold}$")
        for answer in [gold, *wrong_answers(gold, answer_type(gold)).values()]:
            verify(parsed, parse(f"The final answer is $\\boxed{{{answer}}}$."))


def peer_duplicates(texts: list[str]) -> None:
    from datasketch import MinHash, MinHashLSH

    lsh = MinHashLSH(num_perm=48, params=(12, 4))
    for number, text in enumerate(texts):
        squeezed = Comparable.of(text).squeezed
        grams = {squeezed[at : at + 5].encode() for at in range(max(1, len(squeezed) - 4))}
        signature = MinHash(num_perm=48)
        signature.update_batch(grams)
        lsh.query(signature)
        lsh.insert(str(number), signature)


def peer_index(texts: list[str]) -> None:
    """datasketch's index alone: the signatures are ours."""
    from datasketch import LeanMinHash, MinHashLSH

    hasher = MinHasher(seed=1)
    lsh = MinHashLSH(num_perm=hasher.bands * hasher.rows, params=(hasher.bands, hasher.rows))
    for at in range(0, len(texts), 512):
        signatures = hasher.minima([Comparable.of(text).squeezed for text in texts[at : at + 512]])
        for offset, values in enumerate(signatures.astype(np.uint64)):
            signature = LeanMinHash(seed=1, hashvalues=values, scheme="legacy")
            lsh.query(signature)
            lsh.insert(at + offset, signature, check_duplication=False)


def peer_text_dedup(texts: list[str]) -> None:
    """text-dedup's MinHash command with as many bands and rows."""
    with TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.jsonl"
        rows.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        options = {
            "path": "json", "data_files": rows, "split": "train", "column": "text", "output": f"{folder}/out",
            "num_perm": 48, "b": 12, "r": 4, "ngram": 5, "min_length": 1, "num_proc": 1, "hash_func": "xxh3",
            "hash_bits": 32, "cache_dir": f"{folder}/cache",
        }  # fmt: skip
        command = [sys.executable, "-m", "text_dedup.minhash"]
        command += [str(part) for name, value in options.items() for part in (f"--{name}", value)]
        subprocess.run(command, check=True, capture_output=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("raw", type=Path, help="folder of the raw sets")
    parser.add_argument("--set", default="dapo_math_17k", help="name of the set")
    parser.add_argument("--golds", type=int, default=3000, help="distinct golds in the gold check")
    options = parser.parse_args()
    raw = list(read_jsonl(options.raw / f"{options.set}.jsonl.gz"))

    def normalise_and_filter() -> list[str]:
        texts = []
        for row in raw:
            text = strip_instructions(repair(row["problem"]).text).text
            kinds_of(text, row["answer"])
            texts.append(text)
        return texts

    texts = normalise_and_filter()
    measure("normalise and filter", len(raw), normalise_and_filter, "goal 10,000")
    measure(
        "duplicates, end to end", len(raw), lambda: find_duplicates(texts, texts.__getitem__), "goal 10,000"
    )
    measure("  peer: datasketch, candidates only", 4000, lambda: peer_duplicates(texts[:4000]))
    measure("  its index with our signatures", len(raw), lambda: peer_index(texts))
    if find_spec("text_dedup"):
        measure("  peer: text-dedup", len(raw), lambda: peer_text_dedup(texts))
    items = [
        row["problem"]
        for name in ("polaris_aime24", "polaris_aime25", "math500_oai", "polaris_amc23", "olympiadbench_rllm")
        for row in read_jsonl(options.raw / f"{name}.jsonl.gz")
    ]
    measure(
        f"decontamination against {len(items)} items",
        len(raw),
        lambda: list(BenchmarkIndex(items).match(texts)),
        "goal 5,000",
    )
    rows = [Row(number, f"s:{number}", "s", row["problem"], row["answer"]) for number, row in enumerate(raw)]
    measure("gold check, all rows", len(rows), lambda: check_golds(rows), "goal 500")
    mixed = [
        str(row["answer"])
        for name in ("math_train_rllm", "deepmath_roll", "oneshot_dsr_sub", "olympiadbench_rllm")
        for row in read_jsonl(options.raw / f"{name}.jsonl.gz")
        if row["answer"]
    ]
    golds = list(dict.fromkeys(canonical(gold) for gold in mixed))
    golds = [gold for gold in golds if answer_type(gold) not in ("yes_no", "text", "empty")][: options.golds]
    rows = [Row(number, f"g:{number}", "g", "", gold) for number, gold in enumerate(golds)]
    measure("gold check, distinct golds of every type", len(rows), lambda: check_golds(rows), "goal 500")
    measure("  peer: math-verify", 300, lambda: peer_golds(golds[:300]))


if __name__ == "__main__":
    main()
