"""The fields of a raw row, found by their usual names or by a mapping: problem, answer, solution, options.

Knows the schemas of verl (`prompt` messages, `reward_model.ground_truth`), TRL (`prompt`, `solution`),
OpenRLHF (`input`/`label`), ShareGPT-like conversations, GSM8K (`#### 72` at the end of the answer),
AQuA (`options`, `rationale`, `correct`) and their kin.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from curation.row import Row
from curation.sources import Unreadable

NAMES: dict[str, tuple[str, ...]] = {
    "problem": (
        "problem", "question", "Problem", "Question", "prompt", "input", "instruction", "query", "messages",
        "context_messages", "conversations", "Body", "text", "raw_prompt",
    ),
    "answer": (
        "answer", "gold", "ground_truth", "reward_model.ground_truth", "final_answer", "expected_answer",
        "Answer", "label", "target", "correct", "solution_answer", "gt", "output",
    ),
    "solution": (
        "solution", "rationale", "Rationale", "cot", "reasoning", "explanation", "Formula", "Equation",
    ),
    "options": ("options", "choices", "answer_option_list", "meta.options", "option"),
    "tests": ("tests", "test_cases", "input_output", "test", "test_list"),
    "verifier": ("verifier",),
    "id": ("id", "ID", "unique_id", "problem_id", "qid"),
    "meta": ("meta", "metadata", "extra_info"),
}  # fmt: skip


# What a stage found out about a curated row once and for all; the rest is found out again.
_LASTING = ("repairs", "converted", "options", "integer_form", "gold_from")


def pick(row: Mapping[str, Any], path: str) -> Any:
    """Value under a dotted path, None where there is none."""
    value: Any = row
    for step in path.split("."):
        if not isinstance(value, Mapping) or step not in value:
            return None
        value = value[step]
    return value


def _find(row: Mapping[str, Any], field: str, mapping: Mapping[str, str]) -> Any:
    if field in mapping:
        return pick(row, mapping[field])
    for name in NAMES[field]:
        value = pick(row, name)
        if value is not None and value != "":
            return value
    return None


def _from_conversation(turns: list[Any]) -> dict[str, Any] | None:
    """Problem and answer of a list of turns, in the `role`/`content` or the `from`/`value` form."""
    problem, answer, extra = None, None, {}
    for turn in turns:
        if not isinstance(turn, Mapping):
            return None
        role = turn.get("role", turn.get("from"))
        content = turn.get("content", turn.get("value"))
        if role in ("user", "human") and problem is None:
            problem = content
        elif role in ("assistant", "gpt"):
            truth = turn.get("ground_truth")
            if isinstance(truth, Mapping):
                answer = truth.get("value")
                extra = {key: value for key, value in truth.items() if key != "value"}
            else:
                answer = truth if truth is not None else content
    return None if problem is None else {"problem": problem, "answer": answer, "meta": extra}


def plain_text(value: Any) -> str | None:
    """A scalar as text; None for None."""
    if value is None:
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)


def answer_text(value: Any) -> str | None:
    """The gold answer as text: lists of one are unwrapped, several are joined, JSON in a string is opened."""
    if isinstance(value, str) and value[:2] in ('["', "['") and value.endswith("]"):
        with suppress(ValueError):
            value = json.loads(value)
    if isinstance(value, list | tuple):
        parts = [text for item in value if (text := answer_text(item)) is not None]
        return ", ".join(parts) if parts else None
    if isinstance(value, Mapping):
        inner = value.get("value", value.get("answer", value.get("ground_truth")))
        return answer_text(inner) if inner is not None else None
    return plain_text(value)


def _from_curated(value: Mapping[str, Any], ordinal: int, raw_id: str, source: str) -> Row:
    """A row of a curated set, to be measured and mixed again; its lineage goes on."""
    extra = json.loads(value["extra"])
    return Row(
        ordinal=ordinal,
        raw_id=raw_id,
        source=value["source"] or source,
        problem=extra.pop("problem"),
        answer=value["answer"],
        solution=extra.pop("solution", None),
        tests=None if value["tests"] is None else json.loads(value["tests"]),
        verifier=value["verifier"],
        meta=json.loads(value["metadata"]),
        original=extra.pop("original", {}),
        answer_type=extra.pop("answer_type", ""),
        facts={
            **{name: fact for name, fact in extra.items() if name in _LASTING},
            "curated_from": value["id"],
        },
    )


def to_row(
    value: Any, ordinal: int, raw_id: str, source: str, mapping: Mapping[str, str], verifier: str = ""
) -> Row | Unreadable:
    """Make a row of a raw value, or say what it lacks.

    Args:
        value: what a reader gave.
        ordinal: position among all raw rows of the run.
        raw_id: `source:line`.
        source: name of the source.
        mapping: where fields stand, for those that are not under their usual names.
        verifier: for rows that name none; empty takes math, or code where tests are.
    """
    if isinstance(value, Unreadable):
        return value
    if isinstance(value, list):
        found = _from_conversation(value)
        if found is None:
            return Unreadable("a list that is not a conversation of turns")
        value = found
    if not isinstance(value, Mapping):
        return Unreadable(f"a {type(value).__name__} where a row of fields was expected")
    if value.keys() >= {"extra", "lineage", "band", "split"} and not mapping:
        return _from_curated(value, ordinal, raw_id, source)
    problem = _find(value, "problem", mapping)
    answer = _find(value, "answer", mapping)
    if isinstance(problem, list):
        conversation = _from_conversation(problem)
        problem = conversation["problem"] if conversation else None
        answer = answer if answer is not None else (conversation or {}).get("answer")
    body, question = value.get("Body"), value.get("Question")
    if "problem" not in mapping and isinstance(body, str) and isinstance(question, str):
        problem = f"{body.strip()} {question.strip()}"
    if not isinstance(problem, str) or not problem.strip():
        known = ", ".join(sorted(map(str, value))) or "none"
        return Unreadable(f"no problem text; fields here: {known}; give a mapping, e.g. problem: question")
    solution = _find(value, "solution", mapping)
    if isinstance(solution, list):
        solution = "\n".join(text for item in solution if isinstance(text := item, str))
    meta = _find(value, "meta", mapping)
    tests = _find(value, "tests", mapping)
    named = _find(value, "verifier", mapping)
    if not isinstance(tests, dict | list):
        tests = None
    if isinstance(named, str):
        verifier = named
    elif not verifier:
        verifier = "math" if tests is None else "code"
    text = answer_text(answer)
    if text is not None and "####" in text:
        solution, text = (solution or text), text.rsplit("####", 1)[1].strip()
    return Row(
        ordinal=ordinal,
        raw_id=raw_id,
        source=source,
        problem=problem,
        answer=text,
        solution=solution if isinstance(solution, str) else None,
        options=_find(value, "options", mapping),
        tests=tests,
        verifier=verifier
        if isinstance(verifier, str)
        else ("code" if isinstance(tests, dict | list) else "math"),
        meta=dict(meta) if isinstance(meta, Mapping) else {},
    )
