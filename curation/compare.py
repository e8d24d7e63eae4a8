"""What two problem texts are compared by: their content, however it was typeset or asked for.

LaTeX spacing, delimiters and synonyms, case, and request phrases ("What is", "Compute") do not count;
numbers, operators and content words do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

_ASY = re.compile(r"\[asy\].*?\[/asy\]|!\[[^\]]*\]\([^)]*\)|\\tag\{[^}]*\}|https?://\S+", re.DOTALL)
_THOUSANDS = re.compile(r"(?<=\d)(?:,|\{,\}|\\,|\\!)(?=\d{3}(?!\d))")
_FRACTION = re.compile(r"\\[dtc]?frac\s*(?:\{([^{}]*)\}|(\w))\s*(?:\{([^{}]*)\}|(\w))")
_SILENT = re.compile(
    r"\\(?:left|right|bigg?[lr]?|Bigg?[lr]?|displaystyle|textstyle|limits|nolimits|qquad|quad|mathrm|"
    r"mathbb|Bbb|"
    r"mathbf|mathcal|mathit|text|textbf|textit|textrm|mbox|hbox|operatorname\*?|rm|bf|it|hspace|vspace|"
    r"phantom|"
    r"underline|[,;:! \[\]()])(?![a-z])|\\begin\{[a-z*]+\}|\\end\{[a-z*]+\}|\\\\"
)
_COMMAND = re.compile(r"\\([a-zA-Z]+)")
_SYNONYM = {
    "leq": "<=", "le": "<=", "leqslant": "<=", "geq": ">=", "ge": ">=", "geqslant": ">=",
    "neq": "!=", "ne": "!=",
    "rightarrow": "to", "longrightarrow": "to", "cdots": "...", "ldots": "...", "dots": "...",
    "dotsc": "...", "dotsb": "...", "cdot": "*", "times": "*", "div": "/", "lvert": "|", "rvert": "|"
    "", "vert": "|",
    "mid": "|", "lbrace": "{", "rbrace": "}", "ast": "*", "bmod": "mod", "pmod": "mod", "lt": "<",
    "gt": ">", "colon": ":",
    "overline": "bar", "bar": "bar", "overrightarrow": "vec", "degree": "circ", "triangle": "triangle",
    "varepsilon": "epsilon", "varphi": "phi",
}  # fmt: skip
_UNICODE = str.maketrans(
    {
        "×": "*", "·": "*", "⋅": "*", "÷": "/", "−": "-", "–": "-", "—": "-", "≤": "<=", "≥": ">=", "≠": "!=",
        "π": "pi", "θ": "theta", "α": "alpha", "β": "beta", "°": "circ", "√": "sqrt",
        "∞": "infty", "…": "...",
        "²": "^2", "³": "^3", "→": "to", "△": "triangle", "∠": "angle", "’": "'", "“": '"', "”": '"',
        "½": "1/2", "¼": "1/4", "¾": "3/4", "∈": "in",
    }
)  # fmt: skip
_TOKEN = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+|[-+*/^=<>%!|]")
# Words of the request, and function words: what is left decides whether two short questions are the same.
_REQUEST_WORDS = """
what whats is are was the a an of value values compute find calculate evaluate determine please solve answer result
give work out tell me to equal equals does do let s if that then and for in simplify express your as exactly exact
following expression be we have has so provide obtain computed carry question problem need know can you could would
i want this by on with it its which when where how much final number numeric numerical come comes up get gets one
"""
_REQUEST = frozenset(_REQUEST_WORDS.split())
_TWO_LETTER_WORDS = """
of to in is it at by on or an as if be we so do no up us he my me am go pi ln lg mu nu xi cm mm km kg ft mi pm
"""
_TWO_LETTERS = frozenset(_TWO_LETTER_WORDS.split())


# Words that turn a question into another one although nearly everything else agrees.
_OPPOSED = [
    frozenset(pair.split())
    for pair in (
        "largest smallest", "maximum minimum", "greatest least", "even odd", "sum product", "sum difference",
        "first last", "more fewer", "more less", "increasing decreasing", "inscribed circumscribed",
        "mean median",
        "area perimeter", "area volume", "row column", "positive negative", "integer real", "with without",
        "before after", "radius diameter", "numerator denominator", "sin cos", "domain range", "minimize maximize",
        "minimal maximal", "highest lowest", "longest shortest", "distinct total", "union intersection",
    )
]  # fmt: skip


# "One" is left out: it is a pronoun as often as a number.
_NUMBER_WORD_LIST = """
two three four five six seven eight nine ten eleven twelve twenty thirty forty fifty sixty seventy eighty ninety
hundred thousand million half twice thrice double triple
"""
_NUMBER_WORDS = frozenset(_NUMBER_WORD_LIST.split())


def _command(match: re.Match[str]) -> str:
    name = match.group(1)
    return f" {_SYNONYM.get(name, name)} "


def _fraction(match: re.Match[str]) -> str:
    top, short_top, bottom, short_bottom = match.groups()
    return f" {top if top is not None else short_top}/{bottom if bottom is not None else short_bottom} "


def tokenize(text: str) -> list[str]:
    """Content tokens of a problem text, in lower case: numbers, words, operators; no brackets, no commas."""
    if "[asy]" in text or "\\tag" in text or "http" in text or "](" in text:
        text = _ASY.sub(" ", text)
    if not text.isascii():
        text = text.translate(_UNICODE)
    if "," in text:
        text = _THOUSANDS.sub("", text)
    if "\\" in text:
        text = _SILENT.sub(" ", text)
        if "frac" in text:
            for _ in range(4):  # nested fractions are opened from the inside
                text, count = _FRACTION.subn(_fraction, text)
                if not count:
                    break
        text = _COMMAND.sub(_command, text)
    found = []
    for token in _TOKEN.findall(text.lower()):
        # "xy" is a product as "x y" is, unless it is a word.
        if len(token) == 2 and token.isalpha() and token not in _TWO_LETTERS:
            found += token
        else:
            found.append(token)
    return found


def is_number(token: str) -> bool:
    """Whether a token is a number written in digits."""
    return token[0].isdigit()


def is_word(token: str) -> bool:
    """Whether a token is a word of two letters or more; single letters are variables."""
    return len(token) > 1 and token[0].isalpha()


@dataclass(frozen=True)
class Comparable:
    """A text's content tokens and the views of them that comparisons need."""

    tokens: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> Comparable:
        """Tokenize `text`."""
        return cls(tuple(tokenize(text)))

    @cached_property
    def core(self) -> tuple[str, ...]:
        """Tokens without request words; all tokens when hardly anything else is there."""
        rest = [token for token in self.tokens if token not in _REQUEST]
        while rest and rest[-1] == "=":  # "3+5-2 = ?"
            rest.pop()
        return tuple(rest) if len(rest) >= 3 else self.tokens

    @cached_property
    def squeezed(self) -> str:
        """The core as one string without spaces, so that "x y" and "xy" agree."""
        return "".join(self.core)

    @cached_property
    def grams(self) -> frozenset[str]:
        """Character 5-grams of the squeezed core; the end is padded, so that a short text has some."""
        text = self.squeezed + "\0" * 4
        return frozenset(text[at : at + 5] for at in range(max(1, len(text) - 4)))

    @cached_property
    def numbers(self) -> tuple[str, ...]:
        """Numbers in ascending text order, as a multiset."""
        return tuple(sorted(token for token in self.tokens if is_number(token)))

    @cached_property
    def formula(self) -> str:
        """Everything but words, in order: numbers, operators, variables."""
        return "".join(token for token in self.core if not is_word(token))

    @cached_property
    def words(self) -> frozenset[str]:
        """Content words."""
        return frozenset(token for token in self.core if is_word(token))

    @cached_property
    def template(self) -> tuple[str, ...]:
        """The core with every number masked: what variants of one template share."""
        return tuple("#" if is_number(token) else token for token in self.core)


def opposed(one: Comparable, other: Comparable) -> bool:
    """Whether the two texts differ by words that turn a question into another one: "largest" here and "smallest"
    there, or one number word for another."""
    mine, yours = one.words - other.words, other.words - one.words
    if mine & _NUMBER_WORDS and yours & _NUMBER_WORDS:
        return True
    return bool(mine and yours) and any(
        pair & mine and pair & yours and pair <= mine | yours for pair in _OPPOSED
    )
