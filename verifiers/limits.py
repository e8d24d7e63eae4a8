"""What one verdict may cost a worker process, as a verifier declares it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """Limits on one verification in a worker process.

    A verifier states its own in an attribute `worker_limits`; without one these defaults hold. Time is CPU
    time of the worker, so that a busy machine changes no verdict; waiting for a program or a server counts
    only towards `wall_seconds`, which catches what hangs without computing.
    """

    cpu_seconds: float = 10.0
    wall_seconds: float = 600.0
    memory_mb: int | None = None
    """Heap of the worker, in MiB (`RLIMIT_DATA`); inherited by programs that the verifier starts."""


def limits_of(verifier: object) -> WorkerLimits:
    """The limits that `verifier` declares, or the defaults."""
    declared = getattr(verifier, "worker_limits", None)
    return declared if isinstance(declared, WorkerLimits) else WorkerLimits()
