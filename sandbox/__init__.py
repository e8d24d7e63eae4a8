"""Runs a program that nobody trusts, under limits.

    from sandbox import LocalSandbox, Limits, Program
    with LocalSandbox() as sandbox:
        print(sandbox.run(Program(source="print(6 * 7)"), Limits(cpu=2)).stdout)

Names come in when they are first used, so importing this package loads nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .local import LocalSandbox
    from .tiers import probe
    from .types import (
        Call,
        CallResult,
        Execution,
        Limits,
        Program,
        Raised,
        Sandbox,
        SandboxError,
        Suite,
        SuiteExecution,
        TestReport,
        TierReport,
        Usage,
    )

__all__ = [
    "Call",
    "CallResult",
    "Execution",
    "Limits",
    "LocalSandbox",
    "Program",
    "Raised",
    "Sandbox",
    "SandboxError",
    "Suite",
    "SuiteExecution",
    "TestReport",
    "TierReport",
    "Usage",
    "probe",
]
_ELSEWHERE = {"LocalSandbox": "sandbox.local", "probe": "sandbox.tiers"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_ELSEWHERE.get(name, "sandbox.types")), name)
    globals()[name] = value
    return value
