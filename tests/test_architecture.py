"""The rooms import downwards only, and the light ones stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAY_IMPORT = {
    "sandbox": set(),
    "verifiers": {"sandbox"},
    "rollout": set(),
    "curation": {"verifiers", "rollout", "sandbox"},
    "trainer": {"curation", "verifiers", "rollout", "sandbox"},
    "rlvr": {"trainer", "curation", "verifiers", "rollout", "sandbox"},
}
HEAVY = {
    "torch",
    "transformers",
    "vllm",
    "docker",
    "ray",
    "datasets",
    "sympy",
    "math_verify",
    "matplotlib",
    "pandas",
}


def imported_packages(file: Path) -> set[str]:
    """Top-level names of every import in `file`, also those inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(), str(file))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_room_imports_only_rooms_below_it(room: str) -> None:
    files = list((ROOT / room).rglob("*.py"))
    assert files, f"room {room} has no files"
    for file in files:
        upward = (imported_packages(file) & MAY_IMPORT.keys()) - MAY_IMPORT[room] - {room}
        assert not upward, f"{file.relative_to(ROOT)} imports {sorted(upward)}"


@pytest.mark.parametrize("module", [*MAY_IMPORT, "rlvr.cli"])
def test_importing_a_room_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print(*sorted({HEAVY!r} & set(sys.modules)))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert loaded.stdout.split() == []
