"""Whether two expressions have the same value: exactly, or by numbers of high precision at several points.

Three answers: True, False, and None where it can't be told. A wrong "equal" needs two different expressions of the
length of an answer that agree to 46 digits at every point tried, which does not happen by chance.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any

from verifiers.math.evaluate import Evaluator
from verifiers.math.evidence import evidence
from verifiers.math.exact import exact
from verifiers.math.points import branch_points, breaks, integer_points, more_points, points
from verifiers.math.proof import proves_equal
from verifiers.math.syntax import Call, Node, Num, Sym, variables, walk
from verifiers.math.work import NotExactError, NotNumericError, OutOfDomainError, TooLargeError

_ENOUGH = 4
_TOLERANCE = 1e-46
"""Relative; e^{\\pi\\sqrt{163}} comes within 10^-30 of a whole number, and is none."""
_MOST_PROOFS = 1
_EVERY = 1000
"""More points than there are: every one that has a value must agree."""
LONG_DECIMAL = 12
"""Significant digits from which a decimal is taken for a computed value rather than for an exact number."""


def long_decimal(*nodes: Node) -> int:
    """Significant digits of the longest decimal that is long enough to be a computed value, or 0."""
    digits = [
        n.digits for node in nodes for n in walk(node) if isinstance(n, Num) and n.digits >= LONG_DECIMAL
    ]
    return min(digits, default=0)


def has_head(node: Node, heads: frozenset[str]) -> bool:
    """Whether an operation of `heads` occurs."""
    return any(isinstance(n, Call) and n.head in heads for n in walk(node))


def has_symbol(node: Node, name: str) -> bool:
    """Whether the symbol occurs."""
    return any(isinstance(n, Sym) and n.name == name for n in walk(node))


def value_at(node: Node, point: dict[str, Fraction], *, real: bool, degree_is_unit: bool = False) -> Any:
    """Value with 60 digits at a rational point; raises as `Evaluator.value`."""
    evaluator = Evaluator({}, real=real, degree_is_unit=degree_is_unit)
    evaluator.point = {name: evaluator.number(coordinate) for name, coordinate in point.items()}
    return evaluator.value(node)


def close(left: Any, right: Any, tolerance: float = _TOLERANCE) -> bool:
    """Relative agreement; there is no absolute tolerance."""
    return bool(abs(left - right) <= tolerance * max(abs(left), abs(right)))


_DEGREE = frozenset({"degree"})


def same_value(left: Node, right: Node) -> bool | None:
    """Whether two expressions are equal wherever both are defined."""
    if left == right:
        return True
    if _has_plain_logarithm(left) or _has_plain_logarithm(right):
        # log without a base is the natural or the decimal one; both sides mean the same.
        natural = _same_by_degree(left, right)
        return natural or (True if _same_by_degree(_decimal(left), _decimal(right)) else natural)
    return _same_by_degree(left, right)


def _has_plain_logarithm(node: Node) -> bool:
    return any(isinstance(n, Call) and n.head == "log" and len(n.args) == 1 for n in walk(node))


def _decimal(node: Node) -> Node:
    """The tree with base 10 for every logarithm without a base."""
    if not isinstance(node, Call):
        return node
    args = tuple(_decimal(arg) for arg in node.args)
    return (
        Call("log", (*args, Num(Fraction(10))))
        if node.head == "log" and len(args) == 1
        else Call(node.head, args)
    )


def _same_by_degree(left: Node, right: Node) -> bool | None:
    by_degree = has_head(left, _DEGREE), has_head(right, _DEGREE)
    found = _same(left, right, degree_is_unit=False)
    if found is not True and any(by_degree):
        # 44 for 44 degrees: the sign is a unit that one side left out, or that is everywhere.
        without = _same(left, right, degree_is_unit=True)
        return True if without is True else found
    return found


def _same(left: Node, right: Node, *, degree_is_unit: bool) -> bool | None:
    digits = long_decimal(left, right)
    values: list[Fraction | None] = []
    for node in (left, right):
        try:
            values.append(exact(node))
        except NotExactError:
            values.append(None)
        except TooLargeError:
            return None
    if values[0] is not None and values[1] is not None:
        return _same_rational(values[0], values[1], left, right)
    tolerance = 10.0 ** (3 - digits) if digits else _TOLERANCE
    names = sorted(variables(left) | variables(right))
    complex_wanted = has_symbol(left, "i") or has_symbol(right, "i")
    found: bool | None
    if has_head(left, _STEPPED) or has_head(right, _STEPPED):
        # Steps hide differences between them: many whole numbers, small and large.
        return _unless_opaque(_same_stepped(left, right, names, degree_is_unit=degree_is_unit), left, right)
    if digits and names:
        # A constant that was cut off; powers of large numbers would magnify its error.
        small = itertools.islice(points(names), 9)
        tried = [point for point in small if all(abs(value) < 1 for value in point.values())]
        return _same_at(
            tried, left, right, real=not complex_wanted, tolerance=10.0 ** (6 - digits), unit=False, enough=3
        )
    if not names:
        if (step := _last_digit(left, right)) is not None:
            return _same_decimal(left, right, step)
        found = _same_at(
            [{}], left, right, real=not complex_wanted, tolerance=tolerance, unit=degree_is_unit, enough=1
        )
        return _unless_opaque(found, left, right)
    branched = any(has_head(node, _BRANCHED) or _has_even_root(node) for node in (left, right))
    found = _same_at(
        branch_points(names, breaks(left, right)) if branched else points(names),
        left,
        right,
        real=not complex_wanted,
        tolerance=tolerance,
        unit=degree_is_unit,
        enough=_EVERY if branched else _ENOUGH,
    )
    if found is None:
        found = _same_at_rarer_points(
            left, right, names, tolerance, real=not complex_wanted, unit=degree_is_unit
        )
    return _unless_opaque(found, left, right)


def _same_at_rarer_points(
    left: Node, right: Node, names: list[str], tolerance: float, *, real: bool, unit: bool
) -> bool | None:
    """For what has a value at few of the usual points: more points, whole ones, complex ones, a proof."""
    if real:
        for tried in (more_points(names), integer_points(names)):
            found = _same_at(tried, left, right, real=True, tolerance=tolerance, unit=unit, enough=_ENOUGH)
            if found is not None:
                return found
    found = _same_at(points(names), left, right, real=False, tolerance=tolerance, unit=unit, enough=_ENOUGH)
    if found is None and evidence.proofs_tried < _MOST_PROOFS:
        evidence.proofs_tried += 1
        if proves_equal(left, right):
            evidence.proven = True
            return True
    return found


_REAL_LETTERS = frozenset({"x", "y", "z", "t", "u", "v", "w", "r", "s"})
_STEPPED = frozenset({"floor", "ceil", "mod", "gcd", "lcm"})
_BRANCHED = frozenset({"min", "max", "abs", "sgn"})


def _has_even_root(node: Node) -> bool:
    """Whether a square root is taken of something squared, which is an absolute value in another spelling."""
    return any(
        isinstance(n, Call)
        and n.head in ("sqrt", "root")
        and any(
            isinstance(inner, Call) and inner.head == "pow" and variables(inner) for inner in walk(n.args[0])
        )
        for n in walk(node)
    )


_OPAQUE = frozenset({"int", "lim", "sum", "prod"})


def _unless_opaque(found: bool | None, left: Node, right: Node) -> bool | None:
    """What is not computed can be shown equal to itself, but never different from anything."""
    return None if found is False and (has_head(left, _OPAQUE) or has_head(right, _OPAQUE)) else found


def _same_stepped(left: Node, right: Node, names: list[str], *, degree_is_unit: bool) -> bool | None:
    if not names:
        return _same_at([{}], left, right, real=True, tolerance=_TOLERANCE, unit=degree_is_unit, enough=1)
    generator = random.Random(5)
    limits = (12, 12, 12, 12, 60, 60, 60, 60, 300, 300, 300, 2000, 2000, 2000, 10**6, 10**6)
    whole = [{name: Fraction(generator.randint(1, limit)) for name in names} for limit in limits]
    if len(names) == 1:
        # Squares, cubes and powers of two are where roots and logarithms of whole numbers jump.
        whole += [{names[0]: Fraction(number)} for number in (1, 2, 3, 4, 8, 9, 16, 25, 27, 32, 36, 64, 100)]
    if set(names) & _REAL_LETTERS:
        # A letter that usually stands for a real number is tried between the whole numbers as well.
        whole += [
            {
                name: point[name] + (Fraction(generator.randint(1, 96), 97) if name in _REAL_LETTERS else 0)
                for name in names
            }
            for point in whole[:12]
        ]
        # Steps that differ only where they jump: halves, thirds, quarters, and all of them below zero.
        whole += [
            {
                name: sign * point[name] + Fraction(1, below) if name in _REAL_LETTERS else point[name]
                for name in names
            }
            for point in whole[4:8]
            for below in (2, 3, 4)
            for sign in (1, -1)
        ]
        parts = {n.value.denominator for node in (left, right) for n in _constants(node)} - {1}
        whole += [
            {name: whole[4][name] + Fraction(part, below) for name in names}
            for below in sorted(parts)[:3]
            for part in range(1, min(below, 12))
            if set(names) <= _REAL_LETTERS
        ]
    whole += [
        {name: Fraction(int(place) + step) for name in names}
        for place in breaks(left, right)
        for step in (-1, 0, 1, int(place) + 1)
    ]
    return _same_at(whole, left, right, real=True, tolerance=_TOLERANCE, unit=degree_is_unit, enough=_EVERY)


def _constants(node: Node) -> Iterator[Num]:
    """The numbers of a tree, fractions of two of them as one."""
    for n in walk(node):
        if isinstance(n, Num):
            yield n
        elif isinstance(n, Call) and n.head in ("frac", "div") and all(isinstance(a, Num) for a in n.args):
            try:
                yield Num(exact(n))
            except NotExactError:
                continue


_NOISE = {15: 2, 16: 3}
"""Units of the last digit that binary arithmetic may be off by, by the number of digits; 20 beyond."""


def _last_digit(left: Node, right: Node) -> Fraction | None:
    """What the last digit of a long decimal is worth, where one side is one and the other is not."""
    steps = []
    for node in (left, right):
        plain = node.args[0] if isinstance(node, Call) and node.head == "neg" else node
        if isinstance(plain, Num) and plain.digits >= LONG_DECIMAL and plain.decimals:
            steps.append(
                Fraction(_NOISE.get(plain.digits, 1 if plain.digits < 15 else 20), 10**plain.decimals)
            )
    return steps[0] if len(steps) == 1 else None


def _same_decimal(left: Node, right: Node, step: Fraction) -> bool | None:
    """Whether a long decimal is the value of the other side to its last digit."""
    try:
        ours, theirs = value_at(left, {}, real=True), value_at(right, {}, real=True)
    except (OutOfDomainError, TooLargeError, OverflowError, NotNumericError):
        return None
    if abs(ours - theirs) * step.denominator <= step.numerator:
        evidence.agreed(0, constant=True)
        return True
    evidence.differed({}, ours, theirs)
    return False


def _same_rational(left: Fraction, right: Fraction, left_node: Node, right_node: Node) -> bool:
    if left == right:
        return True
    digits = long_decimal(left_node, right_node)
    if not digits:
        return False
    # 0.0833333333333333 for 1/12: a computed value, right in every digit but the last few. A number that
    # has a short decimal itself is not one that had to be cut off.
    other = right if long_decimal(left_node) else left
    if _terminates(other) and not (long_decimal(left_node) and long_decimal(right_node)):
        return False
    if long_decimal(left_node) and long_decimal(right_node):
        return False
    step = _last_digit(left_node, right_node)
    return abs(left - right) <= (step or abs(right) * Fraction(1, 10 ** (digits - 2)))


def _terminates(value: Fraction) -> bool:
    below = value.denominator
    for prime in (2, 5):
        while below % prime == 0:
            below //= prime
    return below == 1


def _same_at(
    tried: Iterable[dict[str, Fraction]],
    left: Node,
    right: Node,
    *,
    real: bool,
    tolerance: float,
    unit: bool,
    enough: int,
) -> bool | None:
    """True when `enough` points agree, or all there are and at least four; False at the first that does not.

    None where too few points have values on both sides. A point where only one has a value is left out and noted.
    """
    agreed = 0
    for point in tried:
        values: list[Any] = []
        try:
            for node in (left, right):
                try:
                    values.append(value_at(node, point, real=real, degree_is_unit=unit))
                except OutOfDomainError:
                    values.append(None)
        except (TooLargeError, OverflowError):
            continue
        except NotNumericError:
            return None
        ours, theirs = values
        if ours is None or theirs is None:
            if not point and real:
                return _same_at([{}], left, right, real=False, tolerance=tolerance, unit=unit, enough=enough)
            if ours is not theirs:
                evidence.one_sided(point)
            continue
        if not close(ours, theirs, tolerance):
            evidence.differed(point, ours, theirs)
            return False
        agreed += 1
        if agreed >= enough:
            break
    if agreed < min(enough, _ENOUGH):
        return None
    evidence.agreed(agreed, constant=enough == 1)
    return True


def constant_ratio(left: Node, right: Node) -> Fraction | float | None:
    """The number c with left = c * right at every point, or None; zero and undefined are None."""
    names = sorted(variables(left) | variables(right))
    ratios: list[Any] = []
    complex_wanted = has_symbol(left, "i") or has_symbol(right, "i")
    for tried, real in ((points(names), not complex_wanted), (integer_points(names), True)):
        for point in tried:
            try:
                above = value_at(left, point, real=real)
                below = value_at(right, point, real=real)
            except (OutOfDomainError, TooLargeError, OverflowError):
                continue
            except NotNumericError:
                return None
            if above == 0 and below == 0:
                continue
            if above == 0 or below == 0:
                return None
            ratios.append(above / below)
            if not close(ratios[0], ratios[-1]):
                return None
            if len(ratios) >= 5:
                return float(ratios[0].real)
        if len(ratios) >= 3:
            return float(ratios[0].real)
    return None


def same_up_to_parameters(left: Node, right: Node) -> bool:
    """Whether left / right depends on the parameters alone, where both are expressions in x, y (z) and parameters.

    Then they have the same zero set for all parameters but those where the factor vanishes.
    """
    names = sorted(variables(left) | variables(right))
    main = [name for name in names if name in ("x", "y", "z")]
    if len(main) < 2 or len(main) == len(names):
        return False
    tried = list(points(names))
    compared = 0
    for fixed in (tried[0], tried[2]):
        ratios: list[Any] = []
        for moving in tried[:7]:
            point = {name: (moving if name in main else fixed)[name] for name in names}
            try:
                above, below = value_at(left, point, real=True), value_at(right, point, real=True)
            except (OutOfDomainError, TooLargeError, OverflowError):
                continue
            except NotNumericError:
                return False
            if above == 0 or below == 0:
                return False
            ratios.append(above / below)
            if not close(ratios[0], ratios[-1]):
                return False
        compared += len(ratios) >= 4
    return compared == 2


def solved_for(difference: Node, name: str) -> Any:
    """A function of a point that gives the root of `difference`, affine in `name`; None where it is not affine.

    The result maps a point without `name` to the root; it raises as `Evaluator.value`.
    """

    def root(point: dict[str, Fraction]) -> Any:
        """The root at one point."""
        values = [value_at(difference, {**point, name: Fraction(x)}, real=True) for x in (1, 2, 3)]
        slope = values[1] - values[0]
        if slope == 0 or not close(values[2] - values[1], slope):
            raise NotNumericError
        return 1 - values[0] / slope

    return root


def same_roots(left: Node, right: Node, name: str) -> bool:
    """Whether two expressions, both affine in `name`, vanish for the same `name` at every point."""
    names = sorted((variables(left) | variables(right)) - {name})
    roots = solved_for(left, name), solved_for(right, name)
    agreed = 0
    for point in points(names):
        try:
            ours, theirs = roots[0](point), roots[1](point)
        except (OutOfDomainError, TooLargeError, OverflowError):
            continue
        except NotNumericError:
            return False
        if not close(ours, theirs):
            return False
        agreed += 1
        if agreed >= _ENOUGH:
            return True
    return False


def numeric_order(node: Node) -> Any:
    """The real number that a constant is, for sorting; NotNumericError where it has none."""
    try:
        return value_at(node, {}, real=True)
    except (OutOfDomainError, TooLargeError, OverflowError) as error:
        raise NotNumericError from error


def negated(node: Node) -> Node:
    """The tree with the opposite sign."""
    return node.args[0] if isinstance(node, Call) and node.head == "neg" else Call("neg", (node,))


def difference(left: Node, right: Node) -> Node:
    """The tree of left - right."""
    return Call("add", (left, Call("neg", (right,))))
