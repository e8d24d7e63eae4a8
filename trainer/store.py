"""Rollouts on disk: the record that people and reports read, and the replay that a resumed run goes on from.

Both are Parquet, written atomically. A replay holds a step's groups with tokens and log-probabilities and the
state of the sampler after it, so that a run killed between two updates repeats the updates, not the sampling.
It goes when a checkpoint holds what came of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curation.files import atomic_path, atomic_write
from rollout.types import Completion
from trainer.groups import Account, Group
from trainer.sampler import Rollout
from verifiers import InputError, Problem, Verdict

RECORD_SCHEMA = pa.schema(
    [
        ("step", pa.int64()),
        ("problem_id", pa.string()),
        ("sample_index", pa.int64()),
        ("prompt", pa.string()),
        ("messages", pa.string()),
        ("response", pa.string()),
        ("gold", pa.string()),
        ("reward", pa.float64()),
        ("shaped_reward", pa.float64()),
        ("advantage", pa.float64()),
        ("status", pa.string()),
        ("extracted", pa.string()),
        ("method", pa.string()),
        ("detail", pa.string()),
        ("length", pa.int64()),
        ("finish_reason", pa.string()),
        ("policy_version", pa.int64()),
        ("used", pa.bool_()),
        ("fate", pa.string()),
    ]
)
REPLAY_SCHEMA = pa.schema(
    [
        ("set", pa.string()),
        ("group", pa.int64()),
        ("step", pa.int64()),
        ("problem_id", pa.string()),
        ("prompt_index", pa.int64()),
        ("sample_index", pa.int64()),
        ("prompt_token_ids", pa.list_(pa.int64())),
        ("token_ids", pa.list_(pa.int64())),
        ("logprobs", pa.list_(pa.float64())),
        ("text", pa.string()),
        ("finish_reason", pa.string()),
        ("policy_version", pa.int64()),
        ("verdict", pa.string()),
    ]
)
_STATE = b"rlvr"


def prompt_text(problem: Problem) -> str:
    """The prompt as one text, for people."""
    if isinstance(problem.prompt, str):
        return problem.prompt
    return "\n\n".join(f"{message['role']}: {message['content']}" for message in problem.prompt)


def write_record(
    folder: Path,
    rollout: Rollout,
    shaped: Sequence[Sequence[float | None]],
    advantages: Sequence[Sequence[float | None]],
) -> None:
    """Write `step-000001.parquet`: every sample that the step used or sampled, with its verdict.

    A sample that waits for the next step (`fate` pending) is in that step's file again when it is used, with
    its older policy version. `shaped` and `advantages` are those of `rollout.groups`.
    """
    rows = []
    for group, rewards, values in zip(rollout.groups, shaped, advantages, strict=True):
        rows += _record_rows(group, "used", rewards, values)
    for fate, groups in (("left_out", rollout.left_out), ("pending", rollout.pending)):
        for group in groups:
            nothing: list[float | None] = [None] * len(group.completions)
            rows += _record_rows(group, fate, nothing, nothing)
    path = folder / f"step-{rollout.step:06d}.parquet"
    with atomic_path(path) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, schema=RECORD_SCHEMA), temporary, compression="zstd")


def _record_rows(
    group: Group, fate: str, rewards: Sequence[float | None], advantages: Sequence[float | None]
) -> list[dict[str, Any]]:
    text, prompt = prompt_text(group.problem), group.problem.prompt
    messages = None if isinstance(prompt, str) else json.dumps(prompt, ensure_ascii=False)
    return [
        {
            "step": group.step,
            "problem_id": group.problem.id,
            "sample_index": completion.sample_index,
            "prompt": text,
            "messages": messages,
            "response": completion.text,
            "gold": group.problem.answer,
            "reward": None if verdict.failed else verdict.reward,
            "shaped_reward": reward,
            "advantage": advantage,
            "status": verdict.status,
            "extracted": verdict.extracted,
            "method": verdict.method,
            "detail": verdict.detail,
            "length": len(completion.token_ids),
            "finish_reason": completion.finish_reason,
            "policy_version": completion.policy_version,
            "used": fate == "used" and not verdict.failed,
            "fate": fate,
        }
        for completion, verdict, reward, advantage in zip(
            group.completions, group.verdicts, rewards, advantages, strict=True
        )
    ]


def write_groups(path: Path, sets: Mapping[str, Iterable[Group]], state: Mapping[str, Any]) -> None:
    """Write named sets of groups and a state of plain JSON values as one file."""
    rows = [
        {
            "set": name,
            "group": number,
            "step": group.step,
            "problem_id": group.problem.id,
            "prompt_index": completion.prompt_index,
            "sample_index": completion.sample_index,
            "prompt_token_ids": completion.prompt_token_ids,
            "token_ids": completion.token_ids,
            "logprobs": completion.logprobs,
            "text": completion.text,
            "finish_reason": completion.finish_reason,
            "policy_version": completion.policy_version,
            "verdict": verdict.model_dump_json(),
        }
        for name, groups in sets.items()
        for number, group in enumerate(groups)
        for completion, verdict in zip(group.completions, group.verdicts, strict=True)
    ]
    schema = REPLAY_SCHEMA.with_metadata({_STATE: json.dumps(state).encode()})
    with atomic_path(path) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), temporary, compression="zstd")


def read_groups(path: Path, problems: Mapping[str, Problem]) -> tuple[dict[str, list[Group]], dict[str, Any]]:
    """The inverse of `write_groups`.

    Raises:
        InputError: the file names a problem that `problems` (by id) has not.
    """
    table = pq.read_table(path)
    gathered: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in table.to_pylist():
        gathered.setdefault((row["set"], row["group"]), []).append(row)
    sets: dict[str, list[Group]] = {}
    for (name, _), rows in gathered.items():
        problem = problems.get(rows[0]["problem_id"])
        if problem is None:
            raise InputError(
                f"{path}: problem {rows[0]['problem_id']!r} is not in the data set; "
                "resume with the data that the run was started with"
            )
        sets.setdefault(name, []).append(_group_from_rows(problem, rows))
    return sets, json.loads(table.schema.metadata[_STATE])


def _group_from_rows(problem: Problem, rows: Sequence[dict[str, Any]]) -> Group:
    return Group(
        problem=problem,
        completions=tuple(
            Completion(
                prompt_index=row["prompt_index"],
                sample_index=row["sample_index"],
                prompt_token_ids=tuple(row["prompt_token_ids"]),
                token_ids=tuple(row["token_ids"]),
                logprobs=tuple(row["logprobs"]),
                text=row["text"],
                finish_reason=row["finish_reason"],
                policy_version=row["policy_version"],
            )
            for row in rows
        ),
        verdicts=tuple(Verdict.model_validate_json(row["verdict"]) for row in rows),
        step=rows[0]["step"],
    )


class ReplayStore:
    """What was sampled and evaluated since the last checkpoint."""

    def __init__(self, folder: Path, problems: Sequence[Problem]) -> None:
        self.folder = folder
        self.problems = {problem.id: problem for problem in problems}

    def save_rollout(self, rollout: Rollout, sampler_state: Mapping[str, Any]) -> None:
        """Keep a step's rollout and the sampler's state after it."""
        sets = {"used": rollout.groups, "left_out": rollout.left_out, "pending": rollout.pending}
        state = {
            "sampler": sampler_state,
            "account": rollout.account.to_json(),
            "seconds": rollout.seconds,
        }
        write_groups(self._rollout_path(rollout.step), sets, state)

    def load_rollout(self, step: int) -> tuple[Rollout, dict[str, Any]] | None:
        """The step's rollout and the sampler's state after it, where it was sampled already."""
        path = self._rollout_path(step)
        if not path.exists():
            return None
        sets, state = read_groups(path, self.problems)
        used, left_out, pending = (tuple(sets.get(name, ())) for name in ("used", "left_out", "pending"))
        account = Account.from_json(state["account"])
        return Rollout(step, used, left_out, pending, account, state["seconds"]), state["sampler"]

    def save_evaluation(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Keep an evaluation's metric rows."""
        atomic_write(self._evaluation_path(step), json.dumps(list(rows)))

    def load_evaluation(self, step: int) -> list[dict[str, Any]] | None:
        """The evaluation's metric rows, where it was done already."""
        path = self._evaluation_path(step)
        rows: list[dict[str, Any]] | None = json.loads(path.read_text()) if path.exists() else None
        return rows

    def forget(self, step: int) -> None:
        """Remove what lies at or before `step`: a checkpoint holds what came of it."""
        for path in [*self.folder.glob("rollout-*.parquet"), *self.folder.glob("evaluation-*.json")]:
            if int(path.stem.rpartition("-")[2]) <= step:
                path.unlink()

    def _rollout_path(self, step: int) -> Path:
        return self.folder / f"rollout-{step:06d}.parquet"

    def _evaluation_path(self, step: int) -> Path:
        return self.folder / f"evaluation-{step:06d}.json"
