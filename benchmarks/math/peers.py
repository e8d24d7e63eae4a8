"""Other graders behind the verifier protocol, as they are; each is found where it is installed.

Install them apart, because they would pull in much else:

    pip install --target build/peers inspect-ai
    pip install --target build/peers --no-deps verl

and give `--peers build/peers` to the benchmark. A grader is called with the response for texts, and for bare
answers with a response of the form that it reads (`answer_form`, a box where it names none). Those of verl compare
text and expect a gold without dollar signs, so they get it without. Each runs in a worker process under limits, so
that one that hangs or dies counts as not having found the answer right.
"""

from __future__ import annotations

import asyncio
import importlib.util
import sys
import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import ClassVar

from verifiers import MathVerifier, MathVerifyVerifier, Problem, Verdict, Verifier
from verifiers.limits import WorkerLimits, limits_of
from verifiers.math.normalisation import strip_wrapping


def _found(package: str, *parts: str) -> Path | None:
    for folder in sys.path:
        path = Path(folder or ".").joinpath(package, *parts)
        if path.is_file():
            return path
    return None


@cache
def _module(path: Path) -> ModuleType:
    """One file of a package as a module of its own, without what the package's `__init__` would import."""
    spec = importlib.util.spec_from_file_location(f"peer_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _verdict(correct: bool, started: float) -> Verdict:
    status = "correct" if correct else "incorrect"
    seconds = time.perf_counter() - started
    return Verdict(reward=1.0 if correct else -1.0, status=status, method="peer", seconds=seconds)


@dataclass(frozen=True)
class Timed:
    """Another verifier, with the CPU seconds of the worker in `seconds`: the load of the machine plays no part."""

    verifier: Verifier
    name: str = field(default="timed", init=False)

    @property
    def worker_limits(self) -> WorkerLimits:
        """Those of the verifier."""
        return limits_of(self.verifier)

    def warm_up(self) -> None:
        """Warm the verifier up."""
        warm_up = getattr(self.verifier, "warm_up", None)
        if warm_up is not None:
            warm_up()

    def verify(self, response: str, problem: Problem | str) -> Verdict:
        """The verifier's verdict."""
        started = time.process_time()
        verdict = self.verifier.verify(response, problem)
        return verdict.model_copy(update={"seconds": time.process_time() - started})


@dataclass(frozen=True)
class VerlDapo:
    """`verl.utils.reward_score.math_dapo`: the last "Answer:" or box, compared as normalised text."""

    path: Path
    name: str = field(default="verl math_dapo", init=False)
    answer_form: ClassVar[str] = "Answer: %s"
    worker_limits: ClassVar[WorkerLimits] = WorkerLimits(cpu_seconds=5.0)

    def verify(self, response: str, problem: Problem | str) -> Verdict:
        """Judge by `compute_score`."""
        assert isinstance(problem, str)
        started = time.perf_counter()
        result = _module(self.path).compute_score(response, strip_wrapping(problem))
        score = result["score"] if isinstance(result, dict) else result
        return _verdict(score > 0, started)


@dataclass(frozen=True)
class VerlMath:
    """`verl.utils.reward_score.math_reward`: the last box against the gold by Hendrycks' `is_equiv`."""

    path: Path
    name: str = field(default="verl math_reward", init=False)
    worker_limits: ClassVar[WorkerLimits] = WorkerLimits(cpu_seconds=5.0)

    def verify(self, response: str, problem: Problem | str) -> Verdict:
        """Judge by `compute_score`."""
        assert isinstance(problem, str)
        started = time.perf_counter()
        return _verdict(_module(self.path).compute_score(response, strip_wrapping(problem)) > 0, started)


@dataclass(frozen=True)
class InspectMath:
    """`inspect_ai.scorer.math`."""

    name: str = field(default="inspect_ai", init=False)
    worker_limits: ClassVar[WorkerLimits] = WorkerLimits(cpu_seconds=10.0, wall_seconds=30.0)

    def warm_up(self) -> None:
        """Load the package before the clock runs."""
        import inspect_ai.scorer  # noqa: F401

    def verify(self, response: str, problem: Problem | str) -> Verdict:
        """Judge by the scorer, as in an evaluation."""
        from inspect_ai.model import ModelName, ModelOutput
        from inspect_ai.scorer import CORRECT, Target, math
        from inspect_ai.solver import TaskState

        assert isinstance(problem, str)
        started = time.perf_counter()
        output = ModelOutput.from_content("mockllm/model", response)
        state = TaskState(
            model=ModelName("mockllm/model"), sample_id=1, epoch=1, input="", messages=[], output=output
        )
        score = asyncio.run(math()(state, Target(problem)))
        return _verdict(score is not None and score.value == CORRECT, started)


def installed() -> list[Verifier]:
    """This project's verifier, strict and with rounding, and every peer that is installed."""
    graders: list[Verifier] = [MathVerifier(), MathVerifier(rounding=True), MathVerifyVerifier()]
    if (path := _found("verl", "utils", "reward_score", "math_dapo.py")) is not None:
        graders.append(VerlDapo(path))
    if (path := _found("verl", "utils", "reward_score", "math_reward.py")) is not None:
        graders.append(VerlMath(path))
    if _found("inspect_ai", "scorer", "_math.py") is not None:
        graders.append(InspectMath())
    return graders


def label(grader: Verifier) -> str:
    """Name in the table."""
    if isinstance(grader, MathVerifier):
        return "rlvr math, rounding" if grader.rounding else "rlvr math"
    return grader.name
