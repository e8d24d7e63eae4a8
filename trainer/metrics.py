"""metrics.jsonl, and the loggers that people have beside it.

One JSON object per line: `{"kind": "train", "step": 7, ...}` or `{"kind": "eval", "step": 20, ...}`. A
resumed run cuts off the rows after its checkpoint and writes them again, the same up to the seconds.
"""

from __future__ import annotations

import importlib
import json
import resource
import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from curation.files import JsonlAppender, atomic_write, write_jsonl
from verifiers import InputError

Row = Mapping[str, Any]


class Logger(Protocol):
    """Somewhere else that metrics go."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Take the numbers of one step."""
        ...

    def close(self) -> None:
        """Flush and end."""
        ...


class MetricsWriter:
    """Appends rows to `metrics.jsonl` and hands their numbers to the loggers."""

    def __init__(self, folder: Path, loggers: Sequence[str], settings: Mapping[str, Any], after: int) -> None:
        """Keep the rows of steps up to `after` (-1: none) and go on from there."""
        self.path = folder / "metrics.jsonl"
        self.kept = cut_rows_after(self.path, after)
        """Rows of the steps up to `after`."""
        self._file = JsonlAppender(self.path)
        self._loggers = [make_logger(name, folder, settings) for name in loggers]

    def write(self, row: Row) -> None:
        """Write one row; when this returns it is on disk."""
        self._file.write([row])
        name = row.get("benchmark", row["kind"])
        numbers = {
            f"{name}/{key}": float(value)
            for key, value in row.items()
            if key != "step" and isinstance(value, int | float)
        }
        for logger in self._loggers if numbers else ():
            logger.log(numbers, row["step"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        for logger in self._loggers:
            logger.close()


def cut_rows_after(path: Path, step: int) -> list[dict[str, Any]]:
    """Drop the rows of later steps, and a line that a kill has torn; returns the others."""
    kept: list[dict[str, Any]] = []
    if not path.exists():
        return kept
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n") and (row := json.loads(line))["step"] <= step:
            kept.append(row)
    write_jsonl(path, kept)
    return kept


def peak_memory_bytes() -> int:
    """Most memory that this process has held: of the GPU where one is used, otherwise resident."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return int(torch.cuda.max_memory_allocated())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def make_logger(name: str, folder: Path, settings: Mapping[str, Any]) -> Logger:
    """The logger of that name.

    Raises:
        InputError: its package is not installed.
    """
    package = {"tensorboard": "torch.utils.tensorboard", "wandb": "wandb", "trackio": "trackio"}[name]
    try:
        module = importlib.import_module(package)
    except ImportError as error:
        raise InputError(f"logger {name}: {error}; `pip install {name}` or leave it out of loggers") from None
    if name == "tensorboard":
        return _TensorBoard(module.SummaryWriter(str(folder / "tensorboard")))
    identity = _lasting_id(folder / "logger-id")
    if name == "wandb":
        return _WandbLike(module, settings, name=folder.name, id=identity, dir=str(folder))
    # trackio knows a run by its name alone.
    return _WandbLike(module, settings, name=f"{folder.name}-{identity}")


class _TensorBoard:
    def __init__(self, writer: Any) -> None:
        self.writer = writer

    def log(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        self.writer.close()


def _lasting_id(path: Path) -> str:
    """The identifier in `path`, written there the first time: a resumed run goes on in the same place."""
    if not path.exists():
        atomic_write(path, secrets.token_hex(4))
    return path.read_text()


class _WandbLike:
    """Weights & Biases, and trackio, which has the same calls."""

    def __init__(self, module: Any, settings: Mapping[str, Any], **options: Any) -> None:
        self.module = module
        module.init(project="rlvr", config=dict(settings), resume="allow", **options)

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.module.log(dict(values), step=step)

    def close(self) -> None:
        self.module.finish()
