"""Whether an answer is the gold answer: from equal text over exact numbers to structures and expressions.

Every rule consumes both sides whole. Where no rule decides, the outcome is "can't tell", never "equal".
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from verifiers.math import compare
from verifiers.math.evaluate import Exhausted, NotExact, NotNumeric, TooLarge, exact, start_budget
from verifiers.math.normalisation import canonical_latex, squeezed
from verifiers.math.numbers import parse_rational
from verifiers.math.parser import Unparsed, parse
from verifiers.math.realsets import NoSet, real_set, same_set
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
from verifiers.math.text import choice, choices, is_wordy, plain, same_words, synonym, without_qualifier
from verifiers.math.units import UNITS, convert


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


UNREADABLE = "unparsed"
_LONGEST_TEXT = 20_000


def decide(answer: str, gold: str, options: Options = Options()) -> Outcome:
    """Compare an extracted answer with a gold answer. Bounded work, whatever the texts are."""
    start_budget()
    try:
        return _decide(answer, gold, options)
    except Exhausted:
        return Outcome(None, "undecided", "the comparison was given up after a fixed amount of work")
    except RecursionError:
        return Outcome(None, "undecided", "nested too deeply to compare")


def _decide(answer: str, gold: str, options: Options) -> Outcome:
    if answer.strip() == gold.strip() and gold.strip():
        return Outcome(True, "same_text", "the answer is the gold answer, letter for letter")
    left, right = parse_rational(answer.strip()), parse_rational(gold.strip())
    if left is not None and right is not None and "%" not in answer + gold:
        return _numbers(left, right, answer, gold, options)
    if max(len(answer), len(gold)) > _LONGEST_TEXT:
        return Outcome(None, UNREADABLE, "too long to be read as mathematics")
    ours, theirs = canonical_latex(answer), canonical_latex(gold)
    if not ours:
        return Outcome(None, UNREADABLE, "the answer is empty")
    if squeezed(ours) == squeezed(theirs) or squeezed(plain(ours)) == squeezed(plain(theirs)):
        return Outcome(True, "same_text", "the answer is the gold answer in another spelling")
    if ours and theirs:
        found = _in_words(ours, theirs)
        if found is not None:
            return found
    return _parsed(ours, theirs, options)


def _numbers(left: Fraction, right: Fraction, answer: str, gold: str, options: Options) -> Outcome:
    if left == right:
        return Outcome(True, "exact_number", "the same number")
    ours, theirs = _as_num(left, answer), _as_num(right, gold)
    if compare.same_value(ours, theirs):
        return Outcome(True, "long_decimal", "the same value to every digit but the last")
    if options.rounding and _rounds_to(left, theirs):
        return Outcome(True, "rounding", f"rounds to {gold} at the digits given")
    return Outcome(False, "exact_number", f"{answer.strip()[:80]} is not {gold.strip()[:80]}")


def _as_num(value: Fraction, text: str) -> Num:
    found = re.fullmatch(r"[-+−–]?\s*([\d,]*)\.(\d+)", text.strip())
    if not found:
        return Num(value)
    return Num(value, len((found[1] + found[2]).replace(",", "").lstrip("0")), len(found[2]))


def _rounds_to(value: Fraction, gold: Node) -> bool:
    """Whether `value`, rounded or cut off at the last digit that the gold shows, is the gold."""
    if not isinstance(gold, Num):
        return False
    step = Fraction(1, 10**gold.decimals)
    if not gold.decimals:
        shown = gold.value
        while shown and shown.denominator == 1 and shown % (step * 10) == 0:
            step *= 10
        if gold.value.denominator != 1 or step == 1 or value == 0:
            step = Fraction(1)
            if gold.value.denominator != 1:
                return False
            # A whole gold stands for itself; only a gold that ends in zeros may be a rounded one.
            return False
        if abs(gold.value) < 100 * step:
            return False
    difference = abs(value - gold.value)
    return (difference < step and abs(value) >= abs(gold.value)) or difference * 2 <= step


def _in_words(ours: str, theirs: str) -> Outcome | None:
    """Choice letters, fixed phrases, and sentences."""
    wanted, chosen = choice(theirs), choice(ours)
    if wanted is not None and chosen is not None:
        same = wanted[0] == chosen[0] and (not wanted[1] or not chosen[1] or same_words(wanted[1], chosen[1]))
        if same:
            return Outcome(True, "choice", f"the option {wanted[0]}")
        if (wanted[1] and not chosen[1]) or (chosen[1] and not wanted[1]):
            return Outcome(False, "choice", f"{chosen[0]} is not the option {wanted[0]}")
    if wanted is not None and wanted[1] and same_words(wanted[1], ours):
        return Outcome(True, "choice", f"the text of the option {wanted[0]}")
    several = choices(ours), choices(theirs)
    if several[0] is not None and several[1] is not None:
        return Outcome(
            several[0] == several[1],
            "choices",
            "the same options" if several[0] == several[1] else "other options",
        )
    meaning = synonym(ours), synonym(theirs)
    if meaning[0] is not None and meaning[0] == meaning[1]:
        return Outcome(True, "phrase", f"both say {meaning[0]}")
    wordy = is_wordy(ours), is_wordy(theirs)
    if all(wordy):
        if same_words(ours, theirs):
            return Outcome(True, "same_words", "the same words")
        if any(character.isdigit() for character in ours) and any(
            character.isdigit() for character in theirs
        ):
            return None
        return Outcome(None, "words", "two phrases that are not the same")
    return None


_TIME = re.compile(
    r"^(\d{1,2}):(\d{2})(?::(\d{2}))?\s*(?:\\text\s*\{)?\s*([ap]\.?m\.?)?\s*\}?$", re.IGNORECASE
)


_LABEL = re.compile(r"\b[A-Z][a-z]{3,}(?: \d+)?\s*[:=]\s*")


def _parsed(ours: str, theirs: str, options: Options) -> Outcome:
    """Parse both; where a comma may be read in two ways, some reading of each must agree."""
    if bool(_LABEL.search(ours)) != bool(_LABEL.search(theirs)):
        # "Maximum = 2, Minimum = 1" where the other side gives the values without labels.
        ours, theirs = _LABEL.sub("", ours), _LABEL.sub("", theirs)
    times = _TIME.match(ours.replace(" ", "")), _TIME.match(theirs.replace(" ", ""))
    if times[0] and times[1]:
        same = _clock(times[0]) == _clock(times[1])
        return Outcome(same, "time", "the same time" if same else "another time")
    left, left_fault = _readings(ours)
    right, right_fault = _readings(theirs)
    if not left or not right:
        plainer = without_qualifier(ours), without_qualifier(theirs)
        qualifiers = [squeezed(text[len(rest) :]) for text, rest in zip((ours, theirs), plainer, strict=True)]
        if all(qualifiers) and qualifiers[0] != qualifiers[1]:
            return Outcome(None, "undecided", "the two say different things of their letters")
        left = left or (_readings(plainer[0])[0] if qualifiers[0] and plainer[0] else [])
        right = right or (_readings(plainer[1])[0] if qualifiers[1] and plainer[1] else [])
    if not right:
        return Outcome(None, "undecided", f"the gold answer can't be read as mathematics: {right_fault}")
    if not left:
        return Outcome(None, UNREADABLE, f"the answer can't be read as mathematics: {left_fault}")
    best = Outcome(None, "undecided", "can't tell")
    for index, (a, b) in enumerate(itertools.product(left, right)):
        found = Decider(options).decide(a, b)
        if found.equal:
            return found
        if index == 0 or best.equal is None:
            best = found
    return best


def _clock(found: re.Match[str]) -> tuple[str, ...]:
    return (
        found[1].lstrip("0") or "0",
        found[2],
        found[3] or "00",
        (found[4] or "").replace(".", "").lower(),
    )


def _readings(text: str) -> tuple[list[Node], str]:
    trees: list[Node] = []
    fault = ""
    for thousands in (True, False) if re.search(r"\d,\d{3}", text) else (True,):
        try:
            tree = parse(text, thousands=thousands)
        except Unparsed as error:
            fault = str(error)
            continue
        except RecursionError:
            return [], "nested too deeply"
        if tree not in trees:
            trees.append(tree)
    # 2,74 where the comma is a decimal point; a list is the other reading.
    if re.fullmatch(r"-?\d+,\d{1,2}|-?\d+,\d{4,}", text):
        trees.append(Num(Fraction(text.replace(",", ".")), len(text), len(text.split(",")[1])))
    return trees, fault


_RESTATING = frozenset({"int", "lim", "sum", "prod", "gcd", "lcm", "mod", "det"})
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
        ours, theirs = _without_declaration(ours), _without_declaration(theirs)
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
            constant = node.head in _FUNCTION_HEADS and not any(variables(arg) for arg in node.args)
            if (
                constant
                and not compare.has_head(theirs, _FUNCTION_HEADS)
                and not variables(theirs)
                and _closed_form(node)
            ):
                return f"the answer leaves {node.head} of a number undone"
        return ""

    # Structures

    def equal(self, ours: Node, theirs: Node) -> bool | None:
        """Three-valued equality of two trees."""
        ours, theirs = _unwrap(ours), _unwrap(theirs)
        if _has_pm(ours) or _has_pm(theirs):
            return self.equal(_expand_pm(ours), _expand_pm(theirs))
        if _is_computation(ours) and _is_computation(theirs) and ours != theirs:
            # A chain of computations is the answer itself, not only its last value.
            return None
        undone = [
            isinstance(n, Relation) and compare.has_head(n.terms[0], _RESTATING) for n in (ours, theirs)
        ]
        if all(undone):
            assert isinstance(ours, Relation)
            assert isinstance(theirs, Relation)
            return self.in_order(ours.terms, theirs.terms)
        ours_named, theirs_named = (
            self.named(ours, approximate=_shows_approximation(theirs)),
            self.named(theirs),
        )
        if ours_named is False or theirs_named is False:
            return False
        if ours_named or theirs_named:
            found = self.equal_named(ours, ours_named or None, theirs, theirs_named or None)
            if found is not None or not (isinstance(ours, Relation) and isinstance(theirs, Relation)):
                return found
        found = self.equal_sets(ours, theirs)
        if found is not None:
            return found
        if _is_list(ours) or _is_list(theirs):
            return self.equal_lists(ours, theirs)
        if isinstance(ours, Group) or isinstance(theirs, Group):
            return self.equal_groups(ours, theirs)
        if _matrix(ours) is not None or _matrix(theirs) is not None:
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
            renamed = _same_name(ours_named, theirs_named)
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
        found = self.equal(other, named.value) if not isinstance(other, Relation) else None
        return found

    def named(self, node: Node, *, approximate: bool | None = None) -> Named | bool | None:
        """Name and value of "x = 3"; False for a chain that contradicts itself; None for anything else."""
        if not isinstance(node, Relation) or not set(node.operators) <= {"=", "~", "=="}:
            return None
        terms, operators = list(node.terms), list(node.operators)
        if ("~" in operators and _name(terms[0]) is None) or (operators.count("~") and len(terms) > 2):
            # What stands behind "approximately" only illustrates the exact value.
            first = operators.index("~")
            if approximate is not None and not _approximates(
                terms[first], terms[first + 1], strict=approximate
            ):
                return False
            terms, operators = terms[: first + 1], operators[:first]
        if (
            terms[0] in (Sym("i"), Sym("e"))
            and len(terms) == 2
            and not compare.has_symbol(terms[1], str(terms[0]))
        ):
            # In "i = 3" the letter is the problem's variable.
            return Named(Sym("i") if terms[0] == Sym("i") else Sym("e"), terms[1])
        names = list(itertools.takewhile(lambda term: _name(term) is not None, terms[:-1]))
        values = terms[len(names) :]
        for other in values[1:]:
            same = self.plain_values(values[0], other)
            if same is None and compare.has_head(values[0], _RESTATING):
                # \\lim ... = 1: the operation, then what it gives.
                continue
            if same is False and len(values) > 1 and (names or not (variables(values[0]) | variables(other))):
                return False
            if same is not True:
                return None if not names else False
        if not names and len(values) < 2 and len(node.terms) == len(values):
            return None
        return Named(names[0] if names else None, values[-1])

    def plain_values(self, left: Node, right: Node) -> bool | None:
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
        except NoSet:
            return None
        if left.subject and right.subject and left.subject != right.subject:
            return False
        return same_set(left, right)

    def equal_lists(self, ours: Node, theirs: Node) -> bool | None:
        """Lists in any order; a list against a tuple in order."""
        left, right = _items(ours), _items(theirs)
        tuples = [isinstance(n, Group) and n.opener in ("(", "[", "\\langle") for n in (ours, theirs)]
        if any(tuples) and any(isinstance(n, Group) and n.opener == "{" for n in (ours, theirs)):
            return False
        if any(tuples):
            if len(left) != len(right) or len(left) < 2:
                return False
            return self.in_order([_value_of(n) for n in left], [_value_of(n) for n in right])
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
            left, right = [_value_of(n) for n in left], [_value_of(n) for n in right]
            if len(distinct) == len(left) > 1 and letters:
                return self.in_order(left, right)
        elif known[0] and len(set(known[0])) == 1 == len(set(known[1])):
            if known[0][0] != known[1][0]:
                renamed = [self.named(item) for item in (left[0], right[0])]
                if not (
                    isinstance(renamed[0], Named)
                    and isinstance(renamed[1], Named)
                    and _same_name(*renamed) is not None
                ):
                    return False
            else:
                left, right = [_value_of(n) for n in left], [_value_of(n) for n in right]
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
        kept: list[Node] = []
        for item in items:
            if not any(self.equal(item, other) is True for other in kept):
                kept.append(item)
        return kept

    def name_of(self, node: Node) -> str | None:
        if isinstance(node, Relation) and node.operators in (("=",), ("~",)):
            return _name(node.terms[0])
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
            matrix = _matrix(other)
            if isinstance(node, Group) and matrix is not None and node.opener != "{":
                entries = _vector(matrix)
                if entries is None:
                    return False
                return (
                    self.in_order(node.items, entries) if node is ours else self.in_order(entries, node.items)
                )
            if isinstance(node, Group) and len(node.items) == 1 and not isinstance(other, Group):
                if node.opener == "{" or node.opener == "[":
                    return (
                        self.equal(node.items[0], other) if node is ours else self.equal(other, node.items[0])
                    )
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
            except NoSet:
                pass
        return self.in_order(ours.items, theirs.items)

    def equal_matrices(self, ours: Node, theirs: Node) -> bool | None:
        left, right = _matrix(ours), _matrix(theirs)
        if left is None or right is None:
            if _mentions_matrix(ours) and _mentions_matrix(theirs):
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
        parts = (*ours.terms, *theirs.terms)
        if any(not _is_scalar(part) for part in parts):
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
            name = _name(side)
            if name is not None and isinstance(side, Sym) and side.name not in variables(other):
                return True
        return False

    def equal_inequalities(self, ours: Relation, theirs: Relation) -> bool | None:
        order = {"<": 1, "<=": 2, ">": -1, ">=": -2}
        if ours.operators[0] not in order or theirs.operators[0] not in order:
            return False
        strict = abs(order[ours.operators[0]]), abs(order[theirs.operators[0]])
        if strict[0] != strict[1] or any(not _is_scalar(t) for t in (*ours.terms, *theirs.terms)):
            return False
        left, right = compare.difference(*ours.terms), compare.difference(*theirs.terms)
        if len(variables(left) | variables(right)) < 2:
            return False
        ratio = compare.constant_ratio(left, right)
        same_way = (order[ours.operators[0]] > 0) == (order[theirs.operators[0]] > 0)
        return ratio is not None and (float(ratio) > 0) == same_way

    def solves(self, ours: Node, theirs: Relation) -> bool | None:
        """An expression against a gold equation that gives a variable which the expression does not have."""
        if theirs.operators != ("=",) or not _is_scalar(ours) or any(not _is_scalar(t) for t in theirs.terms):
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
            return _same_symbol(ours.name, theirs.name)
        ratios = [n for n in (ours, theirs) if isinstance(n, Call) and n.head == "ratio"]
        if ratios:
            return self.equal_ratios(ours, theirs)
        found = compare.same_value(ours, theirs)
        if found is True:
            return True
        if self.options.rounding and found is not True and self.rounds(ours, theirs):
            return True
        renamed = _periodic_parameters(ours, theirs)
        if found is False and renamed is not None:
            return compare.same_value(substitute(ours, renamed), theirs)
        return found

    def rounds(self, ours: Node, theirs: Node) -> bool:
        gold = theirs
        negative = isinstance(gold, Call) and gold.head == "neg"
        if negative:
            assert isinstance(gold, Call)
            gold, ours = gold.args[0], compare.negated(ours)
        if not isinstance(gold, Num) or variables(ours):
            return False
        try:
            value = exact(ours)
        except (NotExact, TooLarge):
            try:
                number = compare.numeric_order(ours)
                value = Fraction(str(number))
            except (ValueError, TypeError):
                return False
        return _rounds_to(value, gold)

    def equal_ratios(self, ours: Node, theirs: Node) -> bool | None:
        """3:1 against 6:2, or against the number 3."""
        left, right = _ratio_terms(ours), _ratio_terms(theirs)
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
        if isinstance(ours, Based) and isinstance(theirs, Based):
            return ours.base == theirs.base and ours.digits.lstrip("0") == theirs.digits.lstrip("0")
        if isinstance(theirs, Based):
            # The base is known from the question; the digits alone are how the answer is usually written.
            return isinstance(ours, Num) and ours == Num(Fraction(theirs.digits))
        return compare.same_value(ours, theirs)

    def equal_quantities(self, ours: Node, theirs: Node) -> bool | None:
        """Values with units: converted where both have one; a unit that only one side gives is left out."""
        ours, theirs = _with_letter_unit(ours, theirs), _with_letter_unit(theirs, ours)
        (left, left_unit), (right, right_unit) = _quantity(ours), _quantity(theirs)
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
        if not left_unit or not right_unit or left_unit == right_unit:
            return self.equal(left, right)
        generic = (("unit", 1),)
        if generic in (left_unit, right_unit) or _only_units(left_unit) or _only_units(right_unit):
            return self.equal(left, right)
        dimensions, factor = convert(left_unit)
        wanted, wanted_factor = convert(right_unit)
        if dimensions == wanted:
            scale = factor / wanted_factor
            return self.equal(left if scale == 1 else Call("mul", (left, Num(scale))), right)
        return False


@dataclass(frozen=True, slots=True)
class Named:
    """A value with the name that the answer gives it; no name for a chain of equal constants."""

    name: Node | None
    value: Node


def _rule_name(gold: Node) -> str:
    kinds: tuple[tuple[Callable[[Node], bool], str], ...] = (
        (lambda n: isinstance(n, Matrix), "matrix"),
        (lambda n: _is_list(n), "list"),
        (lambda n: isinstance(n, Group) and n.opener == "{", "set"),
        (lambda n: isinstance(n, Group), "tuple_or_interval"),
        (lambda n: isinstance(n, (SetBuilder, Logic)), "set"),
        (lambda n: isinstance(n, Call) and n.head in ("union", "intersection", "difference"), "set"),
        (lambda n: isinstance(n, Relation), "relation"),
        (lambda n: isinstance(n, Quantity), "quantity"),
        (lambda n: bool(variables(n)), "expression"),
    )
    return next((name for test, name in kinds if test(gold)), "number")


def _unwrap(node: Node) -> Node:
    while isinstance(node, Group) and len(node.items) == 1 and node.opener in ("(", ""):
        node = node.items[0]
    if isinstance(node, Quantity) and not node.unit:
        return _unwrap(node.value)
    if isinstance(node, Quantity) and node.unit == (("deg", 1),):
        return Call("degree", (node.value,))
    if isinstance(node, Call) and node.head == "plus":
        return _unwrap(node.args[0])
    return node


def _shows_approximation(node: Node) -> bool:
    return isinstance(node, Relation) and "~" in node.operators


def _approximates(value: Node, shown: Node, *, strict: bool) -> bool:
    """Whether a shown decimal is the value: within a twentieth, or, strictly, at every digit it shows."""
    try:
        ours = compare.numeric_order(_quantity_value(value))
        theirs = compare.numeric_order(_quantity_value(shown))
    except NotNumeric:
        return True
    plain, unit = _quantity(shown)
    plain = plain.args[0] if isinstance(plain, Call) and plain.head == "neg" else plain
    if not isinstance(plain, Num) or not strict:
        return bool(abs(ours - theirs) <= abs(ours) / 20)
    step = Fraction(1, 10**plain.decimals * (100 if unit == (("%", 1),) else 1))
    if not plain.decimals:
        zeros = len(str(plain.value)) - len(str(plain.value).rstrip("0"))
        step *= 10**zeros
    return bool(abs(ours - theirs) <= float(step))


def _quantity_value(node: Node) -> Node:
    value, unit = _quantity(node)
    return Call("div", (value, Num(Fraction(100)))) if unit == (("%", 1),) else value


def _without_declaration(node: Node) -> Node:
    """Without "k in Z" at the end of a list: it says what the letter is, and gives no value."""
    if isinstance(node, Group) and node.opener == "" and len(node.items) > 1:
        last = node.items[-1]
        if isinstance(last, Relation) and last.operators == ("in",):
            subject, kind = last.terms
            declares = isinstance(subject, Sym) and subject.name in _PARAMETERS and isinstance(kind, Sym)
            if declares and str(kind.name).startswith(("\\mathbbZ", "\\mathbbN")):  # type: ignore[union-attr]
                rest = node.items[:-1]
                return rest[0] if len(rest) == 1 else Group("", "", rest)
    return node


def _is_computation(node: Node) -> bool:
    return (
        isinstance(node, Relation)
        and len(node.terms) > 3
        and set(node.operators) == {"="}
        and not variables(node)
    )


def _has_pm(node: Node) -> bool:
    return compare.has_head(node, frozenset({"pm", "mp"}))


def _expand_pm(node: Node) -> Node:
    """A list of what a tree with plus-minus signs stands for; every sign on its own, minus-plus tied to it."""
    if isinstance(node, Group) and node.opener in ("", "{"):
        items: list[Node] = []
        for item in node.items:
            expanded = _expand_pm(item)
            items.extend(
                expanded.items if isinstance(expanded, Group) and expanded.opener == "" else [expanded]
            )
        return Group(node.opener, node.closer, tuple(items))
    if not _has_pm(node):
        return node
    signs = [n for n in walk(node) if isinstance(n, Call) and n.head in ("pm", "mp")]
    if len(signs) > 4:
        return node
    tied = any(sign.head == "mp" for sign in signs)
    variants = []
    for choice_of_signs in itertools.product((1, -1), repeat=1 if tied else len(signs)):
        remaining = iter(choice_of_signs * len(signs) if tied else choice_of_signs)
        variants.append(_with_signs(node, remaining))
    return Group("", "", tuple(dict.fromkeys(variants)))


def _with_signs(node: Node, signs: itertools.chain[int] | object) -> Node:
    if isinstance(node, Call) and node.head in ("pm", "mp"):
        sign = next(signs)  # type: ignore[call-overload]
        inner = _with_signs(node.args[0], signs)
        positive = (sign == 1) == (node.head == "pm")
        return inner if positive else Call("neg", (inner,))
    if isinstance(node, Call):
        return Call(node.head, tuple(_with_signs(arg, signs) for arg in node.args))
    if isinstance(node, Group):
        return Group(node.opener, node.closer, tuple(_with_signs(item, signs) for item in node.items))
    if isinstance(node, Relation):
        return Relation(tuple(_with_signs(term, signs) for term in node.terms), node.operators)
    if isinstance(node, Quantity):
        return Quantity(_with_signs(node.value, signs), node.unit)
    return node


def _is_list(node: Node) -> bool:
    return isinstance(node, Group) and (node.opener == "" or node.opener == "{")


def _items(node: Node) -> tuple[Node, ...]:
    return node.items if isinstance(node, Group) else (node,)


def _value_of(node: Node) -> Node:
    if isinstance(node, Relation) and node.operators in (("=",), ("~",)) and _name(node.terms[0]) is not None:
        return node.terms[1]
    return node


def _name(node: Node) -> str | None:
    """How an answer names what it gives: a variable, f(x), an angle, a segment AB, a tuple of variables."""
    if isinstance(node, Sym) and node.name not in ("\\pi", "e", "i", "\\infty", "\\emptyset", "\\mathbbR"):
        return node.name
    if isinstance(node, Call):
        if node.head == "apply":
            return repr(node)
        if node.head in ("prime", "abs", "degree") and _name(node.args[0]) is not None:
            return f"{node.head} {_name(node.args[0])}"
        if node.head == "mul":
            letters = [_letters(arg) for arg in node.args]
            if all(letters) and "".join(str(x) for x in letters).isupper():
                return "".join(str(x) for x in letters)
        if node.head in ("max", "min", "det", "deg", "arg", "dim"):
            return repr(node)
    if (
        isinstance(node, Group)
        and node.opener in ("(", "")
        and all(_name(item) is not None for item in node.items)
    ):
        return "(" + ",".join(str(_name(item)) for item in node.items) + ")"
    return None


def _letters(node: Node) -> str | None:
    if isinstance(node, Sym) and len(node.name) == 1:
        return node.name
    if isinstance(node, Call) and node.head == "mul":
        parts = [_letters(arg) for arg in node.args]
        return "".join(str(p) for p in parts) if all(parts) else None
    return None


def _same_name(ours: Named, theirs: Named) -> dict[str, Node] | None:
    """The renaming under which two names are the same, or None; y and f(x) are the same name for a graph."""
    if ours.name is None or theirs.name is None or ours.name == theirs.name:
        return {}
    left, right = ours.name, theirs.name
    if isinstance(left, Call) and isinstance(right, Call) and left.head == right.head == "apply":
        if left.args[0] != right.args[0] or len(left.args) != len(right.args):
            return None
        pairs = list(zip(left.args[1:], right.args[1:], strict=True))
        if all(isinstance(a, Sym) and isinstance(b, Sym) for a, b in pairs):
            return {a.name: b for a, b in pairs if isinstance(a, Sym)}
        return None
    for one, other in ((left, right), (right, left)):
        if (
            one == Sym("y")
            and isinstance(other, Call)
            and other.head == "apply"
            and other.args[1:] == (Sym("x"),)
        ):
            return {}
    return None


def _same_symbol(left: str, right: str) -> bool:
    if left == right:
        return True
    # A single letter may be an option or a label, where case does not matter.
    return len(left) == len(right) == 1 and left.lower() == right.lower()


_PARAMETERS = frozenset("nkmlj")


def _periodic_parameters(ours: Node, theirs: Node) -> dict[str, Node] | None:
    """k for n in n*pi: an integer parameter beside pi that only one side has may have another letter."""
    left, right = variables(ours) - variables(theirs), variables(theirs) - variables(ours)
    if len(left) != 1 or len(right) != 1 or not left | right <= _PARAMETERS:
        return None
    (a,), (b,) = left, right
    if not (compare.has_symbol(ours, "\\pi") and compare.has_symbol(theirs, "\\pi")):
        return None
    return {a: Sym(b)}


def _closed_form(node: Call) -> bool:
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


def _quantity(node: Node) -> tuple[Node, tuple[tuple[str, int], ...]]:
    if isinstance(node, Quantity):
        inner, unit = _quantity(node.value)
        return inner, tuple(sorted(unit + node.unit))
    if isinstance(node, Call) and node.head == "neg" and isinstance(node.args[0], Quantity):
        inner, unit = _quantity(node.args[0])
        return Call("neg", (inner,)), unit
    return node, ()


def _with_letter_unit(node: Node, other: Node) -> Node:
    """1 m beside 100 cm: a letter behind a number is a unit where the other side's unit is of its kind."""
    if (
        isinstance(node, Call)
        and node.head == "mul"
        and isinstance(node.args[1], Sym)
        and isinstance(other, Quantity)
    ):
        unit = ((node.args[1].name, 1),)
        if unit[0][0] in UNITS and convert(unit)[0] == convert(other.unit)[0] and not variables(node.args[0]):
            return Quantity(node.args[0], unit)
    return node


def _only_units(unit: tuple[tuple[str, int], ...]) -> bool:
    return {name for name, _ in unit} == {"unit"}


def _ratio_terms(node: Node) -> list[Node]:
    if isinstance(node, Call) and node.head == "ratio":
        return [*_ratio_terms(node.args[0]), node.args[1]]
    return [node]


def _is_scalar(node: Node) -> bool:
    return isinstance(node, (Num, Sym, Based)) or (
        isinstance(node, Call)
        and node.head not in ("union", "intersection", "difference", "congruent")
        and not any(isinstance(n, (Group, Relation, Logic, SetBuilder, Matrix)) for n in walk(node))
    )


def _mentions_matrix(node: Node) -> bool:
    return any(isinstance(n, Matrix) for n in walk(node))


def _vector(rows: tuple[tuple[Node, ...], ...]) -> tuple[Node, ...] | None:
    if len(rows) == 1:
        return rows[0]
    if all(len(row) == 1 for row in rows):
        return tuple(row[0] for row in rows)
    return None


def _matrix(node: Node) -> tuple[tuple[Node, ...], ...] | None:
    """The cells of a matrix, or of a sum, product or multiple of matrices."""
    if isinstance(node, Matrix):
        return node.rows
    if not isinstance(node, Call) or not _mentions_matrix(node):
        return None
    parts = [_matrix(arg) for arg in node.args]
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
