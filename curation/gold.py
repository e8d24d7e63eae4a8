"""The gold check: a row stays only if its own verifier accepts its gold and rejects answers that resemble it.

Many rows share a gold, so what is checked is each distinct gold, once; verdicts are kept in a file and not
asked for twice. Where a solution text states a final answer, that must agree with the gold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Self, cast

from curation.answers import AnswerType, answer_type, canonical, impossible, solution_answer, wrong_answers
from curation.files import JsonlAppender, digest, read_jsonl
from curation.row import Row
from curation.stage import Reason
from verifiers import Problem, Verdict, VerifierPool

_NO_PROGRAM = "```python\npass\n```"


def respond(answer: str) -> str:
    """A response that gives `answer` as its final answer, as verifiers read it."""
    return f"The final answer is \\boxed{{{answer}}}."


def as_problem(row: Row) -> Problem:
    """The row as its verifier sees it."""
    return Problem(
        id=row.raw_id, prompt="", answer=row.answer, tests=row.tests, verifier=row.verifier, metadata=row.meta
    )


class GoldCheck:
    """Checks golds with the rows' own verifiers; use as a context manager.

    Args:
        workers: verifier processes.
        timeout: CPU seconds per verdict; None takes the verifier's own limit.
        store: JSONL file of verdicts, kept between runs; None keeps them in memory only.
        from_solution: take a missing gold from the solution's box or final mark.
        unverified: keep rows with tests that have no reference solution; their tests must still reject an empty
            program.
    """

    def __init__(
        self,
        workers: int,
        timeout: float | None = None,
        store: Path | None = None,
        from_solution: bool = True,
        unverified: bool = True,
    ) -> None:
        self._pool = VerifierPool(workers=workers, timeout=timeout)
        self._from_solution, self._unverified = from_solution, unverified
        self._known: dict[str, str] = {}
        self._appender: JsonlAppender | None = None
        if store is not None:
            self._appender = JsonlAppender(store)
            self._known = dict(read_jsonl(store))

    def check(self, rows: Sequence[Row]) -> Iterator[tuple[Row, Reason | None]]:
        """Settle the gold of each row; yields rows in order, with the reason for those to drop."""
        early = [self._prepare(row) for row in rows]
        questions: dict[str, list[tuple[str, str, Future[Verdict]]]] = {}
        asked: list[list[str]] = []
        for row, reason in zip(rows, early, strict=True):
            asked.append([] if reason else self._ask(row, questions))
        fresh = {key: _judge(answers) for key, answers in questions.items()}
        if self._appender is not None:
            self._appender.write([[key, problem] for key, problem in fresh.items()])
        self._known.update(fresh)
        for row, reason, keys in zip(rows, early, asked, strict=True):
            yield row, reason or self._decide(keys)

    def _prepare(self, row: Row) -> Reason | None:
        if row.tests is not None:
            row.answer_type = "tests"
            if not row.solution and not self._unverified:
                return Reason("no reference solution", "the tests can't be checked")
            if not row.solution:
                row.facts["gold"] = "unverified"
            return None
        if not (row.answer or "").strip() and self._from_solution and row.solution:
            stated = solution_answer(row.solution, "expression")
            if stated:
                row.answer = stated
                row.facts["gold_from"] = "solution"
        if not (row.answer or "").strip():
            return Reason("gold missing", "no answer, and no solution that states one")
        found = cast(str, row.answer)
        row.answer = canonical(found)
        if row.answer != found:
            row.original.setdefault("answer", found)
        row.answer_type = answer_type(row.answer, has_options=bool(row.options))
        if row.answer_type == "empty":
            return Reason("gold missing", f"nothing is left of {found!r}")
        if why := impossible(row.problem, row.answer):
            return Reason("impossible gold", why)
        return None

    def _ask(self, row: Row, questions: dict[str, list[tuple[str, str, Future[Verdict]]]]) -> list[str]:
        """Submit what is not known yet; returns the keys whose verdicts decide about the row."""
        problem = as_problem(row)
        if row.tests is not None:
            right, wrong = row.solution or "", {"empty program": _NO_PROGRAM}
            if right and "```" not in right:
                right = f"```python\n{right}\n```"
        else:
            answer = cast(str, row.answer)
            right = respond(answer)
            changed = wrong_answers(answer, cast(AnswerType, row.answer_type))
            wrong = {name: respond(text) for name, text in changed.items()}
        key = digest("gold", row.verifier, row.answer, row.tests, right, row.meta if row.tests else None)
        keys = [key]
        if key not in self._known and key not in questions:
            questions[key] = [("accept", right, self._pool.submit(right, problem))] if right else []
            questions[key] += [(name, text, self._pool.submit(text, problem)) for name, text in wrong.items()]
        stated = None
        # A converted question's solution ends with the letter of an option that is gone.
        own_gold = "gold_from" not in row.facts and "converted" not in row.facts
        if row.solution and row.tests is None and own_gold:
            stated = solution_answer(row.solution, cast(AnswerType, row.answer_type))
        if stated is not None and canonical(stated) != row.answer:
            key = digest("solution", row.verifier, row.answer, stated)
            keys.append(key)
            if key not in self._known and key not in questions:
                questions[key] = [("solution", stated, self._pool.submit(respond(stated), problem))]
        return keys

    def _decide(self, keys: list[str]) -> Reason | None:
        for key in keys:
            name, _, detail = self._known[key].partition(": ")
            if name:
                return Reason(name, detail)
        return None

    def __enter__(self) -> Self:
        """Start the pool."""
        self._pool.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the pool and release the store."""
        if self._appender is not None:
            self._appender.close()
        self._pool.__exit__(kind, error, trace)


def _judge(answers: list[tuple[str, str, Future[Verdict]]]) -> str:
    """`"reason: detail"`, or an empty string when all verdicts are as they should be."""
    for name, text, future in answers:
        verdict = future.result()
        if verdict.failed:
            return f"verifier can't tell: {verdict.status} on {name} {text[:80]!r} ({verdict.detail[:120]})"
        if name == "accept" and not verdict.correct:
            return f"gold not accepted: read as {verdict.extracted!r} ({verdict.detail[:160]})"
        if name == "solution" and not verdict.correct:
            return f"solution disagrees: the solution ends with {text[:80]!r}"
        if name not in ("accept", "solution") and verdict.correct:
            return f"wrong answer accepted: {name} {text[25:105]!r} passes as well"
    return ""
