"""A verifier that costs next to nothing, so that trainers are measured and not it; worker processes load it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from verifiers import Problem, Verdict, register


@register("benchmark_contains")
@dataclass(frozen=True)
class ContainsVerifier:
    """The gold answer is a regular expression that some part of the response must match."""

    name: str = field(default="benchmark_contains", init=False)

    def verify(self, response: str, problem: Problem | str) -> Verdict:
        """Judge."""
        gold = problem if isinstance(problem, str) else problem.answer
        found = re.search(gold or "", response) is not None
        return Verdict(reward=1.0 if found else -1.0, status="correct" if found else "incorrect")
