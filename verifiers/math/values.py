"""Equality of values: numbers, expressions, ratios, numbers with a base, quantities with units."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from verifiers.math import compare
from verifiers.math.exact import exact
from verifiers.math.naming import arbitrary_constants, periodic_parameters, same_symbol
from verifiers.math.numbers import rounds_to
from verifiers.math.shapes import only_units, ratio_terms, split_quantity
from verifiers.math.syntax import (
    Based,
    Call,
    Node,
    Num,
    Quantity,
    Sym,
    Text,
    substitute,
    variables,
)
from verifiers.math.units import convert
from verifiers.math.work import NotExactError, NotNumericError, TooLargeError


@dataclass(frozen=True, slots=True)
class Options:
    """What may be tolerated beyond equality."""

    rounding: bool = False
    """Accept a value that rounds to the gold decimal at the digits that the gold shows."""


class Values(ABC):
    """Compares values under the same options."""

    def __init__(self, options: Options) -> None:
        self.options = options

    @abstractmethod
    def equal(self, ours: Node, theirs: Node) -> bool | None:
        """Three-valued equality of two trees."""

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
            return isinstance(ours, Num) and theirs.digits.isdigit() and ours == Num(Fraction(theirs.digits))
        return compare.same_value(ours, theirs)

    def above_one(self, node: Node) -> bool:
        """Whether this is a number beyond one in size; expressions with variables count as such."""
        try:
            return bool(abs(compare.numeric_order(node)) > 1)
        except NotNumericError:
            return True

    def equal_quantities(self, ours: Node, theirs: Node) -> bool | None:
        """Values with units: converted where both have one; a unit that only one side gives is left out."""
        (left, left_unit), (right, right_unit) = split_quantity(ours), split_quantity(theirs)
        percent = (("%", 1),)
        if percent in (left_unit, right_unit):
            # "20% decrease" where the other side says how much only.
            left_unit, right_unit = (
                percent if ("%", 1) in unit else unit for unit in (left_unit, right_unit)
            )
        if (left_unit == percent) != (right_unit == percent):
            degrees = any(isinstance(value, Call) and value.head == "degree" for value in (left, right))
            if (left_unit and right_unit) or degrees:
                return False
            if left_unit == percent and not self.above_one(right):
                # 0.5% for a gold of 0.5: a number up to one is a share already.
                return self.equal(Call("div", (left, Num(Fraction(100)))), right)
            plain = self.equal(left, right)
            if plain:
                return True
            if left_unit == percent:
                return self.equal(Call("div", (left, Num(Fraction(100)))), right)
            return self.equal(left, Call("div", (right, Num(Fraction(100)))))
        temperatures = {(("C", 1),), (("F", 1),)}
        for value, unit in ((left, right_unit), (right, left_unit)):
            if unit in temperatures and isinstance(value, Call) and value.head == "degree":
                # 30 degrees, for 30 degrees Celsius.
                return self.equal(*(v.args[0] if v is value else v for v in (left, right)))
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
