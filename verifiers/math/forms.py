"""One answer in several forms: trees rewritten so that both sides of a comparison say it in the same form.

Nothing here decides equality; a rewriting keeps what the tree means, or uses what the other side shows it to mean
(a list of intervals beside a union is that union).
"""

from __future__ import annotations

from fractions import Fraction

from verifiers.math.naming import name_in
from verifiers.math.realsets import whole_numbers
from verifiers.math.shapes import is_scalar
from verifiers.math.syntax import (
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
    substitute,
    variables,
    walk,
)
from verifiers.math.units import UNITS, Unit, convert

_TRANSPOSED = (Sym("T"), Sym("\\top"))


def common_forms(ours: Node, theirs: Node) -> tuple[Node, Node]:
    """Both sides, each in the form that the other calls for."""
    ours, theirs = plainer(ours), plainer(theirs)
    if _has_unit_vectors(ours) != _has_unit_vectors(theirs):
        # 2i + 3j beside 2\\hat{i} + 3\\hat{j}.
        ours, theirs = (substitute(node, _BASIS) if is_scalar(node) else node for node in (ours, theirs))
    return _beside(ours, theirs), _beside(theirs, ours)


_BASIS: dict[str, Node] = {letter: Sym(f"\\hat {letter}") for letter in "ijk"}


def _has_unit_vectors(node: Node) -> bool:
    return is_scalar(node) and any(isinstance(n, Sym) and n in _BASIS.values() for n in walk(node))


def _components(node: Node) -> dict[str, Node] | None:
    """What stands before each unit vector of 2i + 3j - k; None where this is no such sum."""
    if isinstance(node, Sym):
        return {node.name[-1]: Num(Fraction(1))} if node in _BASIS.values() else None
    if not isinstance(node, Call):
        return None
    parts = [_components(arg) for arg in node.args]
    if node.head == "add":
        found: dict[str, Node] = {}
        for part in parts:
            if part is None or set(part) & set(found):
                return None
            found |= part
        return found
    vectors = [part for part in parts if part is not None]
    if len(vectors) != 1 or node.head not in ("neg", "mul", "div", "frac"):
        return None
    (vector,) = vectors
    if parts[0] is None and node.head != "mul":
        return None
    return {
        letter: Call(
            node.head,
            tuple(value if part is vector else arg for part, arg in zip(parts, node.args, strict=True)),
        )
        for letter, value in vector.items()
    }


def _entries(node: Node) -> int:
    """How many entries a vector has; 0 for anything else."""
    if isinstance(node, Group) and node.opener in ("(", "\\langle"):
        return len(node.items)
    return len(node.rows) if isinstance(node, Matrix) and len(node.rows[0]) == 1 else 0


def _as_tuple(node: Call, size: int) -> Node | None:
    """2i + 3j as (2, 3) beside a vector of so many entries; None where it is no such sum."""
    components = _components(substitute(node, _BASIS)) if size in (2, 3) else None
    if components is None or not set(components) <= set("ijk"[:size]) or len(components) < 2:
        return None
    return Group("(", ")", tuple(components.get(letter, Num(Fraction(0))) for letter in "ijk"[:size]))


def plainer(node: Node) -> Node:
    """The form that does not depend on the other side."""
    if isinstance(node, Group) and node.opener == "":
        return _excluded(node)
    if isinstance(node, SetBuilder):
        numbers = whole_numbers(node)
        if numbers is not None:
            return Group("{", "}", tuple(_integer(number) for number in numbers))
        return _solutions(_with_exclusions(node))
    if isinstance(node, Relation):
        return _membership(_name_first(node))
    if isinstance(node, Call) and node.head == "pow" and node.args[1] in _TRANSPOSED:
        inner = node.args[0]
        if isinstance(inner, Group) and inner.opener in ("(", "["):
            return inner
        if isinstance(inner, Matrix):
            return Matrix(tuple(zip(*inner.rows, strict=True)))
    return node


def _integer(number: int) -> Node:
    return Num(Fraction(number)) if number >= 0 else Call("neg", (Num(Fraction(-number)),))


def _beside(node: Node, other: Node) -> Node:
    if (
        is_scalar(node)
        and isinstance(node, Call)
        and (vector := _as_tuple(node, _entries(other))) is not None
    ):
        return vector
    if isinstance(other, Matrix) and isinstance(node, Group):
        return _as_matrix(node)
    if isinstance(other, Group) and other.opener in ("(", ""):
        if isinstance(node, Call) and node.head == "apply" and other.opener == "(":
            return _point(node)
        if isinstance(node, Relation) and len(other.items) > 1:
            return _several_names(node)
    if isinstance(node, Relation) and isinstance(other, Relation) and isinstance(other.terms[0], Group):
        return _names_and_values(node)
    if isinstance(node, Group) and node.opener == "" and isinstance(other, (Call, Group)):
        return _as_union(node, other)
    if isinstance(node, Call) and isinstance(other, Quantity):
        return _with_letter_units(node, other)
    if isinstance(node, Call) and node.head in ("mul", "div") and is_scalar(other) and not variables(other):
        return _measured(node)
    return node


def _excluded(node: Group) -> Node:
    """x != 0, 2 and x != 0, x != 2: a condition and no list of answers."""
    first = node.items[0] if node.items else None
    if not isinstance(first, Relation) or first.operators != ("!=",) or not isinstance(first.terms[0], Sym):
        return node
    conditions: list[Node] = []
    for item in node.items:
        if isinstance(item, Relation):
            if item.operators != ("!=",) or item.terms[0] != first.terms[0]:
                return node
            conditions.append(item)
        elif is_scalar(item):
            conditions.append(Relation((first.terms[0], item), ("!=",)))
        else:
            return node
    return Logic("and", tuple(conditions))


def _with_exclusions(node: SetBuilder) -> SetBuilder:
    """{x | x != 1, 2} excludes both."""
    if isinstance(node.condition, Logic) and node.condition.operator == "and":
        excluded = _excluded(Group("", "", node.condition.items))
        return SetBuilder(node.subject, excluded) if isinstance(excluded, Logic) else node
    return node


def _solutions(node: SetBuilder) -> Node:
    """{x | x = k pi, k in Z} is x = k pi."""
    conditions = node.condition.items if isinstance(node.condition, Logic) else (node.condition,)
    subject = node.subject.terms[0] if isinstance(node.subject, Relation) else node.subject
    first, rest = conditions[0], conditions[1:]
    equation = isinstance(first, Relation) and first.operators == ("=",) and first.terms[0] == subject
    declared = all(isinstance(item, Relation) and item.operators == ("in",) for item in rest)
    if equation and declared and (not isinstance(node.condition, Logic) or node.condition.operator == "and"):
        return first
    return node


def _name_first(node: Relation) -> Relation:
    """3 = x as x = 3."""
    if node.operators == ("=",) and not variables(node.terms[0]) and isinstance(node.terms[1], Sym):
        left, right = node.terms
        if name_in(right) is not None and is_scalar(left):
            return Relation((right, left), ("=",))
    return node


def _membership(node: Relation) -> Node:
    """x in {1, 2} as x = 1, x = 2."""
    if node.operators != ("in",) or name_in(node.terms[0]) is None:
        return node
    values = node.terms[1]
    if isinstance(values, Group) and values.opener == "{" and values.items:
        return Group("{", "}", tuple(Relation((node.terms[0], value), ("=",)) for value in values.items))
    return node


def _as_matrix(node: Group) -> Node:
    """[[1, 2], [3, 4]] as a matrix."""
    rows = [item.items for item in node.items if isinstance(item, Group) and item.opener in ("[", "(")]
    if len(rows) == len(node.items) > 1 and len({len(row) for row in rows}) == 1 and len(rows[0]) > 0:
        return Matrix(tuple(rows))
    return node


def _point(node: Call) -> Node:
    """A(1, 2), a point with its name, as (1, 2)."""
    name = node.args[0]
    if isinstance(name, Sym) and len(name.name) == 1 and name.name.isupper() and len(node.args) > 2:
        return Group("(", ")", node.args[1:])
    return node


def _several_names(node: Relation) -> Node:
    """x = y = z = 1 as x = 1, y = 1, z = 1."""
    names = node.terms[:-1]
    letters = all(isinstance(term, Sym) and name_in(term) is not None for term in names)
    if set(node.operators) == {"="} and len(names) > 1 and letters and is_scalar(node.terms[-1]):
        return Group("", "", tuple(Relation((name, node.terms[-1]), ("=",)) for name in names))
    return node


def _names_and_values(node: Relation) -> Node:
    """x = y = z = 1 as (x, y, z) = (1, 1, 1)."""
    several = _several_names(node)
    if several is node or not isinstance(several, Group):
        return node
    sides = zip(*(item.terms for item in several.items if isinstance(item, Relation)), strict=True)
    return Relation(tuple(Group("(", ")", side) for side in sides), ("=",))


def _is_interval(node: Node) -> bool:
    return (
        isinstance(node, Group)
        and len(node.items) == 2
        and node.opener in ("(", "[")
        and node.closer in (")", "]")
    )


def _as_union(node: Group, other: Call | Group) -> Node:
    """Intervals one after the other, or bounds such as x < 1, x > 2, beside a union, are that union."""
    if not (isinstance(other, Call) and other.head in ("union", "difference")) or len(node.items) < 2:
        return node
    relations = [item for item in node.items if isinstance(item, Relation)]
    if len(relations) == len(node.items) and not any(
        set(item.operators) <= {"=", "in"} for item in relations
    ):
        # x < 1, x > 2 are alternatives; a chain or an exclusion goes with the rest.
        bounds = len(relations) == 2 and all(
            item.operators[0] != "!=" and len(item.terms) == 2 for item in relations
        )
        return Logic("or" if bounds else "and", node.items)
    if not all(_is_interval(item) for item in node.items):
        return node
    union = node.items[0]
    for item in node.items[1:]:
        union = Call("union", (union, item))
    return union


def _with_letter_units(node: Call, other: Quantity) -> Node:
    """3 m/s beside a speed: letters behind a number are its unit where the other side's unit is of their kind."""
    if node.head == "neg" and isinstance(node.args[0], Call):
        inner = _with_letter_units(node.args[0], other)
        return Quantity(Call("neg", (inner.value,)), inner.unit) if isinstance(inner, Quantity) else node
    found = _value_and_letters(node)
    if found is None or not found[1]:
        return node
    # 12 s/m beside 12 m/s is a quantity of another kind.
    return Quantity(found[0], found[1]) if convert(found[1])[0] == convert(other.unit)[0] else _measured(node)


def _measured(node: Call) -> Node:
    """340 m/s and 25 m^2 beside a number: such letters behind a number are no variables."""
    found = _value_and_letters(node)
    if found is None or (isinstance(found[0], Num) and found[0].value == 1):
        return node
    if found[1] in ((("m", 2),), (("m", 3),)) and node.head == "mul":
        return Quantity(found[0], found[1])
    dimensions = [dimension for dimension, _ in convert(found[1])[0]]
    measured = set(dimensions) <= {"length", "time", "mass"} and any(power < 0 for _, power in found[1])
    return Quantity(found[0], found[1]) if measured and len(dimensions) > 1 else node


_MOST_FACTORS = 8


def _value_and_letters(node: Node, factors: int = _MOST_FACTORS) -> tuple[Node, Unit] | None:
    """A number and the unit that the letters behind it spell, or None; a unit has at most eight factors."""
    if isinstance(node, Sym) and node.name in UNITS:
        return Num(Fraction(1)), ((node.name, 1),)
    if isinstance(node, Call) and node.head == "pow" and isinstance(node.args[0], Sym):
        name, power = node.args[0].name, node.args[1]
        below = isinstance(power, Call) and power.head == "neg"
        power = power.args[0] if isinstance(power, Call) and below else power
        if name in UNITS and isinstance(power, Num) and power.value.denominator == 1 and power.value < 10:
            return Num(Fraction(1)), ((name, int(power.value) * (-1 if below else 1)),)
    if not isinstance(node, Call) or node.head not in ("mul", "div", "frac") or not factors:
        return None if variables(node) else (node, ())
    quotient = isinstance(node.args[1], Call) and node.args[1].head in ("div", "frac")
    right = _value_and_letters(node.args[1], 1 if quotient else 0)
    if right is None or not right[1]:
        return None if variables(node) else (node, ())
    left = _value_and_letters(node.args[0], factors - 1)
    if left is None:
        return None
    sign = 1 if node.head == "mul" else -1
    powers = dict(left[1])
    for name, exponent in right[1]:
        powers[name] = powers.get(name, 0) + sign * exponent
    return left[0], tuple(sorted((name, power) for name, power in powers.items() if power))
