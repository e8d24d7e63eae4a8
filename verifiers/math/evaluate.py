"""Values of trees as high-precision numbers at given points.

Every operation is bounded before it is done, so that no answer can cost more than milliseconds. What is beyond
the bounds raises `TooLargeError`, which decides nothing.
"""

from __future__ import annotations

import math
import threading
import zlib
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import mpmath

from verifiers.math.exact import exact
from verifiers.math.syntax import Based, Call, Matrix, Node, Num, Quantity, Sym, walk
from verifiers.math.work import NotExactError, NotNumericError, OutOfDomainError, TooLargeError, step

_LARGEST_EXPONENT = 10**7

_REAL = {
    "sin": "sin", "cos": "cos", "tan": "tan", "cot": "cot", "sec": "sec", "csc": "csc", "sinh": "sinh",
    "cosh": "cosh",
    "tanh": "tanh", "coth": "coth", "sech": "sech", "csch": "csch", "arcsin": "asin", "arccos": "acos",
    "arctan": "atan",
    "arccot": "acot", "arcsec": "asec", "arccsc": "acsc", "arsinh": "asinh", "arcosh": "acosh",
    "artanh": "atanh", "exp": "exp",
    "ln": "log",
}  # fmt: skip

_PERIODIC = {"sin", "cos", "tan", "cot", "sec", "csc"}


class Evaluator:
    """Evaluates trees at one point, with `digits` digits; `real` refuses to leave the real numbers.

    Args:
        point: value of each variable.
        degree: what a degree sign is worth: pi/180, or 1 where degrees are a unit that may be left out.
    """

    def __init__(
        self, point: Mapping[str, Any], *, real: bool, digits: int = 60, degree_is_unit: bool = False
    ) -> None:
        self.point = point
        self.real = real
        self.context = _context(digits)
        self.snap = self.context.mpf(10) ** (8 - digits)
        self.lost = self.context.mpf(10) ** (20 - digits)
        self.degree_is_unit = degree_is_unit

    def value(self, node: Node) -> Any:
        """The number of `node`.

        Raises:
            OutOfDomainError, TooLargeError, NotNumericError: there is none.
        """
        step()
        if isinstance(node, Num):
            return self.number(node.value)
        if isinstance(node, Sym):
            return self.symbol(node.name)
        if isinstance(node, Based):
            return self.context.mpf(int(node.digits, node.base))
        if isinstance(node, Quantity) and node.unit == (("%", 1),):
            return self.value(node.value) / 100
        if isinstance(node, Call):
            return self.call(node)
        raise NotNumericError

    def real_value(self, node: Node) -> Any:
        """The number of `node`, where only a real one makes sense."""
        value = self.value(node)
        if self.context.im(value) != 0:
            raise OutOfDomainError
        return self.context.re(value)

    def number(self, value: Fraction) -> Any:
        """A rational with the digits of this evaluation."""
        return self.context.mpf(value.numerator) / value.denominator

    def symbol(self, name: str) -> Any:
        """A constant or the value of a variable."""
        if name == "\\pi":
            return +self.context.pi
        if name == "e":
            return +self.context.e
        if name == "i":
            if self.real:
                raise OutOfDomainError
            return self.context.mpc(0, 1)
        if name not in self.point:
            raise NotNumericError
        return self.point[name]

    def call(self, node: Call) -> Any:
        """The value of an operation."""
        head, args = node.head, node.args
        if head == "add":
            return self.add([self.value(arg) for arg in args])
        if head == "neg":
            return -self.value(args[0])
        if head == "mul":
            return self.value(args[0]) * self.value(args[1])
        if head in ("div", "frac", "ratio"):
            return self.divide(self.value(args[0]), self.value(args[1]))
        if head == "mixed":
            return self.value(args[0]) + self.value(args[1])
        if head == "pow":
            return self.power(args[0], args[1])
        if head == "sqrt":
            return self.root(self.value(args[0]), 2)
        if head == "root":
            return self.root(self.value(args[0]), self.integer(args[1]))
        if head == "degree":
            value = self.value(args[0])
            return value if self.degree_is_unit else value * self.context.pi / 180
        if head in _REAL:
            return self.function(head, args)
        if head == "log":
            value = self.function("ln", args[:1])
            return value if len(args) == 1 else self.divide(value, self.function("ln", args[1:]))
        if head == "abs":
            if isinstance(args[0], Matrix):
                return self.determinant(args[0])
            return abs(self.value(args[0]))
        if head in ("floor", "ceil"):
            value = self.real_value(args[0])
            near = self.context.nint(value)
            if abs(value - near) < self.snap * 1000:
                return near
            return self.context.floor(value) if head == "floor" else self.context.ceil(value)
        if head == "factorial":
            return self.factorial(self.value(args[0]))
        if head == "binom" or (head == "apply" and args[0] == Sym("C") and len(args) == 3):
            return self.binomial(self.value(args[-2]), self.value(args[-1]))
        if head == "cis" and len(args) == 1 and not self.real:
            angle = self.value(args[0])
            return self.clean(self.context.mpc(self.context.cos(angle), self.context.sin(angle)))
        if head in ("max", "min") and args:
            return (max if head == "max" else min)(self.real_value(arg) for arg in args)
        if head == "sgn":
            return self.context.sign(self.real_value(args[0]))
        if head == "det" and isinstance(args[0], Matrix):
            return self.determinant(args[0])
        if head in ("sum", "prod"):
            return self.series(node)
        if head in ("gcd", "lcm", "mod") and len(args) >= 2:
            return self.whole_numbers(head, [self.value(arg) for arg in args], node)
        if head in ("apply", "prime", "int", "lim", "gcd", "lcm", "mod", "arg", "Re", "Im"):
            return self.opaque(node)
        raise NotNumericError

    def add(self, terms: list[Any]) -> Any:
        """Sum; a result that is rounding noise is zero, and a term that vanishes in rounding is TooLargeError."""
        total = self.context.fsum(terms)
        sizes = [abs(term) for term in terms if term]
        if len(sizes) < 2:
            return total
        largest = max(sizes)
        if min(sizes) < largest * self.lost:
            raise TooLargeError
        return self.context.zero if abs(total) < largest * self.snap else total

    def divide(self, above: Any, below: Any) -> Any:
        """A quotient; OutOfDomainError by zero."""
        if below == 0:
            raise OutOfDomainError
        return above / below

    def integer(self, node: Node) -> int:
        """A whole number from 1 to 1000, such as the index of a root."""
        value = self.value(node)
        near = int(self.context.nint(value.real if hasattr(value, "real") else value))
        if value != near or not 1 <= near <= 1000:
            raise OutOfDomainError
        return near

    def power(self, base_node: Node, exponent_node: Node) -> Any:
        """A power, with real odd roots of negative numbers."""
        exponent = self.value(exponent_node)
        if isinstance(base_node, Sym) and base_node.name == "e":
            return self.exponential(exponent)
        base = self.value(base_node)
        if base == 0:
            if self.context.re(exponent) <= 0:
                raise OutOfDomainError
            return base
        size = abs(exponent) * (1 + abs(self.context.log(abs(base))))
        if size > _LARGEST_EXPONENT:
            raise TooLargeError
        if self.is_integer(exponent):
            return base ** int(self.context.nint(self.context.re(exponent)))
        if self.real and base < 0:
            # Odd roots of negative numbers are real, as in school and as for \sqrt[3]{-8}.
            fraction = _simple_fraction(exponent_node)
            if fraction is None or fraction.denominator % 2 == 0:
                raise OutOfDomainError
            root = -self.context.root(-base, fraction.denominator)
            return root**fraction.numerator
        return base**exponent

    def is_integer(self, value: Any) -> bool:
        """Whether this is a whole number."""
        return bool(self.context.im(value) == 0 and self.context.isint(self.context.re(value)))

    def exponential(self, exponent: Any) -> Any:
        """e to the power of a number."""
        if abs(exponent) > _LARGEST_EXPONENT:
            raise TooLargeError
        if 0 < abs(exponent) < self.lost:
            raise TooLargeError
        result = self.context.exp(exponent)
        if isinstance(result, self.context.mpc):
            return self.clean(result)
        return result

    def clean(self, value: Any) -> Any:
        """A complex number without the noise in its real or imaginary part."""
        size = abs(value)
        re = self.context.zero if abs(value.real) < size * self.snap else value.real
        im = self.context.zero if abs(value.imag) < size * self.snap else value.imag
        return self.context.mpc(re, im)

    def root(self, value: Any, index: int) -> Any:
        """A root; of a negative number the real one."""
        if self.real and value < 0:
            if index % 2 == 0:
                raise OutOfDomainError
            return -self.context.root(-value, index)
        return self.context.root(value, index) if index != 2 else self.context.sqrt(value)

    def function(self, head: str, args: tuple[Node, ...]) -> Any:
        """An elementary function of one argument."""
        if len(args) != 1:
            raise NotNumericError
        if head in _PERIODIC and self.degree_is_unit and _has_degree(args[0]):
            # Inside a sine degrees are never a unit to leave out.
            inner = Evaluator(self.point, real=self.real, digits=self.context.dps)
            value = inner.value(args[0])
        else:
            value = self.value(args[0])
        if head == "exp":
            return self.exponential(value)
        if abs(value) > _LARGEST_EXPONENT:
            raise TooLargeError
        if head == "ln":
            if value == 0 or (self.real and value < 0):
                raise OutOfDomainError
            return self.context.log(value)
        try:
            result = getattr(self.context, _REAL[head])(value)
        except (ValueError, ZeroDivisionError) as error:
            raise OutOfDomainError from error
        if self.real and isinstance(result, self.context.mpc):
            raise OutOfDomainError
        if head in _PERIODIC:
            if abs(result) < self.snap * (1 + abs(value)):
                return self.context.zero
            if abs(result) > 1 / (self.snap * (1 + abs(value))):
                raise OutOfDomainError
        return result

    def factorial(self, value: Any) -> Any:
        """n!, also for fractions, by the gamma function."""
        if abs(value) > 100_000:
            raise TooLargeError
        if self.is_integer(value) and self.context.re(value) < 0:
            raise OutOfDomainError
        return self.context.factorial(value)

    def binomial(self, n: Any, k: Any) -> Any:
        """A binomial coefficient."""
        if abs(n) > 100_000 or abs(k) > 100_000:
            raise TooLargeError
        return self.context.binomial(n, k)

    def determinant(self, matrix: Matrix) -> Any:
        """The determinant of a matrix with at most 12 rows."""
        size = len(matrix.rows)
        if size > 12 or any(len(row) != size for row in matrix.rows):
            raise TooLargeError
        return self.context.det(
            self.context.matrix([[self.value(cell) for cell in row] for row in matrix.rows])
        )

    def series(self, node: Call) -> Any:
        """A finite sum or product with at most 200 terms; another one only equals itself."""
        variable, body, lower, upper = node.args
        try:
            first, last = exact(lower), exact(upper)
        except (NotExactError, TooLargeError):
            return self.opaque(node)
        if (
            first.denominator != 1
            or last.denominator != 1
            or last - first > 200
            or not isinstance(variable, Sym)
        ):
            return self.opaque(node)
        total = self.context.mpf(0 if node.head == "sum" else 1)
        for index in range(int(first), int(last) + 1):
            inner = Evaluator(
                {**self.point, variable.name: self.context.mpf(index)},
                real=self.real,
                digits=self.context.dps,
            )
            term = inner.value(body)
            total = total + term if node.head == "sum" else total * term
        return total

    def whole_numbers(self, head: str, values: list[Any], node: Call) -> Any:
        """The greatest common divisor, least common multiple or remainder of whole numbers."""
        if not all(self.is_integer(value) for value in values) or any(
            abs(value) > 10**30 for value in values
        ):
            return self.opaque(node)
        numbers = [int(self.context.nint(self.context.re(value))) for value in values]
        if head == "mod" and numbers[1] == 0:
            raise OutOfDomainError
        found = (
            numbers[0] % numbers[1] if head == "mod" else (math.gcd if head == "gcd" else math.lcm)(*numbers)
        )
        return self.context.mpf(found)

    def opaque(self, node: Call) -> Any:
        """A number that stands for an unknown function of its arguments: equal arguments give equal numbers."""
        parts: list[str] = [node.head]
        for arg in node.args:
            try:
                value = self.value(arg) if not (isinstance(arg, Sym) and arg is node.args[0]) else None
                parts.append(repr(arg) if value is None else self.context.nstr(value, 40))
            except (NotNumericError, OutOfDomainError):
                parts.append(repr(arg))
        text = "|".join(parts)
        seed = zlib.crc32(text.encode()) + (zlib.adler32(text.encode()) << 32)
        return 1 + self.context.mpf(seed) / 2**61


def _has_degree(node: Node) -> bool:
    return any(isinstance(n, Call) and n.head == "degree" for n in walk(node))


def _simple_fraction(node: Node) -> Fraction | None:
    try:
        return exact(node)
    except (NotExactError, TooLargeError):
        return None


class _Contexts(threading.local):
    """mpmath contexts of this thread, by digits: the global one belongs to the caller."""

    def __init__(self) -> None:
        self.by_digits: dict[int, Any] = {}


_contexts = _Contexts()


def _context(digits: int) -> Any:
    if digits not in _contexts.by_digits:
        context = mpmath.mp.clone()
        context.dps = digits
        _contexts.by_digits[digits] = context
    return _contexts.by_digits[digits]
