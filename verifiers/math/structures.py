"""Equality of trees, structure by structure: lists, sets, tuples, matrices, relations, quantities, values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from verifiers.math import compare
from verifiers.math.evidence import evidence
from verifiers.math.forms import common_forms
from verifiers.math.matrices import matrix_cells, mentions_matrix, vector_entries
from verifiers.math.naming import (
    CONTRADICTION,
    PARAMETERS,
    indexed_roots,
    is_derivative_sign,
    name_in,
    same_name,
    value_of,
)
from verifiers.math.realsets import NoSetError, is_infinite, real_set, same_set
from verifiers.math.relations import RESTATING, Relations
from verifiers.math.shapes import (
    closed_form,
    expand_pm,
    has_pm,
    is_computation,
    is_list,
    items_of,
    shows_approximation,
    unwrap,
    without_declaration,
)
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


@dataclass(frozen=True, slots=True)
class Outcome:
    """`equal` is None where it can't be told; `rule` and `reason` say what decided."""

    equal: bool | None
    rule: str
    reason: str


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


class Decider(Relations):
    """Compares two trees under the same options."""

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
        kind = rule.replace("_", " ")
        if equal:
            return Outcome(True, rule, f"equal as {kind}: {evidence.of_equality()}")
        where = evidence.of_difference()
        return Outcome(False, rule, f"different as {kind}" + (f": {where}" if where else ""))

    def restates(self, ours: Node, theirs: Node) -> str:
        """Why an answer counts as the question again: an operation left undone that the gold has done."""
        final = ours.terms[-1] if isinstance(ours, Relation) and set(ours.operators) <= {"=", "~"} else ours
        for node in walk(final):
            if not isinstance(node, Call):
                continue
            if is_derivative_sign(node) and not any(map(is_derivative_sign, walk(theirs))):
                return "the answer leaves a derivative undone"
            if node.head in RESTATING and not compare.has_head(theirs, frozenset({node.head})):
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
            expanded = expand_pm(ours), expand_pm(theirs)
            if any(has_pm(node) for node in expanded):
                # More signs than are written out, or one where none can be.
                return True if ours == theirs else None
            return self.equal(*expanded)
        if not (isinstance(ours, Num) and isinstance(theirs, Num)):
            ours, theirs = common_forms(ours, theirs)
        if is_computation(ours) and is_computation(theirs) and ours != theirs:
            # A chain of computations is the answer itself, not only its last value.
            return None
        undone = [isinstance(n, Relation) and compare.has_head(n.terms[0], RESTATING) for n in (ours, theirs)]
        if all(undone):
            assert isinstance(ours, Relation)
            assert isinstance(theirs, Relation)
            return self.in_order(ours.terms, theirs.terms) if ours.operators == theirs.operators else False
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
            if any(isinstance(node, Logic) and node.operator == "or" for node in (ours, theirs)):
                # "p or q" is no list of p and q.
                return None
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
            if isinstance(ours, SetBuilder) and isinstance(theirs, SetBuilder):
                ours = _with_letter_of(ours, theirs)
                same = (
                    self.equal(ours.condition, theirs.condition) if ours.subject == theirs.subject else None
                )
                return True if same else None
            for one, other in ((ours, theirs), (theirs, ours)):
                if isinstance(one, Logic) and one.operator == "and" and is_list(other):
                    return self.match_all(items_of(ours), items_of(theirs))
            if isinstance(ours, Logic) and isinstance(theirs, Logic) and ours.operator == theirs.operator:
                return self.match_all(ours.items, theirs.items)
            return False
        if isinstance(ours, Call) and isinstance(theirs, Call) and "congruent" in (ours.head, theirs.head):
            return self.equal_congruences(ours, theirs)
        if isinstance(ours, Call) and isinstance(theirs, Call) and "cases" in (ours.head, theirs.head):
            return self.equal_cases(ours, theirs)
        return self.equal_values(ours, theirs)

    def equal_congruences(self, ours: Call, theirs: Call) -> bool | None:
        """x = 3 (mod 5) against 8 (mod 5) or x = 8 (mod 5): the same modulus, the same class."""
        if ours.head == theirs.head and len(ours.args) != len(theirs.args):
            return False
        if not {ours.head, theirs.head} <= {"congruent", "residue"} or len(ours.args) > 3 < len(theirs.args):
            return self.in_order(ours.args, theirs.args) if ours.head == theirs.head else False
        for node in (ours, theirs):
            if node.head == "congruent" and name_in(node.args[0]) is None:
                return self.in_order(ours.args, theirs.args) if ours.head == theirs.head else False
        if ours.head == theirs.head and ours.args[0] != theirs.args[0]:
            return False
        (left, modulus), (right, other) = ours.args[-2:], theirs.args[-2:]
        same = self.equal(modulus, other)
        if same is not True:
            return same
        numbers = [node.value for node in (left, right, modulus) if isinstance(node, Num)]
        if len(numbers) == 3 and numbers[2]:
            return (numbers[0] - numbers[1]) % numbers[2] == 0
        return self.equal(left, right)

    def equal_cases(self, ours: Call, theirs: Call) -> bool | None:
        """Functions in pieces: each value under its condition, in any order."""
        if ours.head != theirs.head or len(ours.args) != len(theirs.args):
            return False
        pieces = [
            [Group("(", ")", node.args[index : index + 2]) for index in range(0, len(node.args), 2)]
            for node in (ours, theirs)
        ]
        found = self.match_all(pieces[0], pieces[1])
        return True if found else None

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
            said = [name for name in map(self.name_of, (*left, *right)) if name is not None]
            if len(set(said)) != len(said):
                # y = 1, y = 2 is no point.
                return False
            return self.in_order([value_of(n) for n in left], [value_of(n) for n in right])
        left, right = self.flat(left), self.flat(right)
        names = [[self.name_of(item) for item in side] for side in (left, right)]
        if len(left) > 40 or len(right) > 40:
            return None
        braces = any(isinstance(n, Group) and n.opener == "{" for n in (ours, theirs))
        if len(right) == 1 < len(left) <= 3 and not braces:
            # One value in two forms: 5/12 or 0.41666...; the same twice is no such thing.
            left = self.unique(left) if len(set(left)) == len(left) else left
        if len(left) == 1 < len(right) <= 3 and not braces:
            right = self.unique(right) if len(set(right)) == len(right) else right
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
        elif known[0] and (indexed_roots(known[0], known[1]) or indexed_roots(known[1], known[0])):
            left, right = [value_of(n) for n in left], [value_of(n) for n in right]
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
                if _is_set(item) != _is_set(other):
                    # {2} is 2 as an answer, but not as a member of a list.
                    continue
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
        if not ours.items or not theirs.items:
            return ours == theirs
        if len(ours.items) != len(theirs.items):
            return False
        if len(ours.items) == 2 and "\\langle" not in (ours.opener, theirs.opener):
            alike = (ours.opener, ours.closer) == (theirs.opener, theirs.closer)
            if not alike and not any(is_infinite(item) for item in ours.items):
                return False
            try:
                same = same_set(real_set(ours, gold=False), real_set(theirs, gold=True))
            except NoSetError:
                same = None
            if same or not alike:
                return same or False
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


def _with_letter_of(ours: SetBuilder, theirs: SetBuilder) -> SetBuilder:
    """{2^n : n in N} with the letter that the other side counts with."""
    left, right = variables(ours.subject), variables(theirs.subject)
    if left == right or len(left) != 1 or len(right) != 1 or not left | right <= PARAMETERS:
        return ours
    (letter,), (other,) = left, right
    renamed: dict[str, Node] = {letter: Sym(other)}
    return SetBuilder(substitute(ours.subject, renamed), substitute(ours.condition, renamed))


def _is_set(node: Node) -> bool:
    return isinstance(node, Group) and node.opener == "{"


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
