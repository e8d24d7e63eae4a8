"""Asserts that are judged without a process of their own say what Python would say."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.inside import codec
from verifiers import Problem, Verdict
from verifiers.code import CodeVerifier
from verifiers.code_asserts import complete, entry_point_of, equal, plain_asserts
from verifiers.code_tests import AssertTests

leaves = (
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([0.0, -0.0, 1.0, 1.5, 1e300, float("inf")])
    | st.sampled_from(["", "a", "1", "\ud800"]) | st.sampled_from([b"", b"a"]) | st.sampled_from([1j, 1 + 0j])
)  # fmt: skip
keys = leaves | st.tuples(leaves, leaves)
plain = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.sets(keys, max_size=3)
        | st.dictionaries(keys, inner, max_size=3)
    ),
    max_leaves=6,
)


def sent(value: object) -> Any:
    """`value` as it arrives from a program."""
    return codec.decode(codec.encode(value), hashed=False)


@given(plain, plain)
def test_equality_of_what_was_sent_is_pythons(mine: object, theirs: object) -> None:
    assert equal(sent(mine), theirs) == (mine == theirs)
    assert equal(sent(theirs), theirs)


@pytest.mark.parametrize(
    "line",
    [
        b'{"d":[[1,2],[1,2]]}', b'{"s":[1,1]}',
        b'{"z":[{"z":[1]}]}', b'{"o":["int",0]}', b'{"D":"sNaN"}', b'{"T":"int"}',
        b'{"d":[[{"d":[]},1]]}', b'{"q":[1]}', b'{"D":"1E+999999999"}',
    ],
)  # fmt: skip
def test_a_value_that_no_program_could_hold_equals_nothing(line: bytes) -> None:
    value = codec.decode(line, hashed=False)
    assert not any(
        equal(value, other) for other in (1, "1", [1], (1,), {1}, {1: 2}, {1: 2, 3: 4}, {1, 2}, None)
    )


def test_keys_that_collide_are_looked_up_and_never_stored() -> None:
    modulus = (1 << 61) - 1
    colliding = sent({n * modulus: n for n in range(1, 30_000)})
    assert not equal(colliding, {n: n for n in range(1, 30_000)})


PLAIN = [
    ("assert f(1) == 2", [("==", 2)]),
    ("assert 2 == f(1), 'so'", [("==", 2)]),
    ("assert f(-1, x={1: {2}}) is None\nassert not f()", [("is", None), ("bool", False)]),
    (
        "METADATA = {'a': 1}\ndef check(c):\n    'doc'\n    assert c(1)\n    assert True\ncheck(f)",
        [("bool", True)],
    ),
    ("assert f(3 * 19, [0] * 2) == sorted([2, 1])", [("==", [1, 2])]),
    ("import math\nassert f(1) == math.floor(2.5)", [("==", 2)]),
    (
        "def check(c):\n    import math\n    assert c(2) == {n: n ** 2 for n in range(2)}\ncheck(f)",
        [("==", {0: 0, 1: 1})],
    ),
]
NOT_PLAIN = [
    "assert f(1) == g(2)", "assert f(f(1)) == 1", "x = 1\nassert f(x) == 1",
    "assert f(*[1]) == 2", "assert f(1) is 2", "for i in range(3): assert f(i) == i",
    "import random\nassert f(1) == 2", "from x import math\nassert f(1) == math.floor(2.5)",
    "import os as math\nassert f(1) == 2", "def check(c):\n    assert c(1) == 1", "assert True",
    "def check(c):\n    assert c(1) == 1\ncheck(f(1))", "def check(c):\n    assert c(1) == 1\ncheck(a.b.c)",
    "def check(c):\n    x = 1\n    assert c(1) == x\ncheck(f)", "assert f(1) == 1\nassert g(1) == 1",
    "assert f(1) == 2 == 2", "assert f.g(1) == 2", "assert f(1) == list({1, 2})", "assert f(1) == 10 ** 10 ** 10",
    "assert 2 > 1 or f(1)", "assert [f(n) for n in (1, 2)]", "assert f(1).real == 1",
    "assert sorted(f(1), key=len)",
    "def sorted(x): return 0\ndef check(c):\n    assert c(1) == sorted([1])\ncheck(f)",
    "def check(len):\n    assert len(1) == len([1])\ncheck(f)", "assert f(1) == int", "assert f(1) == 1 / 0",
]  # fmt: skip


@pytest.mark.parametrize(("source", "relations"), PLAIN)
def test_calls_against_plain_values_are_read(source: str, relations: list[tuple[str, Any]]) -> None:
    found = plain_asserts(AssertTests(tests=(source,)))
    assert found is not None
    assert found[0] == "f"
    assert [(each.relation, each.expected) for each in found[1]] == relations


@pytest.mark.parametrize("source", NOT_PLAIN)
def test_whatever_is_more_than_that_is_left_to_the_tests_own_process(source: str) -> None:
    ast.parse(source)
    assert plain_asserts(AssertTests(tests=(source,))) is None


def test_a_method_is_bound_once_for_all_asserts(verifier: CodeVerifier) -> None:
    """As in the tests themselves: what a call leaves in the instance is there for the next."""
    check = "def check(c):\n    assert c(n=1) == 1\n    assert c(n=1) == 2\ncheck(Solution().f)"
    tests = AssertTests(tests=(check,), prefix="from math import *\n", entry_point="Solution().f")
    assert plain_asserts(tests) is not None
    assert plain_asserts(tests.model_copy(update={"entry_point": None})) is None
    source = "class Solution:\n    k = 0\n    def f(self, n):\n        self.k += n\n        return self.k\n"
    problem = Problem(id="p", tests=tests.model_dump(mode="json"))
    assert verifier.verify(f"```python\n{source}```", problem).correct
    assert not verifier.verify(
        f"```python\n{source.replace('return self.k', 'return n')}```", problem
    ).correct


def test_names_of_the_tests_own_are_no_entry_points() -> None:
    assert plain_asserts(AssertTests(tests=("assert f(1) == 2",), prefix="def f(x): return 2")) is None
    assert plain_asserts(AssertTests(tests=("assert f(1) == 2",), setup="f = int")) is None
    prefixed = AssertTests(tests=("assert f(1) == 2",), prefix="def f(x):\n", entry_point="f")
    assert plain_asserts(prefixed) is not None


@pytest.mark.parametrize(
    ("tests", "name"),
    [
        (("assert sum(10, 15) == 6", "assert sum(4, 6) == 3"), "sum"),
        (("def check(candidate):\n    assert candidate(1) == 1\ncheck(max)",), "max"),
        (("def check(f):\n    for i in range(3):\n        assert f(i) == abs(i)\ncheck(sorted)",), "sorted"),
        (("assert not filter([])",), "filter"),
        (("assert f(1) == sum([1])",), None),
        (("assert sum([1]) == 1", "assert max([1]) == 1"), None),
        (("import math\nassert math.isclose(f(1), 1)",), None),
    ],
)
def test_an_entry_point_with_the_name_of_a_builtin_is_the_programs(
    tests: tuple[str, ...], name: str | None
) -> None:
    assert entry_point_of(AssertTests(tests=tests)) == name


@pytest.fixture(scope="module")
def verifier() -> Iterator[CodeVerifier]:
    made = CodeVerifier(workers=1, reward="share")
    yield made
    made.close()


PROGRAMS = [
    ("def f(x): return [x, x]", 1.0),
    ("def f(x): return (x, x)", -1.0),
    ("def f(x): return [x, x] if x < 2 else 1 / 0", 0.0),
    ("def f(x): return [x, x + (x == 2)]", 0.0),
    ("class A(list):\n    def __eq__(self, other): return True\ndef f(x): return A([x])", -1.0),
    ("import os\ndef f(x):\n    if x == 2: os._exit(0)\n    return [x, x]", 0.0),
    ("f = 3", -1.0),
    ("def g(x): return [x, x]", -1.0),
    ("def f(x): return [True, 1.0] if x == 1 else [2, 2]", 1.0),
]


def judged(verifier: CodeVerifier, source: str, tests: list[str], own_process: bool) -> Verdict:
    """The verdict on a program by tests that need no process of their own, with or without one."""
    if own_process:
        tests = [f"assert True if f else None\n{test}" for test in tests]
    assert (plain_asserts(AssertTests(tests=tuple(tests))) is None) == own_process
    return verifier.verify(f"```python\n{source}\n```", Problem(id="p", tests=tests))


@pytest.mark.parametrize(("source", "reward"), PROGRAMS)
@pytest.mark.parametrize("own_process", [False, True])
def test_both_ways_to_judge_asserts_agree(
    verifier: CodeVerifier, source: str, reward: float, own_process: bool
) -> None:
    verdict = judged(verifier, source, ["assert f(1) == [1, 1]", "assert f(2) == [2, 2]"], own_process)
    assert verdict.reward == reward, verdict


@pytest.mark.parametrize("test", ["assert sum(2, 3) == 6", "assert sum(2, 3) == int('6')"])
def test_a_program_may_redefine_a_builtin_that_is_asked_for(verifier: CodeVerifier, test: str) -> None:
    problem = Problem(id="p", tests=[test])
    assert verifier.verify("```python\ndef sum(a, b): return a * b\n```", problem).correct
    assert not verifier.verify("```python\ndef sum(a, b): return a + b\n```", problem).correct


def test_a_prefix_that_is_no_python_is_left_out() -> None:
    tests = AssertTests(tests=("assert f(1) == 2",), prefix="\0", entry_point="f")
    assert plain_asserts(tests) is not None
    assert complete(tests.prefix) == ""
