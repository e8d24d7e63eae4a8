"""Assert-style tests about plain data: their calls are made in the program's process, and judged here.

`assert f(1, [2]) == 3`, `assert f(x=1) is None`, `assert not f([])`, and HumanEval's `check(candidate)` made of
such lines, need no process for the tests; nor does LeetCode's `check(Solution().method)`. Values are compared as
Python compares them (`True == 1`, a list is no tuple), but no table is made of what a program sent: keys that
collide by design cost nothing. Arguments and expected values may be expressions (`3 * 19`, `sorted([2, 1])`), and
so may what is asked of the one call that an assert makes (`abs(f(1) - 0.5) < 1e-6`): `code_expressions`.
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
from sandbox.syntax import parse
from sandbox.types import Call
from verifiers.code_expressions import NAMES, Condition, NotPlainError, constant
from verifiers.code_tests import AssertTests

_BUILTINS = vars(builtins).keys()
_NOT_THE_PROGRAMS = {*_BUILTINS, *sys.stdlib_module_names}
_ENTRY_POINT = re.compile(r"[A-Za-z_]\w*(\(\))?(\.[A-Za-z_]\w*)?\Z")
_NUMBERS = (int, float, complex, Decimal, Fraction)


class PlainAssert(NamedTuple):
    """One assert: the test it belongs to, the call, and what must hold for its value."""

    test: int
    call: Call
    relation: str
    expected: Any

    def holds(self, value: Any) -> bool:
        """Whether `value`, decoded with raw sets and dicts, makes the assert pass.

        NotPlainError where only the tests' own process can tell.
        """
        if isinstance(self.expected, Condition):
            return self.expected.holds(value)
        if self.relation == "==":
            return equal(value, self.expected)
        if self.relation == "is":
            return value is self.expected
        return bool(value) is self.expected


@functools.lru_cache(maxsize=256)
def plain_asserts(tests: AssertTests) -> tuple[str, list[PlainAssert]] | None:
    """The entry point and the asserts in their order; None where a test needs a process of its own."""
    if tests.setup:
        return None
    found: list[PlainAssert] = []
    called: set[str] = set()
    try:
        trees, prefix = list(map(parse, tests.tests)), _completed(tests.prefix)[1]
        theirs, *names = map(_names, (prefix, *trees))
        own = theirs.bound.union(*(each.bound for each in names))
        entry_point = tests.entry_point or _sole_builtin(trees, names, own)
        read = _Reader(own, entry_point)
        for index, tree in enumerate(trees):
            before = len(found)
            for name, check in read.asserts(index, tree):
                called.add(name)
                found.append(check)
            if len(found) == before:
                return None
        foreign = set() if called == {entry_point} else theirs.bound | _NOT_THE_PROGRAMS
        # A helper of the tests is theirs, whatever the program has of that name.
        foreign |= {node.name for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef)}
        bases = {re.split(r"[(.]", name)[0] for name in called}
    except (NotPlainError, SyntaxError, ValueError, RecursionError):
        return None
    if len(called) != 1 or bases & foreign or "*" in foreign:
        return None
    return called.pop(), found


class _Reader:
    """Finds the asserts of tests, and what they say of one call each."""

    def __init__(self, own: set[str], entry_point: str | None) -> None:
        """`own` are the names that the tests bind."""
        self._entry_point = entry_point
        # What the tests call `sorted` is Python's, unless they say otherwise.
        self._redefined = {name for name in NAMES if name in own or name == entry_point or "*" in own}

    def asserts(self, index: int, tree: ast.Module) -> Iterator[tuple[str, PlainAssert]]:
        """The asserts of one test with the names that they call."""
        checks = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
        for node in tree.body:
            if isinstance(node, ast.Assert):
                yield from self._assert(index, node, {})
            elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and len(checks) == 1:
                yield from self._checked(index, node.value, *checks.values())
            elif isinstance(node, ast.Assign):
                _literal(node.value)
                if any(
                    not isinstance(target, ast.Name) or target.id != "METADATA" for target in node.targets
                ):
                    raise NotPlainError
            elif not isinstance(node, ast.FunctionDef) and not _imports_math(node):
                raise NotPlainError

    def _checked(
        self, index: int, call: ast.Call, check: ast.FunctionDef
    ) -> Iterator[tuple[str, PlainAssert]]:
        """`check(f)` for a function that consists of asserts about its one parameter."""
        arguments = check.args
        plain = len(arguments.args) == 1 and not (
            arguments.posonlyargs or arguments.kwonlyargs or arguments.vararg or arguments.kwarg
        )
        passed = call.args[0] if len(call.args) == 1 and not call.keywords else None
        if not (isinstance(call.func, ast.Name) and call.func.id == check.name and plain):
            raise NotPlainError
        entry_point = ast.unparse(passed) if passed is not None else ""
        if not _ENTRY_POINT.match(entry_point) or check.decorator_list:
            raise NotPlainError
        for node in check.body:
            if isinstance(node, ast.Assert):
                yield from self._assert(index, node, {arguments.args[0].arg: entry_point})
            elif not (isinstance(node, ast.Pass) or _is_constant(node) or _imports_math(node)):
                raise NotPlainError

    def _assert(
        self, index: int, node: ast.Assert, names: dict[str, str]
    ) -> Iterator[tuple[str, PlainAssert]]:
        if isinstance(node.test, ast.Constant) and node.test.value:
            return
        call = self._call(node.test, names)
        function = call.func
        if not isinstance(function, ast.Name) or any(keyword.arg is None for keyword in call.keywords):
            raise NotPlainError
        call_made = Call(
            args=tuple(map(self._value, call.args)),
            kwargs={str(keyword.arg): self._value(keyword.value) for keyword in call.keywords},
        )
        relation, expected = self._relation(node.test, call)
        yield names.get(function.id, function.id), PlainAssert(index, call_made, relation, expected)

    def _call(self, test: ast.expr, names: dict[str, str]) -> ast.Call:
        """The one call of the program's in an assert."""
        calls = [
            node
            for node in ast.walk(test)
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and (node.func.id in names or node.func.id == self._entry_point or node.func.id not in _BUILTINS)
        ]
        if len(calls) != 1:
            raise NotPlainError
        return calls[0]

    def _relation(self, test: ast.expr, call: ast.Call) -> tuple[str, Any]:
        """What an assert says of its call, and the value that it says it with."""
        match test:
            case ast.Call() if test is call:
                return "bool", True
            case ast.UnaryOp(op=ast.Not(), operand=operand) if operand is call:
                return "bool", False
            case ast.Compare(left=left, ops=[ast.Eq()], comparators=[right]) if call in (left, right):
                return "==", self._value(right if left is call else left)
            case ast.Compare(left=left, ops=[ast.Is()], comparators=[ast.Constant(value=value)]) if (
                left is call
            ):
                return "is", _singleton(value)
        self._refuse_redefined(test)
        return "holds", Condition(test, call)

    def _value(self, node: ast.expr) -> Any:
        """The value of an expression of the tests that has nothing of the program in it."""
        try:
            return _literal(node)
        except NotPlainError:
            self._refuse_redefined(node)
            return constant(node)

    def _refuse_redefined(self, node: ast.expr) -> None:
        if self._redefined and self._redefined & _names(node).loaded:
            raise NotPlainError


def _is_constant(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _imports_math(node: ast.stmt) -> bool:
    return isinstance(node, ast.Import) and all(
        (each.name, each.asname) == ("math", None) for each in node.names
    )


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError):
        raise NotPlainError from None


def _singleton(value: object) -> Any:
    if value is None or value is True or value is False:
        return value
    raise NotPlainError


class _Names(NamedTuple):
    """Names that a source binds anywhere, and those that it uses."""

    bound: set[str]
    loaded: set[str]


def _names(tree: ast.AST) -> _Names:
    names = _Names(set(), set())
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Load):
                names.loaded.add(node.id)
            elif isinstance(node.ctx, ast.Store):
                names.bound.add(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.bound.add(node.name)
        elif isinstance(node, ast.arg):
            names.bound.add(node.arg)
        elif isinstance(node, (ast.Import, ast.ImportFrom)) and not _imports_math(node):
            names.bound.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
    return names


def complete(prefix: str) -> str:
    """A prefix as the tests can load it: with a body where it ends in a bare signature."""
    return _completed(prefix)[0]


def _completed(prefix: str) -> tuple[str, ast.Module]:
    for candidate in (prefix, f"{prefix.rstrip()}\n    pass\n"):
        try:
            return candidate, parse(candidate)
        except (SyntaxError, ValueError):
            continue
    return "", ast.Module([], [])


@functools.lru_cache(maxsize=256)
def entry_point_of(tests: AssertTests) -> str | None:
    """The name that the program must define, where it is declared or has the name of a built-in.

    In `assert sum(10, 15) == 6` nothing but `sum` can be meant, for otherwise the tests would test nothing of the
    program's.
    """
    if tests.entry_point is not None:
        return tests.entry_point
    try:
        trees = list(map(parse, tests.tests))
        names = list(map(_names, trees))
        others = [_names(_completed(source)[1]) for source in (tests.prefix, tests.setup)]
        return _sole_builtin(trees, names, set().union(*(each.bound for each in (*others, *names))))
    except (SyntaxError, ValueError, RecursionError):
        return None


def _sole_builtin(trees: list[ast.Module], names: list[_Names], own: set[str]) -> str | None:
    loaded = set().union(*(each.loaded for each in names)) - own
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
