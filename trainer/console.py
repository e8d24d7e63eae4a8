"""What a person sees of a run: a progress bar on a terminal, one line per step elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Reporter:
    """Shows rows of metrics on `console`; shows nothing where that is None."""

    def __init__(self, console: Console | None, steps: int) -> None:
        self.console = console
        self._progress: Progress | None = None
        if console is not None and console.is_terminal:
            self._progress = Progress(
                TextColumn("training"),
                BarColumn(bar_width=20),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.description}"),
                console=console,
            )
            self._task = self._progress.add_task("", total=steps)

    def row(self, row: Mapping[str, Any]) -> None:
        """Show a row of `metrics.jsonl`."""
        if row["kind"] in ("eval", "held_out"):
            self._print(f"step {row['step']}  {TEXTS[row['kind']](row)}")
        elif self._progress is not None:
            self._progress.update(self._task, completed=row["step"], description=TEXTS[row["kind"]](row))
        else:
            self._print(f"step {row['step']}  {TEXTS[row['kind']](row)}")

    def warn(self, text: str) -> None:
        """Show a warning."""
        self._print(f"[yellow]warning[/yellow] {text}")

    def resumed(self, step: int) -> None:
        """Say that the run goes on from a checkpoint."""
        self._print(f"going on from the checkpoint of step {step}")
        if self._progress is not None:
            self._progress.update(self._task, completed=step)

    def _print(self, text: str) -> None:
        if self.console is not None:
            self.console.print(text, highlight=False, soft_wrap=True)

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()


def train_text(row: Mapping[str, Any]) -> str:
    """A training step in one line."""
    groups = row["groups_mixed"] + row["groups_correct"] + row["groups_wrong"] + row["groups_failed"]
    return (
        f"reward {row['reward_mean']:+.3f}  length {row['length_mean']:.0f}  "
        f"entropy {row['entropy'] or 0.0:.3f}  "
        f"mixed {row['groups_mixed']}/{groups}  {row['seconds']:.1f} s"
    )


def evaluation_text(row: Mapping[str, Any]) -> str:
    """An evaluation in one line."""
    parts = []
    if row["greedy_accuracy"] is not None:
        parts.append(
            f"greedy {row['greedy_accuracy']:.3f} ({row['greedy_low']:.3f}-{row['greedy_high']:.3f})"
        )
    if row["avg_at_k"] is not None:
        parts.append(f"avg@{row['k']} {row['avg_at_k']:.3f} ({row['avg_low']:.3f}-{row['avg_high']:.3f})")
        parts.append(f"pass@{row['k']} {row['pass_at_k']:.3f}")
    return f"{row['benchmark']}: " + "  ".join([*parts, f"length {row['length_mean']:.0f}"])


def sft_text(row: Mapping[str, Any]) -> str:
    """A supervised step in one line."""
    return f"loss {row['loss']:.4f} nats per token  lr {row['learning_rate']:.2e}  {row['seconds']:.1f} s"


def held_out_text(row: Mapping[str, Any]) -> str:
    """The loss on held-out pairs in one line."""
    return f"held out: loss {row['loss']:.4f} nats per token"


TEXTS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "train": train_text,
    "eval": evaluation_text,
    "sft": sft_text,
    "held_out": held_out_text,
}
"""How a row of each kind is shown."""
