"""Functions with their arguments, roots, sums and integrals, and names under an accent."""

from __future__ import annotations

from abc import abstractmethod
from fractions import Fraction

from verifiers.math.brackets import Brackets
from verifiers.math.syntax import (
    Call,
    Group,
    Node,
    Num,
    Relation,
    Sym,
    Text,
    substitute,
    walk,
)
from verifiers.math.tokens import UnparsedError
from verifiers.math.units import RAW_UNITS
from verifiers.math.vocabulary import FUNCTIONS, GREEK

_BOUND = Sym("\\bound")
"""What a sum or integral counts with, whatever letter it is written with."""


def _bound(body: Node, letter: Sym) -> Node:
    """The body with its bound variable under the common name; a body that binds inside keeps its own letters."""
    inner = any(n == _BOUND for n in walk(body))
    return body if inner else substitute(body, {letter.name: _BOUND})


def _differential(body: Node) -> Sym | None:
    """The x of an integrand that ends in dx."""
    if not isinstance(body, Call) or body.head != "mul" or not isinstance(body.args[1], Sym):
        return None
    before, last = body.args
    mark = before.args[1] if isinstance(before, Call) and before.head == "mul" else before
    return last if mark == Sym("d") and isinstance(last, Sym) else None


class Functions(Brackets):
    """Reads a function and what it is applied to."""

    @abstractmethod
    def applied(self, node: Node) -> Node:
        """`f(x)`: a function's usual letter before its argument."""

    def accent(self, name: str) -> Node:
        """A name with a bar, hat or arrow."""
        parts: list[str] = []
        depth = 1 if self.accept("{") else 0
        if not depth:
            parts.append(self.take().value)
        while depth:
            token = self.take()
            depth += (token.value == "{") - (token.value == "}")
            if depth:
                parts.append(token.value)
            if depth == 1 and not parts:
                continue
            if self.position >= len(self.tokens) and depth:
                break
        letters = "".join(parts)
        if not letters:
            raise UnparsedError("an accent over nothing")
        node: Node = Sym(f"\\{name} {letters}")
        if self.at("_"):
            node = self.subscript(node)
        return self.applied(node)

    def prefixed(self, value: str) -> Node:
        """\\angle ABC, \\Delta p: one name."""
        letters: list[str] = []
        while (token := self.peek()) is not None and (
            token.kind == "word" or (token.kind == "command" and token.value[1:] in GREEK)
        ):
            if token.kind == "word" and len(token.value) > 3:
                break
            if value == "\\Delta" and letters:
                break
            letters.append(self.take().value)
            if self.at("_"):
                named = self.subscript(Sym(letters[-1]))
                letters[-1] = named.name if isinstance(named, Sym) else letters[-1]
        return Sym(f"{value} {''.join(letters)}".strip())

    def root(self) -> Node:
        """A square root or one with an index."""
        if self.accept("["):
            index = self.item()
            self.expect("]")
            return Call("root", (self.root_argument(), index))
        return Call("sqrt", (self.root_argument(),))

    def root_argument(self) -> Node:
        """What stands under a root sign."""
        if self.at("{"):
            return self.braced()
        return self.primary()

    def function(self, name: str) -> Node:
        """A function with its power, base and argument."""
        if name == "sqrt":
            return self.root()
        if self.at("=") and name in ("max", "min", "sup", "inf"):
            return Sym(f"\\{name}")
        power: Node | None = None
        base: Node | None = None
        while self.at("^", "_"):
            if self.take().value == "^":
                power = self.power_argument()
            else:
                base = self.braced() if self.at("{") else self.argument()
        arguments = self.function_arguments(name)
        if base is not None:
            if name != "log":
                raise UnparsedError(f"{name} with an index")
            node: Node = Call("log", (*arguments, base))
        else:
            node = Call(name, arguments)
        if power is None:
            return node
        minus_one = isinstance(power, Call) and power.head == "neg" and power.args[0] == Num(Fraction(1))
        if minus_one and name in ("sin", "cos", "tan", "cot", "sec", "csc"):
            return Call("arc" + name, arguments)
        if minus_one and name in ("sinh", "cosh", "tanh"):
            return Call("ar" + name, arguments)
        return Call("pow", (node, power))

    def function_arguments(self, name: str) -> tuple[Node, ...]:
        """The arguments of a function, with or without parentheses."""
        if self.at("(", "[") or (self.at("\\{") and name in ("gcd", "lcm", "max", "min")):
            group = self.primary()
            if (
                isinstance(group, Group)
                and group.opener in ("(", "[", "\\{", "{")
                and name in ("gcd", "lcm", "max", "min", "log")
            ):
                return group.items
            return (group,)
        # Without parentheses the argument is the product up to the next sign or function: \cos 3x, \sin \frac t4.
        sign = self.leading_sign()
        factors = [self.power()]
        while (token := self.peek()) is not None:
            if (
                token.kind == "word"
                and token.value.lower() in (FUNCTIONS | {"and", "or", "for", "where"})
                and len(token.value) > 1
            ):
                break
            if token.kind == "command" and (
                token.value[1:] in FUNCTIONS or token.value in ("\\sum", "\\int", "\\prod", "\\mathbb")
            ):
                break
            if token.kind == "word" and (token.value in RAW_UNITS):
                break
            if token.kind == "text":
                break
            if token.value in ("(", "[") and token.kind == "sign":
                if not factors:
                    break
                if isinstance(factors[-1], Sym) and not token.spaced:
                    break
                break
            if self.at("/"):
                self.position += 1
                factors[-1] = Call("div", (factors[-1], self.power()))
                continue
            if not self.starts_factor() or (token.kind == "sign" and token.value == "|"):
                break
            factors.append(self.power())
        node = factors[0]
        for factor in factors[1:]:
            node = Call("mul", (node, factor))
        for mark in reversed(sign):
            node = Call("neg", (node,)) if mark == "-" else Call("pm", (node,)) if mark != "+" else node
        return (node,)

    def binder(self, name: str) -> Node:
        """Sums, products, integrals and limits: kept as they are written."""
        lower: Node = Text("")
        upper: Node = Text("")
        while self.at("_", "^"):
            if self.take().value == "_":
                lower = self.braced_relation()
            else:
                upper = self.power_argument()
        if name in ("int", "iint", "oint"):
            body = self.sum()
            variable = _differential(body)
            if variable is not None and upper != Text(""):
                body = _bound(body, variable)
            return Call("int", (Sym("\\int"), body, lower, upper))
        body = self.product()
        if (
            isinstance(lower, Relation)
            and isinstance(lower.terms[0], Sym)
            and lower.operators in (("=",), ("to",))
            and len(lower.terms) == 2
        ):
            letter = lower.terms[0]
            return Call(name, (_BOUND, _bound(body, letter), lower.terms[1], upper))
        return Call(name, (Sym("\\none"), body, lower, upper))

    def braced_relation(self) -> Node:
        """What stands under a sum or limit sign."""
        if not self.at("{"):
            return self.argument()
        self.position += 1
        node = self.item()
        self.expect("}")
        return node
