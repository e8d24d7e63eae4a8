"""Shapes of trees: what is a list, a quantity, a ratio; plus-minus signs written out."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from fractions import Fraction

from verifiers.math import compare
from verifiers.math.naming import PARAMETERS
from verifiers.math.syntax import (
    Based,
    Call,
    Group,
    Logic,
    Matrix,
    Node,
    Num,
    Quantity,
    Relation,
    SetBuilder,
    Sym,
    variables,
    walk,
)
from verifiers.math.work import NotNumericError


def unwrap(node: Node) -> Node:
    """Without parentheses around the whole and a plus sign before it; "degrees" as the sign."""
    while isinstance(node, Group) and len(node.items) == 1 and node.opener in ("(", ""):
        node = node.items[0]
    if isinstance(node, Quantity) and not node.unit:
        return unwrap(node.value)
    if isinstance(node, Quantity) and node.unit == (("deg", 1),):
        return Call("degree", (node.value,))
    return node


def shows_approximation(node: Node) -> bool:
    """Whether a chain holds an "approximately"."""
    return isinstance(node, Relation) and "~" in node.operators


def approximates(value: Node, shown: Node, *, strict: bool) -> bool:
    """Whether a shown decimal is the value: within a twentieth, or, strictly, at every digit it shows."""
    if (unit := split_quantity(value)[1]) and unit == split_quantity(shown)[1] != (("%", 1),):
        value, shown = split_quantity(value)[0], split_quantity(shown)[0]
    try:
        ours = compare.numeric_order(quantity_value(value))
        theirs = compare.numeric_order(quantity_value(shown))
    except NotNumericError:
        return True
    plain, unit = split_quantity(shown)
    plain = plain.args[0] if isinstance(plain, Call) and plain.head == "neg" else plain
    if not isinstance(plain, Num) or not strict:
        return bool(abs(ours - theirs) <= abs(ours) / 20)
    step = Fraction(1, 10**plain.decimals * (100 if unit == (("%", 1),) else 1))
    if not plain.decimals:
        zeros = len(str(plain.value)) - len(str(plain.value).rstrip("0"))
        step *= 10**zeros
    return bool(abs(ours - theirs) <= float(step))


def quantity_value(node: Node) -> Node:
    """The value of a quantity, with a percent sign worked in."""
    value, unit = split_quantity(node)
    return Call("div", (value, Num(Fraction(100)))) if unit == (("%", 1),) else value


def without_declaration(node: Node) -> Node:
    """Without "k in Z" at the end of a list: it says what the letter is, and gives no value."""
    if isinstance(node, Group) and node.opener == "" and len(node.items) > 1:
        last = node.items[-1]
        if isinstance(last, Relation) and last.operators == ("in",):
            subject, kind = last.terms
            declares = isinstance(subject, Sym) and subject.name in PARAMETERS and isinstance(kind, Sym)
            if declares and str(kind.name).startswith(("\\mathbbZ", "\\mathbbN")):  # type: ignore[union-attr]
                return _without_last(node)
        if isinstance(last, Relation) and _counts_up(last) and _uses(node.items[:-1], last):
            return _without_last(node)
    return node


def _without_last(node: Group) -> Node:
    rest = node.items[:-1]
    return rest[0] if len(rest) == 1 else Group("", "", rest)


def _counts_up(node: Relation) -> bool:
    """Whether this is n >= 1 or its like: what a number that counts always is."""
    left, right = node.terms[0], node.terms[-1]
    return (
        node.operators in ((">=",), (">",))
        and isinstance(left, Sym)
        and left.name in PARAMETERS
        and isinstance(right, Num)
        and right.value in ((0, 1) if node.operators == (">=",) else (0,))
    )


def _uses(items: Sequence[Node], bound: Relation) -> bool:
    """Whether equations or expressions, and nothing else, are said with the letter that is bounded."""
    letter = bound.terms[0]
    return isinstance(letter, Sym) and all(
        letter.name in variables(item) and not (isinstance(item, Relation) and set(item.operators) != {"="})
        for item in items
    )


def is_computation(node: Node) -> bool:
    """Whether this is a chain of at least four constants."""
    return (
        isinstance(node, Relation)
        and len(node.terms) > 3
        and set(node.operators) == {"="}
        and not variables(node)
    )


def has_pm(node: Node) -> bool:
    """Whether a plus-minus sign occurs."""
    return compare.has_head(node, frozenset({"pm", "mp"}))


def expand_pm(node: Node) -> Node:
    """A list of what a tree with plus-minus signs stands for; every sign on its own, minus-plus tied to it."""
    if isinstance(node, Group) and node.opener in ("", "{"):
        items: list[Node] = []
        for item in node.items:
            expanded = expand_pm(item)
            items.extend(
                expanded.items if isinstance(expanded, Group) and expanded.opener == "" else [expanded]
            )
        return Group(node.opener, node.closer, tuple(items))
    if not has_pm(node):
        return node
    signs = [n for n in walk(node) if isinstance(n, Call) and n.head in ("pm", "mp")]
    if len(signs) > 4:
        return node
    tied = any(sign.head == "mp" for sign in signs)
    variants = []
    for choice_of_signs in itertools.product((1, -1), repeat=1 if tied else len(signs)):
        remaining = iter(choice_of_signs * len(signs) if tied else choice_of_signs)
        variants.append(with_signs(node, remaining))
    return Group("", "", tuple(dict.fromkeys(variants)))


def with_signs(node: Node, signs: Iterator[int]) -> Node:
    """The tree with each plus-minus sign replaced by the next of `signs`."""
    if isinstance(node, Call) and node.head in ("pm", "mp"):
        sign = next(signs)
        inner = with_signs(node.args[0], signs)
        positive = (sign == 1) == (node.head == "pm")
        return inner if positive else Call("neg", (inner,))
    if isinstance(node, Call):
        return Call(node.head, tuple(with_signs(arg, signs) for arg in node.args))
    if isinstance(node, Group):
        return Group(node.opener, node.closer, tuple(with_signs(item, signs) for item in node.items))
    if isinstance(node, Relation):
        return Relation(tuple(with_signs(term, signs) for term in node.terms), node.operators)
    if isinstance(node, Quantity):
        return Quantity(with_signs(node.value, signs), node.unit)
    return node


def is_list(node: Node) -> bool:
    """Whether this is a list or a set in braces."""
    return isinstance(node, Group) and (node.opener == "" or node.opener == "{")


def items_of(node: Node) -> tuple[Node, ...]:
    """The items of a group, or the node as the only one."""
    return node.items if isinstance(node, (Group, Logic)) else (node,)


def split_quantity(node: Node) -> tuple[Node, tuple[tuple[str, int], ...]]:
    """Value and unit; no unit is an empty one."""
    if isinstance(node, Quantity):
        inner, unit = split_quantity(node.value)
        return inner, tuple(sorted(unit + node.unit))
    if isinstance(node, Call) and node.head == "neg" and isinstance(node.args[0], Quantity):
        inner, unit = split_quantity(node.args[0])
        return Call("neg", (inner,)), unit
    return node, ()


def only_units(unit: tuple[tuple[str, int], ...]) -> bool:
    """Whether the unit is the word "units"."""
    return {name for name, _ in unit} == {"unit"}


def ratio_terms(node: Node) -> list[Node]:
    """The terms of a:b:c."""
    if isinstance(node, Call) and node.head == "ratio":
        return [*ratio_terms(node.args[0]), node.args[1]]
    return [node]


def is_scalar(node: Node) -> bool:
    """Whether this is a number or an expression without structure."""
    return isinstance(node, (Num, Sym, Based)) or (
        isinstance(node, Call)
        and node.head not in ("union", "intersection", "difference", "congruent")
        and not any(isinstance(n, (Group, Relation, Logic, SetBuilder, Matrix)) for n in walk(node))
    )


def closed_form(node: Call) -> bool:
    """Whether a function of a constant has a value without functions: an exact number or a multiple of pi."""
    try:
        value = compare.numeric_order(node)
    except ValueError:
        return False
    candidates = (value, value**2, value / compare.numeric_order(Sym("\\pi")))
    for candidate in candidates:
        near = Fraction(str(candidate)).limit_denominator(400)
        if abs(Fraction(str(candidate)) - near) < Fraction(1, 10**25):
            return True
    return (2 * value**2 - 1) ** 2 * 4 in (1, 2, 3)
