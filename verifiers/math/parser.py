"""Recursive-descent parser from the canonical spelling of an answer to a tree.

It fails closed: the whole text is consumed, or `UnparsedError` says where it stopped. Nothing is evaluated and
no text reaches Python's own evaluation.
"""

from __future__ import annotations

import re
from fractions import Fraction

from verifiers.math.powers import Powers
from verifiers.math.syntax import Call, Group, Logic, Node, Num, Quantity, Relation, Sym
from verifiers.math.tokens import DEEPEST, LONGEST, UnparsedError, tokenize, unnest
from verifiers.math.vocabulary import (
    NAMES,
    RELATIONS,
    SEPARATORS,
    STOP_WORDS,
)

__all__ = ["LONGEST", "UnparsedError", "parse"]


def parse(text: str, *, thousands: bool = True) -> Node:
    """Tree of a canonical spelling (`canonical_latex`).

    Raises:
        UnparsedError: the text is too long, nested too deeply, or no answer as a whole.
    """
    if len(text) > LONGEST:
        raise UnparsedError(f"longer than {LONGEST} characters")
    tokens = unnest(tokenize(text, thousands=thousands))
    if not tokens:
        raise UnparsedError("empty")
    parser = _Parser(tokens)
    node = parser.answer()
    if parser.position < len(tokens):
        raise UnparsedError(f"stops at {tokens[parser.position].value!r}")
    return node


_LABEL = re.compile(r"[A-Za-z]+(?: [A-Za-z]+){0,3}")

_SIGNS = {"-": "neg", "\\pm": "pm", "\\mp": "mp"}


class _Parser(Powers):
    """The grammar from the whole answer down to powers."""

    def answer(self) -> Node:
        """The whole: items separated by commas, semicolons, "and", "or"."""
        items, separators = self.items(())
        if len(items) == 1 and not separators:
            return items[0]
        grouped = _solutions(items, separators)
        if grouped is not None:
            return grouped
        words = {s for s in separators if s in ("and", "or")}
        conditions = all(isinstance(item, Relation) for item in items) and not {",", ";"} & set(separators)
        if words == {"or"} == set(separators) and (
            all(isinstance(item, Sym) for item in items) or _other_names(items)
        ):
            return Logic("or", tuple(items))
        if len(words) == 1 and conditions and not all(_is_equation(item) for item in items):
            return Logic(words.pop(), tuple(items))
        if separators and separators[-1] in ",;" and len(separators) == len(items):
            raise UnparsedError("ends with a comma")
        return Group("", "", tuple(items))

    def separator(self) -> str | None:
        """A comma, semicolon or word between items, or None."""
        token = self.peek()
        if token is None:
            return None
        if token.kind == "sign" and token.value in ",;":
            self.position += 1
            # ", and" is one separator.
            following = self.word_separator()
            return following or token.value
        return self.word_separator()

    def word_separator(self) -> str | None:
        """ "and" or "or", or None."""
        token = self.peek()
        if token is None or token.kind not in ("text", "word", "sign"):
            return None
        value = token.value.strip().lower().strip(",;")
        if value == "&" and self.in_cells:
            return None
        if value in SEPARATORS:
            self.position += 1
            return SEPARATORS[value]
        if token.kind == "text" and not value:
            self.position += 1
            return "," if token.value.strip() in (",", ";") else self.word_separator()
        return None

    def items(self, closers: tuple[str, ...]) -> tuple[list[Node], list[str]]:
        """Items up to one of `closers`, and the separators between them."""
        items = [self.item()]
        separators: list[str] = []
        while not self.at(*closers):
            separator = self.separator()
            if separator is None:
                break
            separators.append(separator)
            if self.peek() is None or self.at(*closers):
                break
            items.append(self.item())
        return items, separators

    def item(self) -> Node:
        """One item, with the depth counted."""
        self.depth += 1
        if self.depth > DEEPEST:
            raise UnparsedError("nested too deeply")
        try:
            return self.relation()
        finally:
            self.depth -= 1

    def relation(self) -> Node:
        """A chain of expressions with relation signs."""
        while self.text_in({"only", "about", "approximately", "exactly", "is", "the"}):
            self.position += 1
        token = self.peek()
        following = self.peek(1)
        if token is not None and following is not None and token.kind == "word" and len(token.value) > 3:
            # "Maximum = 2": a word names the value.
            named = following.kind == "sign" and following.value in "=:"
            if named and token.value.lower() not in NAMES:
                self.position += 2
                return Relation((Sym(token.value), self.set_expression()), ("=",))
        if (
            token is not None
            and following is not None
            and token.kind == "text"
            and (following.value == "=" or token.value.strip().endswith(":"))
        ):
            # \\text{Area} = 12
            label = token.value.strip().rstrip(":").strip()
            if len(label) > 2 and _LABEL.fullmatch(label) and not STOP_WORDS & set(label.lower().split()):
                self.position += 2 if following.value == "=" else 1
                return Relation((Sym(label), self.set_expression()), ("=",))
        if self.at(*RELATIONS) and not self.at("\\mid"):
            # "= 5": a relation without its left side.
            operator = RELATIONS[self.take().value]
            if operator in ("=", "~"):
                return self.relation()
            raise UnparsedError(f"nothing stands before {operator!r}")
        terms = [self.definition_head() or self.set_expression()]
        operators: list[str] = []
        while True:
            token = self.peek()
            if token is None or token.kind not in ("sign", "command") or token.value not in RELATIONS:
                break
            if token.value == "\\mid" and self.no_bar:
                break
            self.position += 1
            operator = RELATIONS[token.value]
            operators.append(operator)
            terms.append(self.set_expression())
        if not operators:
            return self.residue(terms[0])
        if self.accept("\\pmod"):
            return Call("congruent", (*terms, self.argument()))
        last = terms[-1]
        if operators[-1] == "==" and isinstance(last, Call) and last.head == "mod":
            return Call("congruent", (*terms[:-1], *last.args))
        if self.at("(") and (inner := self.peek(1)) is not None and inner.value in ("mod", "\\mod", "\\bmod"):
            self.position += 2
            modulus = self.sum()
            self.expect(")")
            return Call("congruent", (*terms, modulus))
        return Relation(tuple(terms), tuple(operators))

    def residue(self, node: Node) -> Node:
        """A class such as 3 mod 5, where the modulus stands behind the value."""
        return Call("residue", (node, self.argument())) if self.accept("\\pmod") else node

    def set_expression(self) -> Node:
        """A union, intersection or difference."""
        node = self.sum()
        while self.at("\\cup", "\\cap", "\\setminus", "\\backslash"):
            head = {"\\cup": "union", "\\cap": "intersection"}.get(self.take().value, "difference")
            node = Call(head, (node, self.sum()))
        return node

    def sum(self) -> Node:
        """A sum of products."""
        terms: list[Node] = []
        sign = self.leading_sign()
        while True:
            term = self.product()
            for mark in reversed(sign):
                term = Call(_SIGNS[mark], (term,)) if mark != "+" else term
            terms.append(term)
            if not self.at("+", "-", "\\pm", "\\mp"):
                break
            sign = self.leading_sign()
        node = terms[0] if len(terms) == 1 else Call("add", tuple(terms))
        return self.hoist_unit(node)

    def product(self) -> Node:
        """A product of powers."""
        node = self.power()
        while True:
            if self.at("*", "\\cdot", "\\times"):
                crossed = self.take().value == "\\times" and _is_vector(node)
                right = self.signed_power()
                node = Call("cross" if crossed and _is_vector(right) else "mul", (node, right))
            elif self.at("/", "\\div"):
                self.position += 1
                node = Call("div", (node, self.signed_power()))
            elif self.at(":") and not self.no_colon:
                # 2:4:2\sqrt{3}: what stands behind the colon is a product.
                self.position += 1
                self.no_colon += 1
                node = Call("ratio", (node, self.signed_product()))
                self.no_colon -= 1
            elif self.at("\\bmod", "\\mod"):
                self.position += 1
                node = Call("mod", (node, self.signed_power()))
            elif (scale := self.scale()) is not None:
                number = Num(Fraction(scale))
                if isinstance(node, Quantity):
                    return Quantity(Call("mul", (node.value, number)), node.unit)
                node = Call("mul", (node, number))
            elif self.text_in({"to"}) and isinstance(node, Num):
                # "2 to 3" is a ratio.
                self.position += 1
                node = Call("ratio", (node, self.signed_power()))
            elif self.at("\\Omega") and isinstance(node, Num) and self.peek(1) is None:
                self.position += 1
                return Quantity(node, (("ohm", 1),))
            elif (unit := self.unit()) is not None:
                return self.behind_unit(Quantity(node, unit))
            elif self.starts_factor():
                node = self.juxtaposed(node)
            else:
                return node

    def signed_product(self) -> Node:
        """A product with a sign before it."""
        sign = self.leading_sign()
        node = self.product()
        for mark in reversed(sign):
            node = Call(_SIGNS[mark], (node,)) if mark != "+" else node
        return node

    def juxtaposed(self, left: Node) -> Node:
        """What stands directly behind `left`: a mixed number's fraction, or another factor."""
        following = self.peek()
        assert following is not None
        right = self.power()
        if (
            isinstance(left, Call)
            and left.head == "degree"
            and isinstance(right, Call)
            and right.head == "prime"
        ):
            return self.minutes(left, right)
        if isinstance(right, Quantity) and right.unit == (("%", 1),) and _proper(right.value):
            # 33 1/3 %
            return Quantity(Call("mixed", (left, right.value)), right.unit)
        whole = isinstance(left, Num) and left.value.denominator == 1 and left.digits == 0
        if following.kind == "number" and isinstance(left, (Num, Call)) and _ends_in_number(left):
            # "1 3/4" is a mixed number; any other two numbers side by side mean nothing.
            if not (whole and isinstance(right, Num) and self.accept("/")):
                raise UnparsedError("two numbers stand side by side")
            right = Call("frac", (right, self.power()))
            if not _proper(right):
                raise UnparsedError("a mixed number with an improper fraction")
            return Call("mixed", (left, right))
        if whole and following.value == "\\frac" and _proper(right):
            return Call("mixed", (left, right))
        if whole and following.value == "\\frac" and _of_numbers(right):
            # 1\\frac{4}{3} is no mixed number, and a product would be written with its sign.
            raise UnparsedError("a mixed number with an improper fraction")
        return Call("mul", (left, right))


def _other_names(items: list[Node]) -> bool:
    """Whether these are equations of different variables: "x = 1 or y = 2" is no list of values."""
    names = [item.terms[0] for item in items if isinstance(item, Relation) and item.operators == ("=",)]
    letters = {name.name for name in names if isinstance(name, Sym) and "_" not in name.name}
    return len(letters) == len(items)


def _is_vector(node: Node) -> bool:
    """Whether this is a name with an arrow."""
    return isinstance(node, Sym) and node.name.startswith("\\vec ")


def _solutions(items: list[Node], separators: list[str]) -> Node | None:
    """x = 1, y = 2 or x = 2, y = 1: tuples of the values in the order of the names; None for anything else."""
    outer = {";", "or"} & set(separators)
    if not outer or ("," not in separators and "and" not in separators) or len(separators) != len(items) - 1:
        return None
    groups: list[list[Relation]] = [[]]
    for item, separator in zip(items, [*separators, ","], strict=True):
        named = isinstance(item, Relation) and item.operators == ("=",) and isinstance(item.terms[0], Sym)
        if not named or not isinstance(item, Relation):
            return None
        groups[-1].append(item)
        if separator in outer:
            groups.append([])
    names = [sorted(repr(item.terms[0]) for item in group) for group in groups]
    if len(set(map(tuple, names))) != 1 or len(set(names[0])) != len(names[0]) or len(names[0]) < 2:
        return None
    return Group(
        "",
        "",
        tuple(
            Group("(", ")", tuple(item.terms[1] for item in sorted(group, key=lambda i: repr(i.terms[0]))))
            for group in groups
        ),
    )


def _is_equation(node: Node) -> bool:
    return isinstance(node, Relation) and set(node.operators) == {"="}


def _proper(node: Node) -> bool:
    """Whether this is a fraction of whole numbers between 0 and 1."""
    if not (isinstance(node, Call) and node.head == "frac"):
        return False
    above, below = node.args
    return isinstance(above, Num) and isinstance(below, Num) and 0 < above.value < below.value


def _of_numbers(node: Node) -> bool:
    """Whether this is a fraction of two numbers."""
    return isinstance(node, Call) and node.head == "frac" and all(isinstance(arg, Num) for arg in node.args)


def _ends_in_number(node: Node) -> bool:
    """Whether the last thing written was a number, so that a number behind it is no factor."""
    if isinstance(node, Num):
        return True
    return isinstance(node, Call) and node.head in ("mul", "div", "mixed") and _ends_in_number(node.args[-1])
