"""Rejection sampling: the best right responses of a run become pairs for a supervised start.

from trainer import export_pairs, read_pairs, warm_start
export_pairs("runs/first", "pairs.jsonl", per_problem=2)
warm_start(model, tokenizer, read_pairs("pairs.jsonl"))
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from curation.files import write_jsonl
from verifiers import InputError

COLUMNS = (
    "step",
    "problem_id",
    "prompt",
    "messages",
    "response",
    "gold",
    "reward",
    "shaped_reward",
    "status",
    "length",
    "finish_reason",
)


def export_pairs(run: Path | str, output: Path | str, *, per_problem: int = 1, first_step: int = 1) -> int:
    """Write the pairs of `best_pairs` as JSONL, which `read_pairs` reads; returns their number."""
    return write_jsonl(output, best_pairs(run, per_problem=per_problem, first_step=first_step))


def best_pairs(run: Path | str, *, per_problem: int = 1, first_step: int = 1) -> list[dict[str, Any]]:
    """`prompt` and `response` of the best right responses of a run.

    Best is the highest shaped reward, then the shortest, then the latest; truncated responses and repetitions
    of the same text are left out.

    Args:
        run: run folder.
        per_problem: most responses of one problem.
        first_step: leave out what earlier steps sampled.

    Raises:
        InputError: the folder has no rollouts.
    """
    best: dict[str, dict[str, dict[str, Any]]] = {}
    for row in _right_responses(Path(run), first_step):
        of_problem = best.setdefault(row["problem_id"], {})
        known = of_problem.get(row["response"])
        if known is None or _quality(row) > _quality(known):
            of_problem[row["response"]] = row
    return [
        {
            "prompt": row["prompt"] if row["messages"] is None else json.loads(row["messages"]),
            "response": row["response"],
            "problem_id": problem_id,
            "gold": row["gold"],
            "step": row["step"],
        }
        for problem_id, responses in sorted(best.items())
        for row in sorted(responses.values(), key=_quality, reverse=True)[:per_problem]
    ]


def _right_responses(run: Path, first_step: int) -> Iterator[dict[str, Any]]:
    files = sorted((run / "rollouts").glob("step-*.parquet"))
    if not files:
        raise InputError(f"{run}: no rollouts/step-*.parquet in it; give the folder of a training run")
    for path in files:
        for row in pq.read_table(path, columns=list(COLUMNS)).to_pylist():
            right = row["status"] == "correct" and row["finish_reason"] == "stop"
            if right and row["step"] >= first_step:
                yield row


def _quality(row: dict[str, Any]) -> tuple[float, int, int, str]:
    reward = row["reward"] if row["shaped_reward"] is None else row["shaped_reward"]
    return reward, -row["length"], row["step"], row["response"]
