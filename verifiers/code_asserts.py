"""Assert-style tests that only compare calls with literals: made in the program's process, judged here.

`assert f(1, [2]) == 3`, `assert f(x=1) is None`, `assert not f([])`, and HumanEval's `check(candidate)` made of
such lines, need no process for the tests; nor does LeetCode's `check(Solution().method)`. Values are compared as
Python compares them (`True == 1`, a list is no tuple), but no table is made of what a program sent: keys that
collide by design cost nothing.
"""

from __future__ import annotations

import ast
import builtins
import functools
import re
import sys
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

from sandbox.inside.codec import Opaque, RawDict, RawFrozenSet, RawSet
from sandbox.types import Call
from verifiers.code_tests import AssertTests

_NOT_THE_PROGRAMS = {*vars(builtins), *sys.stdlib_module_names}
_ENTRY_POINT = re.compile(r"[A-Za-z_]\w*(\(\))?(\.[A-Za-z_]\w*)?\Z")
_NUMBERS = (int, float, complex, Decimal, Fraction)


class LiteralAssert(NamedTuple):
    """One assert: the test it belongs to, the call, and what must hold for its value."""

    test: int
    call: Call
    relation: str
    expected: Any

    def holds(self, value: Any) -> bool:
        """Whether `value`, decoded with raw sets and dicts, makes the assert pass."""
        if self.relation == "==":
            return equal(value, self.expected)
        if self.relation == "is":
            return value is self.expected
        return bool(value) is self.expected


class _NotLiteralError(Exception):
    """A test that needs a process of its own."""


@functools.lru_cache(maxsize=256)
def literal_asserts(tests: AssertTests) -> tuple[str, list[LiteralAssert]] | None:
    """The entry point and the asserts in their order; None where a test is more than calls and literals."""
    if tests.setup:
        return None
    found: list[LiteralAssert] = []
    called: set[str] = set()
    entry_point = entry_point_of(tests)
    try:
        for index, source in enumerate(tests.tests):
            before = len(found)
            for name, check in _asserts(index, source):
                called.add(name)
                found.append(check)
            if len(found) == before:
                return None
        foreign = set() if called == {entry_point} else _defined(tests.prefix) | _NOT_THE_PROGRAMS
        # A helper of the tests is theirs, whatever the program has of that name.
        foreign |= {name for source in tests.tests for name in _functions(source)}
        bases = {re.split(r"[(.]", name)[0] for name in called}
    except (_NotLiteralError, SyntaxError, ValueError, RecursionError):
        return None
    if len(called) != 1 or bases & foreign or "*" in foreign:
        return None
    return called.pop(), found


def _asserts(index: int, source: str) -> Iterator[tuple[str, LiteralAssert]]:
    """The asserts of one test with the names that they call."""
    body = ast.parse(source).body
    checks = {node.name: node for node in body if isinstance(node, ast.FunctionDef)}
    for node in body:
        if isinstance(node, ast.Assert):
            yield from _assert(index, node, {})
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and len(checks) == 1:
            yield from _checked(index, node.value, *checks.values())
        elif isinstance(node, ast.Assign):
            _literal(node.value)
            if any(not isinstance(target, ast.Name) or target.id != "METADATA" for target in node.targets):
                raise _NotLiteralError
        elif not isinstance(node, ast.FunctionDef):
            raise _NotLiteralError


def _checked(index: int, call: ast.Call, check: ast.FunctionDef) -> Iterator[tuple[str, LiteralAssert]]:
    """`check(f)` for a function that consists of asserts about its one parameter."""
    arguments = check.args
    plain = len(arguments.args) == 1 and not (
        arguments.posonlyargs or arguments.kwonlyargs or arguments.vararg or arguments.kwarg
    )
    passed = call.args[0] if len(call.args) == 1 and not call.keywords else None
    if not (isinstance(call.func, ast.Name) and call.func.id == check.name and plain):
        raise _NotLiteralError
    entry_point = ast.unparse(passed) if passed is not None else ""
    if not _ENTRY_POINT.match(entry_point) or check.decorator_list:
        raise _NotLiteralError
    for node in check.body:
        if isinstance(node, ast.Assert):
            yield from _assert(index, node, {arguments.args[0].arg: entry_point})
        elif not (isinstance(node, ast.Pass) or _is_constant(node)):
            raise _NotLiteralError


def _functions(source: str) -> set[str]:
    return {node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}


def _is_constant(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _assert(index: int, node: ast.Assert, names: dict[str, str]) -> Iterator[tuple[str, LiteralAssert]]:
    test, relation, expected = node.test, "bool", True
    if isinstance(test, ast.Constant) and test.value:
        return
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        test, expected = test.operand, False
    elif isinstance(test, ast.Compare) and len(test.ops) == 1:
        right = test.comparators[0]
        if isinstance(test.ops[0], ast.Eq):
            call, other = (test.left, right) if isinstance(test.left, ast.Call) else (right, test.left)
            test, relation, expected = call, "==", _literal(other)
        elif isinstance(test.ops[0], ast.Is) and isinstance(right, ast.Constant):
            test, relation, expected = test.left, "is", _singleton(right.value)
    if not isinstance(test, ast.Call) or not isinstance(test.func, ast.Name):
        raise _NotLiteralError
    if any(keyword.arg is None for keyword in test.keywords):
        raise _NotLiteralError
    call_made = Call(
        args=tuple(map(_literal, test.args)),
        kwargs={str(keyword.arg): _literal(keyword.value) for keyword in test.keywords},
    )
    yield names.get(test.func.id, test.func.id), LiteralAssert(index, call_made, relation, expected)


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError):
        raise _NotLiteralError from None


def _singleton(value: object) -> Any:
    if value is None or value is True or value is False:
        return value
    raise _NotLiteralError


def _defined(source: str) -> set[str]:
    """Names that a source binds anywhere."""
    bound: set[str] = set()
    for node in ast.walk(ast.parse(complete(source))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            bound.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add(node.id)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.alias):
            bound.add((node.asname or node.name).split(".")[0])
    return bound


def complete(prefix: str) -> str:
    """A prefix as the tests can load it: with a body where it ends in a bare signature."""
    for candidate in (prefix, f"{prefix.rstrip()}\n    pass\n"):
        try:
            ast.parse(candidate)
        except SyntaxError:
            continue
        return candidate
    return ""


def entry_point_of(tests: AssertTests) -> str | None:
    """The name that the program must define, where it is declared or has the name of a built-in.

    In `assert sum(10, 15) == 6` nothing but `sum` can be meant, for otherwise the tests would test nothing of the
    program's.
    """
    if tests.entry_point is not None:
        return tests.entry_point
    try:
        trees = [ast.parse(source) for source in tests.tests]
        own = set().union(*map(_defined, (tests.prefix, tests.setup, *tests.tests)))
    except (SyntaxError, ValueError, RecursionError):
        return None
    loaded = {
        node.id
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    } - own
    if not loaded <= _NOT_THE_PROGRAMS:
        return None
    candidates = [_tested_names(tree) & loaded for tree in trees]
    common = set.intersection(*candidates) if candidates else set()
    return common.pop() if len(common) == 1 else None


def _tested_names(tree: ast.Module) -> set[str]:
    """Names whose call an assert is about, and those that are passed on to a function of the tests."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            test = node.test.operand if isinstance(node.test, ast.UnaryOp) else node.test
            call = test.left if isinstance(test, ast.Compare) else test
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name):
                names.add(call.func.id)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            names |= {argument.id for argument in node.value.args if isinstance(argument, ast.Name)}
    return names


def equal(value: Any, expected: Any) -> bool:
    """`value == expected` as Python has it, for a literal and a value that was decoded with raw sets and dicts."""
    try:
        return _equal(value, expected)
    except (ArithmeticError, TypeError, ValueError, RecursionError):
        # A signalling NaN, say: Python raises there, and the assert would fail.
        return False


def _equal(value: Any, expected: Any) -> bool:
    if isinstance(expected, _NUMBERS):
        return isinstance(value, _NUMBERS) and bool(value == expected)
    if isinstance(expected, (list, tuple)):
        if isinstance(value, (RawSet, RawDict)) or type(value) is not type(expected):
            return False
        return len(value) == len(expected) and all(map(_equal, value, expected))
    if isinstance(expected, dict):
        if type(value) is not RawDict or len(value) != len(expected):
            return False
        items = [(_hashable(key), item) for key, item in value]
        if not all(key in expected and _equal(item, expected[key]) for key, item in items):
            return False
        return len({key for key, _ in items}) == len(expected)
    if isinstance(expected, set):
        if not isinstance(value, RawSet) or len(value) != len(expected):
            return False
        members = [_hashable(item) for item in value]
        # Only members of `expected` get into the new set, so no more of them collide than do there.
        return all(item in expected for item in members) and len(set(members)) == len(expected)
    return type(value) is type(expected) and bool(value == expected)


def _hashable(value: Any) -> Any:
    """`value` as a key to look up; something that equals nothing where it can't be one of a literal."""
    if isinstance(value, tuple):
        return tuple(map(_hashable, value))
    if isinstance(value, (RawSet, RawFrozenSet, RawDict, Opaque, list)):
        return object()
    return value
