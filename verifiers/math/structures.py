"""Equality of trees, structure by structure: lists, sets, tuples, matrices, relations, quantities, values."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from verifiers.math import compare
from verifiers.math.evaluate import NotExactError, TooLargeError, exact
from verifiers.math.numbers import rounds_to
from verifiers.math.realsets import NoSetError, real_set, same_set
from verifiers.math.shapes import (
    CONTRADICTION,
    Named,
    approximates,
    arbitrary_constants,
    closed_form,
    expand_pm,
    has_pm,
    is_computation,
    is_list,
    is_scalar,
    items_of,
    matrix_cells,
    mentions_matrix,
    name_in,
    only_units,
    periodic_parameters,
    ratio_terms,
    same_name,
    same_symbol,
    shows_approximation,
    split_quantity,
    unwrap,
    value_of,
    vector_entries,
    with_letter_unit,
    without_declaration,
)
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
    substitute,
    variables,
    walk,
)
from verifiers.math.units import convert


@dataclass(frozen=True, slots=True)
class Outcome:
    """`equal` is None where it can't be told; `rule` and `reason` say what decided."""

    equal: bool | None
    rule: str
    reason: str


@dataclass(frozen=True, slots=True)
class Options:
    """What may be tolerated beyond equality."""

    rounding: bool = False
    """Accept a value that rounds to the gold decimal at the digits that the gold shows."""


_RESTATING = frozenset({"int", "lim", "sum", "prod", "gcd", "lcm", "mod", "det"})


_STEPS = frozenset({"floor", "ceil", "abs"})
_FUNCTION_HEADS = frozenset(
    {
        "sin",
        "cos",
        "tan",
        "cot",
        "sec",
        "csc",
        "log",
        "ln",
        "arcsin",
        "arccos",
        "arctan",
        "sinh",
        "cosh",
        "tanh",
        "max",
        "min",
    }
)


class Decider:
    """Compares two trees under the same options."""

    def __init__(self, options: Options) -> None:
        self.options = options

    def decide(self, ours: Node, theirs: Node) -> Outcome:
        """The outcome for an answer and a gold answer."""
        ours, theirs = without_declaration(ours), without_declaration(theirs)
        restated = self.restates(ours, theirs)
        if restated:
            return Outcome(False, "unevaluated", restated)
        equal = self.equal(ours, theirs)
        rule = _rule_name(theirs)
        if equal is None:
            return Outcome(None, "undecided", "neither shown equal nor different")
        if equal:
            return Outcome(True, rule, f"equal as {rule.replace('_', ' ')}")
        return Outcome(False, rule, f"different as {rule.replace('_', ' ')}")

    def restates(self, ours: Node, theirs: Node) -> str:
        """Why an answer counts as the question again: an operation left undone that the gold has done."""
        final = ours.terms[-1] if isinstance(ours, Relation) and set(ours.operators) <= {"=", "~"} else ours
        for node in walk(final):
            if not isinstance(node, Call):
                continue
            if node.head in _RESTATING and not compare.has_head(theirs, frozenset({node.head})):
                return f"the answer leaves the operation {node.head!r} undone"
            if node.head in _STEPS and isinstance(theirs, Num):
                return f"the answer leaves {node.head} of a number undone"
            constant = node.head in _FUNCTION_HEADS and not any(variables(arg) for arg in node.args)
            if (
                constant
                and not compare.has_head(theirs, _FUNCTION_HEADS)
                and not variables(theirs)
                and closed_form(node)
            ):
                return f"the answer leaves {node.head} of a number undone"
        return ""

    # Structures

    def equal(self, ours: Node, theirs: Node) -> bool | None:
        """Three-valued equality of two trees."""
        ours, theirs = unwrap(ours), unwrap(theirs)
        if has_pm(ours) or has_pm(theirs):
            return self.equal(expand_pm(ours), expand_pm(theirs))
        if is_computation(ours) and is_computation(theirs) and ours != theirs:
            # A chain of computations is the answer itself, not only its last value.
            return None
        undone = [
            isinstance(n, Relation) and compare.has_head(n.terms[0], _RESTATING) for n in (ours, theirs)
        ]
        if all(undone):
            assert isinstance(ours, Relation)
            assert isinstance(theirs, Relation)
            return self.in_order(ours.terms, theirs.terms)
        ours_named = self.named(ours, approximate=shows_approximation(theirs))
        theirs_named = self.named(theirs)
        if CONTRADICTION in (ours_named, theirs_named):
            return False
        if ours_named or theirs_named:
            found = self.equal_named(ours, ours_named, theirs, theirs_named)
            if found is not None or not (isinstance(ours, Relation) and isinstance(theirs, Relation)):
                return found
        found = self.equal_sets(ours, theirs)
        if found is not None:
            return found
        if is_list(ours) or is_list(theirs):
            return self.equal_lists(ours, theirs)
        if isinstance(ours, Group) or isinstance(theirs, Group):
            return self.equal_groups(ours, theirs)
        if matrix_cells(ours) is not None or matrix_cells(theirs) is not None:
            return self.equal_matrices(ours, theirs)
        if isinstance(ours, Relation) and isinstance(theirs, Relation):
            return self.equal_relations(ours, theirs)
        if isinstance(theirs, Relation) and not isinstance(ours, (Logic, SetBuilder)):
            return self.solves(ours, theirs)
        if isinstance(ours, (Relation, Logic, SetBuilder)) or isinstance(
            theirs, (Relation, Logic, SetBuilder)
        ):
            if isinstance(ours, Logic) and isinstance(theirs, Logic) and ours.operator == theirs.operator:
                return self.match_all(ours.items, theirs.items)
            return False
        if isinstance(ours, Call) and isinstance(theirs, Call) and "congruent" in (ours.head, theirs.head):
            return self.in_order(ours.args, theirs.args) if ours.head == theirs.head else False
        return self.equal_values(ours, theirs)

    def equal_named(
        self, ours: Node, ours_named: Named | None, theirs: Node, theirs_named: Named | None
    ) -> bool | None:
        """x = 3 against 3, f(x) = 2x against f(t) = 2t."""
        if ours_named and theirs_named:
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

    def named(self, node: Node, *, approximate: bool | None = None) -> Named | None:
        """Name and value of "x = 3"; CONTRADICTION for a chain that is wrong in itself; None for anything else."""
        if not isinstance(node, Relation) or not set(node.operators) <= {"=", "~", "=="}:
            return None
        terms, operators = list(node.terms), list(node.operators)
        if ("~" in operators and name_in(terms[0]) is None) or (operators.count("~") and len(terms) > 2):
            # What stands behind "approximately" only illustrates the exact value.
            first = operators.index("~")
            if approximate is not None and not approximates(
                terms[first], terms[first + 1], strict=approximate
            ):
                return CONTRADICTION
            terms, operators = terms[: first + 1], operators[:first]
        first_term = terms[0]
        if len(terms) == 2 and isinstance(first_term, Sym) and first_term.name in ("i", "e"):
            # In "i = 3" the letter is the problem's variable.
            return None if compare.has_symbol(terms[1], first_term.name) else Named(first_term, terms[1])
        names = list(itertools.takewhile(lambda term: name_in(term) is not None, terms[:-1]))
        values = terms[len(names) :]
        for other in values[1:]:
            same = self.plain_values(values[0], other)
            if same is None and compare.has_head(values[0], _RESTATING):
                # \lim ... = 1: the operation, then what it gives.
                continue
            if same is False and len(values) > 1 and (names or not (variables(values[0]) | variables(other))):
                return CONTRADICTION
            if same is not True:
                return None if not names else CONTRADICTION
        if not names and len(values) < 2 and len(node.terms) == len(values):
            return None
        return Named(names[0] if names else None, values[-1])

    def plain_values(self, left: Node, right: Node) -> bool | None:
        """Equality of two links of a chain; None for relations."""
        if isinstance(left, (Relation, Logic)) or isinstance(right, (Relation, Logic)):
            return None
        return self.equal(left, right)

    def equal_sets(self, ours: Node, theirs: Node) -> bool | None:
        """Intervals, inequalities, unions; None where not both are sets or both are plain brackets."""
        kinds = [not isinstance(node, Group) for node in (ours, theirs)]
        if not any(kinds):
            return None
        if all(isinstance(node, Relation) and set(node.operators) == {"="} for node in (ours, theirs)):
            return None
        try:
            left, right = real_set(ours, gold=False), real_set(theirs, gold=True)
        except NoSetError:
            return None
        if left.subject and right.subject and left.subject != right.subject:
            return False
        return same_set(left, right)

    def equal_lists(self, ours: Node, theirs: Node) -> bool | None:
        """Lists in any order; a list against a tuple in order."""
        left, right = list(items_of(ours)), list(items_of(theirs))
        tuples = [isinstance(n, Group) and n.opener in ("(", "[", "\\langle") for n in (ours, theirs)]
        if any(tuples) and any(isinstance(n, Group) and n.opener == "{" for n in (ours, theirs)):
            return False
        if any(tuples):
            if len(left) != len(right) or len(left) < 2:
                return False
            return self.in_order([value_of(n) for n in left], [value_of(n) for n in right])
        left, right = self.flat(left), self.flat(right)
        names = [[self.name_of(item) for item in side] for side in (left, right)]
        if len(left) > 40 or len(right) > 40:
            return None
        braces = any(isinstance(n, Group) and n.opener == "{" for n in (ours, theirs))
        if len(right) == 1 < len(left) <= 3 and not braces:
            # One value in two forms: 5/12 or 0.41666...
            left = self.unique(left)
        if braces or all(isinstance(item, Group) for item in (*left, *right)):
            left, right = self.unique(left), self.unique(right)
        if len(left) != len(right):
            return False
        known = [[name for name in side if name is not None] for side in names]
        if bool(known[0]) != bool(known[1]):
            distinct = set(map(repr, known[0] or known[1]))
            letters = all(len(str(n)) == 1 for n in (known[0] or known[1]))
            left, right = [value_of(n) for n in left], [value_of(n) for n in right]
            if len(distinct) == len(left) > 1 and letters:
                return self.in_order(left, right)
        elif known[0] and len(set(known[0])) == 1 == len(set(known[1])):
            if known[0][0] != known[1][0]:
                first, second = self.named(left[0]), self.named(right[0])
                if first is None or second is None or same_name(first, second) is None:
                    return False
            else:
                left, right = [value_of(n) for n in left], [value_of(n) for n in right]
        return self.match_all(left, right)

    def flat(self, items: Sequence[Node]) -> list[Node]:
        """List items with unions of items inside them resolved: x = 1, 2 is one name for both."""
        result: list[Node] = []
        for item in items:
            if (
                isinstance(item, Group)
                and item.opener in ("", "{")
                and item.items
                and not isinstance(item.items[0], Group)
            ):
                result.extend(item.items if item.opener == "" else [item])
            elif (
                isinstance(item, Relation)
                and item.operators == ("=",)
                and isinstance(item.terms[1], Group)
                and item.terms[1].opener == ""
            ):
                result.extend(Relation((item.terms[0], value), ("=",)) for value in item.terms[1].items)
            else:
                result.append(item)
        return result

    def unique(self, items: Sequence[Node]) -> list[Node]:
        """The items, each once."""
        kept: list[Node] = []
        for item in items:
            if not any(self.equal(item, other) is True for other in kept):
                kept.append(item)
        return kept

    def name_of(self, node: Node) -> str | None:
        """The name in "x = 3"."""
        if isinstance(node, Relation) and node.operators in (("=",), ("~",)):
            return name_in(node.terms[0])
        return None

    def match_all(self, left: Sequence[Node], right: Sequence[Node]) -> bool | None:
        """Whether the items of one side are those of the other, each once, in any order."""
        rest = list(right)
        unsure = False
        for item in left:
            for index, other in enumerate(rest):
                found = self.equal(item, other)
                if found:
                    del rest[index]
                    break
                unsure |= found is None
            else:
                return None if unsure else False
        return not rest

    def in_order(self, left: Sequence[Node], right: Sequence[Node]) -> bool | None:
        """Equality item by item."""
        if len(left) != len(right):
            return False
        found: bool | None = True
        for ours, theirs in zip(left, right, strict=True):
            same = self.equal(ours, theirs)
            if same is False:
                return False
            if same is None:
                found = None
        return found

    def equal_groups(self, ours: Node, theirs: Node) -> bool | None:
        """Tuples and intervals in brackets of the same kind."""
        for node, other in ((ours, theirs), (theirs, ours)):
            matrix = matrix_cells(other)
            if isinstance(node, Group) and matrix is not None and node.opener != "{":
                entries = vector_entries(matrix)
                if entries is None:
                    return False
                return (
                    self.in_order(node.items, entries) if node is ours else self.in_order(entries, node.items)
                )
            single = isinstance(node, Group) and len(node.items) == 1 and node.opener in ("{", "[")
            if single and not isinstance(other, Group):
                return self.equal(items_of(ours)[0], items_of(theirs)[0])
        if not (isinstance(ours, Group) and isinstance(theirs, Group)):
            return False
        if "{" in (ours.opener, theirs.opener):
            return False
        if len(ours.items) != len(theirs.items):
            return False
        if len(ours.items) == 2 and "\\langle" not in (ours.opener, theirs.opener):
            if (ours.opener, ours.closer) != (theirs.opener, theirs.closer):
                return False
            try:
                return same_set(real_set(ours, gold=False), real_set(theirs, gold=True)) or self.in_order(
                    ours.items, theirs.items
                )
            except NoSetError:
                pass
        return self.in_order(ours.items, theirs.items)

    def equal_matrices(self, ours: Node, theirs: Node) -> bool | None:
        """Matrices cell by cell, sums and products of matrices worked out."""
        left, right = matrix_cells(ours), matrix_cells(theirs)
        if left is None or right is None:
            if mentions_matrix(ours) and mentions_matrix(theirs):
                return None
            return False
        if len(left) != len(right) or len(left[0]) != len(right[0]):
            return False
        return self.in_order([c for row in left for c in row], [c for row in right for c in row])

    # Relations

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
        if not names[0] or not names[1]:
            # Constant equations have no zero set; they are equal only side by side.
            sides = self.in_order(ours.terms, theirs.terms)
            return sides if sides is not None else None
        if len(names[1]) == 1 and self.solved(theirs) and not self.solved(ours):
            return False
        if compare.constant_ratio(left, right) is not None:
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
        if len(variables(left) | variables(right)) < 2:
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

    # Values

    def equal_values(self, ours: Node, theirs: Node) -> bool | None:
        """Numbers, expressions, quantities with units."""
        if isinstance(ours, Quantity) or isinstance(theirs, Quantity):
            return self.equal_quantities(ours, theirs)
        if isinstance(ours, Based) or isinstance(theirs, Based):
            return self.equal_based(ours, theirs)
        if isinstance(ours, Text) or isinstance(theirs, Text):
            return ours == theirs
        if isinstance(ours, Sym) and isinstance(theirs, Sym):
            return same_symbol(ours.name, theirs.name)
        ratios = [n for n in (ours, theirs) if isinstance(n, Call) and n.head == "ratio"]
        if ratios:
            return self.equal_ratios(ours, theirs)
        found = compare.same_value(ours, theirs)
        if found is True:
            return True
        if self.options.rounding and self.rounds(ours, theirs):
            return True
        renamed = periodic_parameters(ours, theirs) or arbitrary_constants(ours, theirs)
        if found is False and renamed is not None:
            return compare.same_value(substitute(ours, renamed), theirs)
        return found

    def rounds(self, ours: Node, theirs: Node) -> bool:
        """Whether the value rounds to the gold decimal."""
        gold = theirs
        negative = isinstance(gold, Call) and gold.head == "neg"
        if negative:
            assert isinstance(gold, Call)
            gold, ours = gold.args[0], compare.negated(ours)
        if not isinstance(gold, Num) or variables(ours):
            return False
        try:
            value = exact(ours)
        except (NotExactError, TooLargeError):
            try:
                number = compare.numeric_order(ours)
                value = Fraction(str(number))
            except (ValueError, TypeError):
                return False
        return rounds_to(value, gold)

    def equal_ratios(self, ours: Node, theirs: Node) -> bool | None:
        """3:1 against 6:2, or against the number 3."""
        left, right = ratio_terms(ours), ratio_terms(theirs)
        if len(left) == len(right) > 1:
            return self.proportional(left, right)
        found = compare.same_value(ours, theirs)
        if found is not True and self.options.rounding and self.rounds(ours, theirs):
            return True
        return found

    def proportional(self, left: Sequence[Node], right: Sequence[Node]) -> bool | None:
        """Whether one sequence is a multiple of the other: every two terms have the same ratio."""
        zero = Num(Fraction(0))
        for a, b in zip(left, right, strict=True):
            if (compare.same_value(a, zero) is True) != (compare.same_value(b, zero) is True):
                return False
        for (a, b), (c, d) in itertools.combinations(list(zip(left, right, strict=True)), 2):
            found = compare.same_value(Call("mul", (a, d)), Call("mul", (b, c)))
            if found is not True:
                return found
        return True

    def equal_based(self, ours: Node, theirs: Node) -> bool | None:
        """Numbers with a stated base."""
        if isinstance(ours, Based) and isinstance(theirs, Based):
            return ours.base == theirs.base and ours.digits.lstrip("0") == theirs.digits.lstrip("0")
        if isinstance(theirs, Based):
            # The base is known from the question; the digits alone are how the answer is usually written.
            return isinstance(ours, Num) and ours == Num(Fraction(theirs.digits))
        return compare.same_value(ours, theirs)

    def equal_quantities(self, ours: Node, theirs: Node) -> bool | None:
        """Values with units: converted where both have one; a unit that only one side gives is left out."""
        ours, theirs = with_letter_unit(ours, theirs), with_letter_unit(theirs, ours)
        (left, left_unit), (right, right_unit) = split_quantity(ours), split_quantity(theirs)
        percent = (("%", 1),)
        if (left_unit == percent) != (right_unit == percent):
            if left_unit and right_unit:
                return False
            plain = self.equal(left, right)
            if plain:
                return True
            if left_unit == percent:
                return self.equal(Call("div", (left, Num(Fraction(100)))), right)
            return self.equal(left, Call("div", (right, Num(Fraction(100)))))
        if any(isinstance(value, Call) and value.head == "degree" for value in (left, right)):
            # Degrees are a unit of their own.
            return False
        if not left_unit or not right_unit or left_unit == right_unit:
            return self.equal(left, right)
        if only_units(left_unit) or only_units(right_unit):
            # "square units" stands for any area.
            powers = [sum(power for _, power in unit) for unit in (left_unit, right_unit)]
            return self.equal(left, right) if powers[0] == powers[1] else False
        dimensions, factor = convert(left_unit)
        wanted, wanted_factor = convert(right_unit)
        if dimensions == wanted:
            scale = factor / wanted_factor
            return self.equal(left if scale == 1 else Call("mul", (left, Num(scale))), right)
        return False


def _rule_name(gold: Node) -> str:
    kinds: tuple[tuple[Callable[[Node], bool], str], ...] = (
        (lambda n: isinstance(n, Matrix), "matrix"),
        (lambda n: is_list(n), "list"),
        (lambda n: isinstance(n, Group) and n.opener == "{", "set"),
        (lambda n: isinstance(n, Group), "tuple_or_interval"),
        (lambda n: isinstance(n, (SetBuilder, Logic)), "set"),
        (lambda n: isinstance(n, Call) and n.head in ("union", "intersection", "difference"), "set"),
        (lambda n: isinstance(n, Relation), "relation"),
        (lambda n: isinstance(n, Quantity), "quantity"),
        (lambda n: bool(variables(n)), "expression"),
    )
    return next((name for test, name in kinds if test(gold)), "number")
