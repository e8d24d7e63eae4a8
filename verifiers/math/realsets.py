"""Sets of real numbers: intervals, unions, inequalities, set builders, all as one kind of thing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from verifiers.math.compare import negated, numeric_order, same_value
from verifiers.math.exact import exact
from verifiers.math.syntax import (
    Call,
    Group,
    Logic,
    Node,
    Num,
    Quantity,
    Relation,
    SetBuilder,
    Sym,
    variables,
)
from verifiers.math.work import NotExactError, NotNumericError, TooLargeError

INFINITY = Sym("\\infty")
_FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}


@dataclass(frozen=True, slots=True)
class Piece:
    """One interval; an end of None is infinite."""

    low: Node | None
    low_closed: bool
    high: Node | None
    high_closed: bool


@dataclass(frozen=True, slots=True)
class RealSet:
    """A union of intervals, with the name of the variable it was said of, and whether it was said with one."""

    pieces: tuple[Piece, ...]
    subject: str | None = None
    explicit: bool = False


REALS = RealSet((Piece(None, False, None, False),))


class NoSetError(ValueError):
    """The tree is no set of real numbers."""


def is_infinite(node: Node) -> int:
    """1 for infinity, -1 for minus infinity, else 0."""
    if node == INFINITY:
        return 1
    if isinstance(node, Call) and node.head == "neg":
        return -is_infinite(node.args[0])
    return 0


def real_set(node: Node, *, gold: bool) -> RealSet:
    """The set that a tree stands for. With `gold`, |x| < 2 is solved; in an answer it would be the question again.

    Raises:
        NoSetError: it stands for no set of real numbers.
    """
    if (
        isinstance(node, Group)
        and len(node.items) == 2
        and node.opener in ("(", "[")
        and node.closer in (")", "]")
    ):
        return RealSet((_interval(node),))
    if isinstance(node, Group) and node.opener == "{":
        if not node.items:
            return RealSet(())
        for item in node.items:
            if isinstance(item, (Group, Relation, Logic)):
                raise NoSetError
        return RealSet(tuple(Piece(item, True, item, True) for item in node.items))
    if isinstance(node, Group) and (node.opener, node.closer) == ("(", ")") and len(node.items) == 1:
        return real_set(node.items[0], gold=gold)
    if node == Sym("\\mathbbR"):
        return RealSet(REALS.pieces, None, True)
    if isinstance(node, Sym) and node.name in ("\\mathbbR^+", "\\mathbbR_+"):
        return RealSet((Piece(Num(Fraction(0)), False, None, False),), None, True)
    if node == Sym("\\emptyset"):
        return RealSet((), None, True)
    if isinstance(node, Call) and node.head in ("union", "intersection", "difference"):
        return _combined(node, gold=gold)
    if isinstance(node, Call) and node.head == "add" and len(node.args) == 2:
        return _difference_by_minus(node, gold=gold)
    if isinstance(node, SetBuilder):
        inner = _condition(node.condition, gold=gold)
        subject = node.subject
        if isinstance(subject, Relation) and subject.operators == ("in",):
            if subject.terms[1] != Sym("\\mathbbR"):
                # {x in Z | x > 2} is no interval.
                raise NoSetError
            subject = subject.terms[0]
        if not isinstance(subject, Sym) or inner.subject not in (None, subject.name):
            raise NoSetError
        return RealSet(inner.pieces, None, True)
    if isinstance(node, (Relation, Logic)):
        return _condition(node, gold=gold)
    raise NoSetError


def _condition(node: Node, *, gold: bool) -> RealSet:
    if isinstance(node, Logic):
        parts = [_condition(item, gold=gold) for item in node.items]
        subjects = {part.subject for part in parts}
        if len(subjects) != 1:
            raise NoSetError
        found = parts[0]
        for part in parts[1:]:
            pieces = _union(found, part) if node.operator == "or" else _intersection(found, part)
            found = RealSet(pieces, found.subject, True)
        return found
    if isinstance(node, Relation):
        return _relation(node, gold=gold)
    raise NoSetError


_MOST_NUMBERS = 200
_WHOLE = {
    "\\mathbbZ": None,
    "\\mathbbN": 0,
    "\\mathbbZ^+": 1,
    "\\mathbbN^+": 1,
    "\\mathbbN^*": 1,
    "\\mathbbZ_+": 1,
}
"""Sets of whole numbers, and the least number of each."""


def whole_numbers(node: SetBuilder) -> list[int] | None:
    """The numbers of {n in Z | 1 <= n <= 4}; None where it is no such set, or has more than 200 of them."""
    subject, conditions = node.subject, [node.condition]
    if isinstance(node.condition, Logic) and node.condition.operator == "and":
        conditions = list(node.condition.items)
    members = [c for c in (subject, *conditions) if isinstance(c, Relation) and c.operators == ("in",)]
    bounds = [c for c in conditions if c not in members]
    if len(members) != 1 or not bounds:
        return None
    letter, kind = members[0].terms
    if not isinstance(kind, Sym) or kind.name not in _WHOLE or subject not in (letter, members[0]):
        return None
    try:
        found = _condition(bounds[0] if len(bounds) == 1 else Logic("and", tuple(bounds)), gold=False)
        ranges = [_range(piece) for piece in _merged(found.pieces)]
    except (NoSetError, NotExactError, TooLargeError):
        return None
    if found.subject != name_of(letter) or sum(map(len, ranges)) > _MOST_NUMBERS:
        return None
    least = _WHOLE[kind.name]
    return [number for numbers in ranges for number in numbers if least is None or number >= least]


def _range(piece: Piece) -> range:
    """The whole numbers in an interval with rational ends."""
    if piece.low is None or piece.high is None:
        raise NoSetError
    low, high = exact(piece.low), exact(piece.high)
    first = math.ceil(low) if piece.low_closed else math.floor(low) + 1
    last = math.floor(high) if piece.high_closed else math.ceil(high) - 1
    if last - first > _MOST_NUMBERS:
        raise NoSetError
    return range(first, last + 1)


def _difference_by_minus(node: Call, *, gold: bool) -> RealSet:
    left, right = node.args
    if not (isinstance(right, Call) and right.head == "neg"):
        raise NoSetError
    if isinstance(left, (Group, SetBuilder)) or left == Sym("\\mathbbR"):
        return _combined(Call("difference", (left, right.args[0])), gold=gold)
    raise NoSetError


def _interval(node: Group) -> Piece:
    low, high = node.items
    for end in (low, high):
        if isinstance(end, (Group, Relation, Logic)):
            raise NoSetError
    signs = is_infinite(low), is_infinite(high)
    if signs[0] == 1 or signs[1] == -1:
        raise NoSetError
    # [a, infinity] is a slip that means [a, infinity).
    return Piece(
        None if signs[0] else low,
        node.opener == "[" and not signs[0],
        None if signs[1] else high,
        node.closer == "]" and not signs[1],
    )


def name_of(node: Node) -> str | None:
    """The name that an inequality can be about: a variable, or a function's value."""
    if isinstance(node, Sym) and node.name not in ("\\pi", "e", "i", "\\infty", "\\mathbbR"):
        return node.name
    if (
        isinstance(node, Call)
        and node.head == "apply"
        and all(isinstance(arg, (Sym, Num)) for arg in node.args)
    ):
        return repr(node)
    return None


def _relation(node: Relation, *, gold: bool) -> RealSet:
    terms, operators = node.terms, node.operators
    if operators == ("in",):
        inner = real_set(terms[1], gold=gold)
        name = name_of(terms[0])
        if name is None:
            raise NoSetError
        return RealSet(inner.pieces, name, True)
    if len(terms) == 2:
        left, right = terms
        operator = operators[0]
        if _sign_of_name(left) is None:
            left, right, operator = right, left, _FLIPPED.get(operator, operator)
        return _bound(left, operator, right, gold=gold)
    if len(terms) == 3 and set(operators) <= {"<", "<="}:
        low, middle, high = terms
        closed = operators[0] == "<=", operators[1] == "<="
    elif len(terms) == 3 and set(operators) <= {">", ">="}:
        high, middle, low = terms
        closed = operators[1] == ">=", operators[0] == ">="
    else:
        raise NoSetError
    if isinstance(middle, Call) and middle.head == "abs" and gold and name_of(middle.args[0]):
        upper = Piece(low, closed[0], high, closed[1])
        lower = Piece(negated(high), closed[1], negated(low), closed[0])
        return RealSet((lower, upper), name_of(middle.args[0]), True)
    name = name_of(middle)
    if name is None or name in variables(low) | variables(high):
        raise NoSetError
    ends = (None if is_infinite(low) else low, None if is_infinite(high) else high)
    return RealSet(
        (Piece(ends[0], closed[0] and ends[0] is not None, ends[1], closed[1] and ends[1] is not None),),
        name,
        True,
    )


def _sign_of_name(node: Node) -> int | None:
    if name_of(node) is not None or (isinstance(node, Call) and node.head == "abs" and name_of(node.args[0])):
        return 1
    if isinstance(node, Call) and node.head == "neg" and name_of(node.args[0]) is not None:
        return -1
    return None


def _bound(left: Node, operator: str, right: Node, *, gold: bool) -> RealSet:
    if _sign_of_name(left) == -1:
        assert isinstance(left, Call)
        left, right, operator = left.args[0], negated(right), _FLIPPED.get(operator, operator)
    if isinstance(left, Call) and left.head == "abs":
        name = name_of(left.args[0])
        if not gold or name is None or name in variables(right):
            raise NoSetError
        if operator in ("<", "<="):
            closed = operator == "<="
            return RealSet((Piece(negated(right), closed, right, closed),), name, True)
        if operator in (">", ">="):
            closed = operator == ">="
            return RealSet(
                (Piece(None, False, negated(right), closed), Piece(right, closed, None, False)), name, True
            )
        raise NoSetError
    name = name_of(left)
    if name is None or name in variables(right) or isinstance(right, (Group, Relation)):
        raise NoSetError
    if operator == "=":
        return RealSet((Piece(right, True, right, True),), name, True)
    if operator == "!=":
        excluded = _expanded(right)
        pieces = REALS.pieces
        for value in excluded:
            pieces = _intersection(
                RealSet(pieces), RealSet((Piece(None, False, value, False), Piece(value, False, None, False)))
            )
        return RealSet(pieces, name, True)
    closed = operator in ("<=", ">=")
    if (infinite := is_infinite(right)) != 0:
        if (operator in ("<", "<=")) != (infinite == 1) or operator not in _FLIPPED:
            raise NoSetError
        return RealSet(REALS.pieces, name, True)
    if operator in ("<", "<="):
        return RealSet((Piece(None, False, right, closed),), name, True)
    if operator in (">", ">="):
        return RealSet((Piece(right, closed, None, False),), name, True)
    raise NoSetError


def _expanded(node: Node) -> list[Node]:
    if isinstance(node, Call) and node.head == "pm":
        return [negated(node.args[0]), node.args[0]]
    return [node]


def _combined(node: Call, *, gold: bool) -> RealSet:
    parts = []
    for arg in node.args:
        part = real_set(arg, gold=gold)
        parts.append(part)
    subject = next((part.subject for part in parts if part.subject), None)
    if node.head == "union":
        return RealSet(_union(parts[0], parts[1]), subject, True)
    if node.head == "intersection":
        return RealSet(_intersection(parts[0], parts[1]), subject, True)
    return RealSet(_intersection(parts[0], RealSet(_complement(parts[1]))), subject, True)


def _order(node: Node | None, infinite: int) -> tuple[int, object]:
    return (infinite, 0) if node is None else (0, numeric_order(node))


def _union(left: RealSet, right: RealSet) -> tuple[Piece, ...]:
    return left.pieces + right.pieces


def _complement(pieces_of: RealSet) -> tuple[Piece, ...]:
    pieces = _merged(pieces_of.pieces)
    result: list[Piece] = []
    low: Node | None = None
    low_closed = False
    started = True
    for piece in pieces:
        if piece.low is not None:
            result.append(Piece(low if not started else None, low_closed, piece.low, not piece.low_closed))
        if piece.high is None:
            return tuple(result)
        low, low_closed, started = piece.high, not piece.high_closed, False
    result.append(Piece(None if started else low, low_closed, None, False))
    return tuple(result)


def _intersection(left: RealSet, right: RealSet) -> tuple[Piece, ...]:
    result: list[Piece] = []
    try:
        for a in left.pieces:
            for b in right.pieces:
                low, low_closed = _tighter(a.low, a.low_closed, b.low, b.low_closed, -1)
                high, high_closed = _tighter(a.high, a.high_closed, b.high, b.high_closed, 1)
                if low is not None and high is not None:
                    order = numeric_order(high) - numeric_order(low)
                    if order < 0 or (order == 0 and not (low_closed and high_closed)):
                        continue
                result.append(Piece(low, low_closed, high, high_closed))
    except NotNumericError as error:
        raise NoSetError from error
    return tuple(result)


def _tighter(
    a: Node | None, a_closed: bool, b: Node | None, b_closed: bool, side: int
) -> tuple[Node | None, bool]:
    if a is None:
        return b, b_closed
    if b is None:
        return a, a_closed
    first, second = numeric_order(a), numeric_order(b)
    if first == second:
        return a, a_closed and b_closed
    return (a, a_closed) if (first < second) == (side == 1) else (b, b_closed)


def _merged(pieces: tuple[Piece, ...]) -> tuple[Piece, ...]:
    """Sorted and joined; NoSetError where the ends are no numbers or an interval is reversed."""
    try:
        for piece in pieces:
            if piece.low is not None and piece.high is not None:
                order = numeric_order(piece.high) - numeric_order(piece.low)
                if order < 0 or (order == 0 and not (piece.low_closed and piece.high_closed)):
                    raise NoSetError
        ordered = sorted(pieces, key=lambda p: (_order(p.low, -1), not p.low_closed))
        result: list[Piece] = []
        for piece in ordered:
            if result and _touches(result[-1], piece):
                last = result[-1]
                high, closed = last.high, last.high_closed
                if high is not None:
                    if piece.high is None:
                        high, closed = None, False
                    else:
                        difference = numeric_order(piece.high) - numeric_order(high)
                        if difference > 0 or (difference == 0 and piece.high_closed):
                            high, closed = piece.high, piece.high_closed
                result[-1] = Piece(last.low, last.low_closed, high, closed)
            else:
                result.append(piece)
    except NotNumericError as error:
        raise NoSetError from error
    return tuple(result)


def _touches(left: Piece, right: Piece) -> bool:
    if left.high is None or right.low is None:
        return True
    gap = numeric_order(right.low) - numeric_order(left.high)
    return bool(gap < 0 or (gap == 0 and (left.high_closed or right.low_closed)))


def same_set(left: RealSet, right: RealSet) -> bool | None:
    """Whether two sets are the same; None where their ends can't be compared."""
    try:
        ours, theirs = _merged(left.pieces), _merged(right.pieces)
        ordered = True
    except NoSetError:
        ours, theirs = left.pieces, right.pieces
        ordered = False
    if len(ours) != len(theirs):
        return False
    if ordered:
        results = [same_piece(a, b) for a, b in zip(ours, theirs, strict=True)]
        return False if False in results else None if None in results else True
    rest = list(theirs)
    for piece in ours:
        match = next((other for other in rest if same_piece(piece, other)), None)
        if match is None:
            return False
        rest.remove(match)
    return True


def same_piece(left: Piece, right: Piece) -> bool | None:
    """Whether two intervals are the same."""
    if (left.low is None) != (right.low is None) or (left.high is None) != (right.high is None):
        return False
    if left.low_closed != right.low_closed or left.high_closed != right.high_closed:
        return False
    results = [
        same_value(_bare(a), _bare(b))
        for a, b in ((left.low, right.low), (left.high, right.high))
        if a is not None and b is not None
    ]
    return False if False in results else None if None in results else True


def _bare(node: Node) -> Node:
    return node.value if isinstance(node, Quantity) else node
