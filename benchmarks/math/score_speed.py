"""How `rlvr score` scales with its workers, beside math-verify in a process pool of the same size.

    python -m benchmarks.math.score_speed [--rows 60000] [--peer-rows 3000] [--workers 2] [--rounds 3]

The file is made here: word problems with worked solutions of a few lines, six in ten right, answers behind "####",
"The answer is", "A:" or in a box. (`--input FILE` takes another one, with columns `response` and `answer`.) Every
figure is of whole processes: start-up is what the same command takes for as many rows as it has workers, and is
taken off. Numbers of workers take turns, so that a busy machine slows all of them alike; the best round counts.
"Bare loops" is what this machine lets as many processes gain that share nothing. CPU time is that of all processes
of a run.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

NAMES = ("Ava", "Ben", "Chen", "Dina", "Elif", "Femi", "Gus", "Hana")
THINGS = ("apples", "books", "tickets", "marbles", "pages", "boxes of pencils", "cookies")
ENDINGS = ("#### {}", "The answer is {}.", "So the final answer is \\boxed{{{}}}.", "A: {}")
LOOPS = 10_000_000


def make_row(dice: random.Random) -> dict[str, str]:
    """One problem with the response of a model and the gold answer."""
    name, thing = dice.choice(NAMES), dice.choice(THINGS)
    count, times, price = dice.randint(2, 99), dice.randint(2, 12), dice.randint(2, 25)
    each, total = count * times, count * times * price
    problem = (
        f"{name} buys {count} {thing} every day for {times} days. Each of them costs ${price}. How many dollars "
        f"does {name} spend in the end?"
    )
    stated = total if dice.random() < 0.6 else total + dice.choice((-1, 1)) * dice.randint(1, 50)
    steps = (
        f"{name} buys {count} {thing} every day, and does so for {times} days.\n"
        f"That makes {count} * {times} = <<{count}*{times}={each}>>{each} {thing} in all.\n"
        f"Each of them costs ${price}, so all of them together cost {each} * {price} = "
        f"$<<{each}*{price}={stated}>>{stated}.\n"
    )
    response = steps * dice.randint(1, 2) + dice.choice(ENDINGS).format(stated)
    return {"problem": problem, "response": response, "answer": str(total)}


@dataclass(frozen=True, slots=True)
class Run:
    """What one run took."""

    wall: float
    cpu: float

    def without(self, start: Run) -> Run:
        """The run without its start-up."""
        return Run(self.wall - start.wall, self.cpu - start.cpu)


def timed(work: Callable[[], object]) -> Run:
    """Wall and CPU seconds of `work` and of the processes that it starts."""

    def cpu() -> float:
        own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime

    before, started = cpu(), time.perf_counter()
    work()
    return Run(time.perf_counter() - started, cpu() - before)


def score(path: Path, workers: int) -> Run:
    """One whole `rlvr score`."""
    out = path.with_name("scored.jsonl")
    command = [sys.executable, "-m", "rlvr.cli", "score", str(path), str(out), "--workers", str(workers)]
    run = timed(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))
    out.unlink()
    return run


def judge(row: tuple[str, str]) -> bool:
    """The peer, as its README calls it."""
    from math_verify import parse, verify

    logging.getLogger("math_verify").setLevel(logging.ERROR)
    response, gold = row
    return bool(verify(parse(f"${gold}$"), parse(response)))


def peer(rows: list[tuple[str, str]], workers: int) -> Run:
    """The peer in a pool that starts for it."""

    def work() -> None:
        with ProcessPoolExecutor(workers) as pool:
            list(pool.map(judge, rows, chunksize=max(1, min(64, len(rows) // workers))))

    return timed(work)


def spin(_: int) -> int:
    """Work that shares nothing with any other."""
    return sum(range(LOOPS))


def loops(workers: int) -> Run:
    """A loop in each of as many processes."""

    def work() -> None:
        with ProcessPoolExecutor(workers) as pool:
            list(pool.map(spin, range(workers)))

    return timed(work)


def measure(folder: Path, source: Path, numbers: list[int], rounds: int, peer_rows: int) -> Table:
    """The table: a line for every number of workers."""
    lines = source.read_bytes().splitlines(keepends=True)
    pairs = [(row["response"], row["answer"]) for row in map(json.loads, lines[:peer_rows])]
    runs: dict[tuple[str, int], list[Run]] = defaultdict(list)
    for number in numbers * rounds:
        few = folder / "few.jsonl"
        few.write_bytes(b"".join(lines[:number]))
        runs["start", number].append(score(few, number))
        runs["ours", number].append(score(source, number))
        runs["peer start", number].append(peer(pairs[:number], number))
        runs["peer", number].append(peer(pairs, number))
        runs["loops", number].append(loops(number))
    best = {key: Run(min(r.wall for r in found), min(r.cpu for r in found)) for key, found in runs.items()}

    table = Table(
        title=f"{len(lines):,} rows; peer: {len(pairs):,} rows; best of {rounds}", title_justify="left"
    )
    headings = ("workers", "rows/s", "of one", "CPU µs a row", "start-up s", "whole run s")
    for heading in (*headings, "math-verify rows/s", "of one", "start-up s", "bare loops, of one"):
        table.add_column(heading, justify="right")
    for number in numbers:

        def rate(name: str, start: str, count: int, number: int = number) -> float:
            return count / best[name, number].without(best[start, number]).wall

        first = numbers[0]
        ours, theirs = rate("ours", "start", len(lines)), rate("peer", "peer start", len(pairs))
        cpu = best["ours", number].without(best["start", number]).cpu / len(lines)
        table.add_row(
            str(number),
            f"{ours:,.0f}",
            f"{ours / rate('ours', 'start', len(lines), first):.2f}",
            f"{cpu * 1e6:.1f}",
            f"{best['start', number].wall:.2f}",
            f"{best['ours', number].wall:.2f}",
            f"{theirs:,.0f}",
            f"{theirs / rate('peer', 'peer start', len(pairs), first):.2f}",
            f"{best['peer start', number].wall:.2f}",
            f"{number / first * best['loops', first].wall / best['loops', number].wall:.2f}",
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--peer-rows", type=int, default=3000)
    parser.add_argument(
        "--workers", type=int, default=len(os.sched_getaffinity(0)), help="measured from 1 to this"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--input", type=Path, help="JSONL to score instead of the made one")
    given = parser.parse_args()
    # In steps of two from a few on: the shape shows as well.
    numbers = [n for n in range(1, given.workers + 1) if n <= 4 or n % 4 == 0 or n == given.workers]
    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / "rows.jsonl"
        if given.input is not None:
            source.write_bytes(given.input.read_bytes())
        else:
            dice = random.Random(0)
            with source.open("w") as out:
                out.writelines(json.dumps(make_row(dice)) + "\n" for _ in range(given.rows))
        table = measure(Path(name), source, numbers, given.rounds, given.peer_rows)
    console = Console()
    (console if console.is_terminal else Console(width=150)).print(table)


if __name__ == "__main__":
    main()
