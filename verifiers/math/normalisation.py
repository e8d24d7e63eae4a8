"""One spelling for what LaTeX, Unicode and ASCII spell in many ways; meaning is never touched."""

from __future__ import annotations

import html
import re
from functools import lru_cache

from verifiers.math.boxes import closing_brace
from verifiers.math.notations import restructured, spelled_numbers

_GREEK = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "θ": "theta", "λ": "lambda", "μ": "mu",
    "µ": "mu", "ν": "nu", "ρ": "rho", "σ": "sigma", "τ": "tau", "φ": "phi", "ϕ": "phi", "χ": "chi", "ψ": "psi",
    "ω": "omega", "η": "eta", "ξ": "xi", "Γ": "Gamma", "Δ": "Delta", "Θ": "Theta", "Λ": "Lambda", "Σ": "Sigma",
    "Φ": "Phi", "Ψ": "Psi", "Ω": "Omega", "π": "pi",
}  # fmt: skip
_UNICODE = {
    "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "﹣": "-", "－": "-", "＋": "+", "，": ",", "、": ",",
    "；": ";", "．": ".", "或": "\\text{ or }", "和": "\\text{ and }", "度": "^\\circ ",
    "：": ":", "∶": ":", "（": "(", "）": ")", "［": "[", "］": "]", "｛": "{", "｝": "}", "＝": "=", "＜": "<",
    "＞": ">",
    "％": "%", "｜": "|", "∣": "|", "‖": "\\|", "\u00a0": " ", "\u2009": " ", "\u202f": " ", "\u3000": " ",
    "\u2002": " ", "\u2003": " ", "\u2005": " ", "\u200b": "", "\ufeff": "", "\u2061": "", "\u2062": "",
    "’": "'", "′": "'", "‘": "'",
    "×": "\\times ", "✕": "\\times ", "⋅": "\\cdot ", "·": "\\cdot ", "∙": "\\cdot ", "•": "\\cdot ",
    "÷": "\\div ", "∞": "\\infty ",
    "√": "\\sqrt ", "∛": "\\sqrt[3] ", "≤": "\\le ", "≦": "\\le ", "⩽": "\\le ", "≥": "\\ge ",
    "≧": "\\ge ", "⩾": "\\ge ",
    "≠": "\\ne ", "≈": "\\approx ", "≅": "\\cong ", "≡": "\\equiv ", "±": "\\pm ", "∓": "\\mp ", "∪": "\\cup ",
    "⋃": "\\cup ", "∩": "\\cap ", "∈": "\\in ", "∉": "\\notin ", "⊂": "\\subset ", "⊆": "\\subseteq ",
    "∅": "\\emptyset ",
    "ℝ": "\\mathbb{R}", "ℤ": "\\mathbb{Z}", "ℕ": "\\mathbb{N}", "ℚ": "\\mathbb{Q}", "ℂ": "\\mathbb{C}",
    "°": "^\\circ ",
    "º": "^\\circ ", "∠": "\\angle ", "△": "\\triangle ", "∀": "\\forall ", "∃": "\\exists ", "→": "\\to ",
    "⇒": "\\Rightarrow ",
    "⌊": "\\lfloor ", "⌋": "\\rfloor ", "⌈": "\\lceil ", "⌉": "\\rceil ", "⟨": "\\langle ",
    "⟩": "\\rangle ", "∑": "\\sum ",
    "∏": "\\prod ", "∫": "\\int ", "…": "\\ldots ", "⋯": "\\cdots ", "½": "\\frac{1}{2}",
    "₹": "\\rupee ", "¢": " \\text{ cents} ",
    "⅐": "\\frac{1}{7}", "⅑": "\\frac{1}{9}",
    "⅒": "\\frac{1}{10}", "⅖": "\\frac{2}{5}", "⅗": "\\frac{3}{5}", "⅘": "\\frac{4}{5}", "⅚": "\\frac{5}{6}",
    "⅜": "\\frac{3}{8}", "⅝": "\\frac{5}{8}", "⅞": "\\frac{7}{8}",
    "⅓": "\\frac{1}{3}", "⅔": "\\frac{2}{3}",
    "¼": "\\frac{1}{4}", "¾": "\\frac{3}{4}", "⅕": "\\frac{1}{5}", "⅙": "\\frac{1}{6}", "⅛": "\\frac{1}{8}",
    "ℏ": "\\hbar ", "ℓ": "\\ell ", "∖": "\\setminus ", "∧": "\\land ", "∨": "\\lor ", "¬": "\\neg ",
    "£": "\\pounds ", "€": "\\euro ", "¥": "\\yen ", "￥": "\\yen ", "“": '"', "”": '"',
}  # fmt: skip
_TABLE = str.maketrans(
    _UNICODE
    | {letter: f"\\{name} " for letter, name in _GREEK.items()}
    | {chr(0xFF10 + digit): str(digit) for digit in range(10)}
    | {chr(0xFF21 + n): chr(65 + n) for n in range(26)}
    | {chr(0xFF41 + n): chr(97 + n) for n in range(26)}
    | {chr(0x2460 + n): f"\\textcircled{{{n + 1}}}" for n in range(20)}
)
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿⁱ⁽⁾ˣ", "0123456789+-ni()x")
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉₊₋ₙₖᵢⱼ", "0123456789+-nkij")
_SUPERSCRIPT_RUN = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿⁱ⁽⁾ˣ]+")
_SUBSCRIPT_RUN = re.compile("[₀₁₂₃₄₅₆₇₈₉₊₋ₙₖᵢⱼ]+")
_HTML_SCRIPT = re.compile(r"<su([pb])>(.{0,200}?)</su[pb]>")
# JSON and Python escapes that were read once too often: form feed + "rac" was \frac.
_DAMAGED = (
    ("\x0crac", "\\frac"), ("\x0corall", "\\forall"), ("\textcirc", "\\textcirc"), ("\times", "\\times"),
    ("\tan", "\\tan"),
    ("\theta", "\\theta"), ("\to", "\\to"), ("\x08eta", "\\beta"), ("\x08egin", "\\begin"), ("\x08oxed",
    "\\boxed"),
    ("\x08inom", "\\binom"), ("\right", "\\right"), ("\rangle", "\\rangle"), ("\rfloor", "\\rfloor"),
    ("\rceil", "\\rceil"), ("\neq", "\\neq"), ("\notin", "\\notin"), ("\x0bec", "\\vec"),
)  # fmt: skip
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f]")
_SIZES = re.compile(
    r"\\(?:left|right|middle|bigl|bigr|Bigl|Bigr|biggl|biggr|Biggl|Biggr|big|Big|bigg|Bigg|displaystyle|textstyle"
    r"|limits|nolimits|phantom\{[^{}]*\}|strut|hfill|noindent|allowbreak|nonumber|notag)(?![A-Za-z])\.?"
)
_LEFT_RIGHT_DOT = re.compile(r"\\(?:left|right)\s*\.")
_SPACES = re.compile(
    r"(?<!\\)\\[,;:>! ]|\\q?quad"
    r"|\\(?:thinspace|enspace|space|medspace|thickspace|negthinspace|hspace\*?\{[^{}]*\})"
    r"(?![A-Za-z])|(?<=\S)~|(?<=\s)~(?=\\)"
)
_GROUPED = re.compile(
    r"(?<![\d.,])(\d{1,3})((?:(?:\s?\{,\s?\}\s?|,\s*\\!\s*|\\,\s?|\\ |~|\\;|\{\\,\}|\\!\\,)\d{3})+)(?!\d)"
)
_SPACE_GROUPED = re.compile(r"(?<![\d.,^_{])(\d{1,3})((?: \d{3})+)(?![\d])")
_RENAMED = (
    (re.compile(r"\\(?:[dtc]frac|nicefrac|sfrac|xfrac|flatfrac)(?![A-Za-z])"), r"\\frac"),
    (re.compile(r"\\[dt]binom(?![A-Za-z])"), r"\\binom"),
    (re.compile(r"\\(?:leqslant|leqq|leq)(?![A-Za-z])|<=|=<"), r"\\le "),
    (re.compile(r"\\(?:geqslant|geqq|geq)(?![A-Za-z])|>=|=>"), r"\\ge "),
    (re.compile(r"\\(?:neq|not\s*=)(?![A-Za-z])|(?<![\d)}])!=|<>"), r"\\ne "),
    (re.compile(r"\\overrightarrow(?![A-Za-z])"), r"\\vec"),
    (re.compile(r"\\lt(?![A-Za-z])"), "<"),
    (re.compile(r"\\gt(?![A-Za-z])"), ">"),
    (re.compile(r"\\(?:varnothing|O)(?![A-Za-z])"), r"\\emptyset "),
    (re.compile(r"\\(?:text|mathrm|rm)?\{?\\?degrees?\}?(?![A-Za-z])"), r"^\\circ "),
    (re.compile(r"\^?\s{0,9}\{?\\(?:degree|textdegree|textcirc)(?![A-Za-z])\}?"), r"^\\circ "),
    (re.compile(r"\\varphi(?![A-Za-z])"), r"\\phi "),
    (re.compile(r"\\varepsilon(?![A-Za-z])"), r"\\epsilon "),
    (re.compile(r"\\(?:lvert|rvert|vert)(?![A-Za-z])"), "|"),
    (re.compile(r"\\lbrace(?![A-Za-z])"), r"\\{"),
    (re.compile(r"\\rbrace(?![A-Za-z])"), r"\\}"),
    (re.compile(r"\\lbrack(?![A-Za-z])"), "["),
    (re.compile(r"\\rbrack(?![A-Za-z])"), "]"),
    (re.compile(r"\\(?:bold|boldsymbol|bm|mathbf|mathit|mathsf|mathnormal)(?![A-Za-z])"), r"\\mathbf"),
    (
        re.compile(r"\\(?:mbox|textrm|textnormal|textsf|texttt|hbox|textit|textup|emph)(?![A-Za-z])"),
        r"\\text",
    ),
    (re.compile(r"\\(?:ldots|dots|cdots|dotsc|dotsb|dotsm)(?![A-Za-z])|\.\.\.+"), r"\\ldots "),
    (re.compile(r"\\(?:ast|star)(?![A-Za-z])|\*\*(?=\S)"), lambda m: "^" if m.group() == "**" else "*"),
    (re.compile(r"\\(?:bigcup|cupdot|sqcup)(?![A-Za-z])"), r"\\cup "),
    (re.compile(r"\\(?:lg)(?![A-Za-z])"), r"\\log_{10} "),
    (re.compile(r"\\(?:iff|Leftrightarrow|implies|Rightarrow|Longrightarrow)(?![A-Za-z])"), r"\\Rightarrow "),
    (re.compile(r"\\Pr(?=\s*[(\[])|\\(?:mathbb|mathbf|mathrm|operatorname)\s*\{P\}(?=\s*[(\[])"), "P"),
    (re.compile(r"\\(?:mathbb|mathbf|mathrm|operatorname)\s*\{E\}(?=\s*[(\[])"), "E"),
    (re.compile(r"\\lnot(?![A-Za-z])"), r"\\neg "),
    (re.compile(r"\\text\s*\{\s*\(\s*mod\s*\}\s*(\w+)\s*\)"), r"\\pmod{\1}"),
    (re.compile(r"\\(?:vee|lor)(?![A-Za-z])"), r"\\text{ or }"),
    (re.compile(r"\\(?:wedge|land)(?![A-Za-z])"), r"\\text{ and }"),
)
_NEXT_EQUATION = re.compile(
    r"(?<=[^\s,;])(?<!or\})(?<!and\})(?<!or)(?<!and)\s*\\q?quad\s*(?=[A-Za-z](?:_\{?\w+\}?)?\s*=)"
)
_LINE_BREAK = re.compile(r"(?<=[^\s,;\\])\s*\\\\\s+(?=\S)")
_PRICE = re.compile(r"(?<!\\)\$(?=\s?\d)")
_LEADING = re.compile(r"^(?:∴|⇒|⟹|=>|\\(?:therefore|Rightarrow|implies)(?![A-Za-z]))\s*")
# What any of the renamed commands and signs begins with.
_RENAMED_SIGN = re.compile(r"[\\<>!*]|=<|\.\.\.")
_DELIMITERS = re.compile(r"(?<!\\)\${1,2}|\\\(|\\\)|(?<!\\)\\\[|(?<!\\)\\\]")
_ROW_SPACE = re.compile(r"\\\\\s*\[\s*-?[\d.]+\s*(?:pt|em|ex|mm|cm|in)\s*\]")
_DOUBLED = re.compile(r"\\\\(?=[A-Za-z{}|%$(\[)\]])")


def strip_wrapping(text: str) -> str:
    """Without math delimiters around the whole and a final full stop."""
    text = _LEADING.sub("", text.strip())
    if text.startswith("\\boxed{") and closing_brace(text, len("\\boxed{")) == len(text) - 1:
        text = text[len("\\boxed{") : -1].strip()
    changed = True
    while changed:
        changed = False
        if text.endswith((".", "。")) and not text.endswith("..."):
            text, changed = text[:-1].rstrip(), True
        for opening, closing in (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]")):
            inside = text[len(opening) : -len(closing)]
            whole = (
                len(text) >= len(opening) + len(closing)
                and text.startswith(opening)
                and text.endswith(closing)
            )
            if whole and opening not in inside and closing not in inside and not inside.endswith("\\"):
                text, changed = _LEADING.sub("", inside.strip()), True
                break
    return text


def _join_groups(match: re.Match[str]) -> str:
    return match.group(1) + re.sub(r"\D", "", match.group(2))


_LONGEST_KEPT = 500


def canonical_latex(text: str) -> str:
    """The answer with one spelling for each command, sign and space; the parser reads this."""
    return _remembered(text) if len(text) <= _LONGEST_KEPT else _canonical(text)


@lru_cache(maxsize=4096)
def _remembered(text: str) -> str:
    # An answer is asked for several times on the way to its verdict, a gold once for every sample of its group.
    return _canonical(text)


def _canonical(text: str) -> str:
    if not text.isprintable():
        for damaged, right in _DAMAGED:
            if damaged in text:
                text = text.replace(damaged, right)
        text = _CONTROL.sub(" ", text)
    if "&" in text:
        text = html.unescape(text)
    if "<su" in text:
        text = _HTML_SCRIPT.sub(lambda m: ("^{" if m.group(1) == "p" else "_{") + m.group(2) + "}", text)
    if not text.isascii():
        text = _SUPERSCRIPT_RUN.sub(lambda m: "^{" + m.group().translate(_SUPERSCRIPTS) + "}", text)
        text = _SUBSCRIPT_RUN.sub(lambda m: "_{" + m.group().translate(_SUBSCRIPTS) + "}", text)
        text = text.translate(_TABLE)
    if "\\\\" in text:
        text = _ROW_SPACE.sub(r"\\\\", text)
        if "\\\\begin" in text:
            text = text.replace("\\\\", "\\")
        elif "\\begin" not in text:
            # A line break outside an environment only separates.
            text = _LINE_BREAK.sub(" , ", _DOUBLED.sub(r"\\", text))
    if text.count("$") == 1:
        text = _PRICE.sub(r"\\$", text)
    text = spelled_numbers(strip_wrapping(text))
    text = _GROUPED.sub(_join_groups, text)
    if "\\" in text or "$" in text or "~" in text:
        text = _DELIMITERS.sub(" ", text)
        text = _LEFT_RIGHT_DOT.sub(" ", text)
        text = _NEXT_EQUATION.sub(" , ", text)
        text = _SIZES.sub(" ", text)
        text = _SPACES.sub(" ", text)
    if _RENAMED_SIGN.search(text):
        for pattern, replacement in _RENAMED:
            text = pattern.sub(replacement, text)
    text = _SPACE_GROUPED.sub(_join_groups, text)
    text = restructured(text)
    if text.endswith((",", ";")) and len(text) > 1:
        text = text[:-1]
    return " ".join(text.rstrip("\\ ").split())


_BETWEEN_DIGITS = re.compile(r"(?<=\d) (?=\d)")


def squeezed(canonical: str) -> str:
    """A canonical spelling without white space, but for that between two digits; only for testing equality."""
    return _BETWEEN_DIGITS.sub("_", canonical).replace(" ", "")
