"""Shapes of trees: what is a list, a name, a quantity, a matrix; plus-minus signs written out."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from verifiers.math import compare
from verifiers.math.evaluate import NotNumericError
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
    Text,
    variables,
    walk,
)

PARAMETERS = frozenset("nkmlj")


@dataclass(frozen=True, slots=True)
class Named:
    """A value with the name that the answer gives it; no name for a chain of equal constants."""

    name: Node | None
    value: Node


CONTRADICTION = Named(None, Text("a chain that contradicts itself"))


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


def value_of(node: Node) -> Node:
    """The right side of "x = 3"; anything else as it is."""
    if (
        isinstance(node, Relation)
        and node.operators in (("=",), ("~",))
        and name_in(node.terms[0]) is not None
    ):
        return node.terms[1]
    return node


def name_in(node: Node) -> str | None:
    """How an answer names what it gives: a variable, f(x), an angle, a segment AB, a tuple of variables."""
    if isinstance(node, Sym) and node.name not in ("\\pi", "e", "i", "\\infty", "\\emptyset", "\\mathbbR"):
        return node.name
    if isinstance(node, Call):
        if node.head == "apply":
            return repr(node)
        inner = name_in(node.args[0]) if node.head in ("prime", "abs", "norm", "degree") else None
        # |AB|, |z| and |\\vec a| are lengths; |x| = 3 says something of x.
        if inner is not None and (node.head != "abs" or inner.isupper() or inner == "z" or inner[0] == "\\"):
            return f"{node.head} {inner}"
        if node.head == "mul":
            letters = [run_of_letters(arg) for arg in node.args]
            if all(letters) and "".join(str(x) for x in letters).isupper():
                return "".join(str(x) for x in letters)
            if all(isinstance(arg, Sym) and arg.name.startswith("\\vec ") for arg in node.args):
                return repr(node)
        if node.head == "add" and len({repr(arg) for arg in node.args}) == len(node.args):
            # m + n = 12 and f(1) + f(2) = 5 name what was asked for.
            return repr(node) if all(name_in(arg) is not None for arg in node.args) else None
        if node.head in ("max", "min", "det", "deg", "arg", "dim", "Var", "tr", "Tr", "rank", "Re", "Im"):
            return repr(node)
        if node.head in ("sin", "cos", "tan", "cot") and _is_angle(node.args[0]):
            return repr(node)
        if node.head == "pow" and isinstance(node.args[0], Sym) and node.args[0].name.isupper():
            # The inverse or transpose of a matrix.
            minus_one = Call("neg", (Num(Fraction(1)),))
            return repr(node) if node.args[1] in (minus_one, Sym("T")) else None
        if node.head == "frac" and _is_derivative(node):
            return repr(node)
        if node.head == "ratio" and _distinct_names(node.args):
            return repr(node)
    if isinstance(node, Group) and node.opener in ("(", "") and _distinct_names(node.items):
        return "(" + ",".join(str(name_in(item)) for item in node.items) + ")"
    return None


def letters_of(node: Node) -> frozenset[str]:
    """The letters that a chain such as x = y = 1 gives the same value."""
    if not isinstance(node, Relation) or set(node.operators) != {"="}:
        return frozenset()
    return frozenset(
        term.name for term in node.terms[:-1] if isinstance(term, Sym) and name_in(term) is not None
    )


def _is_angle(node: Node) -> bool:
    """Whether this is the usual name of an angle that is asked for by its sine: A, alpha, angle ABC."""
    return (
        isinstance(node, Sym)
        and (node.name.isupper() or node.name.startswith("\\"))
        and name_in(node) is not None
    )


def is_derivative_sign(node: Node) -> bool:
    """Whether this is the d/dx of something that is not worked out; dy/dx is a name."""
    if not (isinstance(node, Call) and node.head == "frac" and node.args[0] == Sym("d")):
        return False
    below = run_of_letters(node.args[1])
    return below is not None and len(below) == 2 and below[0] == "d"


def _is_derivative(node: Call) -> bool:
    """Whether this is dy/dx."""
    if all(isinstance(arg, Sym) and arg.name.startswith("\\partial ") for arg in node.args):
        return True
    letters = [run_of_letters(arg) for arg in node.args]
    return all(run is not None and len(run) == 2 and run[0] == "d" for run in letters)


def indexed_roots(left: list[str], right: list[str]) -> bool:
    """Whether one side gives x = 2 and x = 3, and the other x_1 = 2 and x_2 = 3."""
    letters = set(right)
    if len(letters) != 1 or len(left) != len(set(left)):
        return False
    (letter,) = letters
    return all(re.fullmatch(re.escape(letter) + r"_\w", name) for name in left)


def _distinct_names(nodes: Sequence[Node]) -> bool:
    """Whether every one of these is a name, and none stands twice."""
    names = [name_in(node) for node in nodes]
    return None not in names and len(set(names)) == len(names)


def run_of_letters(node: Node) -> str | None:
    """The letters of a product of one-letter symbols, such as AB; None for anything else."""
    if isinstance(node, Sym) and len(node.name) == 1:
        return node.name
    if isinstance(node, Call) and node.head == "mul":
        parts = [run_of_letters(arg) for arg in node.args]
        return "".join(str(p) for p in parts) if all(parts) else None
    return None


def same_name(ours: Named, theirs: Named) -> dict[str, Node] | None:
    """The renaming under which two names are the same, or None; y and f(x) are the same name for a graph."""
    if ours.name is None or theirs.name is None or ours.name == theirs.name:
        return {}
    left, right = ours.name, theirs.name
    if isinstance(left, Call) and isinstance(right, Call) and left.head == right.head == "apply":
        if left.args[0] != right.args[0] or len(left.args) != len(right.args):
            return None
        pairs = list(zip(left.args[1:], right.args[1:], strict=True))
        if all(isinstance(a, Sym) and isinstance(b, Sym) for a, b in pairs):
            renamed = {a.name: b for a, b in pairs if isinstance(a, Sym) and a != b}
            # f(y) = x is no f(x) = x: there the new name means something else.
            taken = {b.name for b in renamed.values() if isinstance(b, Sym)} - renamed.keys()
            return None if taken & variables(ours.value) else renamed
        return None
    if _derivative_of(left) is not None and _derivative_of(left) == _derivative_of(right):
        return {}
    for one, other in ((left, right), (right, left)):
        if (
            one == Sym("y")
            and isinstance(other, Call)
            and other.head == "apply"
            and other.args[1:] == (Sym("x"),)
        ):
            return {}
    return None


def _derivative_of(name: Node) -> str | None:
    """The y of y' and of dy/dx; None for any other name."""
    if isinstance(name, Call) and name.head == "prime" and isinstance(name.args[0], Sym):
        return name.args[0].name
    if isinstance(name, Call) and name.head == "frac":
        above, below = (run_of_letters(arg) for arg in name.args)
        return above[1] if below == "dx" and above is not None and len(above) == 2 else None
    return None


def same_symbol(left: str, right: str) -> bool:
    """Whether two symbols are the same; of single letters the case does not matter."""
    if left == right:
        return True
    # A single letter may be an option or a label, where case does not matter.
    return len(left) == len(right) == 1 and left.lower() == right.lower()


_DEGREE = frozenset({"degree"})
_ARBITRARY = re.compile(r"[cCkK](?:_\w+)?")
_GOLD_ARBITRARY = re.compile(r"[cCK](?:_\d)?")
_UNKNOWNS = frozenset({"x", "y", "z", "t", "s", "u", "v", "\\theta"})
_FREE = re.compile(r"[ABCDKck]")


def arbitrary_constants(ours: Node, theirs: Node) -> dict[str, Node] | None:
    """C for c: arbitrary constants that only one side has, and the other in the other case.

    A and B for C_1 and C_2, in the order of the letters. Another index is another constant.
    """
    left, right = variables(ours) - variables(theirs), variables(theirs) - variables(ours)
    renamed = {name: name[0].swapcase() + name[1:] for name in left}
    if left and set(renamed.values()) == right and all(map(_ARBITRARY.fullmatch, left)):
        return {name: Sym(other) for name, other in renamed.items()}
    if not left or len(left) != len(right) or not (variables(theirs) - right) & _UNKNOWNS:
        return None
    if all(map(_FREE.fullmatch, left)) and all(map(_GOLD_ARBITRARY.fullmatch, right)):
        return {name: Sym(other) for name, other in zip(sorted(left), sorted(right), strict=True)}
    return None


def periodic_parameters(ours: Node, theirs: Node) -> dict[str, Node] | None:
    """k for n in n*pi: an integer parameter beside pi that only one side has may have another letter."""
    left, right = variables(ours) - variables(theirs), variables(theirs) - variables(ours)
    if len(left) != 1 or len(right) != 1 or not left | right <= PARAMETERS:
        return None
    (a,), (b,) = left, right
    if not all(
        compare.has_symbol(node, "\\pi") or compare.has_head(node, _DEGREE) for node in (ours, theirs)
    ):
        return None
    return {a: Sym(b)}


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


def mentions_matrix(node: Node) -> bool:
    """Whether a matrix occurs."""
    return any(isinstance(n, Matrix) for n in walk(node))


def vector_entries(rows: tuple[tuple[Node, ...], ...]) -> tuple[Node, ...] | None:
    """The entries of a single row or column; None for a true matrix."""
    if len(rows) == 1:
        return rows[0]
    if all(len(row) == 1 for row in rows):
        return tuple(row[0] for row in rows)
    return None


def matrix_cells(node: Node) -> tuple[tuple[Node, ...], ...] | None:
    """The cells of a matrix, or of a sum, product or multiple of matrices."""
    if isinstance(node, Matrix):
        return node.rows
    if not isinstance(node, Call) or not mentions_matrix(node):
        return None
    parts = [matrix_cells(arg) for arg in node.args]
    if node.head == "neg" and parts[0] is not None:
        return tuple(tuple(Call("neg", (cell,)) for cell in row) for row in parts[0])
    if node.head == "add":
        if any(part is None for part in parts):
            return None
        matrices = [part for part in parts if part is not None]
        if len({(len(m), len(m[0])) for m in matrices}) != 1:
            return None
        return tuple(
            tuple(Call("add", tuple(m[i][j] for m in matrices)) for j in range(len(matrices[0][0])))
            for i in range(len(matrices[0]))
        )
    if node.head in ("mul", "div"):
        left, right = parts
        if left is not None and right is not None and node.head == "mul":
            if len(left[0]) != len(right) or len(left) * len(right[0]) * len(right) > 1000:
                return None
            columns = list(zip(*right, strict=True))
            return tuple(
                tuple(
                    Call("add", tuple(Call("mul", pair) for pair in zip(row, column, strict=True)))
                    for column in columns
                )
                for row in left
            )
        if left is not None and right is None:
            return tuple(tuple(Call(node.head, (cell, node.args[1])) for cell in row) for row in left)
        if right is not None and node.head == "mul":
            return tuple(tuple(Call("mul", (node.args[0], cell)) for cell in row) for row in right)
    return None


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
