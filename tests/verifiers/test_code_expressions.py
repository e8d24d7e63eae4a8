"""Expressions that are evaluated outside of a sandbox say what Python would say, or nothing, and soon."""

from __future__ import annotations

import ast
import math
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.inside import codec
from tests.verifiers.test_code_asserts import judged
from verifiers.code import CodeVerifier
from verifiers.code_expressions import Condition, NotPlainError, constant

NAMES: dict[str, Any] = {"math": math}
BINARY = "+ - * / // % ** << >> & | ^ == != < <= > >= in and or"
UNARY = (
    "abs all any bin bool complex dict enumerate float hex int len list max min reversed round set sorted str "
    "sum tuple zip math.floor math.sqrt range not - ~"
)
METHODS = "upper split join count index get strip"


def parsed(source: str) -> ast.expr:
    return ast.parse(source, mode="eval").body


def condition(source: str) -> Condition:
    test = parsed(source)
    (call,) = [
        node
        for node in ast.walk(test)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "f"
    ]
    return Condition(test, call)


def sent(value: object) -> Any:
    return codec.decode(codec.encode(value), hashed=False)


numbers = st.integers(-9, 99).map(str) | st.sampled_from(["0.5", "1e300", "2j", "True", "None", "math.pi"])
texts = st.sampled_from(["'a'", "'Ab c'", "''", "b'x'"])


def larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    binary, unary, method = (st.sampled_from(words.split()) for words in (BINARY, UNARY, METHODS))
    return (
        st.tuples(inner, binary, inner).map(lambda parts: f"({parts[0]} {parts[1]} {parts[2]})")
        | st.tuples(unary, inner).map(lambda parts: f"({parts[0]}({parts[1]}))")
        | st.tuples(inner, method, inner).map(lambda parts: f"({parts[0]}).{parts[1]}({parts[2]})")
        | st.tuples(inner, inner).map(lambda parts: f"({parts[0]})[{parts[1]}]")
        | st.tuples(inner, inner).map(lambda parts: f"[(x, {parts[0]}) for x in {parts[1]} if x]")
        | st.tuples(inner, inner, inner).map(lambda parts: f"({parts[0]} if {parts[1]} else {parts[2]})")
        | st.lists(inner, max_size=3).map(lambda parts: f"[{', '.join(parts)}]")
        | st.lists(inner, min_size=1, max_size=3).map(lambda parts: f"{{{', '.join(parts)}}}")
        | st.lists(inner, max_size=2).map(lambda parts: f"({''.join(part + ', ' for part in parts)})")
        | st.tuples(inner, inner).map(lambda parts: f"{{{parts[0]}: {parts[1]}}}")
    )


expressions = st.recursive(numbers | texts, larger, max_leaves=5)


def exact(value: Any) -> str:
    """The text of a value that shows its types; sets in one order."""
    if isinstance(value, (list, tuple, dict)):
        parts = value.items() if isinstance(value, dict) else value
        return f"{type(value).__name__}[{', '.join(map(exact, parts))}]"
    return f"set{sorted(map(exact, value))}" if isinstance(value, set) else repr(value)


@pytest.mark.filterwarnings("ignore::SyntaxWarning")
@given(expressions)
def test_a_value_is_pythons_wherever_there_is_one(source: str) -> None:
    try:
        value = constant(parsed(source))
    except NotPlainError:
        return
    assert exact(value) == exact(eval(source, dict(NAMES)))


@pytest.mark.filterwarnings("ignore::SyntaxWarning")
@given(
    expressions,
    st.sampled_from(["f() {} {}", "{1} {0} f()", "sorted(f()) {} {}", "abs(f() - 1) {} {}"]),
    st.sampled_from(["==", "!=", "<", ">=", "in"]),
    st.sampled_from([0, 1.5, "a", [1, 2], (2, 1), {1, 2}, {1: 2}]),
)
def test_a_condition_holds_where_python_says_so(source: str, shape: str, sign: str, value: object) -> None:
    test = shape.format(sign, source)
    try:
        holds = condition(test).holds(sent(value))
    except NotPlainError:
        return
    try:
        expected = bool(eval(test, {**NAMES, "f": lambda: value}))
    except Exception:
        expected = False
    assert holds == expected


KNOWN: list[tuple[str, Any]] = [
    ("sorted([1, 3, 2], reverse=True)", [3, 2, 1]), ("2.0 / 3", 2 / 3), ("'ab' * 2 + 'c'", "ababc"),
    ("[n * n for n in range(4) if n % 2]", [1, 9]), ("{k: v for k, v in zip('ab', [1, 2])}", {"a": 1, "b": 2}),
    ("sum(range(5))", 10), ("len({1, 1, 2})", 2), ("sorted({3, 1})", [1, 3]), ("set([1, 1])", {1}),
    ("' '.join(['a', 'b']).upper()", "A B"), ("math.sqrt(16)", 4.0), ("[1, 2, 3][::-1]", [3, 2, 1]),
    ("1 < 2 < 3", True), ("max([1, 4], [1, 3])", [1, 4]), ("dict(enumerate('a', 1))", {1: "a"}),
    ("[list(reversed(p)) for p in [(1, 2)]]", [[2, 1]]), ("round(2.567, 2)", 2.57),
    ("isinstance(1, (str, int))", True),
    ("[(a, b) for a in 'ab' for b in range(2) if b]", [("a", 1), ("b", 1)]), ("(1, 2) in zip([1], [2])", True),
]  # fmt: skip


@pytest.mark.parametrize(("source", "value"), KNOWN)
def test_what_tests_say_is_known(source: str, value: object) -> None:
    assert exact(constant(parsed(source))) == exact(value)


@pytest.mark.parametrize(
    "source",
    [
        "list({1, 2})", "[x for x in {1, 2}]", "str([{1}])", "sum([0.1] * 3)", "str({'a'})", "zip([1])",
        "range(3)", "open('x')", "__import__('os')", "().__class__", "'{0.real}'.format(1)", "f'{1}'", "'%9d' % 1",
        "lambda: 1", "g", "max([1], key=abs)", "[*[1]]", "{**{}}", "(x := 1)", "int", "1 / 0", "[][0]",
        "math.inf.hex()", "math.factorial(3)", "'a'.zfill(9)", "sorted({1, 'a'})",
        "...", "min({1, 2})", "[len for len in [1]]",
    ],
)  # fmt: skip
def test_everything_else_is_left_to_the_tests_own_process(source: str) -> None:
    with pytest.raises(NotPlainError):
        constant(parsed(source))


BOMBS = [
    "10 ** 10 ** 10", "1 << 10 ** 10", "'a' * 10 ** 9", "10 ** 9 * [0]", "[[0] * 1000] * 1000", "range(10 ** 12)",
    "[[[[[[0] * 50] * 50] * 50] * 50] * 50] == 1", "[x for x in range(99999) for y in range(99999)]",
    "round(1, -10 ** 9)", "('a' * 999).replace('', 'b' * 999)", "('a' * 9999).join('b' * 999)",
    "int('9' * 99999)", "set([n * (2 ** 61 - 1) for n in range(9999)])", "-" * 5000 + "1",
    "{n * (2 ** 61 - 1): 0 for n in range(9999)}", "9 ** 999 ** 2", "list(range(99999)) * 99",
    "[0 for a in range(999) if [b for b in range(999)] == [c for c in range(999)]]",
    "sum([2 ** 9999] * 9999) ** 9",
]  # fmt: skip


@pytest.mark.parametrize("source", BOMBS)
def test_no_expression_takes_long(source: str) -> None:
    try:
        tree = parsed(source)
    except (RecursionError, MemoryError):
        return
    started = time.process_time()
    with pytest.raises(NotPlainError):
        constant(tree)
    assert time.process_time() - started < 2


def test_keys_that_collide_take_no_time() -> None:
    colliding = sent([n * ((1 << 61) - 1) for n in range(20_000)])
    started = time.process_time()
    with pytest.raises(NotPlainError):
        condition("len(set(f(1))) == 1").holds(colliding)
    assert time.process_time() - started < 2


@pytest.mark.parametrize("test", ["len(f()) == 1", "f() + 1 == 2", "abs(f()) < 1"])
@pytest.mark.parametrize("value", [object(), [object()], frozenset((1,)), range(3)])
def test_what_is_more_than_data_is_left_to_the_tests_own_process(test: str, value: object) -> None:
    with pytest.raises(NotPlainError):
        condition(test).holds(sent(value))


@pytest.fixture(scope="module")
def verifier() -> Iterator[CodeVerifier]:
    made = CodeVerifier(workers=1, reward="share")
    yield made
    made.close()


PROGRAMS = [
    ("def f(x): return [x / 2]", 1.0),
    ("def f(x): return (x / 2,)", 1.0),
    ("def f(x):\n    yield x / 2", 0.0),
    ("class Near(float):\n    def __sub__(self, other): return 0.0\ndef f(x): return [Near(7)]", -1.0),
    ("class Near:\n    def __getitem__(self, at): return self\n    def __sub__(self, other): return 0.0\n"
     "    def __abs__(self): return 0.0\ndef f(x): return Near()", -1.0),
    ("def f(x): return None", -1.0),
    ("def f(x): return [x / 2] if x < 5 else exit()", 0.0),
]  # fmt: skip


@pytest.mark.parametrize(("source", "reward"), PROGRAMS)
@pytest.mark.parametrize("own_process", [False, True])
def test_both_ways_to_judge_expressions_agree(
    verifier: CodeVerifier, source: str, reward: float, own_process: bool
) -> None:
    tests = ["assert abs(f(1)[0] - 1.0 / 2) < 1e-6", "assert tuple(f(2 * 3)) == tuple([3.0])"]
    verdict = judged(verifier, source, tests, own_process)
    assert verdict.reward == reward, verdict
