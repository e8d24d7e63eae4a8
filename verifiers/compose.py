"""Verifiers out of verifiers: all of them, a weighted sum, one as the gate before another.

A composition of which a part failed (status `timeout` or `error`) has failed itself: its reward would be a guess.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from verifiers.limits import WorkerLimits, limits_of
from verifiers.types import InputError, Problem, Status, Verdict, Verifier


def _combined_limits(parts: Mapping[str, Verifier]) -> WorkerLimits:
    """Room for every part one after the other; memory is limited only where every part says how far."""
    limits = [limits_of(part) for part in parts.values()]
    megabytes = [limit.memory_mb for limit in limits]
    return WorkerLimits(
        cpu_seconds=sum(limit.cpu_seconds for limit in limits),
        wall_seconds=sum(limit.wall_seconds for limit in limits),
        memory_mb=None if None in megabytes else max(m for m in megabytes if m is not None),
    )


def _check(name: str, parts: Mapping[str, Verifier]) -> None:
    if not parts:
        raise InputError(f"{name} needs at least one verifier")
    for key, part in parts.items():
        if not isinstance(part, Verifier):
            raise InputError(f"{name}: part {key!r} is {type(part).__name__}, not a verifier")


def _warm_up(parts: Mapping[str, Verifier]) -> None:
    for part in parts.values():
        warm_up = getattr(part, "warm_up", None)
        if warm_up is not None:
            warm_up()


def _failed(verdicts: Mapping[str, Verdict]) -> tuple[str, Verdict] | None:
    return next(((name, verdict) for name, verdict in verdicts.items() if verdict.failed), None)


def _extracted(verdicts: Mapping[str, Verdict]) -> str | None:
    return next((v.extracted for v in reversed(list(verdicts.values())) if v.extracted is not None), None)


class _OfParts:
    """What a composition of named parts owes the pool: their limits together, and their warm-up."""

    parts: Mapping[str, Verifier]

    @property
    def worker_limits(self) -> WorkerLimits:
        """The limits of all parts together."""
        return _combined_limits(self.parts)

    def warm_up(self) -> None:
        """Warm up every part."""
        _warm_up(self.parts)


@dataclass(frozen=True)
class AllOf(_OfParts):
    """Correct (+1) only if every part is; otherwise -1 with the status of the first part that is not."""

    parts: Mapping[str, Verifier]
    name: str = field(default="all_of", init=False)

    def __post_init__(self) -> None:
        _check("AllOf", self.parts)

    def verify(self, response: str, problem: Problem | str) -> Verdict:
        """Judge by every part."""
        started = time.perf_counter()
        verdicts = {name: part.verify(response, problem) for name, part in self.parts.items()}
        deciding = _failed(verdicts) or next(
            ((name, verdict) for name, verdict in verdicts.items() if not verdict.correct), None
        )
        status: Status = "correct" if deciding is None else deciding[1].status
        return Verdict(
            reward=1.0 if status == "correct" else -1.0,
            status=status,
            extracted=_extracted(verdicts),
            method=self.name if deciding is None else f"{self.name}:{deciding[0]}",
            detail="every part is correct" if deciding is None else f"{deciding[0]}: {deciding[1].detail}",
            seconds=time.perf_counter() - started,
            parts=verdicts,
        )


@dataclass(frozen=True)
class WeightedSum(_OfParts):
    """Reward is the sum of the parts' rewards times their weights; correct where the sum reaches `threshold`.

    With weights that add up to 1 and parts of +1 and -1 the reward stays within [-1, 1].
    """

    parts: Mapping[str, Verifier]
    weights: Mapping[str, float]
    threshold: float = 1.0
    name: str = field(default="weighted_sum", init=False)

    def __post_init__(self) -> None:
        _check("WeightedSum", self.parts)
        if self.parts.keys() != self.weights.keys():
            raise InputError(
                f"WeightedSum: parts {sorted(self.parts)} but weights for {sorted(self.weights)}"
            )

    def verify(self, response: str, problem: Problem | str) -> Verdict:
        """Judge by every part and add up."""
        started = time.perf_counter()
        verdicts = {name: part.verify(response, problem) for name, part in self.parts.items()}
        reward = sum(self.weights[name] * verdict.reward for name, verdict in verdicts.items())
        failed = _failed(verdicts)
        # A float sum of weights such as 0.1 + 0.9 must not miss its threshold by rounding.
        reached = reward >= self.threshold - 1e-9
        if failed is not None:
            status: Status = failed[1].status
        elif not reached and all(verdict.status == "no_answer" for verdict in verdicts.values()):
            status = "no_answer"
        else:
            status = "correct" if reached else "incorrect"
        terms = " + ".join(f"{self.weights[name]:g} * {v.reward:g} ({name})" for name, v in verdicts.items())
        return Verdict(
            reward=reward,
            status=status,
            extracted=_extracted(verdicts),
            method=self.name,
            detail=f"{failed[0]} failed: {failed[1].detail}" if failed else f"{terms} = {reward:g}",
            seconds=time.perf_counter() - started,
            parts=verdicts,
        )


@dataclass(frozen=True)
class Gate:
    """`verifier` decides, but only where `gate` passed; otherwise the gate's verdict with -1 stands.

    The usual pair is the format before the mathematics: what fails the gate costs no verification.
    """

    gate: Verifier
    verifier: Verifier
    name: str = field(default="gate", init=False)

    def __post_init__(self) -> None:
        _check("Gate", self._parts)

    @property
    def _parts(self) -> dict[str, Verifier]:
        return {f"gate.{self.gate.name}": self.gate, self.verifier.name: self.verifier}

    @property
    def worker_limits(self) -> WorkerLimits:
        """The limits of both together."""
        return _combined_limits(self._parts)

    def warm_up(self) -> None:
        """Warm up both."""
        _warm_up(self._parts)

    def verify(self, response: str, problem: Problem | str) -> Verdict:
        """Judge by the gate, then by the verifier behind it."""
        started = time.perf_counter()
        (gate_name, _), (name, _) = self._parts.items()
        verdicts = {gate_name: self.gate.verify(response, problem)}
        opened = verdicts[gate_name].correct
        if opened:
            verdicts[name] = self.verifier.verify(response, problem)
        deciding = verdicts[name if opened else gate_name]
        return Verdict(
            reward=deciding.reward if opened else -1.0,
            status=deciding.status,
            extracted=deciding.extracted,
            method=f"{name if opened else gate_name}:{deciding.method}",
            detail=deciding.detail,
            seconds=time.perf_counter() - started,
            parts=verdicts,
        )
