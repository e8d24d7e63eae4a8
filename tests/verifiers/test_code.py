"""The code verifier: right programs pass, wrong ones fail, and the data sets' own references agree."""

from __future__ import annotations

import asyncio
import json
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from sandbox.types import Limits
from tests.shared_data import shared_rows
from verifiers import InputError, Problem, Verdict
from verifiers.code import CodeVerifier, tried
from verifiers.code_convert import from_humaneval, from_kattis, from_leetcode, from_mbpp


@pytest.fixture(scope="module")
def verifier() -> Iterator[CodeVerifier]:
    made = CodeVerifier(workers=2, limits=Limits(cpu=5, wall=30))
    try:
        assert made.sandbox.tier
    except InputError as error:
        pytest.skip(str(error))
    yield made
    made.close()


def problem(tests: Any) -> Problem:
    return Problem(id="p", tests=tests, verifier="code")


CALLS = {
    "kind": "calls",
    "entry_point": "f",
    "cases": [
        {"args": [[3, 1, 2]], "expected": [1, 2, 3]},
        {"args": [[]], "expected": []},
        {"kwargs": {"x": "ba"}, "expected": ["a", "b"]},
    ],
}


def test_calls(verifier: CodeVerifier) -> None:
    right = verifier.verify("Sure:\n```python\ndef f(x):\n    return sorted(x)\n```\nDone.", problem(CALLS))
    assert (right.reward, right.status, right.method) == (1.0, "correct", "calls")
    wrong = verifier.verify("```python\ndef f(x):\n    return list(x)\n```", problem(CALLS))
    assert (wrong.reward, wrong.status) == (-1.0, "incorrect")
    assert "returned [3, 1, 2] instead of [1, 2, 3]" in wrong.detail


def test_share_of_passed_tests() -> None:
    share = CodeVerifier(reward="share", workers=1)
    try:
        verdict = share.verify("```python\ndef f(x):\n    return list(x)\n```", problem(CALLS))
    finally:
        share.close()
    assert verdict.reward == pytest.approx(2 * 1 / 3 - 1)
    assert verdict.status == "incorrect"


@pytest.mark.parametrize(
    ("case", "right", "wrong"),
    [
        ({"expected": 1}, "return 1", "return True"),
        ({"expected": True}, "return True", "return 1"),
        ({"expected": 2}, "return 2.0", "return 2.0000001"),
        ({"expected": "2"}, "return '2'", "return 2"),
        ({"expected": [1, 2]}, "return (1, 2)", "return {1, 2}"),
        ({"expected": {"a": [1]}}, "return {'a': [1]}", "return {'a': [1], 'b': 0}"),
        ({"expected": {"1": 2}}, "return {1: 2}", "return {1: 2, '1': 2}"),
        ({"expected": None}, "pass", "return 0"),
        ({"raises": "ValueError"}, "int('x')", "return ValueError('x')"),
        ({"raises": "LookupError"}, "{}[1]", "raise OSError"),
    ],
)
def test_values_are_compared_by_type_and_content(
    verifier: CodeVerifier, case: dict[str, Any], right: str, wrong: str
) -> None:
    tests = {"kind": "calls", "entry_point": "f", "cases": [case]}
    assert verifier.verify(f"```python\ndef f():\n    {right}\n```", problem(tests)).correct
    assert not verifier.verify(f"```python\ndef f():\n    {wrong}\n```", problem(tests)).correct


def test_arguments_changed_in_place(verifier: CodeVerifier) -> None:
    tests = {"kind": "calls", "entry_point": "f", "cases": [{"args": [[2, 1]], "after": [[1, 2]]}]}
    assert verifier.verify("```\ndef f(x): x.sort()\n```", problem(tests)).correct
    assert not verifier.verify("```\ndef f(x): return sorted(x)\n```", problem(tests)).correct


@pytest.mark.parametrize(
    ("printed", "options", "passes"),
    [
        ("1 2\\n3", {}, True),
        ("1 2  \\n3\\n\\n", {}, True),
        ("1 2 3", {}, False),
        ("1 2 3", {"compare": "tokens"}, True),
        ("1 2", {}, False),
        ("1 2\\n3\\n4", {}, False),
        ("1 2\\n3.0", {}, False),
        ("1 2\\n３", {}, False),
        ("1 2\\n0_3", {"tolerance": {"absolute": 0.1}}, False),
        ("1 2\\n3.0000001", {"tolerance": {"absolute": 1e-6}}, True),
        ("1 2\\n3.1", {"tolerance": {"absolute": 1e-6}}, False),
        ("1 2\\nnan", {"tolerance": {"absolute": 1e9}}, False),
    ],
)
def test_output_is_compared_by_tokens(
    verifier: CodeVerifier, printed: str, options: dict[str, Any], passes: bool
) -> None:
    tests = {"kind": "stdio", "cases": [{"stdin": "", "stdout": "1 2\n3\n"}], **options}
    assert verifier.verify(f"```python\nprint('{printed}')\n```", problem(tests)).correct is passes


UNITTEST = """
import unittest

class TestStack(unittest.TestCase):
    def setUp(self):
        self.stack = Stack()

    def test_last_in_first_out(self):
        self.stack.push(1)
        self.stack.push(2)
        self.assertEqual(self.stack.pop(), 2)
        self.assertEqual(len(self.stack), 1)

    def test_empty(self):
        with self.assertRaises(IndexError):
            self.stack.pop()
"""
STACK = "class Stack:\n    def __init__(self): self.items = []\n    def push(self, x): self.items.append(x)\n"
STACK += "    def pop(self): return self.items.pop()\n    def __len__(self): return len(self.items)\n"


def test_unittest_classes_against_a_stand_in(verifier: CodeVerifier) -> None:
    tests = {"kind": "unittest", "source": UNITTEST}
    assert verifier.verify(f"```python\n{STACK}```", problem(tests)).correct
    broken = verifier.verify(f"```python\n{STACK.replace('.pop()', '.pop(0)')}```", problem(tests))
    assert not broken.correct
    assert "assertEqual" in broken.detail


def test_exceptions_of_the_programs_own_making(verifier: CodeVerifier) -> None:
    source = (
        "import unittest\nclass T(unittest.TestCase):\n    def test_it(self):\n"
        "        with self.assertRaises(Empty):\n            pop([])\n"
        "        with self.assertRaises(LookupError):\n            pop([])\n"
    )
    tests = {"kind": "unittest", "source": source}
    right = "class Empty(LookupError): pass\nclass Sub(Empty): pass\ndef pop(x): raise Sub('nothing')"
    assert verifier.verify(f"```python\n{right}\n```", problem(tests)).correct
    for wrong in (
        right.replace("raise Sub", "raise LookupError"),
        "Empty = Exception\ndef pop(x): return 1",
        "x = (",
    ):
        verdict = verifier.verify(f"```python\n{wrong}\n```", problem(tests))
        assert verdict.status == "incorrect", verdict


def test_many_verdicts_from_an_event_loop(verifier: CodeVerifier) -> None:
    async def judge() -> list[Verdict]:
        responses = ["```python\ndef f(x): return sorted(x)\n```", "```python\ndef f(x): return x\n```"] * 4
        return await asyncio.gather(*(verifier.verify_async(each, problem(CALLS)) for each in responses))

    assert [verdict.correct for verdict in asyncio.run(judge())] == [True, False] * 4


def test_a_checker_accepts_any_right_answer(verifier: CodeVerifier) -> None:
    checker = "def check(stdin, stdout, expected):\n    a, b = map(int, stdout.split())\n"
    checker += "    return a + b == int(stdin)"
    tests = {"kind": "checker", "cases": [{"stdin": "7\n"}, {"stdin": "9\n"}], "checker": checker}
    assert verifier.verify("```python\nprint(3, int(input()) - 3)\n```", problem(tests)).correct
    assert not verifier.verify("```python\nprint(3, 4)\n```", problem(tests)).correct


def test_a_completion_continues_the_prefix(verifier: CodeVerifier) -> None:
    tests = {
        "kind": "asserts",
        "prefix": "def f(x):\n    '''Twice.'''\n",
        "entry_point": "f",
        "tests": ["assert f(2) == 4"],
    }
    for response in (
        "    return 2 * x\n",
        "```python\ndef f(x):\n    return 2 * x\n```",
        "def f(x): return x + x",
    ):
        assert verifier.verify(response, problem(tests)).correct, response


def test_no_program_is_no_answer(verifier: CodeVerifier) -> None:
    verdict = verifier.verify("I can not help with this.", problem(CALLS))
    assert (verdict.status, verdict.reward) == ("no_answer", -1.0)


@pytest.mark.parametrize(
    "tests", [None, "", [], {}, {"kind": "?"}, {"inputs": [1], "outputs": []}, [1], {"tests": [1]}]
)
def test_unreadable_tests_are_an_input_error(verifier: CodeVerifier, tests: Any) -> None:
    with pytest.raises(InputError, match="code"):
        verifier.verify("```python\npass\n```", problem(tests))


@pytest.mark.parametrize(
    "tests",
    [
        {"inputs": [[[3, 1]]], "outputs": [[[1, 3]]], "fn_name": "f"},
        json.dumps({"inputs": [[[3, 1]]], "outputs": [[1, 3]], "fn_name": "f"}),
        [{"input": "[3, 1]", "output": "[1, 3]", "testtype": "functional", "fn_name": "f"}],
        {"entry_point": "f", "tests": [{"args": [[3, 1]], "expected": [1, 3]}]},
        ["assert f([3, 1]) == [1, 3]", "assert f([]) == []"],
        "def check(candidate):\n    assert candidate([3, 1]) == [1, 3]\ncheck(f)",
    ],
)
def test_published_shapes_of_tests(verifier: CodeVerifier, tests: Any) -> None:
    assert verifier.verify("```python\ndef f(x): return sorted(x)\n```", problem(tests)).correct
    assert not verifier.verify("```python\ndef f(x): return x\n```", problem(tests)).correct


def test_a_set_up_that_fails_by_itself_is_the_problems_fault(verifier: CodeVerifier) -> None:
    tests = {"kind": "asserts", "prefix": "import no_such_module\n", "tests": ["assert f(1) == 1"]}
    with pytest.raises(InputError, match="set-up"):
        verifier.verify("```python\ndef f(x): return x\n```", problem(tests))


def test_a_prefix_may_end_in_a_bare_signature(verifier: CodeVerifier) -> None:
    tests = {"kind": "asserts", "prefix": "def f(x):\n", "entry_point": "f", "tests": ["assert f(1) == 2"]}
    assert verifier.verify("    return x + 1\n", problem(tests)).correct


def test_a_sandbox_that_fails_is_an_error_and_no_verdict() -> None:
    closed = CodeVerifier(workers=1)
    closed.sandbox.close()
    verdict = closed.verify("```python\ndef f(x): return sorted(x)\n```", problem(CALLS))
    assert (verdict.status, verdict.method) == ("error", "sandbox")
    assert verdict.failed


def test_what_a_program_tried_is_in_its_verdict(verifier: CodeVerifier) -> None:
    source = "import os\ndef f(x):\n    try: os.fork()\n    except OSError: pass\n"
    source += "    try: open('/etc/shadow')\n    except OSError: os._exit(0)\n"
    counts = tried(verifier.verify(f"```python\n{source}```", problem(CALLS)))
    assert counts == {"denied:clone": 1, "fork": 1, "odd_path": 1, "early_exit": 1}
    assert not tried(verifier.verify("```python\ndef f(x): return sorted(x)\n```", problem(CALLS)))


def test_the_verifier_travels_to_worker_processes(verifier: CodeVerifier) -> None:
    copy = pickle.loads(pickle.dumps(verifier))
    assert copy.verify("```python\ndef f(x): return sorted(x)\n```", problem(CALLS)).correct
    copy.close()


DATA_SETS = [
    ("humaneval", from_humaneval, 2),
    ("mbpp", from_mbpp, 8),
    ("leetcode_rllm", from_leetcode, 8),
    ("kodsport_stdio", from_kattis, 8),
]


def failures(
    verifier: CodeVerifier, rows: list[dict[str, Any]], convert: Callable[..., Problem]
) -> list[Any]:
    def verdict(row: dict[str, Any]) -> Verdict:
        return verifier.verify(f"```python\n{row['reference_solution']}\n```", convert(row))

    with ThreadPoolExecutor(2) as threads:
        judged = list(threads.map(verdict, rows))
    return [(row["id"], v.detail) for row, v in zip(rows, judged, strict=True) if not v.correct]


@pytest.mark.parametrize(("name", "convert", "step"), DATA_SETS)
def test_a_sample_of_the_reference_solutions_passes(
    verifier: CodeVerifier, name: str, convert: Callable[..., Problem], step: int
) -> None:
    assert not failures(verifier, shared_rows(f"code/{name}.jsonl.gz")[::step], convert)


def test_cases_of_one_verdict_are_judged_as_runs_of_their_own(verifier: CodeVerifier) -> None:
    """Right and spoiled solutions of real stdio problems, with the share of tests that they pass."""
    share = CodeVerifier(reward="share", sandbox=verifier.sandbox)
    for row in shared_rows("code/kodsport_stdio.jsonl.gz")[::6]:
        whole = from_kattis(row)
        assert isinstance(whole.tests, dict)
        for spoil in (
            "",
            "import sys; sys.stdout.write(str(len(sys.argv)))\n",
            "\nif not input(): print(0)\n",
        ):
            for code in (spoil + row["reference_solution"], row["reference_solution"] + spoil):
                together = share.verify(f"```python\n{code}\n```", whole)
                cases = whole.tests.get("cases") or whole.tests["tests"]
                assert isinstance(cases, list)
                alone = [
                    verifier.verify(f"```python\n{code}\n```", problem({"kind": "stdio", "cases": [case]}))
                    for case in cases
                ]
                passed = sum(verdict.correct for verdict in alone)
                assert together.detail.startswith(f"{passed}/{len(alone)} tests passed"), together


@pytest.mark.slow
@pytest.mark.parametrize(("name", "convert", "step"), DATA_SETS)
def test_every_reference_solution_passes(
    verifier: CodeVerifier, name: str, convert: Callable[..., Problem], step: int
) -> None:
    assert not failures(verifier, shared_rows(f"code/{name}.jsonl.gz"), convert)
