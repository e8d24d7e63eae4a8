"""Reads the shapes in which data sets publish code tests.

| shape | protocol |
|---|---|
| an object with `kind` | as it is (`verifiers.code_tests`) |
| a string, a list of strings | assert-style (MBPP: `test_list`) |
| `{"inputs": [...], "outputs": [...], "fn_name"?: ...}` | calls with `fn_name`, else stdio (APPS, TACO) |
| `[{"input": ..., "output": ..., "testtype"?: ...}]` | stdio, or calls with JSON lines (LiveCodeBench) |
| `{"entry_point": ..., "tests": [{"args": ..., "expected": ...}]}` | calls |
| `{"tests": [{"stdin": ..., "stdout": ...}]}` | stdio |

Rows of HumanEval, MBPP, LeetCode (rllm) and Kattis-style sets have converters of their own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import JsonValue

from verifiers.code_tests import (
    AssertTests,
    CallCase,
    CallTests,
    CodeTests,
    StdioCase,
    StdioTests,
    Tolerance,
    parse_tests,
)
from verifiers.types import InputError, Problem

_SHAPES = "see the table in verifiers/code_convert.py for the shapes that are read"


def read_tests(value: Any) -> CodeTests:
    """Tests from the JSON of `Problem.tests` in any of the shapes above. InputError where it is none of them."""
    if isinstance(value, str):
        return _from_text(value)
    if isinstance(value, Sequence):
        return _from_list(list(value))
    if not isinstance(value, Mapping):
        raise InputError(f"code problem without tests: `tests` is {type(value).__name__}; {_SHAPES}")
    if "kind" in value:
        return parse_tests(dict(value))
    if "inputs" in value and "outputs" in value:
        return _from_inputs_and_outputs(value)
    cases = value.get("tests")
    if isinstance(cases, list) and cases:
        rest = {name: item for name, item in value.items() if name != "tests"}
        if all(isinstance(case, str) for case in cases):
            return parse_tests({**rest, "kind": "asserts", "tests": cases})
        if all(isinstance(case, Mapping) and "stdin" in case for case in cases):
            cases = [{name: case[name] for name in ("stdin", "stdout") if name in case} for case in cases]
            return parse_tests({**rest, "kind": "stdio", "cases": cases})
        return parse_tests({**rest, "kind": "calls", "cases": cases})
    raise InputError(f"code tests: an object with the keys {sorted(value)[:8]}; {_SHAPES}")


def _from_text(text: str) -> CodeTests:
    stripped = text.lstrip()
    if stripped.startswith(("{", "[")):
        try:
            return read_tests(json.loads(stripped))
        except ValueError as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"code tests: the text begins like JSON and is none: {error}") from error
    if not stripped:
        raise InputError(f"code problem without tests: `tests` is empty; {_SHAPES}")
    return AssertTests(tests=(text,))


def _from_list(cases: list[Any]) -> CodeTests:
    if cases and all(isinstance(case, str) for case in cases):
        return AssertTests(tests=tuple(cases))
    if not cases or not all(isinstance(case, Mapping) for case in cases):
        raise InputError(
            f"code tests: a list of {type(cases[0]).__name__ if cases else 'nothing'}; {_SHAPES}"
        )
    if all("stdin" in case for case in cases):
        return read_tests({"tests": cases})
    if not all("input" in case and "output" in case for case in cases):
        raise InputError(f"code tests: a list of objects with the keys {sorted(cases[0])[:8]}; {_SHAPES}")
    names = {case["fn_name"] for case in cases if case.get("fn_name")}
    if names or any(case.get("testtype") == "functional" for case in cases):
        if len(names) != 1:
            raise InputError("code tests: functional cases need one `fn_name`")
        return CallTests(
            entry_point=names.pop(),
            cases=tuple(
                CallCase(args=tuple(_json_lines(case["input"])), expected=json.loads(case["output"]))
                for case in cases
            ),
        )
    return StdioTests(cases=tuple(StdioCase(stdin=str(c["input"]), stdout=str(c["output"])) for c in cases))


def _json_lines(text: str) -> list[JsonValue]:
    return [json.loads(line) for line in text.split("\n") if line.strip()]


def _from_inputs_and_outputs(value: Mapping[str, Any]) -> CodeTests:
    inputs, outputs = value["inputs"], value["outputs"]
    if len(inputs) != len(outputs):
        raise InputError(f"code tests: {len(inputs)} inputs but {len(outputs)} outputs")
    if value.get("fn_name"):
        cases = [
            CallCase(
                args=tuple(arguments),
                expected=_unwrapped(output),
            )
            for arguments, output in zip(inputs, outputs, strict=True)
        ]
        return CallTests(entry_point=str(value["fn_name"]), cases=tuple(cases))
    return StdioTests(
        cases=tuple(
            StdioCase(stdin=_text(given), stdout=_text(wanted))
            for given, wanted in zip(inputs, outputs, strict=True)
        )
    )


def _unwrapped(output: Any) -> Any:
    """APPS and TACO write a function's value as a list with one element."""
    return output[0] if isinstance(output, list) and len(output) == 1 else output


def _text(value: Any) -> str:
    return "\n".join(str(line) for line in value) if isinstance(value, list) else str(value)


def from_humaneval(row: Mapping[str, Any]) -> Problem:
    """A row of HumanEval: the prompt precedes the completion, `check(entry_point)` is the test."""
    entry_point = str(row["entry_point"])
    check = f"{row.get('tests') or row['test']}\ncheck({entry_point})"
    tests = AssertTests(prefix=row["prompt"], entry_point=entry_point, tests=(check,))
    return _problem(row, row.get("id") or row["task_id"], row["prompt"], tests)


def from_mbpp(row: Mapping[str, Any]) -> Problem:
    """A row of MBPP: a list of asserts, rarely with a set-up that uses the program's classes."""
    tests = AssertTests(
        tests=tuple(row.get("tests") or row["test_list"]),
        entry_point=row.get("entry_point"),
        setup=row.get("setup") or row.get("test_setup_code") or "",
    )
    return _problem(row, row.get("id") or f"mbpp/{row['task_id']}", row.get("prompt") or row["text"], tests)


def from_leetcode(row: Mapping[str, Any]) -> Problem:
    """A row of rllm's LeetCode set: a preamble of imports, `check(Solution().method)` is the test."""
    tests = AssertTests(
        prefix=row["preamble"], tests=(row["tests"],), entry_point=row.get("entry_point") or None
    )
    return _problem(row, row["id"], row["prompt"], tests)


def from_kattis(row: Mapping[str, Any]) -> Problem:
    """A row of a Kattis-style set: stdio cases, and validator flags (`float_absolute_tolerance 1e-6`)."""
    flags = str(row.get("checker") or "")
    absolute = re.search(r"float_(?:absolute_)?tolerance ([0-9.eE+-]+)", flags)
    relative = re.search(r"float_(?:relative_)?tolerance ([0-9.eE+-]+)", flags)
    tests = StdioTests(
        cases=tuple(StdioCase(stdin=case["stdin"], stdout=case["stdout"]) for case in row["cases"]),
        compare="tokens",
        ignore_case="case_sensitive" not in flags,
        tolerance=Tolerance(
            absolute=float(absolute[1]) if absolute else 0.0, relative=float(relative[1]) if relative else 0.0
        ),
    )
    return _problem(row, row["id"], row["prompt"], tests)


def _problem(row: Mapping[str, Any], identity: Any, prompt: str, tests: CodeTests) -> Problem:
    return Problem(
        id=str(identity),
        prompt=prompt,
        tests=tests.model_dump(mode="json"),
        verifier="code",
        source=str(row.get("source", "")),
    )
