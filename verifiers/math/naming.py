"""The names that answers give to values, and when two names are the same: x = 3, f(x) = 2x, dy/dx, C for c."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from verifiers.math import compare
from verifiers.math.syntax import Call, Group, Node, Num, Relation, Sym, Text, variables


@dataclass(frozen=True, slots=True)
class Named:
    """A value with the name that the answer gives it; no name for a chain of equal constants."""

    name: Node | None
    value: Node


CONTRADICTION = Named(None, Text("a chain that contradicts itself"))


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


def value_of(node: Node) -> Node:
    """The right side of "x = 3"; anything else as it is."""
    if (
        isinstance(node, Relation)
        and node.operators in (("=",), ("~",))
        and name_in(node.terms[0]) is not None
    ):
        return node.terms[1]
    return node


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
    """Whether this is dy/dx, or a higher or partial derivative that is a name."""
    if all(isinstance(arg, Sym) and arg.name.startswith("\\partial ") for arg in node.args):
        return True
    return _quotient_of_differentials(node) is not None


def _quotient_of_differentials(node: Call) -> tuple[str, str, int] | None:
    """y, x and 2 of d^2y/dx^2; None for anything else."""
    letters = [run_of_letters(arg) for arg in node.args]
    if all(run is not None and len(run) == 2 and run[0] == "d" for run in letters):
        return str(letters[0])[1], str(letters[1])[1], 1
    match node.args:
        case (
            Call("mul", (Call("pow", (Sym("d"), Num(order))), Sym(function))),
            Call("mul", (Sym("d"), Call("pow", (Sym(variable), Num(other))))),
        ) if order == other and order.denominator == 1 and 1 < order < 10:
            return function, variable, int(order)
    return None


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


def _derivative_of(name: Node) -> tuple[str, int] | None:
    """y and 2 of y'' and of d^2y/dx^2; None for any other name."""
    order = 0
    while isinstance(name, Call) and name.head == "prime":
        name, order = name.args[0], order + 1
    if order:
        return (name.name, order) if isinstance(name, Sym) else None
    if isinstance(name, Call) and name.head == "frac":
        found = _quotient_of_differentials(name)
        return (found[0], found[2]) if found is not None and found[1] == "x" else None
    return None


def same_symbol(left: str, right: str) -> bool:
    """Whether two symbols are the same; of single letters the case does not matter."""
    if left == right:
        return True
    # A single letter may be an option or a label, where case does not matter.
    return len(left) == len(right) == 1 and left.lower() == right.lower()


PARAMETERS = frozenset("nkmlj")

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
