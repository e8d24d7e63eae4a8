"""A prompt's group of responses with their verdicts, and the account of what sampling cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Literal

from rollout.types import Completion
from verifiers import Problem, Verdict

GroupKind = Literal["correct", "wrong", "mixed", "failed"]
"""All responses right, all wrong, some of each; or fewer than two that the verifier could judge."""


@dataclass(frozen=True, slots=True)
class Group:
    """The responses sampled for one prompt, in the order of their sample numbers."""

    problem: Problem
    completions: tuple[Completion, ...]
    verdicts: tuple[Verdict, ...]
    step: int
    """Step that sampled it; with the problem it names the group."""

    @property
    def valid(self) -> tuple[bool, ...]:
        """Which samples the verifier could judge."""
        return tuple(not verdict.failed for verdict in self.verdicts)

    @property
    def correct(self) -> int:
        """Number of right responses."""
        return sum(verdict.correct for verdict in self.verdicts)

    @property
    def kind(self) -> GroupKind:
        """Decided by correctness alone, never by a shaped reward."""
        judged = sum(self.valid)
        if judged < 2:
            return "failed"
        if self.correct == judged:
            return "correct"
        return "mixed" if self.correct else "wrong"

    @property
    def policy_version(self) -> int:
        """Oldest weights that drew one of the responses."""
        return min(completion.policy_version for completion in self.completions)

    @property
    def tokens(self) -> int:
        """Tokens of the responses."""
        return sum(len(completion.token_ids) for completion in self.completions)


@dataclass(slots=True)
class Account:
    """What was sampled, and what became of it. A finished group is counted in the step that sampled it.

    With dynamic sampling, what comes in goes out: groups_mixed + groups that waited from the step before =
    groups used + surplus_kept + surplus_dropped.
    """

    rounds: int = 0
    prompts_asked: int = 0
    """Prompts given to the engine; those not finished went back and are asked for again."""
    prompts_returned: int = 0
    prompts_sampled: int = 0
    """Groups finished: the sum of the four kinds."""
    groups_correct: int = 0
    groups_wrong: int = 0
    groups_mixed: int = 0
    groups_failed: int = 0
    surplus_used: int = 0
    """Groups of earlier steps that this one uses."""
    surplus_kept: int = 0
    """Groups that wait for the next step."""
    surplus_dropped: int = 0
    """Surplus groups that grew too old, or for which there was no use."""
    responses: int = 0
    """Finished responses, those of unfinished groups included."""
    samples: int = 0
    """Responses of finished groups that the verifier could judge; the next two are over them."""
    correct_samples: int = 0
    reward_sum: float = 0.0
    verifier_failures: int = 0
    truncated: int = 0
    tokens_sampled: int = 0
    """Tokens of all finished responses, those of unfinished groups included."""
    tokens_used: int = 0
    """Tokens of the groups that the step learns from, samples without loss included."""
    seconds_verify: float = 0.0
    """Seconds spent waiting for verdicts beyond the generation."""
    histogram: Counter[int] = field(default_factory=Counter)
    """Finished groups by their number of right responses."""

    def count_group(self, group: Group) -> None:
        """Count a finished group."""
        name = f"groups_{group.kind}"
        setattr(self, name, getattr(self, name) + 1)
        self.prompts_sampled += 1
        self.samples += sum(group.valid)
        self.correct_samples += group.correct
        self.reward_sum += sum(verdict.reward for verdict in group.verdicts if not verdict.failed)
        self.verifier_failures += len(group.verdicts) - sum(group.valid)
        self.histogram[group.correct] += 1

    def count_completion(self, completion: Completion) -> None:
        """Count a finished response, whatever becomes of its group."""
        self.responses += 1
        self.tokens_sampled += len(completion.token_ids)
        self.truncated += completion.finish_reason == "length"

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        values: dict[str, object] = {item.name: getattr(self, item.name) for item in fields(self)}
        values["histogram"] = {str(key): count for key, count in sorted(self.histogram.items())}
        return values

    @classmethod
    def from_json(cls, values: dict[str, object]) -> Account:
        """The inverse of `to_json`."""
        account = cls(**{name: value for name, value in values.items() if name != "histogram"})  # type: ignore[arg-type]
        histogram = values["histogram"]
        assert isinstance(histogram, dict)
        account.histogram = Counter({int(key): count for key, count in histogram.items()})
        return account


def describe_histogram(histogram: Counter[int], group_size: int) -> str:
    """In words: how many groups had how many right responses."""
    rows: Iterable[tuple[int, int]] = sorted(histogram.items())
    return ", ".join(f"{correct}/{group_size}: {count}" for correct, count in rows) or "no group was finished"
