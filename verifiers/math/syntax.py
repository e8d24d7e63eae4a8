"""The tree that an answer is parsed to. Plain frozen nodes; what they mean is decided elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Num:
    """An exact number; `digits` counts the significant digits of one written with a decimal point, else 0."""

    value: Fraction
    digits: int = 0
    decimals: int = 0


@dataclass(frozen=True, slots=True)
class Sym:
    """A variable, or one of the constants `\\pi`, `e`, `i`, `\\infty`, `\\R` and their like."""

    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """An operation or function with its arguments: add, mul, div, pow, neg, pm, sin, apply, ..."""

    head: str
    args: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Several items: a tuple, an interval, a set (`{`), or, with an empty `opener`, a list without brackets."""

    opener: str
    closer: str
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Relation:
    """A chain such as a < b <= c: one more terms than operators."""

    terms: tuple[Node, ...]
    operators: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    """Rows of cells."""

    rows: tuple[tuple[Node, ...], ...]


@dataclass(frozen=True, slots=True)
class SetBuilder:
    """`{subject | condition}`."""

    subject: Node
    condition: Node


@dataclass(frozen=True, slots=True)
class Logic:
    """Items joined by "and" or "or"."""

    operator: str
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Quantity:
    """A value with what stands behind it as its unit."""

    value: Node
    unit: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Based:
    """Digits in a stated base, as in 204_5."""

    digits: str
    base: int


@dataclass(frozen=True, slots=True)
class Text:
    """Words."""

    words: str


Node = Num | Sym | Call | Group | Relation | Matrix | SetBuilder | Logic | Quantity | Based | Text


def children(node: Node) -> tuple[Node, ...]:
    """The nodes directly below."""
    if isinstance(node, Call):
        return node.args
    if isinstance(node, (Group, Logic)):
        return node.items
    if isinstance(node, Relation):
        return node.terms
    if isinstance(node, Matrix):
        return tuple(cell for row in node.rows for cell in row)
    if isinstance(node, SetBuilder):
        return (node.subject, node.condition)
    if isinstance(node, Quantity):
        return (node.value,)
    return ()


def walk(node: Node) -> Iterator[Node]:
    """Every node of the tree."""
    stack = [node]
    while stack:
        top = stack.pop()
        yield top
        stack.extend(children(top))


CONSTANTS = frozenset({"\\pi", "e", "i", "\\infty"})


def variables(node: Node) -> set[str]:
    """Names of the free variables, without the constants; names bound by sums and limits are bound."""
    names: set[str] = set()
    stack: list[tuple[Node, frozenset[str]]] = [(node, frozenset())]
    while stack:
        top, bound = stack.pop()
        if isinstance(top, Sym):
            if top.name not in CONSTANTS and top.name not in bound:
                names.add(top.name)
        elif isinstance(top, Call) and top.head in BINDERS:
            inner = bound | {s.name for s in walk(top.args[0]) if isinstance(s, Sym)}
            stack += [(child, inner) for child in top.args[1:]]
        else:
            stack += [(child, bound) for child in children(top)]
    return names


BINDERS = frozenset({"sum", "prod", "lim", "int"})
"""Heads whose first argument is the variable that they bind."""


def substitute(node: Node, names: dict[str, Node]) -> Node:
    """The tree with variables replaced."""
    if isinstance(node, Sym):
        return names.get(node.name, node)
    if isinstance(node, Call):
        return Call(node.head, tuple(substitute(a, names) for a in node.args))
    if isinstance(node, Group):
        return Group(node.opener, node.closer, tuple(substitute(a, names) for a in node.items))
    if isinstance(node, Logic):
        return Logic(node.operator, tuple(substitute(a, names) for a in node.items))
    if isinstance(node, Relation):
        return Relation(tuple(substitute(a, names) for a in node.terms), node.operators)
    if isinstance(node, Matrix):
        return Matrix(tuple(tuple(substitute(a, names) for a in row) for row in node.rows))
    if isinstance(node, SetBuilder):
        return SetBuilder(substitute(node.subject, names), substitute(node.condition, names))
    if isinstance(node, Quantity):
        return Quantity(substitute(node.value, names), node.unit)
    return node
