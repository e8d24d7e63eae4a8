"""The sandboxes under test: one per tier that this kernel allows."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest

from sandbox.local import TIERS, LocalSandbox
from sandbox.tiers import probe
from sandbox.types import TierReport


@cache
def reports() -> dict[str, TierReport]:
    return {report.name: report for report in probe()}


@pytest.fixture(scope="session", params=TIERS)
def sandbox(request: pytest.FixtureRequest) -> Iterator[LocalSandbox]:
    report = reports()[request.param]
    if not report.available:
        pytest.skip(f"tier {report.name} does not work here: {report.detail}")
    with LocalSandbox(2, tier=request.param) as made:
        yield made
