"""Verifiers that need no algebra: exact match, multiple choice, numbers with a tolerance, regular expressions."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from fractions import Fraction
from typing import ClassVar

from verifiers.limits import WorkerLimits
from verifiers.math.extraction import Extraction, extract, parse_rules
from verifiers.math.normalisation import strip_wrapping
from verifiers.math.numbers import parse_rational
from verifiers.types import InputError, Problem, Status, Verdict

_CHEAP = WorkerLimits(cpu_seconds=2.0, wall_seconds=60.0, memory_mb=512)


def gold_answer(problem: Problem | str, verifier: str) -> str:
    """The gold answer, or InputError where there is none."""
    gold = problem if isinstance(problem, str) else problem.answer
    if gold is None:
        raise InputError(
            f"problem {getattr(problem, 'id', '')!r} has no gold answer; verifier {verifier!r} needs one"
        )
    return gold


def make_verdict(status: Status, found: Extraction, method: str, detail: str, started: float) -> Verdict:
    """A verdict of +1 or -1 on an extracted answer; `started` is from `time.perf_counter`."""
    return Verdict(
        reward=1.0 if status == "correct" else -1.0,
        status=status,
        extracted=found.answer,
        method=method,
        detail=detail,
        seconds=time.perf_counter() - started,
    )


@dataclass(frozen=True)
class ExactMatchVerifier:
    """The final answer is the gold string, after white space at the ends and, by default, letter case.

    Args:
        extraction: where the answer stands, as for `MathVerifier`; "whole" compares the whole response.
        ignore_case: whether "Paris" is "paris".
    """

    extraction: str = "lenient"
    ignore_case: bool = True
    name: str = field(default="exact", init=False)
    worker_limits: ClassVar[WorkerLimits] = _CHEAP

    def __post_init__(self) -> None:
        parse_rules(self.extraction)

    def verify(self, response: str, problem: Problem | str) -> Verdict:
        """Judge by string equality."""
        started = time.perf_counter()
        gold = " ".join(strip_wrapping(gold_answer(problem, self.name)).split())
        found = extract(response, parse_rules(self.extraction))
        if found.answer is None:
            return make_verdict("no_answer", found, found.rule, found.reason, started)
        answer = " ".join(strip_wrapping(found.answer).split())
        equal = answer.casefold() == gold.casefold() if self.ignore_case else answer == gold
        detail = "the same text" if equal else f"{answer[:100]!r} is not {gold[:100]!r}"
        return make_verdict("correct" if equal else "incorrect", found, "exact", detail, started)


_LETTER = re.compile(
    r"\(?\s*(?:\\(?:text|mathrm|mathbf|textbf|rm)\s*\{)?\s*\(?([A-Za-z])\)?\s*\}?\s*\)?(?:[.):,\s].*)?",
    re.DOTALL,
)
_SEVERAL = re.compile(r"\b([A-J])\b\s*(?:,|/|and|or|&)\s*\(?\b([A-J])\b")


def choice_letter(text: str) -> str | None:
    """The option that `text` chooses: "C", "(c)", "\\text{C}", "C. the option's text"; None if none or several."""
    text = strip_wrapping(text).replace("**", "").strip()
    if _SEVERAL.search(text):
        return None
    found = _LETTER.fullmatch(text)
    return found.group(1).upper() if found else None


@dataclass(frozen=True)
class MultipleChoiceVerifier:
    """The chosen option's letter equals the gold letter; naming several options is no choice."""

    extraction: str = "answer_tag,boxed,hash,answer_line,bold,whole"
    name: str = field(default="multiple_choice", init=False)
    worker_limits: ClassVar[WorkerLimits] = _CHEAP

    def __post_init__(self) -> None:
        parse_rules(self.extraction)

    def verify(self, response: str, problem: Problem | str) -> Verdict:
        """Judge by the letter."""
        started = time.perf_counter()
        gold = gold_answer(problem, self.name)
        wanted = choice_letter(gold)
        if wanted is None:
            raise InputError(f"gold answer {gold[:80]!r} is not the letter of one option")
        found = extract(response, parse_rules(self.extraction))
        if found.answer is None:
            return make_verdict("no_answer", found, found.rule, found.reason, started)
        chosen = choice_letter(found.answer)
        if chosen is None:
            return make_verdict(
                "no_answer", found, "unparsed", "the final answer names no single option", started
            )
        status: Status = "correct" if chosen == wanted else "incorrect"
        return make_verdict(status, found, "letter", f"chose {chosen}, right is {wanted}", started)


@dataclass(frozen=True)
class NumericVerifier:
    """The final answer is a number within a tolerance of the gold number; without one, exactly that number.

    Args:
        relative: allowed difference as a fraction of the gold number.
        absolute: allowed difference in the gold's unit. The larger of the two holds.
        extraction: as for `MathVerifier`.
    """

    relative: float = 0.0
    absolute: float = 0.0
    extraction: str = "lenient"
    name: str = field(default="numeric", init=False)
    worker_limits: ClassVar[WorkerLimits] = _CHEAP

    def __post_init__(self) -> None:
        parse_rules(self.extraction)
        if not (0 <= self.relative < float("inf") and 0 <= self.absolute < float("inf")):
            raise InputError(
                f"tolerances must be finite and not negative, got {self.relative}, {self.absolute}"
            )

    def verify(self, response: str, problem: Problem | str) -> Verdict:
        """Judge by the difference, in exact arithmetic."""
        started = time.perf_counter()
        gold = gold_answer(problem, self.name)
        wanted = parse_rational(strip_wrapping(gold))
        if wanted is None:
            raise InputError(f"gold answer {gold[:80]!r} is not a number")
        found = extract(response, parse_rules(self.extraction))
        if found.answer is None:
            return make_verdict("no_answer", found, found.rule, found.reason, started)
        value = parse_rational(strip_wrapping(found.answer))
        if value is None:
            return make_verdict("no_answer", found, "unparsed", "the final answer is not a number", started)
        allowed = max(Fraction(self.relative) * abs(wanted), Fraction(self.absolute))
        close = abs(value - wanted) <= allowed
        detail = f"{found.answer[:60]} is {'' if close else 'not '}within {float(allowed):g} of {gold[:60]}"
        return make_verdict("correct" if close else "incorrect", found, "tolerance", detail, started)


@dataclass(frozen=True)
class RegexVerifier:
    """The gold answer is a regular expression that the whole final answer must match.

    Args:
        extraction: as for `MathVerifier`; "whole" matches against the whole response.
        ignore_case: whether letter case counts.

    A pattern that backtracks for ever is ended by the worker's CPU limit when run in a `VerifierPool`.
    """

    extraction: str = "lenient"
    ignore_case: bool = False
    name: str = field(default="regex", init=False)
    worker_limits: ClassVar[WorkerLimits] = _CHEAP

    def __post_init__(self) -> None:
        parse_rules(self.extraction)

    def verify(self, response: str, problem: Problem | str) -> Verdict:
        """Judge by `re.fullmatch`."""
        started = time.perf_counter()
        gold = gold_answer(problem, self.name)
        try:
            pattern = re.compile(gold, re.IGNORECASE | re.DOTALL if self.ignore_case else re.DOTALL)
        except re.error as error:
            raise InputError(f"gold answer {gold[:80]!r} is not a regular expression: {error}") from error
        found = extract(response, parse_rules(self.extraction))
        if found.answer is None:
            return make_verdict("no_answer", found, found.rule, found.reason, started)
        matches = pattern.fullmatch(strip_wrapping(found.answer)) is not None
        detail = f"the answer {'matches' if matches else 'does not match'} {gold[:100]!r}"
        return make_verdict("correct" if matches else "incorrect", found, "regex", detail, started)


@dataclass(frozen=True)
class MathVerifyVerifier:
    """Hugging Face's math-verify as it is, `parse` and `verify` with their defaults, in a worker process.

    Its SIGALRM time limits are off; the limits of the worker hold in their place.
    """

    name: str = field(default="math_verify", init=False)
    worker_limits: ClassVar[WorkerLimits] = WorkerLimits(cpu_seconds=5.0, memory_mb=1024)

    def warm_up(self) -> None:
        """Load math-verify before the clock of a verdict runs."""
        import logging

        import math_verify  # noqa: F401

        # It warns at every call that its own time limit is off.
        logging.getLogger("math_verify").setLevel(logging.ERROR)

    def verify(self, response: str, problem: Problem | str) -> Verdict:
        """Judge by `math_verify.verify(parse(gold), parse(response))`."""
        from verifiers import _worker

        started = time.perf_counter()
        gold = gold_answer(problem, self.name)
        if not _worker.inside_worker:
            from verifiers.pool import shared_pool

            return shared_pool().submit(response, gold, verifier=self).result()
        from math_verify import parse, verify

        read = parse(response, parsing_timeout=None, raise_on_error=True)
        wanted = parse(gold if "$" in gold or "\\boxed" in gold else f"${gold}$", parsing_timeout=None)
        found = Extraction(str(read[-1])[:1000] if read else None, "math_verify")
        if not read:
            return make_verdict("no_answer", found, "unparsed", "math-verify reads no answer", started)
        equal = bool(verify(wanted, read, timeout_seconds=None, raise_on_error=True))
        detail = f"math-verify finds it {'equal' if equal else 'different'}"
        return make_verdict("correct" if equal else "incorrect", found, "math_verify", detail, started)
