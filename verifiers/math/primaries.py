"""The innermost parts of an answer: numbers, letters, brackets, commands, functions, environments."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from fractions import Fraction

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
    Text,
)
from verifiers.math.tokens import DEEPEST, Cursor, Token, UnparsedError, tokenize
from verifiers.math.units import RAW_UNITS
from verifiers.math.vocabulary import (
    ACCENTS,
    CLOSERS,
    CURRENCIES,
    ENGLISH,
    FUNCTIONS,
    GREEK,
    INVERSE,
    NAMES,
    PREFIXED,
    USUAL_FUNCTIONS,
)


class Primaries(Cursor, ABC):
    """Reads one primary; the larger grammar is below it in `parser`."""

    @abstractmethod
    def item(self) -> Node:
        """One item of a list."""

    @abstractmethod
    def items(self, closers: tuple[str, ...]) -> tuple[list[Node], list[str]]:
        """Items up to one of `closers`, and the separators between them."""

    @abstractmethod
    def sum(self) -> Node:
        """A sum of products."""

    @abstractmethod
    def product(self) -> Node:
        """A product of powers."""

    @abstractmethod
    def power(self) -> Node:
        """A primary with its powers and marks."""

    @abstractmethod
    def signed_power(self) -> Node:
        """A power with a sign before it."""

    @abstractmethod
    def power_argument(self) -> Node:
        """What stands behind ^."""

    @abstractmethod
    def postfix(self, node: Node, *, factorial_only: bool = False) -> Node:
        """`node` with the marks behind it."""

    @abstractmethod
    def subscript(self, node: Node) -> Node:
        """`node` with its index."""

    def primary(self) -> Node:
        """One primary, with the depth counted."""
        self.depth += 1
        if self.depth > 4 * DEEPEST:
            raise UnparsedError("nested too deeply")
        try:
            return self._primary()
        finally:
            self.depth -= 1

    def _primary(self) -> Node:
        token = self.take()
        value = token.value
        if token.kind == "number":
            return self.number(value)
        if token.kind == "word":
            return self.word(value, token)
        if token.kind == "text":
            return self.text(token)
        if token.kind == "sign":
            return self.sign(value)
        return self.command(value)

    def number(self, text: str) -> Node:
        """A number, with a repeating decimal behind it."""
        value = _fraction(text)
        if "e" in text.lower():
            return Num(value, len(text.lower().split("e")[0].replace(".", "").lstrip("0")))
        if "." in text:
            return self.repeating(text)
        return self.repeating(text) if self.at(".") else Num(value)

    def repeating(self, text: str) -> Node:
        """0.1\\overline{6}; `text` is what stands before the bar."""
        if self.at(".") and "." not in text:
            following = self.peek(1)
            if following is None or following.value not in ("\\overline", "\\bar", "\\dot"):
                self.position += 1
                return Num(_fraction(text))
            self.position += 1
            text += "."
        if "." in text and self.at("\\overline", "\\bar", "\\dot"):
            self.position += 1
            self.expect("{")
            digits = self.take()
            self.expect("}")
            if digits.kind != "number" or not digits.value.isdigit() or len(digits.value) > 50:
                raise UnparsedError("a bar over something that is no digits")
            whole, after = text.split(".")
            head = _fraction((whole or "0") + ("." + after if after else ""))
            tail = Fraction(int(digits.value), (10 ** len(digits.value) - 1) * 10 ** len(after))
            return Num(head + tail)
        decimals = len(text.split(".")[1]) if "." in text else 0
        return Num(
            _fraction(text), len(text.replace(".", "").lstrip("0")) or 1 if "." in text else 0, decimals
        )

    def word(self, value: str, token: Token) -> Node:
        """Letters: a function, a name spelled out, or a product of one-letter variables."""
        lowered = value if value in FUNCTIONS else value.lower()
        name = INVERSE.get(lowered, lowered)
        if name in FUNCTIONS and len(value) > 1:
            return self.function(name)
        if lowered in NAMES:
            return Sym(NAMES[lowered])
        if value in ("frac", "binom"):
            return self.command("\\" + value)
        for length in range(min(len(value), 7), 1, -1):
            # "cosx", "pir": a known name with something behind it.
            head = value[:length]
            if (
                (head in FUNCTIONS or head in INVERSE or head in ("pi",))
                and len(value) > length
                and len(value) - length <= 2
            ):
                self.position -= 1
                self.tokens[self.position : self.position + 1] = [
                    Token("word", head, token.spaced), Token("word", value[length:], False)
                ]  # fmt: skip
                return self.primary()
        if len(value) > 3 or lowered in ENGLISH:
            raise UnparsedError(f"the word {value!r}")
        if len(value) == 1:
            return self.letter(value)
        # A product; the last letter takes what follows it (an index, a power, arguments).
        self.position -= 1
        self.tokens[self.position : self.position + 1] = [Token("word", letter, False) for letter in value]
        return self.primary()

    def letter(self, value: str) -> Node:
        """A one-letter name with its index, applied to what follows."""
        node: Node = Sym(value)
        if self.at("_"):
            node = self.subscript(node)
        if self.at("'"):
            return self.applied(self.postfix(node))
        return self.applied(node)

    def applied(self, node: Node) -> Node:
        """`f(x)`: a function's usual letter, or any letter before several arguments; else a factor."""
        following = self.peek()
        if following is None or following.value != "(" or following.kind != "sign":
            return node
        start = self.position
        group = self.primary()
        if isinstance(group, Group) and (group.opener, group.closer) == ("(", ")") and len(group.items) > 1:
            return Call("apply", (node, *group.items))
        name = node.args[0] if isinstance(node, Call) and node.head == "prime" else node
        usual = isinstance(name, Sym) and name.name.split("_")[0] in USUAL_FUNCTIONS
        if not isinstance(group, Group) and (usual or isinstance(group, Relation)):
            return Call("apply", (node, group))
        self.position = start
        return node

    def definition_head(self) -> Node | None:
        """`y(t)` before `=`: there every letter is a function's name."""
        start = self.position
        token = self.peek()
        if token is None or not (
            (token.kind in ("word", "text") and len(token.value.strip()) == 1)
            or (token.kind == "command" and token.value[1:] in GREEK)
        ):
            return None
        self.position += 1
        name: Node = Sym(token.value.strip())
        try:
            if self.at("_"):
                name = self.subscript(name)
            while self.accept("'"):
                name = Call("prime", (name,))
            if self.at("("):
                group = self.primary()
                arguments = group.items if isinstance(group, Group) else (group,)
                if self.at("=") and all(isinstance(a, (Sym, Num)) for a in arguments):
                    return Call("apply", (name, *arguments))
        except UnparsedError:
            pass
        self.position = start
        return None

    def text(self, token: Token) -> Node:
        """Words inside the formula: a constant, a name, a number in text."""
        value = token.value.strip()
        if value in ("e", "i", "π"):
            return Sym("\\pi" if value == "π" else value)
        if value in FUNCTIONS:
            return self.function(value)
        if len(value) == 1 and value.isalpha():
            return self.letter(value)
        if value and re.fullmatch(r"[-+]?[\d.,]+", value):
            self.position -= 1
            self.tokens[self.position : self.position + 1] = tokenize(value, thousands=True)
            return self.sum() if value[0] in "+-" else self.primary()
        if 2 <= len(value) <= 3 and value.isalpha() and value.isupper():
            name: Node = Sym(value)
            return self.subscript(name) if self.at("_") else name
        raise UnparsedError(f"the words {value!r}")

    def sign(self, value: str) -> Node:
        """A bracket or a bar."""
        if value in "([":
            return self.bracketed(value)
        if value == "{":
            return self.plain_braces()
        if value == "|":
            self.no_bar += 1
            inner = self.item()
            self.no_bar -= 1
            self.expect("|")
            return Call("abs", (inner,))
        raise UnparsedError(f"{value!r} where a value should be")

    def plain_braces(self) -> Node:
        """Braces without backslashes: grouping, or a set in plain text."""
        if self.accept("}"):
            if self.position >= len(self.tokens) or self.position == 2:
                return Group("{", "}", ())
            return self.primary()
        bar, self.no_bar = self.no_bar, 0
        items, separators = self.items(("}",))
        self.expect("}")
        self.no_bar = bar
        if len(items) == 1 and not separators:
            return items[0]
        return Group("{", "}", tuple(items))

    def bracketed(self, opener: str) -> Node:
        """What stands in parentheses or square brackets."""
        closers = CLOSERS[opener]
        bar, self.no_bar = self.no_bar, 0
        colon, self.no_colon = self.no_colon, 0
        if self.at(*closers):
            closer = self.take().value
            self.no_bar, self.no_colon = bar, colon
            return Group(opener, closer, ())
        items, separators = self.items(closers)
        closer = self.expect(*closers)
        self.no_bar, self.no_colon = bar, colon
        if (
            len(items) == 1
            and not separators
            and opener in ("(", "[")
            and (opener, closer) in (("(", ")"), ("[", "]"))
        ):
            inner = items[0]
            # Parentheses around a sum are not needed in a tree; around a relation they are a group of one.
            return inner if not isinstance(inner, (Group,)) else Group(opener, closer, (inner,))
        return Group(opener, closer, tuple(items))

    def set_braces(self) -> Node:
        """What stands between \\{ and \\}: items, or a subject and its condition."""
        if self.accept("\\}"):
            return Group("{", "}", ())
        outer = self.no_bar, self.no_colon
        self.no_bar = self.no_colon = 1
        items, _ = self.items(("\\}", "|", "\\mid", ":"))
        if self.accept("|", "\\mid", ":"):
            self.no_bar = self.no_colon = 0
            subject = items[0] if len(items) == 1 else Group("", "", tuple(items))
            conditions, words = self.items(("\\}",))
            self.expect("\\}")
            self.no_bar, self.no_colon = outer
            operator = "or" if "or" in words else "and"
            condition = conditions[0] if len(conditions) == 1 else Logic(operator, tuple(conditions))
            return SetBuilder(subject, condition)
        self.expect("\\}")
        self.no_bar, self.no_colon = outer
        return Group("{", "}", tuple(items))

    def argument(self) -> Node:
        """A TeX argument: braces, or the next token (\\frac12 takes one digit)."""
        if self.at("{"):
            return self.braced()
        token = self.peek()
        if token is not None and token.kind == "number" and len(token.value) > 1 and token.value.isdigit():
            self.tokens[self.position : self.position + 1] = [
                Token("number", token.value[0], token.spaced), Token("number", token.value[1:], False)
            ]  # fmt: skip
        if token is not None and token.kind == "word" and len(token.value) > 1:
            self.tokens[self.position : self.position + 1] = [
                Token("word", token.value[0], token.spaced), Token("word", token.value[1:], False)
            ]  # fmt: skip
            return Sym(self.take().value)
        return self.primary()

    def command(self, value: str) -> Node:
        """What a command begins."""
        name = value[1:]
        if name == "frac":
            return Call("frac", (self.argument(), self.argument()))
        if name == "binom":
            return Call("binom", (self.argument(), self.argument()))
        if name == "sqrt":
            return self.root()
        if name == "{":
            return self.set_braces()
        if name == "langle":
            return self.bracketed("\\langle")
        if name in ("lfloor", "lceil"):
            bar, self.no_bar = self.no_bar, 0
            inner = self.item()
            self.no_bar = bar
            self.expect("\\rfloor" if name == "lfloor" else "\\rceil")
            return Call("floor" if name == "lfloor" else "ceil", (inner,))
        if name == "boxed" or name == "fbox":
            return self.braced()
        if value in CURRENCIES:
            return Quantity(self.postfix(self.signed_power()), ((CURRENCIES[value], 1),))
        if name in FUNCTIONS:
            return self.function(name)
        if name in INVERSE:
            return self.function(INVERSE[name])
        if name == "begin":
            return self.environment()
        if name in ("sum", "prod", "int", "iint", "oint", "lim"):
            return self.binder(name)
        if name in ("mathbb",) or name.startswith("mathbb"):
            symbol: Node = Sym("\\" + name)
            while self.at("^", "_") and (following := self.peek(1)) is not None:
                if following.value in ("+", "-", "*"):
                    mark = self.take().value + self.take().value
                elif (
                    following.value == "{"
                    and (sign := self.peek(2)) is not None
                    and sign.value in ("+", "-", "*")
                ):
                    self.position += 2
                    mark = "^" + self.take().value
                    self.expect("}")
                else:
                    break
                symbol = Sym(symbol.name + mark)  # type: ignore[union-attr]
            return symbol
        if name in ("forall", "exists"):
            return Call(name, (self.item(),))
        if name in ACCENTS:
            return self.accent(name)
        if value in PREFIXED:
            return self.prefixed(value)
        if name in GREEK:
            return self.letter(value) if name not in ("infty", "emptyset", "pi", "prime") else Sym(value)
        if name in ("\\", "&"):
            raise UnparsedError("a line break")
        raise UnparsedError(f"the command {value!r}")

    def accent(self, name: str) -> Node:
        """A name with a bar, hat or arrow."""
        self.expect("{") if self.at("{") else None
        parts: list[str] = []
        depth = 1
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
        return Call("pow", (node, power))

    def function_arguments(self, name: str) -> tuple[Node, ...]:
        """The arguments of a function, with or without parentheses."""
        if self.at("(", "["):
            group = self.primary()
            if (
                isinstance(group, Group)
                and group.opener in "(["
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
            return Call("int", (Sym("\\int"), body, lower, upper))
        body = self.product()
        variable: Node = Sym("\\none")
        if isinstance(lower, Relation) and isinstance(lower.terms[0], Sym):
            variable = lower.terms[0]
            lower = lower.terms[1]
        return Call(name, (variable, body, lower, upper))

    def braced_relation(self) -> Node:
        """What stands under a sum or limit sign."""
        if not self.at("{"):
            return self.argument()
        self.position += 1
        node = self.item()
        self.expect("}")
        return node

    def environment(self) -> Node:
        """A matrix environment."""
        self.expect("{")
        name = ""
        while not self.at("}"):
            name += self.take().value
        self.expect("}")
        if name not in (
            "pmatrix",
            "bmatrix",
            "matrix",
            "vmatrix",
            "Bmatrix",
            "array",
            "smallmatrix",
            "cases",
        ):
            raise UnparsedError(f"the environment {name!r}")
        if name == "array" and self.at("{"):
            while not self.accept("}"):
                self.position += 1
                if self.peek() is None:
                    raise UnparsedError("an open array")
        bar, self.no_bar = self.no_bar, 0
        rows: list[list[Node]] = [[]]
        while not self.at("\\end"):
            if self.accept("\\\\"):
                rows.append([])
            elif self.accept("&") or self.accept("\\hline"):
                continue
            else:
                rows[-1].append(self.item())
            if sum(map(len, rows)) > 900:
                raise UnparsedError("a matrix of more than 900 cells")
        self.no_bar = bar
        self.position += 1
        self.expect("{")
        while not self.accept("}"):
            self.take()
        if rows and not rows[-1]:
            rows.pop()
        if name == "cases":
            raise UnparsedError("cases")
        if not rows or not rows[0] or len({len(row) for row in rows}) != 1:
            raise UnparsedError("a matrix with rows of different length")
        matrix = Matrix(tuple(tuple(row) for row in rows))
        return Call("det", (matrix,)) if name == "vmatrix" else matrix

    def braced(self) -> Node:
        """What stands in braces."""
        self.expect("{")
        if self.accept("}"):
            raise UnparsedError("empty braces")
        if self.at("\\circ") and (closing := self.peek(1)) is not None and closing.value == "}":
            self.position += 2
            return Sym("\\circ")
        if self.at("\\prime"):
            self.position += 1
            while self.accept("\\prime"):
                pass
            self.expect("}")
            return Sym("\\prime")
        node = self.item()
        self.expect("}")
        return node

    def leading_sign(self) -> list[str]:
        """The signs before a term."""
        signs: list[str] = []
        while self.at("+", "-", "\\pm", "\\mp"):
            signs.append(self.take().value)
            if self.at("/") and signs[-1] == "+":
                # "+/-" in plain text.
                self.position += 1
                self.expect("-")
                signs[-1] = "\\pm"
            if len(signs) > 8:
                raise UnparsedError("a row of signs")
        return signs


def _fraction(text: str) -> Fraction:
    if len(text) > 1200:
        raise UnparsedError("a number of more than 1200 digits")
    if "e" in text.lower():
        exponent = int(text.lower().split("e")[1])
        if abs(exponent) > 1000:
            raise UnparsedError("an exponent beyond 1000")
    return Fraction(text)
