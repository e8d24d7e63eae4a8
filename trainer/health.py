"""A watch over the run that says in words what goes wrong, and what to try."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WINDOW = 10
"""Steps over which a mean is taken."""

Row = Mapping[str, Any]


def mean_of(rows: Sequence[Row], name: str) -> float:
    """Mean of a column over the rows that have it; 0 where none has."""
    values = [float(row[name]) for row in rows if row[name] is not None]
    return sum(values) / max(1, len(values))


@dataclass(frozen=True, slots=True)
class Windows:
    """The first and the last steps of the run so far."""

    first: Sequence[Row]
    last: Sequence[Row]

    @property
    def full(self) -> bool:
        """Whether there are enough steps to compare."""
        return len(self.last) == WINDOW


class HealthWatch:
    """Sees every row of the metrics; warns once per kind of trouble until it has passed."""

    def __init__(self) -> None:
        self._train: list[Row] = []
        self._accuracy: dict[str, list[tuple[int, float]]] = {}
        self._warned: set[str] = set()

    def see(self, row: Row) -> list[str]:
        """Take a row of `metrics.jsonl`; returns new warnings, each one sentence for a person."""
        if row["kind"] == "warning":
            return []
        if row["kind"] == "eval":
            value = row["greedy_accuracy"] if row["greedy_accuracy"] is not None else row["avg_at_k"]
            if value is None:
                return []
            self._accuracy.setdefault(row["benchmark"], []).append((row["step"], value))
            name = row["benchmark"]
            troubles = {f"held-out {name}": overfitting(name, self._accuracy[name], self._train)}
        else:
            self._train.append(row)
            windows = Windows(self._train[:WINDOW], self._train[-WINDOW:])
            troubles = {check.__name__: check(windows) for check in CHECKS}
        new = [text for kind, text in troubles.items() if text and kind not in self._warned]
        self._warned |= {kind for kind, text in troubles.items() if text}
        self._warned -= {kind for kind, text in troubles.items() if not text}
        return new


def mismatch(windows: Windows) -> str:
    """Growing difference between sampler and learner."""
    value = windows.last[-1]["kl_sampler"]
    if value is None or value <= 0.05:
        return ""
    return (
        f"sampler and learner disagree (KL {value:.3f} per token): check that both have the same weights, "
        "precision and chat template; objective.importance: truncate guards the update"
    )


def skipped_updates(windows: Windows) -> str:
    """Gradients that are not finite."""
    if not windows.last[-1]["updates_skipped"]:
        return ""
    return (
        "the gradient was not finite and an update was left out: lower learner.learning_rate or use float32"
    )


def verifier_failures(windows: Windows) -> str:
    """A verifier that often fails."""
    row = windows.last[-1]
    if row["verifier_failures"] <= 0.05 * max(1, row["responses"]):
        return ""
    return (
        f"the verifier failed on {row['verifier_failures']} of {row['responses']} responses, which were left "
        "out: their detail is in rollouts/; raise verifier.timeout if they timed out"
    )


def entropy_collapse(windows: Windows) -> str:
    """Samples of a group that are all alike, before the task is solved."""
    before, now = mean_of(windows.first, "entropy"), mean_of(windows.last, "entropy")
    if not windows.full or now > 0.05 or now > 0.1 * before or mean_of(windows.last, "accuracy") > 0.9:
        return ""
    return (
        f"entropy has collapsed from {before:.3f} to {now:.4f} nats per token, so the samples of a group are "
        "alike: raise objective.clip_high, lower learner.learning_rate, or give harder problems"
    )


def length_collapse(windows: Windows) -> str:
    """Responses that shrink, as under a reward hack or a length penalty that is too strong."""
    before, now = mean_of(windows.first, "length_mean"), mean_of(windows.last, "length_mean")
    if not windows.full or now > 0.4 * before:
        return ""
    return (
        f"responses have shrunk from {before:.0f} to {now:.0f} tokens: look for a reward hack in rollouts/, "
        "and switch reward.soft_overlong or reward.length_reward off"
    )


def truncation(windows: Windows) -> str:
    """Responses that don't end in time."""
    share = mean_of(windows.last, "truncated_share")
    if not windows.full or share <= 0.3:
        return ""
    return f"{share:.0%} of the responses are cut off: raise rollout.max_tokens"


def few_mixed_groups(windows: Windows) -> str:
    """Sampling that teaches nothing."""
    right, wrong, mixed = (mean_of(windows.last, f"groups_{kind}") for kind in ("correct", "wrong", "mixed"))
    share = mixed / max(1.0, right + wrong + mixed)
    if not windows.full or share >= 0.15:
        return ""
    need = "harder" if right > wrong else "easier"
    return (
        f"only {share:.0%} of the groups are mixed, so most sampling teaches nothing: give {need} problems, "
        "or set dynamic_sampling.rest_epochs"
    )


CHECKS: tuple[Callable[[Windows], str], ...] = (
    mismatch,
    skipped_updates,
    verifier_failures,
    entropy_collapse,
    length_collapse,
    truncation,
    few_mixed_groups,
)


def overfitting(name: str, accuracy: Sequence[tuple[int, float]], train: Sequence[Row]) -> str:
    """Reward that rises while the held-out accuracy falls."""
    best_step, best = max(accuracy, key=lambda point: point[1])
    now = accuracy[-1][1]
    before = [row for row in train if row["step"] <= best_step][-WINDOW:]
    since = [row for row in train if row["step"] > best_step][-WINDOW:]
    if now >= best - 0.05 or not before or mean_of(since, "accuracy") <= mean_of(before, "accuracy"):
        return ""
    return (
        f"{name} fell from {best:.3f} at step {best_step} to {now:.3f} while the training reward rose: the "
        f"model overfits or hacks the reward; stop at step {best_step}, or add problems"
    )
