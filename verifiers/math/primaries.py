"""The innermost parts of an answer: numbers, letters, words, and what each command begins."""

from __future__ import annotations

import re
from fractions import Fraction

from verifiers.math.functions import Functions
from verifiers.math.syntax import (
    Based,
    Call,
    Group,
    Node,
    Num,
    Quantity,
    Relation,
    Sym,
)
from verifiers.math.tokens import DEEPEST, Token, UnparsedError, tokenize
from verifiers.math.vocabulary import (
    ACCENTS,
    CALLED,
    CURRENCIES,
    CURRENCY_NAMES,
    ENGLISH,
    FUNCTIONS,
    GREEK,
    INVERSE,
    NAMES,
    PREFIXED,
    STOP_WORDS,
    USUAL_FUNCTIONS,
)

_MEASURES = (Sym("P"), Sym("E"))


class Primaries(Functions):
    """Reads one primary: a number, a letter, a bracket, a command."""

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
            if following is None or following.value not in ("\\overline", "\\bar", "\\dot", "("):
                self.position += 1
                return Num(_fraction(text))
            self.position += 1
            text += "."
        if "." in text and (self.at("\\overline", "\\bar", "\\dot") or self.at_repeated_digits()):
            digits = self.repeated_digits()
            if not digits.isdigit() or len(digits) > 50:
                raise UnparsedError("a bar over something that is no digits")
            whole, after = text.split(".")
            head = _fraction((whole or "0") + ("." + after if after else ""))
            tail = Fraction(int(digits), (10 ** len(digits) - 1) * 10 ** len(after))
            return Num(head + tail)
        if text.endswith("."):
            raise UnparsedError("a decimal point without digits")
        decimals = len(text.split(".")[1]) if "." in text else 0
        return Num(
            _fraction(text), len(text.replace(".", "").lstrip("0")) or 1 if "." in text else 0, decimals
        )

    def at_repeated_digits(self) -> bool:
        """Whether the next three tokens are digits in parentheses that touch what stands before: 0.1(6)."""
        ahead = [self.peek(index) for index in range(3)]
        if None in ahead or any(token is not None and token.spaced for token in ahead):
            return False
        kinds = [token.value if token.kind == "sign" else token.kind for token in ahead if token is not None]
        return kinds == ["(", "number", ")"]

    def repeated_digits(self) -> str:
        """The digits under a bar, between two dots, or in parentheses."""
        if self.accept("("):
            digits = self.take().value
            self.expect(")")
            return digits
        digits = ""
        while self.at("\\overline", "\\bar", "\\dot"):
            self.position += 1
            self.expect("{")
            digits += self.take().value
            self.expect("}")
            following, dotted = self.peek(), self.peek(1)
            if (
                following is not None
                and following.kind == "number"
                and dotted is not None
                and dotted.value == "\\dot"
            ):
                digits += self.take().value
        return digits

    def word(self, value: str, token: Token) -> Node:
        """Letters: a function, a name spelled out, or a product of one-letter variables."""
        lowered = value if value in FUNCTIONS else value.lower()
        name = INVERSE.get(lowered, lowered)
        if name == "inf" and not self.at("(", "_", "\\{"):
            return Sym("\\infty")
        if name in CALLED and self.at("("):
            return Call(CALLED[name], (self.primary(), *((Num(Fraction(3)),) if name == "cbrt" else ())))
        if name in FUNCTIONS and len(value) > 1:
            return self.function(name)
        if value in CURRENCY_NAMES and (following := self.peek()) is not None and following.kind == "number":
            return Quantity(self.postfix(self.primary()), ((CURRENCY_NAMES[value], 1),))
        if lowered in NAMES:
            return Sym(NAMES[lowered])
        if value in ("frac", "binom"):
            return self.command("\\" + value)
        for length in range(min(len(value), 7), 1, -1) if lowered not in STOP_WORDS else ():
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

    def based(self) -> Node:
        """\\based{FF}{16}, which only the normalisation writes."""
        self.expect("{")
        digits = ""
        while not self.at("}"):
            digits += self.take().value
        self.expect("}")
        base = self.braced()
        if not isinstance(base, Num) or not digits.isalnum():
            raise UnparsedError("a number in no base")
        return Based(digits, int(base.value))

    def inverse_sign(self) -> bool:
        """Take ^{-1}, if it is next."""
        start = self.position
        if self.accept("^") and self.accept("{") and self.accept("-"):
            one = self.peek()
            if one is not None and one.value == "1":
                self.position += 1
                if self.accept("}"):
                    return True
        self.position = start
        return False

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
            if self.inverse_sign():
                name = Call("inverse", (name,))
            while self.accept("'"):
                name = Call("prime", (name,))
            if self.at("("):
                if name in _MEASURES and (measured := self.measured(name)) is not None:
                    return measured
                group = self.primary()
                arguments = group.items if isinstance(group, Group) else (group,)
                if self.at("=") and all(isinstance(a, (Sym, Num)) for a in arguments):
                    return Call("apply", (name, *arguments))
        except UnparsedError:
            pass
        self.position = start
        return None

    def measured(self, name: Node) -> Node | None:
        """P(A | B) before "=": the probability of an event, whatever its parentheses hold, as one name."""
        start = self.position
        depth = 0
        while (token := self.peek()) is not None:
            depth += (token.value == "(") - (token.value == ")")
            self.position += 1
            if depth == 0:
                break
        if depth == 0 and self.at("=") and isinstance(name, Sym):
            return Sym(name.name + "".join(t.value for t in self.tokens[start : self.position]))
        self.position = start
        return None

    def text(self, token: Token) -> Node:
        """Words inside the formula: a constant, a name, a number in text."""
        value = token.value.strip()
        if value in ("e", "i", "π"):
            return Sym("\\pi" if value == "π" else value)
        if value in FUNCTIONS:
            return self.function(value)
        if value.lower() in NAMES:
            return Sym(NAMES[value.lower()])
        if value in CURRENCY_NAMES and (following := self.peek()) is not None and following.kind == "number":
            return Quantity(self.postfix(self.primary()), ((CURRENCY_NAMES[value], 1),))
        if len(value) == 1 and value.isalpha():
            return self.letter(value)
        if value and re.fullmatch(r"[-+]?[\d.,]+", value):
            self.position -= 1
            self.tokens[self.position : self.position + 1] = tokenize(value, thousands=True)
            return self.sum() if value[0] in "+-" else self.primary()
        if (counted := re.fullmatch(r"([-+]?\d[\d.,]*)\s+([A-Za-z].*)", value)) is not None:
            # \\text{80 minutes}
            self.position -= 1
            self.tokens[self.position : self.position + 1] = [
                *tokenize(counted[1], thousands=True), Token("text", counted[2], True)
            ]  # fmt: skip
            return self.primary()
        if value in CURRENCIES and (following := self.peek()) is not None and following.kind == "number":
            return Quantity(self.postfix(self.primary()), ((CURRENCIES[value], 1),))
        if 2 <= len(value) <= 3 and value.isalpha() and value.isupper():
            name: Node = Sym(value)
            return self.subscript(name) if self.at("_") else name
        raise UnparsedError(f"the words {value!r}")

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
        if name == "|":
            self.in_norm = True
            inner = self.item()
            self.expect("\\|")
            self.in_norm = False
            return Call("norm", (inner,))
        if name == "based":
            return self.based()
        if name in ("\\", "&"):
            raise UnparsedError("a line break")
        raise UnparsedError(f"the command {value!r}")


def _fraction(text: str) -> Fraction:
    if len(text) > 1200:
        raise UnparsedError("a number of more than 1200 digits")
    if "e" in text.lower():
        exponent = int(text.lower().split("e")[1])
        if abs(exponent) > 1000:
            raise UnparsedError("an exponent beyond 1000")
    return Fraction(text)
