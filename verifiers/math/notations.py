"""Notations of other places and habits, rewritten into the one that the parser reads; meaning is never touched."""

from __future__ import annotations

import re

from verifiers.math.counting import number_word

# Plain TeX: {n \choose k}, {a \over b}.
_INFIX = re.compile(
    r"\{([^{}]*?)\\(choose|over)(?![A-Za-z])([^{}]*)\}|^([^{}]*?)\\(choose)(?![A-Za-z])([^{}]*)$"
)
# A system between one brace and nothing: \left\{\begin{array}{l} ... \end{array}\right.
_ONE_BRACE = re.compile(
    r"\\(?:\{|lbrace)\s*\\begin\s*\{(?:array\}\s*\{[lcr| ]*|aligned|matrix|gathered|split)\}"
    r"((?:(?!\\begin).)*?)\\end\s*\{(?:array|aligned|matrix|gathered|split)\}(?!\s*\\(?:\}|rbrace))",
    re.DOTALL,
)
# Plain text: x1 and C2 are indexed letters, U between brackets is a union, <1,2> is a vector, 45^o are degrees.
_INDEXED = re.compile(r"(?<!frac )(?<!sqrt )(?<![A-Za-z\\_^{\d.])([cCxyz])(\d)(?![\d.])")
_UNION_LETTER = re.compile(r"(?<=[)\]}])\s*U\s*(?=[(\[{])|(?<=[)\]])\s*U\s*(?=\\)")
_ANGLED = re.compile(r"<([^<>=\\]*,[^<>=]*)>")
# One line in an environment that is made for several.
_ONE_LINE = re.compile(
    r"\\begin\s*\{(aligned|array|gathered|split|align\*?|equation\*?)\}(?:\s*\{[lcr]\})?((?:(?!\\\\|&|\\begin|\\end).)*)\\end\s*\{\1\}",
    re.DOTALL,
)
_BARRED_LETTER = re.compile(r"\\overline\s*\{\s*([A-Za-z])\s*\}")
_MEASURE = re.compile(r"(?<![A-Za-z\\])m\s*\\angle(?![A-Za-z])")
_LINE_NAME = re.compile(r"^(?:[lLCE]|\\ell)(?:_\{?\d\}?)?\s*:\s*(?=[^:]*[xy][^:]*=[^:]*$)")
_RUPEES = re.compile(r"(?:\\text\s*\{\s*)?\bRs\.\s*\}?\s*(?=\d)")
_PART = re.compile(r"\\text\s*\{\s*\((?:[a-e]|i{1,3}|iv|v|\d)\)\s*\}")
# ^{5}C_{2} and {}_5C_2.
_LEFT_INDEX = re.compile(r"(?<![\w})])(?:\{\s*\})?[\^_]\{?(\w+)\}?\s*C\s*_\s*(?:\{(\w+)\}|(\w))")
_DEGREE_LETTER = re.compile(r"(?<=\d)\s*\^\s*(?:o|\{\s*o\s*\})(?![A-Za-z])")


# 1.234.567,89 and 1'234'567 and 1_234_567: what groups digits elsewhere. A single dot is a decimal point.
_DOTTED = re.compile(r"(?<![\d.,])(\d{1,3}(?:\.\d{3}){2,})(?:,(\d+))?(?![\d.,])")
_MARKED = re.compile(r"(?<![\w.,'])\d{1,3}(?:(?:'\d{3})+|(?:_\d{3})+)(?![\w'])")
# 56,\\!017 in any grouping, as TeX sets it tight.
_TIGHT = re.compile(r"\d{1,3}(?:,\s?\\!\s?\d{1,3})+(?!\d)")
_MATRIX = re.compile(r"Matrix\((\[.*\])\)", re.DOTALL)
# "0.25 (25%)": the same again in another form.
_AGAIN = re.compile(r"([-−]?\d[\d.,/]*)\s+\(([-−]?\d[\d.,/]*\s?(?:\\?%)?)\)")
# "42 (forty-two)"
_IN_WORDS = re.compile(r"([-−]?\d[\d.,/]*)\s*(?:\\text\s*\{\s*)?\(\s*([A-Za-z][A-Za-z -]*)\)\s*\}?")
_REPEATED_ROOT = re.compile(
    r"(?<!\s)\s*(?:\\text\s*\{\s*)?\((?:an? )?(?:double|repeated|triple)(?: root| solution)?\)\s*\}?$"
)
# "(a) 6 (b) 8"
_LETTERED = re.compile(
    r"\((?:a|1|i)\)\s+(?![-+*/]\s)(\S[^()]{0,200}?)\s{1,9}\((?:b|2|ii)\)\s+(?![-+*/]\s)(\S[^()]{0,200}?)"
    r"(?:\s{1,9}\((?:c|3|iii)\)\s+(?![-+*/]\s)(\S[^()]{0,200}))?"
)
_ALL_BEYOND = re.compile(
    r"^(?:\\text\s*\{\s*(?:for )?all\s*\}|(?:for )?all)\s*(?=[a-z]\s*(?:[<>≤≥=]|\\[lg]e))"
)
_ONLY = re.compile(r"(?<=[\w})])\$?\s*(?:\\text\s*\{\s*only\s*\}|\bonly)$")
_CHOOSE_WORD = re.compile(r"(\d{1,4}|[nm])\s+(?:\\text\s*\{\s*)?choose\s*\}?\s+(\d{1,4}|[kmr])")
_SHARE = re.compile(r"(\d{1,6}) (?:out of|in) (\d{1,6})")
_SEVERAL_LINES = re.compile(
    r"\\begin\s*\{(aligned|gathered|split|align\*?)\}((?:(?!\\begin).)*?=(?:(?!\\begin).)*?)\\end\s*\{\1\}",
    re.DOTALL,
)
_NUM = re.compile(r"\\num\s*\{([^{}]*)\}")
_SI = re.compile(r"\\(?:SI|qty)\s*\{([^{}]*)\}\s*\{([^{}]*)\}")
_TIMES_TEN = re.compile(r"(?<=\d)\s*[xX]\s*(?=10\s*\^)")
_PER_CENT = re.compile(r"\bper cent\b")
_BOLD = re.compile(r"\*\*([^*]+)\*\*")
_ABBREVIATED = re.compile(r"\b(sq|cu|ft|in|yd|mi|hrs?|mins?|secs?|lbs?|oz|cm|mm|km|kg)\.(?=\s|$|[,;)}])")
_DEGREES = re.compile(r"(?<=\d)\s*deg\.?(?![A-Za-z])")
_HOURS = re.compile(r"(?<![\w.])(\d+)\s*h(?:rs?)?\s*(\d+)\s*m(?:in)?(?![\w.^/])")
# "5 hours and 30 minutes" is one quantity.
_JOINED_UNITS = re.compile(
    r"(\d\s*(?:\\text\s*\{\s*)?(?:hours?|hrs?|minutes?|mins?|feet|foot|ft|yards?|pounds?|lbs?|days?|weeks?|years?|dollars?"
    r"|met(?:er|re)s?|degrees?)\s*\}?),?\s*(?:\\text\s*\{\s*and\s*\}|and)\s*(?=\d+(?:\.\d+)?\s*(?:\\text\s*\{\s*)?"
    r"(?:minutes?|mins?|seconds?|secs?|inch(?:es)?|in|ounces?|oz|hours?|hrs?|days?|months?|cents?|centimet(?:er|re)s?|cm)\b)"
)
_AND_IN_TEXT = re.compile(r"(\d\s*\\text\s*\{\s*[a-z]+),?\s+and\s*\}(?=\s*\d)")
_ALL_BUT = re.compile(
    r"(?:x\s*(?:can be|is)\s*)?(?:all|any|every) real(?: numbers?| values?)?(?: (?:of )?x)?,?"
    r"\s*(?:except|but|other than)\s*(?:for\s*)?(?:x\s*=\s*)?(?P<left>[^a-z]+(?: and [^a-z]+)?)",
    re.IGNORECASE,
)
_PIECE = r"[\[\](][^\[\](),]*,[^\[\]()]*[\[\])]"
_TURNED = re.compile(rf"{_PIECE}(?:\s*\\cup\s*{_PIECE})*")
_TURNED_PIECE = re.compile(r"([\[\](])([^\[\](),]*,[^\[\]()]*)([\[\])])")
_CHOOSE = re.compile(r"(?<![\w}.])(\d{1,4})\s*([CP])\s*(\d{1,4})(?!\w)")
_LETTER_DIGITS = re.compile(
    r"(?:\(|\\(?:text|mathrm)\s*\{)?\s*((?=[0-9]*[A-Z])[0-9A-Z]{1,40})\s*[)}]?_\s*\{?\s*(\d{2})\s*\}?"
)
_REPEATED = re.compile(
    r"(?<![\d.])(\d{0,40}\.\d{0,40}?)(?:(\d)\2{2,60}|(\d{2,6}?)\3{1,20})\s*\\ldots(?!\s*\d)"
)
_UNIT_VECTOR = re.compile(
    r"\\(?:hat|vec|widehat|mathbf)\s*(?:\{\s*(?:\\(?:mathbf|hat|text)\s*\{?\s*)?\\?([ijk])(?:math)?\s*\}{1,2}"
    r"|\\([ij])math(?![A-Za-z])|\s+([ijk])(?![A-Za-z]))"
)
_NORM = re.compile(r"\\(?:lVert|rVert|Vert)(?![A-Za-z])")


def _prefix_form(match: re.Match[str]) -> str:
    above, name, below = match.groups()[:3] if match[2] else match.groups()[3:]
    return f"\\{'binom' if name == 'choose' else 'frac'}{{{above}}}{{{below}}}"


def spelled_numbers(text: str) -> str:
    """Numbers in the spelling that the parser reads: 1.234.567 and 1'234'567 as 1234567, 5 x 10^3 as a product."""
    if text.startswith("**") and (bold := _BOLD.fullmatch(text)) is not None:
        text = bold[1].strip()
    if text.startswith("Matrix(") and (matrix := _MATRIX.fullmatch(text)) is not None:
        text = matrix[1]
    if " in " in text or " out of " in text:
        text = _SHARE.sub(r"\\frac{\1}{\2}", text) if _SHARE.fullmatch(text) else text
    if text.endswith(")"):
        text = _AGAIN.sub(r"\1 \\text{ or } \2", text) if _AGAIN.fullmatch(text) else text
    if text.endswith((")", ")}")) and "(" in text:
        text = _REPEATED_ROOT.sub("", text)
        said = _IN_WORDS.fullmatch(text)
        if said is not None and number_word(said[2].strip()) == said[1]:
            text = said[1]
    if text.startswith("(") and (listed := _LETTERED.fullmatch(text)) is not None:
        text = ", ".join(part.strip(" ,;") for part in listed.groups() if part)
    if "all" in text:
        text = _ALL_BEYOND.sub("", text)
    if text.endswith(("only", "only}")):
        text = _ONLY.sub("", text)
    if "choose" in text and (chosen := _CHOOSE_WORD.fullmatch(text)) is not None:
        text = f"\\binom{{{chosen[1]}}}{{{chosen[2]}}}"
    if "." in text:
        text = _DOTTED.sub(lambda m: m[1].replace(".", "") + ("." + m[2] if m[2] else ""), text)
    if "'" in text or "_" in text:
        text = _MARKED.sub(lambda m: re.sub(r"\D", "", m[0]), text)
    if "\\" in text:
        text = _SI.sub(r"\1 \\text{\2}", _NUM.sub(r"\1", text))
        text = _TIGHT.sub(lambda m: re.sub(r"\D", "", m[0]), text)
    if "per cent" in text:
        text = _PER_CENT.sub("percent", text)
    if "^" in text:
        text = _TIMES_TEN.sub(r"\\times ", text)
    return text


def _reals_without(match: re.Match[str]) -> str:
    left = match["left"].replace(" and ", ",").strip(" .")
    return rf"\mathbb{{R}}\setminus\{{{left}\}}"


def _turned(match: re.Match[str]) -> str:
    """]1, 2[ as (1, 2), and [1, 2[ as [1, 2)."""
    opener, inner, closer = match.groups()
    return ("(" if opener in "](" else "[") + inner + (")" if closer in "[)" else "]")


def _arranged(n: str, sign: str, k: str) -> str:
    """10C3 and 5P2 written out."""
    if int(k) > int(n) or sign == "C":
        return f"\\binom{{{n}}}{{{k}}}"
    return f"\\frac{{{n}!}}{{({n}-{k})!}}"


def _with_letters(match: re.Match[str]) -> str:
    """FF_{16}, where every digit is one of that base."""
    digits, base = match[1], int(match[2])
    if base > 36 or any(int(digit, 36) >= base for digit in digits):
        return match[0]
    return f"\\based{{{digits}}}{{{base}}}"


def _unit_vectors(text: str) -> str:
    """Every spelling of the unit vectors as \\hat{i}; a bold i alone may be the imaginary unit."""
    letters = {next(filter(None, found)) for found in _UNIT_VECTOR.findall(text)}
    if letters & {"j", "k"}:
        return _UNIT_VECTOR.sub(lambda m: f"\\hat{{{next(filter(None, m.groups()))}}}", text)
    return text


def restructured(text: str) -> str:
    """Notations of other places in the one that the parser reads."""
    if "\\" in text:
        if "\\choose" in text or "\\over" in text:
            text = _INFIX.sub(_prefix_form, text)
        if "\\begin" in text:
            text = _ONE_BRACE.sub(r"\\begin{cases}\1\\end{cases}", text)
            text = _ONE_LINE.sub(r" \2 ", text).strip()
            text = _SEVERAL_LINES.sub(r"\\begin{cases}\2\\end{cases}", text).replace("&=", "=")
        text = _MEASURE.sub(r"\\angle ", text)
        text = _BARRED_LETTER.sub(r"\\bar{\1}", text)
        text = _PART.sub(" ", text).strip()
        if "\\ldots" in text:
            text = _REPEATED.sub(lambda m: f"{m[1]}\\overline{{{m[2] or m[3]}}}", text)
        if "j" in text or "k" in text:
            text = _unit_vectors(text)
        text = _NORM.sub(r"\\|", text)
    if "Rs." in text:
        text = _RUPEES.sub(r"\\text{Rs} ", text)
    if "C" in text:
        text = _LEFT_INDEX.sub(lambda m: f"\\binom{{{m[1]}}}{{{m[2] or m[3]}}}", text)
    if "^" in text:
        text = _DEGREE_LETTER.sub(r"^\\circ ", text)
    if "U" in text:
        text = _UNION_LETTER.sub(r"\\cup ", text)
    if text.startswith("<") and (angled := _ANGLED.fullmatch(text)) is not None:
        text = "\\langle " + angled[1] + "\\rangle "
    if ":" in text:
        text = _LINE_NAME.sub("", text)
    if "real" in text and (found := _ALL_BUT.fullmatch(plain_words(text))) is not None:
        text = _reals_without(found)
    if "h" in text:
        text = _HOURS.sub(r"\1 \\text{ h } \2 \\text{ min}", text)
    if "and" in text:
        text = _AND_IN_TEXT.sub(r"\1} \\text{ and }", text)
        text = _JOINED_UNITS.sub(r"\1 ", text)
    if "." in text:
        text = _ABBREVIATED.sub(r"\1", text)
    if "deg" in text:
        text = _DEGREES.sub(r"^\\circ ", text)
    if ("]" in text or "[" in text) and _TURNED.fullmatch(text):
        text = _TURNED_PIECE.sub(_turned, text)
    if "P" in text or "C" in text:
        text = _CHOOSE.sub(lambda m: _arranged(m[1], m[2], m[3]), text)
    if "_" in text and (based := _LETTER_DIGITS.fullmatch(text)) is not None:
        text = _with_letters(based)
    return _INDEXED.sub(r"\1_\2", text)


_WORDS_ONLY = re.compile(r"\\(?:text|mathrm)\s*\{([^{}]*)\}")


def plain_words(text: str) -> str:
    """The text with what stands in \\text{...} as plain words."""
    return " ".join(_WORDS_ONLY.sub(r" \1 ", text).split())
