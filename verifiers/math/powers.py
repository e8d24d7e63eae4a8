"""Powers, factorials, primes and indices: a primary with the marks behind it."""

from __future__ import annotations

import re
from fractions import Fraction

from verifiers.math.quantities import Quantities
from verifiers.math.syntax import Based, Call, Node, Num, Quantity, Sym
from verifiers.math.tokens import UnparsedError
from verifiers.math.vocabulary import BASES, CURRENCIES


class Powers(Quantities):
    """Reads a power, and whatever else stands behind a primary."""

    def signed_power(self) -> Node:
        """A power with a sign before it."""
        negative = False
        pm = False
        while self.at("-", "+", "\\pm"):
            sign = self.take().value
            negative ^= sign == "-"
            pm |= sign == "\\pm"
        node = self.power()
        if pm:
            node = Call("pm", (node,))
        return Call("neg", (node,)) if negative else node

    def power(self) -> Node:
        """A primary with its powers and marks."""
        node = self.postfix(self.primary())
        if self.at("^"):
            self.position += 1
            if self.accept("\\circ"):
                return self.temperature(self.postfix(Call("degree", (node,))))
            exponent = self.power_argument()
            if isinstance(exponent, Sym) and exponent.name == "\\circ":
                return self.temperature(self.postfix(Call("degree", (node,))))
            if isinstance(exponent, Sym) and exponent.name == "\\prime":
                return self.postfix(Call("prime", (node,)))
            if self.at("_") and isinstance(node, Sym):
                # v^2_0 is v_0^2.
                node = self.subscript(node)
            node = self.postfix(_combinations(node, exponent) or Call("pow", (node, exponent)))
            if self.at("^"):
                raise UnparsedError("two powers in a row")
        return node

    def power_argument(self) -> Node:
        """What stands behind ^: a braced expression, or one factor (2^10 in plain text is 2^{10})."""
        if self.accept("\\circ"):
            return Sym("\\circ")
        if self.at("-", "+"):
            return self.signed_power()
        if self.at("{"):
            return self.braced()
        node = self.primary()
        if self.at("^"):
            # Without braces towers go to the right: 9^9^9.
            self.position += 1
            return Call("pow", (node, self.power_argument()))
        return self.postfix(node, factorial_only=True)

    def postfix(self, node: Node, *, factorial_only: bool = False) -> Node:
        """`node` with the marks behind it: factorial, prime, percent, index."""
        while True:
            if self.at("!"):
                self.position += 1
                node = Call("double_factorial" if self.accept("!") else "factorial", (node,))
            elif factorial_only:
                return node
            elif self.at("'"):
                self.position += 1
                node = Call("prime", (node,))
            elif self.at("%", "\\%"):
                self.position += 1
                node = Quantity(node, (("%", 1),))
            elif self.at(*CURRENCIES):
                node = Quantity(node, ((CURRENCIES[self.take().value], 1),))
            elif self.at("_"):
                node = self.subscript(node)
            else:
                return node

    def base_word(self) -> Node | None:
        """The base in 1101_{\\text{two}}."""
        braced = self.at("{")
        token = self.peek(1 if braced else 0)
        value = (
            BASES.get(token.value.strip().lower())
            if token is not None and token.kind in ("text", "word")
            else None
        )
        if value is None:
            return None
        self.position += 2 if braced else 1
        if braced:
            self.expect("}")
        return Num(Fraction(value))

    def subscript(self, node: Node) -> Node:
        """`node` with its index; a number with one is in that base."""
        self.expect("_")
        if isinstance(node, Num) and node.value.denominator == 1 and node.digits == 0 and node.value >= 0:
            base = self.base_word() or (self.braced() if self.at("{") else self.primary())
            if not isinstance(base, Num) or base.value.denominator != 1 or not 2 <= base.value <= 36:
                raise UnparsedError("a number with a subscript that is no base")
            digits = str(node.value)
            if any(int(digit) >= base.value for digit in digits):
                raise UnparsedError(f"{digits} has digits that base {base.value} does not have")
            return Based(digits, int(base.value))
        start = self.position
        depth = 0
        while True:
            token = self.take()
            depth += (token.value == "{") - (token.value == "}")
            if depth <= 0:
                break
        name = "".join(t.value for t in self.tokens[start : self.position] if t.value not in ("{", "}"))
        if isinstance(node, Sym):
            return Sym(f"{node.name}_{name}")
        if isinstance(node, Call) and node.head == "apply" and isinstance(node.args[0], Sym):
            return Call("apply", (Sym(f"{node.args[0].name}_{name}"), *node.args[1:]))
        raise UnparsedError("a subscript that belongs to nothing")


_CHOOSING = re.compile(r"C_(\d+|n)")


def _combinations(node: Node, exponent: Node) -> Node | None:
    """C_5^2, in some countries the number of pairs out of five; None for the square of a constant C_1."""
    found = _CHOOSING.fullmatch(node.name) if isinstance(node, Sym) else None
    if found is None:
        return None
    if found[1] == "n":
        return Call("binom", (Sym("n"), exponent)) if isinstance(exponent, (Num, Sym)) else None
    if isinstance(exponent, Num) and exponent.value.denominator == 1 and 2 < int(found[1]) >= exponent.value:
        return Call("binom", (Num(Fraction(found[1])), exponent))
    return None
