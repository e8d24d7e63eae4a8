"""Gold answers: canonical form, type, wrong answers that resemble them, and the final answer of a solution.

Text rules only: nothing here parses a gold answer as mathematics, so a word is never taken for symbols.
"""

from __future__ import annotations

import re
from typing import Literal

AnswerType = Literal[
    "integer", "rational", "real", "expression", "interval", "set", "tuple", "matrix", "equation", "choice",
    "yes_no", "text", "empty",
]  # fmt: skip

_INTEGER = re.compile(r"[-+]?\d+")
_DECIMAL = re.compile(r"[-+]?(?:\d+\.\d*|\.\d+)(?:[eE][-+]?\d+)?")
_RATIONAL = re.compile(r"[-+]?(?:\d+\s*/\s*\d+|\\[dtc]?frac\s*(?:\{-?\d+\}|\d)\s*(?:\{-?\d+\}|\d))")
_THOUSANDS = re.compile(r"[-+]?\d{1,3}(?:(?:,|\{,\}|,\\!)\d{3})+(?:\.\d+)?")
_YES_NO = frozenset({"yes", "no", "true", "false"})
_TEXT_WRAP = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mbox|rm)\s*\{([^{}]*)\}")
_MATH_WORDS = frozenset(
    ["sqrt", "frac", "dfrac", "tfrac", "pi", "sin", "cos", "tan", "log", "ln", "exp", "infty", "cup", "cap", "mod",
     "cdot", "times", "left", "right", "pm", "theta", "alpha", "beta", "gamma", "lambda", "circ",
     "arctan", "arcsin",
     "arccos", "binom", "sum", "prod", "int", "lim", "max", "min", "gcd", "lcm", "emptyset", "mathbb", "text"]
)  # fmt: skip
_WORD = re.compile(r"(?<!\\)\b[A-Za-z]{2,}\b")
_COMMAND = re.compile(r"\\[A-Za-z]+")


def _unwrap(text: str) -> str:
    """Take off math delimiters, a box, and a final full stop, as long as one is there."""
    while True:
        before = text
        text = text.strip()
        for left, right in (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]")):
            inner = text[len(left) : -len(right)]
            if text.startswith(left) and text.endswith(right) and len(text) > len(left) and left not in inner:
                text = inner
        boxed = last_boxed(text)
        if boxed is not None and text in (f"\\boxed{{{boxed}}}", f"\\fbox{{{boxed}}}"):
            text = boxed
        if text.endswith(".") and not text.endswith(("..", r"\.")):
            text = text[:-1]
        if text == before:
            return text


def last_boxed(text: str) -> str | None:
    """Content of the last whole `\\boxed{...}` or `\\fbox{...}`; None where there is none."""
    start = max(text.rfind("\\boxed{"), text.rfind("\\fbox{"))
    while start >= 0:
        depth, at = 0, text.index("{", start)
        for position in range(at, len(text)):
            char = text[position]
            depth += (char == "{") - (char == "}")
            if depth == 0:
                return text[at + 1 : position]
        start = max(text.rfind("\\boxed{", 0, start), text.rfind("\\fbox{", 0, start))
    return None


def canonical(answer: str) -> str:
    """The gold answer in one spelling: unwrapped; integers without thousands separators and leading zeros."""
    text = _unwrap(answer)
    if _THOUSANDS.fullmatch(text):
        text = re.sub(r",\\!|\{,\}|,", "", text)
    if _INTEGER.fullmatch(text):
        return str(int(text)) if len(text) < 4000 else text
    return text


def answer_type(answer: str | None, *, has_options: bool = False) -> AnswerType:
    """What kind of answer a canonical gold is; letters are choices only where the problem has options."""
    if answer is None or not answer.strip():
        return "empty"
    text = answer.strip()
    bare = _TEXT_WRAP.sub(r"\1", text).strip(" .()")
    if bare.lower() in _YES_NO:
        return "yes_no"
    if re.fullmatch(r"[A-J]", bare.upper() if has_options else bare) and (has_options or bare in "ABCDE"):
        return "choice"
    if _INTEGER.fullmatch(text):
        return "integer"
    if _RATIONAL.fullmatch(text):
        return "rational"
    if _DECIMAL.fullmatch(text):
        return "real"
    plain = _COMMAND.sub(" ", _TEXT_WRAP.sub(r" \1 ", text))
    words = [word for word in _WORD.findall(plain) if word.lower() not in _MATH_WORDS]
    if len(words) >= 3 or (words and not re.search(r"[\d\\^_=+*/]", text)):
        return "text"
    if re.search(r"\\begin\{[bpvBV]?(?:small)?matrix\}|\\begin\{array\}", text) or text.startswith("[["):
        return "matrix"
    if re.search(r"(?<![<>!\\])=|\\equiv", text):
        return "equation"
    opening, closing = r"(?:\\left\s*)?", r"(?:\\right\s*)?"
    pair = re.fullmatch(opening + r"([(\[])(.*?)" + closing + r"([)\]])", text, re.DOTALL)
    if r"\cup" in text or r"\infty" in text or (pair and (pair[1] == "[") != (pair[3] == "]")):
        return "interval"
    if pair and "," in pair[2]:
        return "interval" if pair[1] == "[" and pair[2].count(",") == 1 else "tuple"
    if re.search(r"\\\{|\\lbrace", text) or text.startswith("{"):
        return "set"
    if "," in text or re.search(r"\\text\s*\{\s*(?:and|or)\s*\}|\bor\b|\band\b", text):
        return "set"
    return "expression"


_WRAPPING = re.compile(r"\\(?:mathbf|boldsymbol|vec|text|mathrm|hat|left|right)\b")


def wrong_answers(answer: str, kind: AnswerType) -> dict[str, str]:
    """Answers that resemble the gold and are not it, by the name of the change; a sound verifier rejects "
    "all."""
    if kind == "integer":
        value = int(answer)
        return {
            "plus one": str(value + 1),
            "sign": str(-value) if value else "10",
            "other type": f"{value}+x",
        }
    if kind in ("rational", "real"):
        negated = answer[1:] if answer.startswith("-") else f"-{answer.lstrip('+')}"
        zero = not re.search(r"[1-9]", answer)
        return {"plus one": f"{answer}+1", "other type": "7919", **({} if zero else {"sign": negated})}
    if kind == "choice":
        letter = _TEXT_WRAP.sub(r"\1", answer).strip(" .()").upper()
        return {"other choice": "ABCDEFGHIJ"[("ABCDEFGHIJ".index(letter) + 1) % 4], "other type": "7919"}
    if kind == "yes_no":
        word = _TEXT_WRAP.sub(r"\1", answer).strip(" .()").lower()
        return {
            "opposite": {"yes": "no", "no": "yes", "true": "false", "false": "true"}[word],
            "other type": "7919",
        }
    changed = {"other type": "7919"}
    if kind == "expression":
        changed["plus one"] = f"{answer}+1"
        # Nothing changes with the sign of zero or of a pair.
        if "\\pm" not in answer and re.search(r"[1-9A-Za-z]", _WRAPPING.sub("", answer)):
            changed["sign"] = f"-({answer})"
    bumped = re.sub(r"\d+", lambda match: str(int(match.group()[:30]) + 1), answer, count=1)
    if bumped != answer and kind != "text":
        changed["other number"] = bumped
    if kind == "text":
        changed["other text"] = r"\text{none of these}"
    return changed


_MARKED = re.compile(
    r"(?:####|\bfinal answer\b(?: is)?\s*[:=]?|\b(?:the )?(?:correct )?answer\s*(?:is\s*:?|[:=\-–])|"
    r"\bans\s*[:=.])"
    r"\s*(?:option\s*)?(?P<answer>\S[^\n]*)",
    re.IGNORECASE,
)
_TAIL = re.compile(r"=\s*(?P<answer>[-+]?\d[\d,]*(?:\.\d+)?)\s*\.?\s*\Z")
_BOLD = re.compile(r"\\(?:textbf|mathbf|boldsymbol|bold)\s*\{([^{}]*)\}")
_NUMBER = re.compile(r"\$?\s*([-+]?\s?\d[\d,]*(?:\.\d+)?(?:/\d+)?)")
_PROSE = re.compile(r"\b[A-Za-z]{4,}\b")
_CUT = re.compile(r"(?<=[\w)}\]$])\.(?:\s|\Z)|\s+(?:because|since|so|which)\b|\s*[\"”]\s*\Z")
_LETTER = re.compile(r"\(?([A-Ja-j])\)?(?:[\s.):\"”,]|\Z)")


def solution_answer(solution: str, kind: AnswerType) -> str | None:
    """The final answer that a solution text states; None where it states none that can be read surely.

    A box counts first, then "#### 72" and "the answer is 72", then an equation that ends the text.
    """
    boxed = last_boxed(solution)
    if boxed is not None:
        return _plain(boxed) or None
    marks = list(_MARKED.finditer(solution))
    if not marks:
        tail = _TAIL.search(solution) if kind in ("integer", "real") else None
        return tail["answer"] if tail else None
    text = _plain(_CUT.split(marks[-1]["answer"], maxsplit=1)[0].strip(' *"”'))
    if kind == "choice":
        letter = _LETTER.match(text)
        return letter.group(1).upper() if letter else None
    if kind in ("integer", "rational", "real"):
        left, _, right = text.rpartition("=")
        # "20/5 = 4" states 4; "20 and K = 19" states 20.
        sum_of_numbers = left and not re.search(r"[A-Za-z]", _COMMAND.sub("", left))
        number = _NUMBER.match((right if sum_of_numbers else text).strip(" $"))
        return number.group(1).replace(" ", "").rstrip(",") if number and len(text) < 60 else None
    # Prose behind "the answer is" is no answer.
    return None if len(text) > 60 or _PROSE.search(_COMMAND.sub("", text)) else text or None


def _plain(text: str) -> str:
    """Without bold type ("\\textbf{(081)}", "\\mathbf{1 8 9}") and delimiters."""
    text = _unwrap(text)
    while (match := _BOLD.search(text)) is not None:
        inner = match.group(1).strip()
        if re.fullmatch(r"\([^()]*\)", inner) and match.group() == text:
            inner = inner[1:-1].strip()
        text = text[: match.start()] + re.sub(r"(?<=[\d-]) (?=\d)", "", inner) + text[match.end() :]
    return _unwrap(text)


_POSITIVE_SUM = re.compile(
    r"positive integers[^?.]*[.,]?\s*(?:find|compute|determine|what is|give|evaluate)"
    r"(?: the (?:value|sum) of)?\s*\$?"
    r"([a-z](?:\s*\+\s*[a-z])+)\s*\$?\s*[.?]?\s*\$?\s*\Z",
    re.IGNORECASE | re.DOTALL,
)
_COUNT = re.compile(
    r"\bhow many\b|\b(?:find|determine|compute|what is) the (?:total )?number of (?!the\b)[a-z]+",
    re.IGNORECASE,
)
_COUNT_OTHER = re.compile(
    r"\bdegrees\b|\bhow many (?:more|less|fewer)\b|\bform\b|\bwritten as\b", re.IGNORECASE
)
_REMAINDER = re.compile(
    r"(?:find|what is|determine|compute) the (?:\w+ )?remainder (?:when|of|obtained)[^.?]{0,200}?"
    r"divided by \$?(\d{1,9})\$?\s*[.?]\s*\Z",
    re.IGNORECASE,
)


def impossible(problem: str, answer: str) -> str | None:
    """Why an integer gold can't be what is asked for; None where nothing speaks against it.

    A sum of k positive integers is at least k, a count is not negative, a remainder lies below the divisor.
    """
    if not _INTEGER.fullmatch(answer) or len(answer) > 18:
        return None
    value = int(answer)
    if found := _POSITIVE_SUM.search(problem):
        least = found.group(1).count("+") + 1
        if value < least:
            return f"{found.group(1)} of positive integers is at least {least}, not {value}"
    if value < 0 and _COUNT.search(problem) and not _COUNT_OTHER.search(problem):
        return f"a count is not {value}"
    if (found := _REMAINDER.search(problem.strip())) and not 0 <= value < int(found.group(1)):
        return f"a remainder by {found.group(1)} is not {value}"
    return None
