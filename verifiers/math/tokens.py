"""Tokens of an answer's canonical spelling, and a cursor over them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from verifiers.math.vocabulary import CURRENCIES, FUNCTIONS, RELATIONS

LONGEST = 4000
"""Characters of an answer; longer ones are compared as text only."""
DEEPEST = 48
_MOST_STEPS = 120_000


class UnparsedError(ValueError):
    """The text is not an answer that this parser reads; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Token:
    """`kind` is number, command, word, text or sign; `spaced` tells of white space before it."""

    kind: str
    value: str
    spaced: bool


_TOKEN = re.compile(
    r"(?P<space>\s+)"
    r"|(?P<text>\\(?:text|mathrm|textbf|mathbf|operatorname|mathcal|mathfrak|mathscr|mathbb|textcircled|rm)\s*\{(?P<body>(?:[^{}]|\{[^{}]*\})*)\})"
    r"|(?P<number>\d+(?:\.\d+)?[eE][-+]?\d+(?![A-Za-z\d])|\d+\.\d+|\.\d+|\d+)"
    r"|(?P<command>\\[A-Za-z]+|\\.)"
    r"|(?P<word>[A-Za-z]+)"
    r"|(?P<other>[^\x00-\x7f]+)"
    r"|(?P<sign>.)",
    re.DOTALL,
)
_JOINING = re.compile(r"(?:^|(?<=[\s,]))(and|or)(?=[\s,]|$)")
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d])(?!,\d)")


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
            if head == "mathbb" or (head == "mathbf" and body.strip() in ("R", "Z", "N", "Q")):
                tokens.append(Token("command", f"\\mathbb{body.strip()}", spaced))
            elif head == "mathbf" or (head in ("mathcal", "mathfrak", "mathscr") and len(body.strip()) == 1):
                tokens.append(Token("word" if body.strip().isalpha() else "text", body.strip(), spaced))
            elif head == "textcircled":
                tokens.append(Token("text", f"circled {body}", spaced))
            elif head == "operatorname" and body.strip() in FUNCTIONS:
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


class Cursor:
    """A position in a list of tokens, with what the grammar keeps in mind on the way."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.position = 0
        self.depth = 0
        self.no_bar = 0
        self.no_colon = 0
        self.in_norm = False
        self.nodes = 0
        self.in_cells = False

    def peek(self, ahead: int = 0) -> Token | None:
        """The next token, or the one `ahead` of it; None at the end."""
        index = self.position + ahead
        return self.tokens[index] if index < len(self.tokens) else None

    def at(self, *values: str) -> bool:
        """Whether the next token is one of these signs or commands."""
        token = self.peek()
        return token is not None and token.kind in ("sign", "command") and token.value in values

    def take(self) -> Token:
        """The next token, which is then behind the cursor."""
        token = self.peek()
        if token is None:
            raise UnparsedError("ends too early")
        self.position += 1
        self.nodes += 1
        if self.nodes > _MOST_STEPS:
            raise UnparsedError("too large")
        return token

    def accept(self, *values: str) -> bool:
        """Take the next token if it is one of these."""
        if self.at(*values):
            self.position += 1
            return True
        return False

    def expect(self, *values: str) -> str:
        """Take one of these tokens, or raise UnparsedError."""
        token = self.peek()
        if token is None or token.value not in values:
            raise UnparsedError(f"expected {values[0]!r}, found {token.value if token else 'the end'!r}")
        self.position += 1
        return token.value

    def text_in(self, words: set[str]) -> bool:
        """Whether the next token is one of these words."""
        token = self.peek()
        return token is not None and token.kind in ("text", "word") and token.value.strip().lower() in words

    def starts_factor(self) -> bool:
        """Whether what follows can be a factor of a product without a sign."""
        token = self.peek()
        if token is None:
            return False
        if token.kind in ("number", "word"):
            return not (token.kind == "word" and token.value.lower() in ("and", "or"))
        if token.kind == "text":
            return token.value.strip() in ("e", "i", "π", "d", "cis") or (
                len(token.value.strip()) == 1 and token.value.strip().isalpha()
            )
        if token.kind == "sign":
            inner = self.peek(1)
            if token.value == "(" and inner is not None and inner.value in ("mod", "\\mod", "\\bmod"):
                return False
            return token.value in "([{" or (token.value == "|" and not self.no_bar)
        if token.value == "\\|":
            return not self.in_norm
        if token.value in RELATIONS or token.value in (
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
            "\\rfloor", "\\rceil", "\\rangle", "\\pm", "\\mp", "\\cdot", "\\times", "\\div", "\\%",
            "\\bmod", "\\mod", "\\pmod",
            "\\land", "\\lor", "\\pmod", *CURRENCIES,
        )  # fmt: skip
