"""The store of rollouts: what was sampled and how it was judged, so that nothing is ever paid for twice.

Two append-only JSONL files. A rollout is kept under the engine's fingerprint, the prompt, the sampling and its
sample number; a verdict under that and under what judged it (verifier, gold, tests), so that a corrected gold
judges old rollouts anew and samples none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from curation.files import JsonlAppender, digest, read_jsonl
from rollout import Completion, Prompt, Sampling
from verifiers import Problem, Verdict


def rollout_key(fingerprint: str, prompt: Prompt, sampling: Sampling) -> str:
    """Identity of a problem's rollouts: equal only if the samples would be."""
    messages = prompt if isinstance(prompt, str) else [dict(message) for message in prompt]
    return digest("rollout", fingerprint, messages, sampling.model_dump(mode="json"))


def judge_key(key: str, problem: Problem) -> str:
    """Identity of the verdicts on a problem's rollouts."""
    return digest("verdict", key, problem.verifier, problem.answer, problem.tests)


@dataclass(frozen=True, slots=True)
class Rollout:
    """One stored completion."""

    text: str
    tokens: int
    finish_reason: str


class RolloutStore:
    """The two files in a folder, indexed; use as a context manager. One process writes at a time."""

    def __init__(self, folder: Path) -> None:
        self._rollouts_path = folder / "rollouts.jsonl"
        self._verdicts_path = folder / "verdicts.jsonl"
        self._rollouts = JsonlAppender(self._rollouts_path)
        self._verdicts = JsonlAppender(self._verdicts_path)
        # Texts stay on disk: only sample numbers and statuses are held.
        self.samples: dict[str, set[int]] = {}
        self.statuses: dict[str, dict[int, str]] = {}
        for record in read_jsonl(self._rollouts_path):
            self.samples.setdefault(record["key"], set()).add(record["sample"])
        for record in read_jsonl(self._verdicts_path):
            self.statuses.setdefault(record["key"], {})[record["sample"]] = record["status"]

    def add(self, completions: Iterable[tuple[str, Completion]]) -> None:
        """Store completions under their keys; when this returns they are on disk."""
        records = []
        for key, completion in completions:
            if completion.sample_index in self.samples.setdefault(key, set()):
                continue
            self.samples[key].add(completion.sample_index)
            records.append(
                {
                    "key": key,
                    "sample": completion.sample_index,
                    "text": completion.text,
                    "tokens": len(completion.token_ids),
                    "finish": completion.finish_reason,
                }
            )
        self._rollouts.write(records)

    def add_verdicts(self, verdicts: Sequence[tuple[str, int, Verdict]]) -> None:
        """Store verdicts `(judge key, sample, verdict)`."""
        records: list[dict[str, Any]] = []
        for key, sample, verdict in verdicts:
            self.statuses.setdefault(key, {})[sample] = verdict.status
            records.append(
                {
                    "key": key,
                    "sample": sample,
                    "status": verdict.status,
                    "extracted": verdict.extracted,
                    "method": verdict.method,
                }
            )
        self._verdicts.write(records)

    def texts(self, wanted: dict[str, set[int]]) -> Iterable[tuple[str, int, str]]:
        """Texts of stored rollouts `(key, sample, text)`, read from disk."""
        if not wanted:
            return
        for record in read_jsonl(self._rollouts_path):
            if record["sample"] in wanted.get(record["key"], ()):
                yield record["key"], record["sample"], record["text"]

    def close(self) -> None:
        """Release the files."""
        self._rollouts.close()
        self._verdicts.close()

    def __enter__(self) -> Self:
        """Return the store."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()
