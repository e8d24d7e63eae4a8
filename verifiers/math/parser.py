"""Recursive-descent parser from the canonical spelling of an answer to a tree.

It fails closed: the whole text is consumed, or `Unparsed` says where it stopped. Nothing is evaluated and
no text reaches Python's own evaluation.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

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
)
from verifiers.math.units import RAW_UNITS, convert, parse_unit

LONGEST = 4000
"""Characters of an answer; longer ones are compared as text only."""
DEEPEST = 48
_MOST_NODES = 3000


class Unparsed(ValueError):
    """The text is not an answer that this parser reads; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Token:
    """`kind` is number, command, word, text or sign; `spaced` tells of white space before it."""

    kind: str
    value: str
    spaced: bool


_TOKEN = re.compile(
    r"(?P<space>\s+)"
    r"|(?P<text>\\(?:text|mathrm|textbf|mathbf|operatorname|mathcal|mathfrak|mathscr|mathbb|textcircled|rm)\s*\{(?P<body>[^{}]*)\})"
    r"|(?P<number>\d+(?:\.\d+)?[eE][-+]?\d+(?![A-Za-z\d])|\d+\.\d+|\.\d+|\d+)"
    r"|(?P<command>\\[A-Za-z]+|\\.)"
    r"|(?P<word>[A-Za-z]+)"
    r"|(?P<other>[^\x00-\x7f]+)"
    r"|(?P<sign>.)",
    re.DOTALL,
)
_JOINING = re.compile(r"(?:^|(?<=[\s,]))(and|or)(?=[\s,]|$)")
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d])(?!,\d)")

_FUNCTIONS = {
    "sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "coth", "sech", "csch", "arcsin", "arccos", "arctan",
    "arccot", "arcsec", "arccsc", "arsinh", "arcosh", "artanh", "ln", "log", "exp", "arg", "det", "gcd", "lcm", "max",
    "min", "sgn", "Re", "Im", "deg", "dim", "ker", "tr", "Tr", "Var", "cis", "sup", "inf", "rank", "sqrt",
}  # fmt: skip
_INVERSE = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "sen": "sin", "tg": "tan", "ctg": "cot", "arctg": "arctan",
            "sign": "sgn", "arcsinh": "arsinh", "arccosh": "arcosh", "arctanh": "artanh"}  # fmt: skip
_NAMES = {"pi": "\\pi", "infinity": "\\infty", "inf": "\\infty", "infty": "\\infty", "oo": "\\infty", "theta": "\\theta",
          "alpha": "\\alpha", "beta": "\\beta", "gamma": "\\gamma", "lambda": "\\lambda", "phi": "\\phi", "omega": "\\omega",
          "delta": "\\delta", "epsilon": "\\epsilon", "sigma": "\\sigma", "mu": "\\mu", "rho": "\\rho", "tau": "\\tau"}  # fmt: skip
_GREEK = {
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu", "xi", "pi",
    "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega", "Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma",
    "Phi", "Psi", "Omega", "infty", "hbar", "ell", "emptyset", "partial", "nabla", "Re", "Im", "imath", "jmath", "aleph",
    "mho", "vartheta", "varrho", "varsigma", "blacksquare", "top", "bot", "prime", "ldots",
}  # fmt: skip
_ACCENTS = {"hat", "bar", "vec", "tilde", "dot", "ddot", "widehat", "widetilde", "overrightarrow", "overleftarrow", "underline",
            "overline", "wideparen", "overparen", "overset"}  # fmt: skip
_RELATIONS = {
    "=": "=", "<": "<", ">": ">", "\\le": "<=", "\\ge": ">=", "\\ne": "!=", "\\approx": "~", "\\in": "in", "\\notin": "notin",
    "\\equiv": "==", "\\cong": "cong", "\\sim": "sim", "\\subset": "subset", "\\subseteq": "subseteq", "\\to": "to",
    "\\parallel": "parallel", "\\perp": "perp", "\\propto": "propto", "\\simeq": "~", "\\doteq": "~", "\\ll": "<<", "\\gg": ">>",
    "\\mid": "mid", "\\Rightarrow": "implies", "\\rightarrow": "to", "\\mapsto": "to", "\\coloneqq": "=",
}  # fmt: skip
_CURRENCIES = {"\\$": "dollar", "\\pounds": "pound sterling", "\\euro": "euro", "\\yen": "yen"}
_PREFIXED = {"\\angle", "\\triangle", "\\Delta", "\\partial", "\\nabla"}
_CLOSERS = {"(": (")", "]"), "[": ("]", ")"), "\\{": ("\\}",), "\\langle": ("\\rangle",)}
_SEPARATORS = {
    "and": "and",
    "or": "or",
    "&": "and",
    "und": "and",
    "et": "and",
    "ou": "or",
    "oder": "or",
    "y": "and",
}
_FRACTION_TEXT = re.compile(r"\d")


def tokenize(text: str, *, thousands: bool) -> list[Token]:
    """Tokens of a canonical spelling; with `thousands`, 1,234 is one number."""
    if thousands and "," in text:
        text = _THOUSANDS.sub(lambda m: m.group().replace(",", ""), text)
    tokens: list[Token] = []
    spaced = False
    for found in _TOKEN.finditer(text):
        kind = found.lastgroup
        if kind == "body":
            kind = "text"
        if kind == "space":
            spaced = True
            continue
        if kind == "text":
            head = found.group().split("{")[0].strip()[1:]
            body = found.group("body")
            if head == "mathbb":
                tokens.append(Token("command", f"\\mathbb{body.strip()}", spaced))
            elif head == "mathbf" or (head in ("mathcal", "mathfrak", "mathscr") and len(body.strip()) == 1):
                tokens.append(Token("word" if body.strip().isalpha() else "text", body.strip(), spaced))
            elif head == "textcircled":
                tokens.append(Token("text", f"circled {body}", spaced))
            elif head == "operatorname" and body.strip() in _FUNCTIONS:
                tokens.append(Token("command", "\\" + body.strip(), spaced))
            else:
                # "\\text{ goats and }" holds a separator.
                for part in _JOINING.split(body.strip(" ~")):
                    if part.strip() or not body.strip():
                        tokens.append(Token("text", part.strip(" ~"), spaced))
        elif kind == "other":
            tokens.append(Token("text", found.group(), spaced))
        else:
            assert kind is not None
            tokens.append(Token(kind, found.group(), spaced))
        spaced = False
    return tokens


def unnest(tokens: list[Token]) -> list[Token]:
    """Without parentheses directly inside parentheses, so that ((((1)))) needs no depth."""
    partner: dict[int, int] = {}
    stack: list[int] = []
    for index, token in enumerate(tokens):
        if token.value == "(" and token.kind == "sign":
            stack.append(index)
        elif token.value == ")" and token.kind == "sign":
            if not stack:
                return tokens
            partner[stack.pop()] = index
    drop: set[int] = set()
    for start, end in partner.items():
        if partner.get(start + 1) == end - 1:
            drop |= {start, end}
    return [token for index, token in enumerate(tokens) if index not in drop] if drop else tokens


def parse(text: str, *, thousands: bool = True) -> Node:
    """Tree of a canonical spelling (`canonical_latex`).

    Raises:
        Unparsed: the text is too long, nested too deeply, or no answer as a whole.
    """
    if len(text) > LONGEST:
        raise Unparsed(f"longer than {LONGEST} characters")
    tokens = unnest(tokenize(text, thousands=thousands))
    if not tokens:
        raise Unparsed("empty")
    parser = _Parser(tokens)
    node = parser.answer()
    if parser.position < len(tokens):
        raise Unparsed(f"stops at {tokens[parser.position].value!r}")
    return node


class _Parser:
    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.position = 0
        self.depth = 0
        self.no_bar = 0
        self.no_colon = 0
        self.nodes = 0

    # Tokens

    def peek(self, ahead: int = 0) -> Token | None:
        index = self.position + ahead
        return self.tokens[index] if index < len(self.tokens) else None

    def at(self, *values: str) -> bool:
        token = self.peek()
        return token is not None and token.kind in ("sign", "command") and token.value in values

    def take(self) -> Token:
        token = self.peek()
        if token is None:
            raise Unparsed("ends too early")
        self.position += 1
        self.nodes += 1
        if self.nodes > 40 * _MOST_NODES:
            raise Unparsed("too large")
        return token

    def accept(self, *values: str) -> bool:
        if self.at(*values):
            self.position += 1
            return True
        return False

    def expect(self, *values: str) -> str:
        token = self.peek()
        if token is None or token.value not in values:
            raise Unparsed(f"expected {values[0]!r}, found {token.value if token else 'the end'!r}")
        self.position += 1
        return token.value

    # Lists and logic

    def answer(self) -> Node:
        """The whole: items separated by commas, semicolons, "and", "or"."""
        items, separators = self.items(())
        if len(items) == 1 and not separators:
            return items[0]
        words = {s for s in separators if s in ("and", "or")}
        conditions = all(isinstance(item, Relation) for item in items) and "," not in separators
        if len(words) == 1 and conditions and not all(_is_equation(item) for item in items):
            return Logic(words.pop(), tuple(items))
        if separators and separators[-1] == "," and len(separators) == len(items):
            raise Unparsed("ends with a comma")
        return Group("", "", tuple(items))

    def separator(self) -> str | None:
        token = self.peek()
        if token is None:
            return None
        if token.kind == "sign" and token.value in ",;":
            self.position += 1
            # ", and" is one separator.
            following = self.word_separator()
            return following or ","
        return self.word_separator()

    def word_separator(self) -> str | None:
        token = self.peek()
        if token is None or token.kind not in ("text", "word", "sign"):
            return None
        value = token.value.strip().lower().strip(",;")
        if value in _SEPARATORS and not (value == "y"):
            self.position += 1
            return _SEPARATORS[value]
        if token.kind == "text" and not value:
            self.position += 1
            return "," if token.value.strip() in (",", ";") else self.word_separator()
        return None

    def items(self, closers: tuple[str, ...]) -> tuple[list[Node], list[str]]:
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
        self.depth += 1
        if self.depth > DEEPEST:
            raise Unparsed("nested too deeply")
        try:
            return self.relation()
        finally:
            self.depth -= 1

    def relation(self) -> Node:
        while self.text_in({"only", "about", "approximately", "is", "the"}):
            self.position += 1
        token = self.peek()
        following = self.peek(1)
        if token is not None and following is not None and token.kind == "word" and len(token.value) > 3:
            # "Maximum = 2": a word names the value.
            if following.kind == "sign" and following.value in "=:" and token.value.lower() not in _NAMES:
                self.position += 2
                return Relation((Sym(token.value), self.set_expression()), ("=",))
        if self.at(*_RELATIONS) and not self.at("\\mid"):
            # "= 5": a relation without its left side.
            operator = _RELATIONS[self.take().value]
            if operator in ("=",):
                return self.relation()
            raise Unparsed(f"nothing stands before {operator!r}")
        terms = [self.definition_head() or self.set_expression()]
        operators: list[str] = []
        while True:
            token = self.peek()
            if token is None or token.kind not in ("sign", "command") or token.value not in _RELATIONS:
                break
            if token.value == "\\mid" and self.no_bar:
                break
            self.position += 1
            operator = _RELATIONS[token.value]
            operators.append(operator)
            terms.append(self.set_expression())
        if not operators:
            return terms[0]
        if self.accept("\\pmod"):
            return Call("congruent", (*terms, self.argument()))
        if self.at("(") and (inner := self.peek(1)) is not None and inner.value in ("mod", "\\mod", "\\bmod"):
            self.position += 2
            modulus = self.sum()
            self.expect(")")
            return Call("congruent", (*terms, modulus))
        return Relation(tuple(terms), tuple(operators))

    def text_in(self, words: set[str]) -> bool:
        token = self.peek()
        return token is not None and token.kind in ("text", "word") and token.value.strip().lower() in words

    def set_expression(self) -> Node:
        node = self.sum()
        while self.at("\\cup", "\\cap", "\\setminus", "\\backslash"):
            head = {"\\cup": "union", "\\cap": "intersection"}.get(self.take().value, "difference")
            node = Call(head, (node, self.sum()))
        return node

    # Arithmetic

    def sum(self) -> Node:
        terms: list[Node] = []
        sign = self.leading_sign()
        while True:
            term = self.product()
            for mark in reversed(sign):
                term = (
                    Call({"-": "neg", "+": "plus", "\\pm": "pm", "\\mp": "mp"}[mark], (term,))
                    if mark != "+"
                    else term
                )
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

    def leading_sign(self) -> list[str]:
        signs: list[str] = []
        while self.at("+", "-", "\\pm", "\\mp"):
            signs.append(self.take().value)
            if self.at("/") and signs[-1] == "+":
                # "+/-" in plain text.
                self.position += 1
                self.expect("-")
                signs[-1] = "\\pm"
            if len(signs) > 8:
                raise Unparsed("a row of signs")
        return signs

    def product(self) -> Node:
        node = self.power()
        while True:
            if self.at("*", "\\cdot", "\\times"):
                self.position += 1
                node = Call("mul", (node, self.signed_power()))
            elif self.at("/", "\\div") or (self.at(":") and not self.no_colon):
                ratio = self.take().value == ":"
                node = Call("ratio" if ratio else "div", (node, self.signed_power()))
            elif self.at("\\bmod", "\\mod"):
                self.position += 1
                node = Call("mod", (node, self.signed_power()))
            elif (unit := self.unit()) is not None:
                return self.behind_unit(Quantity(node, unit))
            elif self.starts_factor():
                node = self.juxtaposed(node)
            else:
                return node

    def behind_unit(self, quantity: Quantity) -> Node:
        """Nothing, or a smaller unit of the same kind: 3 hours 30 minutes."""
        if not self.starts_factor():
            return quantity
        following = self.peek()
        rest = self.product() if following is not None and following.kind == "number" else None
        if not isinstance(rest, Quantity):
            raise Unparsed("something stands behind the unit")
        (kind, factor), (other, smaller) = convert(quantity.unit), convert(rest.unit)
        if kind != other or len(kind) != 1 or smaller >= factor:
            raise Unparsed("two quantities stand side by side")
        whole = Call("mul", (quantity.value, Num(factor / smaller)))
        return Quantity(Call("add", (whole, rest.value)), rest.unit)

    def juxtaposed(self, left: Node) -> Node:
        """What stands directly behind `left`: a mixed number's fraction, or another factor."""
        following = self.peek()
        assert following is not None
        right = self.power()
        whole = isinstance(left, Num) and left.value.denominator == 1 and left.digits == 0
        if following.kind == "number" and isinstance(left, (Num, Call)) and _ends_in_number(left):
            # "1 3/4" is a mixed number; any other two numbers side by side mean nothing.
            if not (whole and isinstance(right, Num) and self.accept("/")):
                raise Unparsed("two numbers stand side by side")
            right = Call("frac", (right, self.power()))
            if not _proper(right):
                raise Unparsed("a mixed number with an improper fraction")
            return Call("mixed", (left, right))
        if whole and following.value == "\\frac" and _proper(right):
            return Call("mixed", (left, right))
        return Call("mul", (left, right))

    def signed_power(self) -> Node:
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

    def starts_factor(self) -> bool:
        token = self.peek()
        if token is None:
            return False
        if token.kind in ("number", "word"):
            return not (token.kind == "word" and token.value.lower() in ("and", "or"))
        if token.kind == "text":
            return token.value.strip() in ("e", "i", "π", "d") or (
                len(token.value.strip()) == 1 and token.value.strip().isalpha()
            )
        if token.kind == "sign":
            inner = self.peek(1)
            if token.value == "(" and inner is not None and inner.value in ("mod", "\\mod", "\\bmod"):
                return False
            return token.value in "([{" or (token.value == "|" and not self.no_bar)
        if token.value in _RELATIONS or token.value in (
            "\\cup",
            "\\cap",
            "\\setminus",
            "\\backslash",
            "\\}",
            "\\end",
            "\\\\",
        ):
            return False
        return token.value not in (
            "\\rfloor", "\\rceil", "\\rangle", "\\pm", "\\mp", "\\cdot", "\\times", "\\div", "\\%", "\\bmod", "\\mod", "\\pmod",
            "\\|", "\\rVert", "\\land", "\\lor", "\\pmod", *_CURRENCIES,
        )  # fmt: skip

    def unit(self) -> tuple[tuple[str, int], ...] | None:
        """A unit behind a value: text, or a raw word that can only be a unit."""
        start = self.position
        phrase: list[str] = []
        while (token := self.peek()) is not None:
            value = token.value.strip()
            if (
                token.kind == "text"
                and value.lower().split(" ")[0] not in _STOP_WORDS
                and value.lower() not in _SEPARATORS
            ):
                if not phrase and len(value) == 1 and value in "eid":
                    break
                phrase.append(value)
            elif (
                (token.kind == "word" and (value in RAW_UNITS or (phrase and value in ("per",))))
                or (
                    token.kind == "word"
                    and len(value) >= 4
                    and value.lower() not in _STOP_WORDS | _FUNCTIONS | _NAMES.keys()
                )
                or (
                    token.kind == "word"
                    and not phrase
                    and value in ("square", "cubic", "sq", "percent", "pct", "percentage")
                )
            ):
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
                        raise Unparsed("a unit with a power that is no number")
                    phrase.append("^-" + str(exponent.args[0].value))  # type: ignore[union-attr]
                    continue
                phrase.append("^" + str(exponent.value))
                continue
            elif phrase and token.kind in ("sign", "command") and token.value in ("/", "-", "\\cdot"):
                following = self.peek(1)
                if following is None or following.kind not in ("text", "word"):
                    break
                if following.kind == "word" and following.value not in RAW_UNITS:
                    break
                phrase.append("/" if token.value == "/" else "*")
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
        node = self.postfix(self.primary())
        if self.at("^"):
            self.position += 1
            if self.accept("\\circ"):
                return self.postfix(Call("degree", (node,)))
            exponent = self.power_argument()
            if isinstance(exponent, Sym) and exponent.name == "\\circ":
                return self.postfix(Call("degree", (node,)))
            if isinstance(exponent, Sym) and exponent.name == "\\prime":
                return self.postfix(Call("prime", (node,)))
            if self.at("_") and isinstance(node, Sym):
                # v^2_0 is v_0^2.
                node = self.subscript(node)
            node = self.postfix(Call("pow", (node, exponent)))
            if self.at("^"):
                raise Unparsed("two powers in a row")
        return node

    def power_argument(self) -> Node:
        """What stands behind ^: a braced expression, or one factor (2^10 in plain text is 2^{10})."""
        if self.accept("\\circ"):
            return Sym("\\circ")
        if self.at("-", "+"):
            return self.signed_power()
        if self.at("{"):
            return self.braced()
        token = self.peek()
        node = self.primary(plain_word=token is not None and token.kind == "word")
        if self.at("^"):
            # Without braces towers go to the right: 9^9^9.
            self.position += 1
            return Call("pow", (node, self.power_argument()))
        return self.postfix(node, factorial_only=True)

    def braced(self) -> Node:
        self.expect("{")
        if self.accept("}"):
            raise Unparsed("empty braces")
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

    def postfix(self, node: Node, *, factorial_only: bool = False) -> Node:
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
            elif self.at(*_CURRENCIES):
                node = Quantity(node, ((_CURRENCIES[self.take().value], 1),))
            elif self.at("_"):
                node = self.subscript(node)
            else:
                return node

    def subscript(self, node: Node) -> Node:
        self.expect("_")
        if isinstance(node, Num) and node.value.denominator == 1 and node.digits == 0 and node.value >= 0:
            base = self.braced() if self.at("{") else self.primary()
            if not isinstance(base, Num) or base.value.denominator != 1 or not 2 <= base.value <= 36:
                raise Unparsed("a number with a subscript that is no base")
            digits = str(node.value)
            if any(int(digit) >= base.value for digit in digits):
                raise Unparsed(f"{digits} has digits that base {base.value} does not have")
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
        raise Unparsed("a subscript that belongs to nothing")

    # Primaries

    def primary(self, *, plain_word: bool = False) -> Node:
        self.depth += 1
        if self.depth > 4 * DEEPEST:
            raise Unparsed("nested too deeply")
        try:
            return self._primary(plain_word=plain_word)
        finally:
            self.depth -= 1

    def _primary(self, *, plain_word: bool) -> Node:
        token = self.take()
        value = token.value
        if token.kind == "number":
            return self.number(value)
        if token.kind == "word":
            return self.word(value, token, plain=plain_word)
        if token.kind == "text":
            return self.text(token)
        if token.kind == "sign":
            return self.sign(value)
        return self.command(value)

    def number(self, text: str) -> Node:
        value = _fraction(text)
        if "e" in text.lower():
            return Num(value, len(text.lower().split("e")[0].replace(".", "").lstrip("0")))
        if "." in text:
            node = Num(value, len(text.replace(".", "").lstrip("0")) or 1, len(text.split(".")[1]))
            return self.repeating(text)
        return self.repeating(text) if self.at(".") else Num(value)

    def repeating(self, text: str) -> Node:
        """0.1\\overline{6}; `text` is what stands before the bar."""
        if self.at("."):
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
                raise Unparsed("a bar over something that is no digits")
            whole, after = text.split(".")
            head = _fraction((whole or "0") + ("." + after if after else ""))
            tail = Fraction(int(digits.value), (10 ** len(digits.value) - 1) * 10 ** len(after))
            return Num(head + tail)
        decimals = len(text.split(".")[1]) if "." in text else 0
        return Num(
            _fraction(text), len(text.replace(".", "").lstrip("0")) or 1 if "." in text else 0, decimals
        )

    def word(self, value: str, token: Token, *, plain: bool) -> Node:
        """Letters: a function, a name spelled out, or a product of one-letter variables."""
        lowered = value if value in _FUNCTIONS else value.lower()
        name = _INVERSE.get(lowered, lowered)
        if name in _FUNCTIONS and len(value) > 1:
            return self.function(name)
        if lowered in _NAMES:
            return Sym(_NAMES[lowered])
        if value in ("frac", "binom"):
            return self.command("\\" + value)
        for length in range(min(len(value), 7), 1, -1):
            # "cosx", "pir": a known name with something behind it.
            head = value[:length]
            if (
                (head in _FUNCTIONS or head in _INVERSE or head in ("pi",))
                and len(value) > length
                and len(value) - length <= 2
            ):
                self.position -= 1
                self.tokens[self.position : self.position + 1] = [
                    Token("word", head, token.spaced), Token("word", value[length:], False)
                ]  # fmt: skip
                return self.primary()
        if len(value) > 3 or lowered in _ENGLISH:
            raise Unparsed(f"the word {value!r}")
        if len(value) == 1:
            return self.letter(value)
        # A product; the last letter takes what follows it (an index, a power, arguments).
        self.position -= 1
        self.tokens[self.position : self.position + 1] = [Token("word", letter, False) for letter in value]
        first = self.primary()
        return first

    def letter(self, value: str) -> Node:
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
        usual = isinstance(name, Sym) and name.name.split("_")[0] in _USUAL_FUNCTIONS
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
            or (token.kind == "command" and token.value[1:] in _GREEK)
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
        except Unparsed:
            pass
        self.position = start
        return None

    def text(self, token: Token) -> Node:
        value = token.value.strip()
        if value in ("e", "i", "π"):
            return Sym("\\pi" if value == "π" else value)
        if value in _FUNCTIONS:
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
        raise Unparsed(f"the words {value!r}")

    def sign(self, value: str) -> Node:
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
        raise Unparsed(f"{value!r} where a value should be")

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
        closers = _CLOSERS[opener]
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
        if value in _CURRENCIES:
            return Quantity(self.postfix(self.signed_power()), ((_CURRENCIES[value], 1),))
        if name in _FUNCTIONS:
            return self.function(name)
        if name in _INVERSE:
            return self.function(_INVERSE[name])
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
        if name in _ACCENTS:
            return self.accent(name)
        if value in _PREFIXED:
            return self.prefixed(value)
        if name in _GREEK:
            return self.letter(value) if name not in ("infty", "emptyset", "pi", "prime") else Sym(value)
        if name in ("\\", "&"):
            raise Unparsed("a line break")
        raise Unparsed(f"the command {value!r}")

    def accent(self, name: str) -> Node:
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
            raise Unparsed("an accent over nothing")
        node: Node = Sym(f"\\{name} {letters}")
        if self.at("_"):
            node = self.subscript(node)
        return self.applied(node)

    def prefixed(self, value: str) -> Node:
        """\\angle ABC, \\Delta p: one name."""
        letters = []
        while (token := self.peek()) is not None and (
            token.kind == "word" or (token.kind == "command" and token.value[1:] in _GREEK)
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
        if self.accept("["):
            index = self.item()
            self.expect("]")
            return Call("root", (self.root_argument(), index))
        return Call("sqrt", (self.root_argument(),))

    def root_argument(self) -> Node:
        if self.at("{"):
            return self.braced()
        return self.primary()

    def function(self, name: str) -> Node:
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
                raise Unparsed(f"{name} with an index")
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
        if self.at("(", "["):
            group = self.primary()
            if (
                isinstance(group, Group)
                and group.opener in "(["
                and name in ("gcd", "lcm", "max", "min", "log")
            ):
                return group.items
            if self.at("^") and not isinstance(group, Group):
                # \ln (x)^2 is ambiguous; the common reading is \ln((x)^2).
                self.position += 1
                return (Call("pow", (group, self.power_argument())),)
            return (group,)
        # Without parentheses the argument is the product up to the next sign or function: \cos 3x, \sin \frac t4.
        sign = self.leading_sign()
        factors = [self.power()]
        while (token := self.peek()) is not None:
            if (
                token.kind == "word"
                and token.value.lower() in (_FUNCTIONS | {"and", "or", "for", "where"})
                and len(token.value) > 1
            ):
                break
            if token.kind == "command" and (
                token.value[1:] in _FUNCTIONS or token.value in ("\\sum", "\\int", "\\prod", "\\mathbb")
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
        if not self.at("{"):
            return self.argument()
        self.position += 1
        node = self.item()
        self.expect("}")
        return node

    def environment(self) -> Node:
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
            raise Unparsed(f"the environment {name!r}")
        if name == "array" and self.at("{"):
            while not self.accept("}"):
                self.position += 1
                if self.peek() is None:
                    raise Unparsed("an open array")
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
                raise Unparsed("a matrix of more than 900 cells")
        self.no_bar = bar
        self.position += 1
        self.expect("{")
        while not self.accept("}"):
            self.take()
        if rows and not rows[-1]:
            rows.pop()
        if name == "cases":
            raise Unparsed("cases")
        if not rows or not rows[0] or len({len(row) for row in rows}) != 1:
            raise Unparsed("a matrix with rows of different length")
        matrix = Matrix(tuple(tuple(row) for row in rows))
        return Call("det", (matrix,)) if name == "vmatrix" else matrix


_USUAL_FUNCTIONS = {
    "f",
    "g",
    "h",
    "F",
    "G",
    "\\Phi",
    "\\phi",
    "\\psi",
    "\\Gamma",
    "\\zeta",
    "\\mho",
    "\\sigma",
}
_STOP_WORDS = {
    "if", "when", "where", "for", "with", "is", "are", "not", "or", "and", "but", "otherwise", "no", "none", "all", "such", "so",
    "because", "since", "then", "which", "that", "does", "do", "neither", "nor", "maybe", "perhaps", "except", "only", "unless", "to", "from", "some", "once",
    "at", "plus", "minus", "times", "more", "less", "least", "most", "than", "both", "either", "cannot", "never",
}  # fmt: skip


# Short words that are no products of variables ("ax + by" is one).
_ENGLISH = frozenset(
    [
        "is",
        "it",
        "of",
        "to",
        "we",
        "he",
        "if",
        "no",
        "so",
        "not",
        "the",
        "are",
        "was",
        "has",
        "its",
        "you",
        "all",
        "any",
        "but",
        "for",
        "how",
        "who",
        "can",
        "now",
        "out",
        "say",
        "see",
        "yes",
        "non",
        "get",
        "got",
        "one",
        "two",
        "six",
        "ten",
        "his",
        "her",
        "our",
        "let",
        "set",
        "sum",
        "few",
        "had",
        "did",
        "nor",
        "via",
    ]
)


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


def _fraction(text: str) -> Fraction:
    if len(text) > 1200:
        raise Unparsed("a number of more than 1200 digits")
    if "e" in text.lower():
        exponent = int(text.lower().split("e")[1])
        if abs(exponent) > 1000:
            raise Unparsed("an exponent beyond 1000")
    return Fraction(text)
