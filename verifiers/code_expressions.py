"""Expressions of tests about plain data, evaluated here in place of a process for the tests.

`sorted([3, 1])`, `2.0 / 3.0`, `'ab' * 3`, `abs(f(x) - 0.5) < 1e-6`: literals, operators, comprehensions and
pure functions. Nothing is looked up that the tests or a program brought along, every step and the size of every
value count against a bound, and what may differ from one interpreter to the next (the order of a set, a sum of
floats) is refused. Whatever is more than that needs the tests' own process.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from sandbox.inside.codec import RawDict, RawSet

MAX_WORK = 300_000
"""Steps, and the sizes of the values that they make: some hundredths of a second."""
MAX_SIZE = 100_000
"""Elements of a value with those inside of it, characters, and what its tables cost where all keys collide."""
MAX_BITS = 20_000
_PLACES = 400
_COLLISIONS = 64
"""Keys squared, by this, is what a table counts for."""
FAILURES = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What evaluating may raise, as it would in the tests' own process."""


class NotPlainError(Exception):
    """An expression that is not evaluated here."""


class _Stream:
    """What an iterator gives. It is read at once, for none has a name to be read again."""

    def __init__(self, values: Iterable[Any]) -> None:
        self.values = list(values)


_LEAVES = (type(None), bool, int, float, complex, str, bytes)
_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
    ast.Invert: operator.invert,
    ast.Not: operator.not_,
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: lambda item, within: item in within,
    ast.NotIn: lambda item, within: item not in within,
}
_TYPES = {kind.__name__: kind for kind in (bool, int, float, complex, str, bytes, list, tuple, set, dict)}
_OF_VALUES: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (abs, bin, bool, chr, complex, divmod, float, hex, int, len, oct, ord, round)
}
_OF_ELEMENTS: dict[str, Callable[..., Any]] = {
    function.__name__: function for function in (all, any, dict, list, max, min, set, sorted, sum, tuple)
}
"""What they take is read in its order."""
_STREAMS: dict[str, Callable[..., Any]] = {kind.__name__: kind for kind in (enumerate, reversed, zip)}
_KEYWORDS = {"sorted": {"reverse"}, "isclose": {"rel_tol", "abs_tol"}}
_MATH: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        *(math.ceil, math.floor, math.trunc, math.fabs, math.gcd, math.isqrt, math.isclose, math.isinf),
        *(math.isnan, math.sqrt, math.exp, math.log, math.log2, math.log10, math.pow, math.hypot),
        *(math.sin, math.cos, math.tan, math.radians, math.degrees),
    )
}
_MATH_CONSTANTS = {"e": math.e, "inf": math.inf, "nan": math.nan, "pi": math.pi, "tau": math.tau}
_TEXT = (
    "count endswith find index isalnum isalpha isdigit islower isupper join lower lstrip replace rfind rsplit "
    "rstrip split splitlines startswith strip swapcase title upper"
)
_METHODS: dict[type, frozenset[str]] = {
    str: frozenset(_TEXT.split()),
    list: frozenset(("count", "index")),
    tuple: frozenset(("count", "index")),
    dict: frozenset(("get",)),
}
FUNCTIONS = frozenset((*_OF_VALUES, *_OF_ELEMENTS, *_STREAMS, "isinstance", "range", "str"))
NAMES = FUNCTIONS | _TYPES.keys() | {"math"}
"""What an expression may name, where it is what Python has under that name."""


def constant(node: ast.expr) -> Any:
    """The value of an expression, where a literal could stand in its place; NotPlainError where none could."""
    evaluation = _Evaluation()
    try:
        return _literal(evaluation.value(node))
    except (*FAILURES, RecursionError) as error:
        raise NotPlainError(str(error)) from None


def _literal(value: Any) -> Any:
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if type(each) in (list, tuple, set):
            waiting += each
        elif type(each) is dict:
            waiting += (*each.keys(), *each.values())
        elif type(each) not in _LEAVES:
            raise NotPlainError(type(each).__name__)
    return value


class Condition:
    """The expression of an assert about what one call returns."""

    def __init__(self, test: ast.expr, call: ast.Call) -> None:
        """NotPlainError where it can't be evaluated here, or might not come to the call."""
        if not _comes_to(test, call):
            raise NotPlainError("the call may not happen")
        self._test = test
        self._call = call
        around = list(_around(test, call))
        own = {node.id for node in around if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        if not all(_is_known(node, own) for node in around):
            raise NotPlainError(ast.unparse(test))

    def holds(self, value: Any) -> bool:
        """Whether the assert passes with `value`, decoded with raw sets and dicts, in place of the call.

        NotPlainError where only the tests' own process can tell.
        """
        evaluation = _Evaluation(self._call)
        try:
            evaluation.returned = evaluation.received(value)
            return bool(evaluation.value(self._test))
        except FAILURES:
            return False
        except RecursionError as error:
            raise NotPlainError(str(error)) from None

    def __repr__(self) -> str:
        return ast.unparse(self._test)


def _comes_to(node: ast.expr, call: ast.Call) -> bool:
    """Whether evaluating `node` always comes to `call`, and once."""
    inner: Iterable[ast.expr] = ()
    match node:
        case ast.Compare(left=left, comparators=[right]) | ast.BinOp(left=left, right=right):
            inner = (left, right)
        case ast.UnaryOp(operand=value) | ast.Subscript(value=value):
            inner = (value,)
        case ast.Call(func=ast.Attribute(value=value), args=arguments):
            inner = (value, *arguments)
        case ast.Call(args=elements) | ast.List(elts=elements) | ast.Tuple(elts=elements):
            inner = elements
    return node is call or any(_comes_to(each, call) for each in inner)


def _around(node: ast.AST, call: ast.Call) -> Iterator[ast.AST]:
    if node is not call:
        yield node
        for child in ast.iter_child_nodes(node):
            yield from _around(child, call)


def _is_known(node: ast.AST, own: set[str]) -> bool:
    """Whether a node is of a kind that is evaluated here, so that no program is run in vain."""
    match node:
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), keywords=keywords):
            known = not isinstance(node.func, ast.Name) or name in FUNCTIONS
            return known and all(keyword.arg in _KEYWORDS.get(name, ()) for keyword in keywords)
        case ast.Name(id=name):
            return name in NAMES or name in own
        case ast.Attribute(value=ast.Name(id="math"), attr=name):
            return name in _MATH or name in _MATH_CONSTANTS
        case ast.Attribute(attr=name):
            return any(name in names for names in _METHODS.values())
    return not isinstance(node, ast.expr) or type(node) in _KINDS or isinstance(node, ast.Slice)


class _Evaluation:
    """One evaluation, with what is left of its budget, and the call whose result is given."""

    def __init__(self, call: ast.Call | None = None) -> None:
        self.left = MAX_WORK
        self.names: dict[str, Any] = {}
        self.call = call
        self.returned: Any = None

    def spend(self, work: int) -> None:
        """Take `work` off the budget."""
        self.left -= work
        if self.left < 0:
            raise NotPlainError("too much work")

    def value(self, node: ast.expr) -> Any:
        """The value of `node`, within the bounds."""
        if node is self.call:
            return self.returned
        evaluate = _KINDS.get(type(node))
        if evaluate is None:
            raise NotPlainError(type(node).__name__)
        value = evaluate(self, node)
        self.spend(size(value))
        return value

    def values(self, nodes: Iterable[ast.expr]) -> list[Any]:
        """The values of `nodes`, in their order."""
        return [self.value(node) for node in nodes]

    def table(self, count: int) -> None:
        """Account for a table that is to be made of `count` keys."""
        self.spend(count * count // _COLLISIONS)

    def received(self, value: Any) -> Any:
        """What a program sent, with sets and dicts in place of raw ones."""
        kind = type(value)
        if kind is list or kind is tuple:
            self.spend(len(value))
            return kind(map(self.received, value))
        if kind is RawSet:
            self.table(len(value))
            return set(map(self.received, value))
        if kind is RawDict:
            self.table(len(value))
            return {self.received(key): self.received(item) for key, item in value}
        if kind not in _LEAVES:
            raise NotPlainError(kind.__name__)
        self.spend(size(value))
        return value


def size(value: Any) -> int:
    """What a value counts for; NotPlainError where that is too much, or the value is of no kind that is used."""
    count, waiting = 0, [value]
    while waiting:
        each = waiting.pop()
        count += 1
        if isinstance(each, int):
            if each.bit_length() > MAX_BITS:
                raise NotPlainError("a number too large")
        elif isinstance(each, (str, bytes, range)):
            count += len(each)
        elif isinstance(each, (set, dict)):
            count += len(each) ** 2 // _COLLISIONS
            waiting += each
            waiting += each.values() if isinstance(each, dict) else ()
        elif isinstance(each, (list, tuple)):
            waiting += each
        elif isinstance(each, _Stream):
            waiting += each.values
        elif not isinstance(each, _LEAVES):
            raise NotPlainError(type(each).__name__)
        _fits(count + len(waiting))
    return count


def _fits(count: int) -> None:
    if count > MAX_SIZE:
        raise NotPlainError("a value too large")


def _elements(value: Any) -> list[Any]:
    """The elements of a value, whose order must be the same everywhere."""
    if isinstance(value, _Stream):
        return value.values
    if isinstance(value, set):
        # Not even the order of small numbers: it is that of their insertion where they collide.
        raise NotPlainError("the order of a set")
    return list(value)


def _name(run: _Evaluation, node: ast.Name) -> Any:
    if node.id not in run.names:
        raise NotPlainError(node.id)
    return run.names[node.id]


def _attribute(_: _Evaluation, node: ast.Attribute) -> Any:
    match node:
        case ast.Attribute(value=ast.Name(id="math"), attr=name) if name in _MATH_CONSTANTS:
            return _MATH_CONSTANTS[name]
    raise NotPlainError(node.attr)


def _dict(run: _Evaluation, node: ast.Dict) -> Any:
    keys = [key for key in node.keys if key is not None]
    if len(keys) < len(node.keys):
        raise NotPlainError("**")
    run.table(len(keys))
    return {run.value(key): run.value(item) for key, item in zip(keys, node.values, strict=True)}


def _set(run: _Evaluation, node: ast.Set) -> Any:
    run.table(len(node.elts))
    return set(run.values(node.elts))


def _binary(run: _Evaluation, node: ast.BinOp) -> Any:
    left, right = run.values((node.left, node.right))
    kind = type(node.op)
    if kind is ast.Mod and isinstance(left, (str, bytes)):
        raise NotPlainError("formatting")
    if isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length()
        if kind is ast.Pow:
            bits *= max(right, 1)
        elif kind is ast.LShift:
            bits += max(right, 0)
        elif kind is ast.Mult:
            bits += right.bit_length()
        if bits > MAX_BITS:
            raise NotPlainError("a number too large")
    elif kind is ast.Mult and (isinstance(left, int) or isinstance(right, int)):
        count, repeated = (left, right) if isinstance(left, int) else (right, left)
        _fits(size(repeated) * count if isinstance(repeated, (str, bytes, list, tuple)) else 0)
    return _BINARY[kind](left, right)


def _compare(run: _Evaluation, node: ast.Compare) -> Any:
    left, holds = run.value(node.left), True
    for sign, other in zip(node.ops, node.comparators, strict=True):
        right = run.value(other)
        if isinstance(sign, (ast.Is, ast.IsNot)) and not (right is None or isinstance(right, bool)):
            raise NotPlainError("identity")
        if isinstance(sign, (ast.In, ast.NotIn)) and isinstance(right, _Stream):
            right = right.values
        holds = _COMPARE[type(sign)](left, right)
        if not holds:
            break
        left = right
    return holds


def _logic(run: _Evaluation, node: ast.BoolOp) -> Any:
    value: Any = None
    for each in node.values:
        value = run.value(each)
        if bool(value) is isinstance(node.op, ast.Or):
            break
    return value


def _subscript(run: _Evaluation, node: ast.Subscript) -> Any:
    value = run.value(node.value)
    if not isinstance(node.slice, ast.Slice):
        return value[run.value(node.slice)]
    ends = (node.slice.lower, node.slice.upper, node.slice.step)
    return value[slice(*(None if end is None else run.value(end) for end in ends))]


def _comprehension(
    run: _Evaluation, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
) -> Any:
    outer = dict(run.names)
    parts = (node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,)
    found = [run.values(parts) for _ in _rounds(run, node.generators)]
    run.names = outer
    if isinstance(node, ast.DictComp):
        run.table(len(found))
        return dict(found)
    values = [value for (value,) in found]
    if isinstance(node, ast.SetComp):
        run.table(len(values))
        return set(values)
    return values if isinstance(node, ast.ListComp) else _Stream(values)


def _rounds(run: _Evaluation, generators: list[ast.comprehension]) -> Iterator[None]:
    """Once for each round of a comprehension, with its names bound."""
    if not generators:
        yield
        return
    first, *rest = generators
    if first.is_async:
        raise NotPlainError("async")
    for item in _elements(run.value(first.iter)):
        _bind(run, first.target, item)
        if all(run.value(test) for test in first.ifs):
            yield from _rounds(run, rest)


def _bind(run: _Evaluation, target: ast.expr, value: Any) -> None:
    if isinstance(target, (ast.Tuple, ast.List)):
        for part, item in zip(target.elts, _elements(value), strict=True):
            _bind(run, part, item)
    elif isinstance(target, ast.Name) and target.id not in NAMES and not isinstance(value, _Stream):
        run.names[target.id] = value
    else:
        raise NotPlainError("a target")


def _call(run: _Evaluation, node: ast.Call) -> Any:
    match node.func:
        case ast.Name(id="isinstance"):
            return _is_instance(run, node)
        case ast.Name(id=name) if name in FUNCTIONS:
            return _apply(run, name, run.values(node.args), _named(run, name, node))
        case ast.Attribute(value=ast.Name(id="math"), attr=name) if name in _MATH:
            return _MATH[name](*run.values(node.args), **_named(run, name, node))
        case ast.Attribute(value=owner, attr=name):
            return _method(run, run.value(owner), name, run.values(node.args), _named(run, name, node))
    raise NotPlainError(ast.unparse(node.func))


def _named(run: _Evaluation, name: str, node: ast.Call) -> dict[str, Any]:
    named = {str(keyword.arg): run.value(keyword.value) for keyword in node.keywords}
    if not named.keys() <= _KEYWORDS.get(name, set()):
        raise NotPlainError("a keyword")
    return named


def _method(run: _Evaluation, owner: Any, name: str, arguments: list[Any], named: dict[str, Any]) -> Any:
    if name not in _METHODS.get(type(owner), frozenset()) or named:
        # A value that has no such method makes the test fail.
        raise (
            NotPlainError(name)
            if hasattr(owner, name) and not isinstance(owner, _Stream)
            else AttributeError(name)
        )
    if name == "join":
        arguments = [_elements(argument) for argument in arguments]
        _fits(sum(len(owner) * len(parts) + size(parts) for parts in arguments))
    elif name == "replace":
        _fits((len(owner) + 1) * (1 + max(map(size, arguments), default=0)))
    return getattr(owner, name)(*arguments)


def _apply(run: _Evaluation, name: str, arguments: list[Any], named: dict[str, Any]) -> Any:
    """A built-in function of plain values."""
    if name == "range":
        made = range(*arguments)
        _fits((made.stop - made.start) // made.step)
        return made
    if name in _STREAMS:
        if name == "reversed" and any(isinstance(each, _Stream) for each in arguments):
            raise TypeError("an iterator is not reversible")
        read = 1 if name == "enumerate" else len(arguments)
        return _Stream(_STREAMS[name](*map(_elements, arguments[:read]), *arguments[read:]))
    if name in _OF_ELEMENTS:
        return _of_elements(run, name, arguments, named)
    if name == "round" and any(abs(places) > _PLACES for places in arguments[1:] if isinstance(places, int)):
        raise NotPlainError("a number too large")
    if name == "str" and not (len(arguments) == 1 and isinstance(arguments[0], (str, int, float))):
        raise NotPlainError("text of a value")
    return str(*arguments) if name == "str" else _OF_VALUES[name](*arguments)


def _of_elements(run: _Evaluation, name: str, arguments: list[Any], named: dict[str, Any]) -> Any:
    first, rest = arguments[:1], arguments[1:]
    if name in ("max", "min") and rest:
        return _OF_ELEMENTS[name](*arguments)
    source = first[0] if first else []
    if name == "set" and isinstance(source, set):
        pass
    elif name == "sorted" and isinstance(source, set):
        if not any(all(isinstance(each, kind) for each in source) for kind in (int, str)):
            raise NotPlainError("the order of a set")
    elif name != "dict" or not isinstance(source, dict):
        first = list(map(_elements, first))
        run.table(len(first[0]) if first and name in ("set", "dict") else 0)
    if name == "sorted":
        run.spend(8 * sum(map(len, first)))
    elif name == "sum" and not all(isinstance(each, int) for each in (*first[0], *rest)):
        raise NotPlainError("a sum of other than whole numbers")
    return _OF_ELEMENTS[name](*first, *rest, **named)


def _is_instance(run: _Evaluation, node: ast.Call) -> bool:
    match node:
        case ast.Call(args=[value, ast.Name() as kind], keywords=[]):
            kinds: list[ast.expr] = [kind]
        case ast.Call(args=[value, ast.Tuple(elts=kinds)], keywords=[]):
            pass
        case _:
            raise NotPlainError("isinstance")
    names = [kind.id if isinstance(kind, ast.Name) else "" for kind in kinds]
    if not _TYPES.keys() >= set(names):
        raise NotPlainError("isinstance")
    return isinstance(run.value(value), tuple(_TYPES[name] for name in names))


_KINDS: dict[type[ast.AST], Callable[[_Evaluation, Any], Any]] = {
    ast.Constant: lambda _, node: node.value,
    ast.Name: _name,
    ast.Attribute: _attribute,
    ast.List: lambda run, node: run.values(node.elts),
    ast.Tuple: lambda run, node: tuple(run.values(node.elts)),
    ast.Set: _set,
    ast.Dict: _dict,
    ast.UnaryOp: lambda run, node: _UNARY[type(node.op)](run.value(node.operand)),
    ast.BinOp: _binary,
    ast.Compare: _compare,
    ast.BoolOp: _logic,
    ast.IfExp: lambda run, node: run.value(node.body if run.value(node.test) else node.orelse),
    ast.Subscript: _subscript,
    ast.Call: _call,
    ast.ListComp: _comprehension,
    ast.SetComp: _comprehension,
    ast.DictComp: _comprehension,
    ast.GeneratorExp: _comprehension,
}
