"""Equality of relations: equations, inequalities, congruences, and values that an answer names."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Sequence
from fractions import Fraction

from verifiers.math import compare
from verifiers.math.naming import (
    CONTRADICTION,
    Named,
    arbitrary_constants,
    is_derivative_sign,
    letters_of,
    name_in,
    same_name,
)
from verifiers.math.shapes import approximates, is_scalar, split_quantity
from verifiers.math.syntax import (
    Call,
    Logic,
    Node,
    Num,
    Quantity,
    Relation,
    Sym,
    substitute,
    variables,
    walk,
)
from verifiers.math.values import Values
from verifiers.math.vocabulary import FUNCTIONS

_USUAL_ARGUMENTS = frozenset({"x", "y", "z", "t", "n"})


def _argument_missing(name: Node, value: Node) -> bool:
    """Whether "f(y) = 2x" gives a function of another variable than the one that it is said of."""
    if (
        not isinstance(name, Call)
        or name.head != "apply"
        or not all(isinstance(a, Sym) for a in name.args[1:])
    ):
        return False
    arguments = {argument.name for argument in name.args[1:] if isinstance(argument, Sym)}
    used = variables(value) & _USUAL_ARGUMENTS
    return bool(used) and not arguments & variables(value) and not used & arguments and len(used) == 1


RESTATING = frozenset({"int", "lim", "sum", "prod", "gcd", "lcm", "mod", "det"})
"""Operations that an answer must have done, unless the gold leaves them undone as well."""


class Relations(Values):
    """Compares relations."""

    @abstractmethod
    def equal_sets(self, ours: Node, theirs: Node) -> bool | None:
        """Intervals, inequalities, unions; None where not both are sets or both are plain brackets."""

    @abstractmethod
    def in_order(self, left: Sequence[Node], right: Sequence[Node]) -> bool | None:
        """Equality item by item."""

    def equal_named(
        self, ours: Node, ours_named: Named | None, theirs: Node, theirs_named: Named | None
    ) -> bool | None:
        """x = 3 against 3, f(x) = 2x against f(t) = 2t."""
        if ours_named and theirs_named:
            chains = letters_of(ours), letters_of(theirs)
            if len(chains[1]) > 1 and chains[0] != chains[1]:
                # x = y = 1 is not x = y = z = 1.
                return False
            if ours_named.name is theirs_named.name is None and not self.same_question(ours, theirs):
                return False
            renamed = same_name(ours_named, theirs_named)
            if renamed is not None:
                value = substitute(ours_named.value, renamed) if renamed else ours_named.value
                return self.equal(value, theirs_named.value)
            if variables(ours_named.value) or variables(theirs_named.value):
                return None
            return False
        named = ours_named or theirs_named
        other = theirs if ours_named else ours
        assert named is not None
        if isinstance(other, Relation) and isinstance(ours, Relation) and isinstance(theirs, Relation):
            if theirs_named is not None and not variables(theirs_named.value):
                # The gold is solved and the answer is not: 3x = 9 is no x = 3.
                return self.equal_sets(ours, theirs) or False
            return None
        if ours_named and not isinstance(other, Relation):
            return self.equal(named.value, other)
        return self.equal(other, named.value) if not isinstance(other, Relation) else None

    def same_question(self, ours: Node, theirs: Node) -> bool:
        """Whether two chains such as cos(3 pi/2) = 0 begin with the same function of the same number."""
        firsts = [node.terms[0] for node in (ours, theirs) if isinstance(node, Relation)]
        if len(firsts) < 2 or not all(
            isinstance(first, Call) and first.head in FUNCTIONS for first in firsts
        ):
            return True
        left, right = firsts
        assert isinstance(left, Call)
        assert isinstance(right, Call)
        return left.head == right.head and self.in_order(left.args, right.args) is True

    def named(self, node: Node, *, approximate: bool | None = None) -> Named | None:
        """Name and value of "x = 3"; CONTRADICTION for a chain that is wrong in itself; None for anything else."""
        if not isinstance(node, Relation) or not set(node.operators) <= {"=", "~", "=="}:
            return None
        terms, operators = list(node.terms), list(node.operators)
        if ("~" in operators and name_in(terms[0]) is None) or (operators.count("~") and len(terms) > 2):
            # What stands behind "approximately" only illustrates the exact value.
            first = operators.index("~")
            if first == 0 and name_in(terms[0]) is not None:
                # In "phi ~ 0.245 ~ 14 degrees" the first value is what the name is given.
                first = operators.index("~", 1) if "~" in operators[1:] else len(operators)
            if (
                first < len(operators)
                and approximate is not None
                and not approximates(terms[first], terms[first + 1], strict=approximate)
            ):
                return CONTRADICTION
            if first < len(operators):
                # "40/3 ~ 13.33 minutes": the unit is that of both.
                unit = split_quantity(terms[first + 1])[1]
                if unit and unit != (("%", 1),) and not split_quantity(terms[first])[1]:
                    terms[first] = Quantity(terms[first], unit)
            terms, operators = terms[: first + 1], operators[:first]
        first_term = terms[0]
        if len(terms) == 2 and isinstance(first_term, Sym) and first_term.name in ("i", "e"):
            # In "i = 3" the letter is the problem's variable.
            return None if compare.has_symbol(terms[1], first_term.name) else Named(first_term, terms[1])
        if len(terms) > 1 and all(term == first_term for term in terms):
            # 0 = 0 gives no value.
            return None
        names = list(itertools.takewhile(lambda term: name_in(term) is not None, terms[:-1]))
        values = terms[len(names) :]
        for other in values[1:]:
            same = self.plain_values(values[0], other)
            if same is None and compare.has_head(values[0], RESTATING):
                # \lim ... = 1: the operation, then what it gives.
                continue
            if any(map(is_derivative_sign, walk(values[0]))):
                # d/dx x^2 = 2x
                continue
            if same is False and len(values) > 1 and (names or not (variables(values[0]) | variables(other))):
                return CONTRADICTION
            if same is not True:
                return None if not names else CONTRADICTION
        if not names and len(values) < 2 and len(node.terms) == len(values):
            return None
        if names and _argument_missing(names[0], values[-1]):
            return CONTRADICTION
        return Named(names[0] if names else None, values[-1])

    def plain_values(self, left: Node, right: Node) -> bool | None:
        """Equality of two links of a chain; None for relations."""
        if isinstance(left, (Relation, Logic)) or isinstance(right, (Relation, Logic)):
            return None
        return self.equal(left, right)

    def equal_relations(self, ours: Relation, theirs: Relation) -> bool | None:
        """Equations as zero sets up to a factor, inequalities up to a positive one, chains term by term."""
        if len(ours.terms) == len(theirs.terms) == 2 and ours.operators == theirs.operators == ("=",):
            return self.equal_equations(ours, theirs)
        flipped = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "=": "=", "!=": "!="}
        if ours.operators == theirs.operators and self.in_order(ours.terms, theirs.terms):
            return True
        if all(o in flipped for o in ours.operators):
            operators = tuple(flipped[o] for o in reversed(ours.operators))
            if operators == theirs.operators and self.in_order(ours.terms[::-1], theirs.terms):
                return True
        if len(ours.terms) == len(theirs.terms) == 2:
            return self.equal_inequalities(ours, theirs)
        return False if ours.operators == theirs.operators else None

    def equal_equations(self, ours: Relation, theirs: Relation) -> bool | None:
        """Equations by their zero sets."""
        parts = (*ours.terms, *theirs.terms)
        if any(not is_scalar(part) for part in parts):
            return self.in_order(ours.terms, theirs.terms)
        left, right = compare.difference(*ours.terms), compare.difference(*theirs.terms)
        names = variables(left), variables(right)
        if (renamed := arbitrary_constants(left, right)) is not None:
            left, names = substitute(left, renamed), (names[1], names[1])
        if not names[0] or not names[1]:
            # Constant equations have no zero set; they are equal only side by side.
            sides = self.in_order(ours.terms, theirs.terms)
            return sides if sides is not None else None
        if len(names[1]) == 1 and self.solved(theirs) and not self.solved(ours):
            return False
        if compare.constant_ratio(left, Num(Fraction(1))) is not None:
            # x + 1 = x + 2 is false everywhere, as every such equation is.
            return self.in_order(ours.terms, theirs.terms)
        if compare.constant_ratio(left, right) is not None:
            return True
        if names[0] == names[1] and compare.same_up_to_parameters(left, right):
            return True
        for name in sorted(names[0] & names[1]):
            if names[0] == names[1] and len(names[0]) > 1 and compare.same_roots(left, right, name):
                return True
        return False

    def solved(self, relation: Relation) -> bool:
        """Whether a variable stands alone on one side and not on the other."""
        for side, other in (relation.terms, relation.terms[::-1]):
            name = name_in(side)
            if name is not None and isinstance(side, Sym) and side.name not in variables(other):
                return True
        return False

    def equal_inequalities(self, ours: Relation, theirs: Relation) -> bool | None:
        """Inequalities in several variables, up to a positive factor."""
        order = {"<": 1, "<=": 2, ">": -1, ">=": -2}
        if ours.operators[0] not in order or theirs.operators[0] not in order:
            return False
        strict = abs(order[ours.operators[0]]), abs(order[theirs.operators[0]])
        if strict[0] != strict[1] or any(not is_scalar(t) for t in (*ours.terms, *theirs.terms)):
            return False
        left, right = compare.difference(*ours.terms), compare.difference(*theirs.terms)
        if variables(left) != variables(right) or len(variables(left)) < 2:
            return False
        if compare.constant_ratio(left, Num(Fraction(1))) is not None:
            # x + y < x + y + 1 says nothing, and says it of everything.
            return False
        ratio = compare.constant_ratio(left, right)
        same_way = (order[ours.operators[0]] > 0) == (order[theirs.operators[0]] > 0)
        return ratio is not None and (float(ratio) > 0) == same_way

    def solves(self, ours: Node, theirs: Relation) -> bool | None:
        """An expression against a gold equation that gives a variable which the expression does not have."""
        if theirs.operators != ("=",) or not is_scalar(ours) or any(not is_scalar(t) for t in theirs.terms):
            return False
        missing = variables(theirs) - variables(ours)
        if len(missing) != 1 or not variables(ours) or not variables(ours) < variables(theirs):
            return False
        (name,) = missing
        equation = compare.difference(*theirs.terms)
        return compare.same_roots(compare.difference(Sym(name), ours), equation, name)
