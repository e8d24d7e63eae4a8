"""Exact rational values of trees without variables.

Sizes of powers, factorials and binomials are estimated first; what is beyond the bounds raises `TooLargeError`.
"""

from __future__ import annotations

import math
from fractions import Fraction

from verifiers.math.syntax import Based, Call, Node, Num, Quantity, Sym
from verifiers.math.work import NotExactError, TooLargeError, spend

MOST_BITS = 200_000


def _bounded(value: Fraction) -> Fraction:
    """The value, if it is not too long to go on with."""
    bits = value.numerator.bit_length() + value.denominator.bit_length()
    if bits > 2 * MOST_BITS:
        raise TooLargeError
    if bits > 2000:
        spend(bits)
    return value


def exact(node: Node) -> Fraction:
    """The rational value of a tree without variables.

    Raises:
        NotExactError: irrational, undefined, or with variables.
        TooLargeError: more than 200,000 bits.
    """
    if isinstance(node, Num):
        return node.value
    if isinstance(node, Based):
        return Fraction(int(node.digits, node.base))
    if isinstance(node, Quantity) and node.unit == (("%", 1),):
        return exact(node.value) / 100
    if not isinstance(node, Call):
        raise NotExactError
    head, args = node.head, node.args
    if head == "add":
        return _bounded(sum((exact(arg) for arg in args), Fraction(0)))
    if head == "neg":
        return -exact(args[0])
    if head in ("mul", "mixed"):
        left, right = exact(args[0]), exact(args[1])
        return _bounded(left * right if head == "mul" else left + right)
    if head in ("div", "frac", "ratio"):
        below = exact(args[1])
        if below == 0:
            raise NotExactError
        return _bounded(exact(args[0]) / below)
    if head == "pow":
        return _exact_power(exact(args[0]), exact(args[1]))
    if head in ("sqrt", "root"):
        index = exact(args[1]) if head == "root" else Fraction(2)
        if index <= 0 or index.denominator != 1:
            raise NotExactError
        return _exact_power(exact(args[0]), 1 / index)
    if head == "factorial":
        n = exact(args[0])
        if n.denominator != 1 or n < 0:
            raise NotExactError
        if n > 12_000:
            raise TooLargeError
        spend(int(n) * 14)
        return Fraction(math.factorial(int(n)))
    if head == "binom" or (
        head == "apply" and isinstance(args[0], Sym) and args[0].name == "C" and len(args) == 3
    ):
        n, k = (exact(arg) for arg in args[-2:])
        if n.denominator != 1 or k.denominator != 1 or n < 0 or k < 0:
            raise NotExactError
        if n > 20_000:
            raise TooLargeError
        spend(int(n) * 10)
        return Fraction(math.comb(int(n), int(k)))
    if head == "apply" and args[0] == Sym("P") and len(args) == 3:
        n, k = (exact(arg) for arg in args[-2:])
        if n.denominator != 1 or k.denominator != 1 or not 0 <= k <= n or n > 1000:
            raise NotExactError
        return Fraction(math.perm(int(n), int(k)))
    if head == "abs":
        return abs(exact(args[0]))
    if head in ("floor", "ceil"):
        return Fraction(math.floor(exact(args[0])) if head == "floor" else math.ceil(exact(args[0])))
    if head in ("gcd", "lcm", "mod") and len(args) >= 2:
        numbers = [exact(arg) for arg in args]
        if any(number.denominator != 1 for number in numbers):
            raise NotExactError
        integers = [int(number) for number in numbers]
        if head == "mod":
            if integers[1] == 0:
                raise NotExactError
            return Fraction(integers[0] % integers[1])
        return Fraction(math.gcd(*integers) if head == "gcd" else math.lcm(*integers))
    raise NotExactError


def _exact_power(base: Fraction, exponent: Fraction) -> Fraction:
    if base in (0, 1):
        if base == 0 and exponent <= 0:
            raise NotExactError
        return base
    if exponent.denominator == 1:
        bits = max(base.numerator.bit_length(), base.denominator.bit_length())
        if bits * abs(exponent) > MOST_BITS:
            raise TooLargeError
        spend(int(bits * abs(exponent)))
        return base ** int(exponent)
    if exponent.denominator > 64:
        raise NotExactError
    if base < 0 and exponent.denominator % 2 == 0:
        raise NotExactError
    root = Fraction(
        _integer_root(base.numerator, exponent.denominator),
        _integer_root(base.denominator, exponent.denominator),
    )
    return _exact_power(root, Fraction(exponent.numerator))


def _integer_root(value: int, index: int) -> int:
    """The exact integer root, or NotExactError; of a negative number the real root of odd index."""
    if value < 0:
        return -_integer_root(-value, index)
    if value.bit_length() > 20_000:
        raise TooLargeError
    if value == 0:
        return 0
    if index == 2:
        root = math.isqrt(value)
    else:
        root = 1 << -(-value.bit_length() // index)
        while True:
            better = ((index - 1) * root + value // root ** (index - 1)) // index
            if better >= root:
                break
            root = better
    if root**index != value:
        raise NotExactError
    return root
