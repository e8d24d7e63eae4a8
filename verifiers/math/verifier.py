"""The math verifier: extraction, then a decision from cheap to dear."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import ClassVar

from verifiers.limits import WorkerLimits
from verifiers.math.asked import missed_form
from verifiers.math.decision import UNREADABLE, Options, Outcome, decide
from verifiers.math.extraction import Extraction, extract, gold_text, parse_rules
from verifiers.math.normalisation import canonical_latex, squeezed
from verifiers.math.text import plain
from verifiers.types import InputError, Problem, Status, Verdict

_SHORT = 1000


@dataclass(frozen=True)
class MathVerifier:
    """Decides whether the final answer of a response equals the gold answer.

    Args:
        extraction: where the final answer may stand: "lenient" (every way there is), or one or more of boxed,
            answer_tag, answer_line, answer_colon, hash, bold, last_value, whole, joined by commas and tried in
            order. "answer_colon" is the protocol of the DAPO prompt, "boxed" that of most others.
        rounding: whether a value counts that rounds to the gold decimal at the digits that the gold shows.

    The answer is parsed by a parser of its own, never by Python, and compared exactly or by numbers of high
    precision. Work is bounded by counting it, not by a clock, so that verdicts do not depend on the load of the
    machine; no signal or timer is used, and a worker process only for the rare symbolic proof. Where the prompt of
    the problem asks to factor or expand, or there is no prompt and the gold is factored, the answer must have that
    form. What can't be told apart nor shown equal gets reward -1 and the method `undecided`; an answer that can't
    be read has status `no_answer`.
    """

    extraction: str = "lenient"
    rounding: bool = False
    name: str = field(default="math", init=False)
    worker_limits: ClassVar[WorkerLimits] = WorkerLimits(cpu_seconds=2.0, memory_mb=512)

    def __post_init__(self) -> None:
        parse_rules(self.extraction)

    def verify(self, response: str, problem: Problem | str) -> Verdict:
        """Judge `response`; `problem` is the problem, or its gold answer as a string.

        Raises:
            InputError: the problem has no gold answer.
        """
        started = time.perf_counter()
        gold = problem if isinstance(problem, str) else problem.answer
        if gold is None:
            name = getattr(problem, "id", "")
            raise InputError(f"problem {name!r} has no gold answer; the math verifier needs one")
        found = extract(response, parse_rules(self.extraction))
        wanted = gold_text(gold)
        if self.extraction == "lenient" and found.rule not in ("boxed", "answer_tag", "thinking"):
            # A response that is the gold answer and nothing else, even where it reads as no formula.
            short = len(response) <= min(_SHORT, 40 + 4 * len(wanted)) and wanted.strip()
            if short and _same_text(response, wanted):
                whole = Extraction(response.strip(), "whole")
                return _verdict("correct", whole, "same_text", "the response is the gold answer", started)
        if found.answer is None:
            return _verdict("no_answer", found, found.rule, found.reason, started)
        outcome = decide(found.answer, wanted, Options(rounding=self.rounding))
        missed = missed_form(problem, found.answer, wanted) if outcome.equal else None
        if missed is not None:
            detail = f"the {missed} form is asked for, and this has the value but not the form"
            return _verdict("incorrect", found, "form", detail, started)
        return _verdict(_status(outcome), found, outcome.rule, outcome.reason, started)


def _same_text(response: str, gold: str) -> bool:
    return squeezed(plain(canonical_latex(response))) == squeezed(plain(canonical_latex(gold)))


def _status(outcome: Outcome) -> Status:
    if outcome.equal is None:
        return "no_answer" if outcome.rule == UNREADABLE else "incorrect"
    return "correct" if outcome.equal else "incorrect"


def _verdict(status: Status, found: Extraction, method: str, detail: str, started: float) -> Verdict:
    return Verdict(
        reward=1.0 if status == "correct" else -1.0,
        status=status,
        extracted=found.answer,
        method=method,
        detail=detail,
        seconds=time.perf_counter() - started,
    )
