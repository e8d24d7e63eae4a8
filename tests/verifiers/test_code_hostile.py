"""Hostile programs end as they should, and honest ones that look alike pass."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.local import TIERS
from tests.verifiers.code_hostile import LIMITS, RIGHT, cases, complaints, hostile_host, problems
from verifiers import InputError
from verifiers.code import CodeVerifier

SLOW_KINDS = {"time", "memory", "pids"}


# Inside, bubblewrap's tier is the one that uses Landlock alone.
EACH_TIER = [pytest.param(tier, marks=[pytest.mark.slow] if tier == "bubblewrap" else []) for tier in TIERS]


@pytest.fixture(scope="module", params=EACH_TIER)
def verifier(request: pytest.FixtureRequest) -> Iterator[CodeVerifier]:
    made = CodeVerifier(workers=1, tier=request.param, limits=LIMITS)
    try:
        made.verify(RIGHT, problems()["func"])
        assert made.sandbox.tier == request.param
    except InputError as error:
        pytest.skip(str(error))
    yield made
    made.close()


@pytest.fixture(scope="module")
def log() -> Iterator[Path]:
    with hostile_host() as path:
        yield path


@pytest.mark.parametrize("protocol", ["func", "stdio"])
def test_quick_hostile_programs_and_benign_controls(verifier: CodeVerifier, log: Path, protocol: str) -> None:
    chosen = [row for row in cases() if row["protocol"] == protocol and row["kind"] not in SLOW_KINDS]
    found = {row["id"]: complaints(verifier, row, problems()[protocol], log) for row in chosen}
    assert not {name: bad for name, bad in found.items() if bad}


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["func", "stdio"])
def test_hostile_programs_that_run_into_limits(verifier: CodeVerifier, log: Path, protocol: str) -> None:
    chosen = [row for row in cases() if row["protocol"] == protocol and row["kind"] in SLOW_KINDS]
    found = {row["id"]: complaints(verifier, row, problems()[protocol], log) for row in chosen}
    assert not {name: bad for name, bad in found.items() if bad}
