"""Recursive-descent parser from the canonical spelling of an answer to a tree.

It fails closed: the whole text is consumed, or `UnparsedError` says where it stopped. Nothing is evaluated and
no text reaches Python's own evaluation.
"""

from __future__ import annotations

import re
from fractions import Fraction

from verifiers.math.primaries import Primaries
from verifiers.math.syntax import Based, Call, Group, Logic, Node, Num, Quantity, Relation, Sym
from verifiers.math.tokens import DEEPEST, LONGEST, Token, UnparsedError, tokenize, unnest
from verifiers.math.units import RAW_UNITS, convert, parse_unit
from verifiers.math.vocabulary import (
    BASES,
    CURRENCIES,
    FUNCTIONS,
    NAMES,
    RELATIONS,
    SCALES,
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
_BELOW = frozenset({"s", "h", "m", "L", "l", "g", "J", "K"})
"""Letters that are units below a stroke."""
_SIGNS = {"-": "neg", "\\pm": "pm", "\\mp": "mp"}


class _Parser(Primaries):
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
        if words == {"or"} == set(separators) and all(isinstance(item, Sym) for item in items):
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
        while self.text_in({"only", "about", "approximately", "is", "the"}):
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
            if operator in ("=",):
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

    def hoist_unit(self, node: Node) -> Node:
        """A unit behind the last term of a sum belongs to the sum."""
        if isinstance(node, Call) and node.head in ("add", "neg", "pm"):
            last = node.args[-1]
            if isinstance(last, Call) and last.head == "neg" and isinstance(last.args[0], Quantity):
                inner = last.args[0]
                return Quantity(Call(node.head, (*node.args[:-1], Call("neg", (inner.value,)))), inner.unit)
            if isinstance(last, Quantity):
                return Quantity(Call(node.head, (*node.args[:-1], last.value)), last.unit)
        return node

    def product(self) -> Node:
        """A product of powers."""
        node = self.power()
        while True:
            if self.at("*", "\\cdot", "\\times"):
                crossed = self.take().value == "\\times" and _is_vector(node)
                right = self.signed_power()
                node = Call("cross" if crossed and _is_vector(right) else "mul", (node, right))
            elif self.at("/", "\\div") or (self.at(":") and not self.no_colon):
                ratio = self.take().value == ":"
                node = Call("ratio" if ratio else "div", (node, self.signed_power()))
            elif self.at("\\bmod", "\\mod"):
                self.position += 1
                node = Call("mod", (node, self.signed_power()))
            elif (scale := self.scale()) is not None:
                node = Call("mul", (node, Num(Fraction(scale))))
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

    def scale(self) -> int | None:
        """What a word such as "million" multiplies by; what else its text says stays for the unit."""
        token = self.peek()
        if token is None or token.kind not in ("text", "word"):
            return None
        first, _, rest = token.value.strip().partition(" ")
        factor = SCALES.get(first.lower())
        if factor is not None:
            if rest:
                self.tokens[self.position] = Token(token.kind, rest, token.spaced)
            else:
                self.position += 1
        return factor

    def behind_unit(self, quantity: Quantity) -> Node:
        """Nothing, or a smaller unit of the same kind: 3 hours 30 minutes."""
        if not self.starts_factor():
            return quantity
        following = self.peek()
        rest = self.product() if following is not None and following.kind == "number" else None
        if not isinstance(rest, Quantity):
            raise UnparsedError("something stands behind the unit")
        (kind, factor), (other, smaller) = convert(quantity.unit), convert(rest.unit)
        if kind != other or len(kind) != 1 or smaller >= factor:
            raise UnparsedError("two quantities stand side by side")
        whole = Call("mul", (quantity.value, Num(factor / smaller)))
        return Quantity(Call("add", (whole, rest.value)), rest.unit)

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
        return Call("mul", (left, right))

    def minutes(self, degrees: Call, minutes: Call) -> Node:
        """An angle of degrees and minutes of arc, and seconds where they follow."""
        parts: list[Node] = [degrees.args[0]]
        smaller = minutes.args[0]
        if not isinstance(smaller, Num) or not isinstance(parts[0], Num):
            raise UnparsedError("a prime behind something that is no number of minutes")
        parts.append(Call("div", (smaller, Num(Fraction(60)))))
        token = self.peek()
        if token is not None and token.kind == "number":
            seconds = self.power()
            if not (
                isinstance(seconds, Call) and seconds.head == "prime" and isinstance(seconds.args[0], Call)
            ):
                raise UnparsedError("a number behind minutes of arc")
            parts.append(Call("div", (seconds.args[0].args[0], Num(Fraction(3600)))))
        return Call("degree", (Call("add", tuple(parts)),))

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

    def unit(self) -> tuple[tuple[str, int], ...] | None:
        """A unit behind a value: text, or a raw word that can only be a unit."""
        start = self.position
        phrase: list[str] = []
        while (token := self.peek()) is not None:
            value = token.value.strip()
            if (
                token.kind == "text"
                and value.lower().split(" ")[0] not in STOP_WORDS
                and value.lower() not in SEPARATORS
            ):
                if not phrase and len(value) == 1 and value in "eid":
                    break
                phrase.append(value)
            elif (
                (token.kind == "word" and (value in RAW_UNITS or (phrase and value in ("per", "old", "ago"))))
                or (
                    token.kind == "word"
                    and len(value) >= 4
                    and value.lower() not in STOP_WORDS | FUNCTIONS | NAMES.keys()
                )
                or (
                    token.kind == "word"
                    and not phrase
                    and value in ("square", "cubic", "sq", "percent", "pct", "percentage")
                )
            ) or (token.kind == "word" and value == "in" and not phrase and self.peek(1) is None):
                phrase.append(value)
            elif phrase and token.kind == "sign" and token.value == "^":
                self.position += 1
                exponent = self.power_argument()
                if not (isinstance(exponent, Num) and exponent.value.denominator == 1):
                    negative = (
                        isinstance(exponent, Call)
                        and exponent.head == "neg"
                        and isinstance(exponent.args[0], Num)
                    )
                    if not negative:
                        raise UnparsedError("a unit with a power that is no number")
                    phrase.append("^-" + str(exponent.args[0].value))  # type: ignore[union-attr]
                    continue
                phrase.append("^" + str(exponent.value))
                continue
            elif phrase and token.kind in ("sign", "command") and token.value in ("/", "-", "\\cdot"):
                following = self.peek(1)
                if following is None or following.kind not in ("text", "word"):
                    break
                if following.kind == "word" and following.value not in RAW_UNITS | _BELOW:
                    break
                phrase.append("/" if token.value == "/" else "*")
                if following.value in _BELOW:
                    # km/h: behind a unit and a stroke a letter is a unit.
                    phrase.append(following.value)
                    self.position += 1
            else:
                break
            self.position += 1
        if not phrase:
            return None
        text = " ".join(phrase)
        if text.lower() in ("percent", "pct", "percentage", "per cent"):
            return (("%", 1),)
        unit = parse_unit(text)
        if unit is None:
            self.position = start
        return unit

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

    def temperature(self, degrees: Node) -> Node:
        """Degrees Celsius or Fahrenheit, where the letter follows the sign; else the angle."""
        token = self.peek()
        scale = token.value.strip() if token is not None and token.kind in ("text", "word") else ""
        if scale in ("C", "F") and isinstance(degrees, Call) and degrees.head == "degree":
            self.position += 1
            return Quantity(degrees.args[0], ((scale, 1),))
        return degrees

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


def _is_equation(node: Node) -> bool:
    return isinstance(node, Relation) and set(node.operators) == {"="}


def _proper(node: Node) -> bool:
    """Whether this is a fraction of whole numbers between 0 and 1."""
    if not (isinstance(node, Call) and node.head == "frac"):
        return False
    above, below = node.args
    return isinstance(above, Num) and isinstance(below, Num) and 0 < above.value < below.value


def _ends_in_number(node: Node) -> bool:
    """Whether the last thing written was a number, so that a number behind it is no factor."""
    if isinstance(node, Num):
        return True
    return isinstance(node, Call) and node.head in ("mul", "div", "mixed") and _ends_in_number(node.args[-1])
