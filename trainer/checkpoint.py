"""Checkpoints: written whole or not at all, verified when they are loaded, rotated.

`checkpoints/step-000020/` opens with `AutoModelForCausalLM.from_pretrained`; beside the model lie the
trainer's state, the sampler's, and `manifest.json` with the hash of every file, which is written last.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml

from curation.files import atomic_write, file_digest, sync_folder
from verifiers import InputError

MANIFEST = "manifest.json"
STATE = "trainer.pt"
SAMPLER = "sampler.parquet"
BEST = "best.json"


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder = folder
        self.keep = keep
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(".step-*"):
            shutil.rmtree(leftover)
        # A kill may have come between a checkpoint and what follows it.
        for step in self.steps():
            if self.damage(step) is None:
                self._remember_best(step, json.loads((self.path(step) / MANIFEST).read_text())["accuracy"])
        self._rotate()

    def path(self, step: int) -> Path:
        """Folder of a step's checkpoint."""
        return checkpoint_path(self.folder, step)

    def steps(self) -> list[int]:
        """Steps with a checkpoint, in order."""
        return checkpoint_steps(self.folder)

    def begin(self, step: int) -> Path:
        """An empty folder to write a checkpoint's files to, which `commit` then puts in its place."""
        temporary = self.folder / f".step-{step:06d}"
        if temporary.exists():
            shutil.rmtree(temporary)
        temporary.mkdir()
        return temporary

    def commit(self, step: int, accuracy: float | None) -> Path:
        """Make the files written since `begin` durable and the step's checkpoint, and remove old ones.

        `accuracy` on the held-out problems decides which checkpoint is the best; that one is kept.
        """
        temporary = self.folder / f".step-{step:06d}"
        files = sorted(path for path in temporary.rglob("*") if path.is_file())
        manifest = {
            "step": step,
            "accuracy": accuracy,
            "files": {str(path.relative_to(temporary)): file_digest(path) for path in files},
        }
        for path in files:
            _sync_file(path)
        atomic_write(temporary / MANIFEST, json.dumps(manifest, indent=2))
        final = self.path(step)
        if final.exists():
            shutil.rmtree(final)
        temporary.rename(final)
        sync_folder(self.folder)
        self._remember_best(step, accuracy)
        self._rotate()
        return final

    def would_be_best(self, accuracy: float | None) -> bool:
        """Whether no checkpoint has that held-out accuracy."""
        best = best_step(self.folder)
        return accuracy is not None and (best is None or accuracy > best[1])

    def latest(self) -> int | None:
        """Step of the newest checkpoint whose files are as they were written.

        Raises:
            InputError: there are checkpoints, and none of them is whole.
        """
        steps = self.steps()
        for step in reversed(steps):
            if self.damage(step) is None:
                return step
        if steps:
            raise InputError(
                f"{self.path(steps[-1])}: {self.damage(steps[-1])}; no checkpoint of the run is whole: "
                "restore one or take another output folder"
            )
        return None

    def damage(self, step: int) -> str | None:
        """What is wrong with a checkpoint's files, in words; None where nothing is."""
        folder = self.path(step)
        try:
            manifest = json.loads((folder / MANIFEST).read_text())
        except (OSError, ValueError) as error:
            return f"its manifest can't be read ({error})"
        for name, digest in manifest["files"].items():
            if not (folder / name).is_file():
                return f"{name} is missing"
            if file_digest(folder / name) != digest:
                return f"{name} is not what was written"
        return None

    def _remember_best(self, step: int, accuracy: float | None) -> None:
        if self.would_be_best(accuracy):
            atomic_write(self.folder / BEST, json.dumps({"step": step, "accuracy": accuracy}))

    def _rotate(self) -> None:
        best = best_step(self.folder)
        for step in self.steps()[: -self.keep]:
            if best is None or step != best[0]:
                shutil.rmtree(self.path(step))


def checkpoint_path(folder: Path, step: int) -> Path:
    """Where a step's checkpoint lies among a run's `checkpoints/`."""
    return folder / f"step-{step:06d}"


def checkpoint_steps(folder: Path) -> list[int]:
    """Steps that have a checkpoint, in order."""
    return sorted(int(path.name.removeprefix("step-")) for path in folder.glob("step-*"))


def best_step(folder: Path) -> tuple[int, float] | None:
    """Step and held-out accuracy of the best checkpoint; None where nothing was evaluated."""
    path = folder / BEST
    if not path.exists():
        return None
    values = json.loads(path.read_text())
    return values["step"], values["accuracy"]


def check_settings(path: Path, settings: Mapping[str, Any], may_change: Collection[str]) -> None:
    """A run folder holds one run: what decides its steps must be as in the `config.yaml` at `path`, if any.

    `may_change` names settings, those of a section as `section.name`.

    Raises:
        InputError: a setting that may not change did.
    """
    if not path.exists():
        return
    before, now = (_without(found, may_change) for found in (yaml.safe_load(path.read_text()), settings))
    changed = [
        f"{key} was {before.get(key)!r} and is {value!r}"
        for key, value in now.items()
        if before.get(key) != value
    ]
    if changed:
        raise InputError(
            f"{path}: the run was started with other settings ({'; '.join(changed)}); "
            "set them back, or take another output folder"
        )


def _without(settings: Mapping[str, Any], names: Collection[str], prefix: str = "") -> dict[str, Any]:
    return {
        key: _without(value, names, f"{prefix}{key}.") if isinstance(value, Mapping) else value
        for key, value in settings.items()
        if prefix + key not in names
    }


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write tensors and plain values, with the state of every random generator."""
    torch.save({**state, "random": random_state()}, path)


def load_state(path: Path, *, mapped: bool = False) -> dict[str, Any]:
    """Read what `save_state` wrote and set the random generators; runs no code from the file.

    `mapped` tensors are read from the file when they are used.
    """
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    restore_random_state(state.pop("random"))
    return state


def random_state() -> dict[str, Any]:
    """State of Python's and torch's generators. The trainer draws from seeds of its own; models may not."""
    version, numbers, gauss = random.getstate()
    state: dict[str, Any] = {"python": [version, list(numbers), gauss], "torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def restore_random_state(state: Mapping[str, Any]) -> None:
    """Set the generators to what `random_state` gave."""
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])


def _sync_file(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
