"""The math verifier: extraction, then a decision from cheap to dear."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import ClassVar

from verifiers import _worker
from verifiers.limits import WorkerLimits
from verifiers.math.extraction import Extraction, extract, parse_rules
from verifiers.math.normalisation import canonical_text, strip_wrapping
from verifiers.math.numbers import parse_rational
from verifiers.types import InputError, Problem, Status, Verdict


@dataclass(frozen=True)
class MathVerifier:
    """Decides whether the final answer of a response equals the gold answer.

    Args:
        extraction: where the final answer may stand: "lenient" (every way there is), or one or more of boxed,
            answer_tag, answer_line, hash, bold, last_math, last_number, whole, joined by commas and tried in order.

    Plain numbers and equal spellings are decided in this process; what needs algebra goes to worker processes
    with limits on CPU time and memory, and can end as status `timeout` or `error`.
    """

    extraction: str = "lenient"
    name: str = field(default="math", init=False)
    worker_limits: ClassVar[WorkerLimits] = WorkerLimits(cpu_seconds=2.0, memory_mb=512)

    def __post_init__(self) -> None:
        parse_rules(self.extraction)

    def warm_up(self) -> None:
        """Load sympy and math-verify before the clock of a verdict runs."""
        from verifiers.math import symbolic  # noqa: F401

    def verify(self, response: str, problem: Problem | str) -> Verdict:
        """Judge `response`; `problem` is the problem, or its gold answer as a string.

        Raises:
            InputError: the problem has no gold answer.
        """
        started = time.perf_counter()
        gold = problem if isinstance(problem, str) else problem.answer
        if gold is None:
            raise InputError(
                f"problem {getattr(problem, 'id', '')!r} has no gold answer; the math verifier needs one"
            )
        found = extract(response, parse_rules(self.extraction))
        if found.answer is None:
            return _verdict("no_answer", found, found.reason, started, method=found.rule)
        cheap = self._cheap(found.answer, gold)
        if cheap is not None:
            equal, rule, reason = cheap
            return _verdict("correct" if equal else "incorrect", found, reason, started, method=rule)
        if _worker.inside_worker:
            return self._algebra(found, gold, started)
        from verifiers.pool import shared_pool

        return shared_pool().submit(response, gold, verifier=self).result()

    def _cheap(self, answer: str, gold: str) -> tuple[bool, str, str] | None:
        """Equal, rule and sentence where text or plain arithmetic decides; None where it can't."""
        ours, theirs = canonical_text(answer), canonical_text(gold)
        if ours == theirs:
            return True, "same_text", "the answer is the gold answer, written the same way"
        left = parse_rational(strip_wrapping(answer))
        right = parse_rational(strip_wrapping(gold))
        if left is None or right is None:
            return None
        if left == right:
            return True, "exact_number", "the same number"
        return False, "exact_number", f"{strip_wrapping(answer)[:100]} is not {strip_wrapping(gold)[:100]}"

    def _algebra(self, found: Extraction, gold: str, started: float) -> Verdict:
        from verifiers.math.symbolic import equivalent

        assert found.answer is not None
        outcome = equivalent(found.answer, gold)
        if outcome is None:
            return _verdict(
                "no_answer", found, "the final answer can't be read as mathematics", started, "unparsed"
            )
        reason = "equivalent" if outcome else "not equivalent"
        return _verdict(
            "correct" if outcome else "incorrect",
            found,
            f"{reason} according to math-verify",
            started,
            "math_verify",
        )


def _verdict(status: Status, found: Extraction, detail: str, started: float, method: str) -> Verdict:
    return Verdict.model_construct(
        reward=1.0 if status == "correct" else -1.0,
        status=status,
        extracted=found.answer,
        method=method,
        detail=detail,
        seconds=time.perf_counter() - started,
        parts={},
    )
