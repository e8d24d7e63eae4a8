"""Progress on long work: a bar on a terminal, a plain line now and then elsewhere, nothing without a console."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

PLAIN_SECONDS = 10.0


class StageProgress:
    """Progress of one stage; use as a context manager."""

    def __init__(self, console: Console | None, name: str, total: int | None) -> None:
        self._console, self._name, self._total = console, name, total
        self._done, self._next = 0, time.monotonic() + PLAIN_SECONDS
        self._bar: Progress | None = None
        if console is not None and console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=console,
                transient=True,
            )
            self._task = self._bar.add_task(name, total=total)

    def set(self, done: int, total: int | None = None, text: str = "") -> None:
        """Say how far it is."""
        self._done, self._total = done, total if total is not None else self._total
        if self._bar is not None:
            name = f"{self._name} ({text})" if text else self._name
            self._bar.update(self._task, completed=done, total=self._total, description=name)
        elif self._console is not None and time.monotonic() >= self._next:
            self._next = time.monotonic() + PLAIN_SECONDS
            of = f" of {self._total}" if self._total else ""
            line = f"{self._name}: {done}{of}" + (f", {text}" if text else "")
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def __enter__(self) -> StageProgress:
        """Show the bar."""
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
