"""Answer options: read from every form that sources use, put into a prompt, or turned into a closed "
"question."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from curation.kinds import options_in_text
from curation.row import Row

LETTERS = "ABCDEFGHIJ"
_MARK = re.compile(r"\s*\(?\s*([A-Ja-j])\s*[).:]\s*")
_INLINE = re.compile(r"(?:^|[,;\s])\s*([a-j])\s*\)\s*", re.IGNORECASE)
# A question that only makes sense with its options, or whose option is not an answer.
_NEEDS_OPTIONS = re.compile(
    r"\b(?:which|what) (?:one )?of (?:the )?(?:following|these|above)\b|\bfollowing (?:statements?|"
    r"options|is|are|could|can)\b"
    r"|\bwhich of\b"
    r"|\bwhich (?:statement|option|choice|answer|graph|figure|pair|equation|expression|set)\b|\bclosest\b|"
    r"\bexcept\b|\bnot true\b"
    r"|\bbest (?:describes|approximat)|\bapproximat|\bone of these\b|\bfrom the choices\b|\bof the following\b"
    r"|\b(?:can|could|may|might|must|cannot)(?: not)? be(?: equal to)?[\s~]*(?:[:.?(．_]|\\(?:uline|underline)|$)"
    r"|\b(?:which|what)\b(?![^.?]*\b(?:small|larg|great|least|most|fewest|minimum|maximum))"
    r"[^.?]{0,60}\b(?:could|may|might|must|cannot)(?: not)? be\b",
    re.IGNORECASE,
)
_NOT_AN_ANSWER = re.compile(
    r"\b(?:none|all|both|neither|either|cannot|can't|can not|not|insufficient|above|these|other|either|"
    r"data|undetermined|no "
    r"solution|no correct)\b",
    re.IGNORECASE,
)
_BLANK_END = re.compile(r"(?:\(\s*\)|_{2,}|\$*\\(?:underline|qquad)[^$]*\$*|[:=])\s*[.?]?\s*\Z")
_PHRASE = re.compile(r"[a-z]{2,} [a-z]{2,}", re.IGNORECASE)
# "The ones digit of ... is ．", "then k = ( )": the blank of a statement stands at its end.
_ENDS_IN_BLANK = re.compile(
    r"(?:(?<=\bis)|(?<=\bare)|(?<=\bwas)|(?<=\bbe)|(?<=\bequals)|(?<=\bequal to)|(?<==)|(?<==\$)|(?<==\$\$))"
    r"(?P<blank>\s*(?:\\left)?\s*(?:\(\s*(?:\\(?:textbackslash)?\s*(?:\{\})?\s*|~)*(?:\\right)?\s*\))?[\s$:.．_~–-]*)\Z"
)
_INNER_BLANK = re.compile(r"[~\s]*(?:\\(?:uline|underline)\{[~\s\\_]*\}|_{3,}|\\qquad|\(\s+\))[~\s]*")
_ASKS = re.compile(
    r"[?？]|\b(?:find|compute|calculate|what|how (?:many|much|long|far|old|fast|tall|big)|evaluate|determine|"
    r"simplify|solve)\b",
    re.IGNORECASE,
)


def parse_options(value: Any) -> list[str]:
    """Option texts in the order of their letters, from lists, mappings, TAL's nesting, or one line of "
    "text."""
    if isinstance(value, str):
        return _from_line(value)
    if isinstance(value, Mapping):
        if set(value) >= {"text", "label"} and isinstance(value["text"], list):
            return [str(text).strip() for text in value["text"]]
        return [str(value[key]).strip() for key in sorted(value) if len(str(key)) == 1]
    if not isinstance(value, list):
        return []
    texts = []
    for item in value:
        while isinstance(item, list) and len(item) == 1:
            item = item[0]
        if isinstance(item, Mapping):
            item = item.get("content", item.get("text", ""))
        texts.append(_without_mark(str(item)))
    return texts


def _without_mark(option: str) -> str:
    """An option without its letter, which some sets wrote twice ("A)A)59")."""
    first = _MARK.match(option)
    if first is None:
        return option.strip()
    rest = option[first.end() :]
    again = _MARK.match(rest)
    if again is not None and again.group(1).upper() == first.group(1).upper():
        rest = rest[again.end() :]
    return rest.strip()


def _from_line(line: str) -> list[str]:
    """MathQA's `a ) 38 , b ) 27.675 , c ) 30`."""
    marks: list[re.Match[str]] = []
    for match in _INLINE.finditer(line):
        if len(marks) < len(LETTERS) and match.group(1).upper() == LETTERS[len(marks)]:
            marks.append(match)
    ends = [match.start() for match in marks[1:]] + [len(line)] * bool(marks)
    return [
        _without_mark(line[match.start(1) : end]).strip(" ,;") for match, end in zip(marks, ends, strict=True)
    ]


def with_options(text: str, options: list[str]) -> str:
    """The problem text followed by its options."""
    lines = "\n".join(f"({letter}) {option}" for letter, option in zip(LETTERS, options, strict=False))
    return f"{text}\n{lines}"


def split_options(text: str) -> tuple[str, list[str]]:
    """Question and options of a text that holds its options; no options when it holds none."""
    found = options_in_text(text)
    if found is None:
        return text, []
    start, letters = found
    at, options = start, []
    for number, letter in enumerate(letters):
        mark = re.compile(r"(?:\\text(?:bf|rm|it)?\s*\{|\*\*|\$)*\s*\(?\s*" + letter + r"\s*[).:]\s*\}?")
        match = mark.search(text, at)
        if match is None:
            return text, []
        if number:
            options.append(_clean(text[at : match.start()]))
        at = match.end()
    options.append(_clean(text[at:]))
    return text[:start].rstrip(" $*\n\\[").rstrip(), options


def _clean(option: str) -> str:
    option = re.sub(r"\\q?quad|\\ |\\\\|\\hspace\{[^}]*\}|~", " ", option).strip(" \n,;.*$[]")
    if option.count("$") % 2:
        option = option.replace("$", "")
    return option.strip()


def _same_text(answer: str, option: str) -> bool:
    """Whether a gold that is no letter is this option, but for spacing and delimiters."""
    return re.sub(r"[\s$]|\\d?(?=frac)", "", answer) == re.sub(r"[\s$]|\\d?(?=frac)", "", option)


def _with_blank(text: str) -> str | None:
    """A statement with one blank, as a request to fill it; None where there is none, or more than one."""
    inner = list(_INNER_BLANK.finditer(text.rstrip(" .．")))
    if len(inner) == 1 and inner[0].group().strip():
        before, after = text[: inner[0].start()].rstrip(), text[inner[0].end() :].strip(" .．")
        return f"{before} ____{' ' if after else ''}{after}. Fill in the blank."
    end = _ENDS_IN_BLANK.search(text) if not inner else None
    if end is None:
        return None
    stem = text[: end.start()].rstrip()
    # A formula that the blank stood in is closed.
    closing = re.search(r"\$+", end["blank"])
    return f"{stem}{closing.group() if closing else ''} ____. Fill in the blank."


def close(row: Row) -> str | None:
    """Turn a multiple-choice row into a question whose answer is the right option's text, in place.

    Returns why that can't be done, None when it was.
    """
    text, options = (row.problem, row.options) if row.options else split_options(row.problem)
    answer = (row.answer or "").strip(" .()").upper()
    if not options:
        return "its options can't be read"
    if len(answer) == 1 and answer in LETTERS[: len(options)]:
        chosen = options[LETTERS.index(answer)].strip()
    elif row.answer and any(_same_text(row.answer, option) for option in options):
        chosen = row.answer
    else:
        return "its gold names no option"
    if _NEEDS_OPTIONS.search(text):
        return "it asks to choose among the options"
    if not chosen or _NOT_AN_ANSWER.search(chosen) or len(chosen) > 60:
        return f"the right option is no closed answer ({chosen[:40]!r})"
    if not re.search(r"\d|^\$?\\?[a-z](?:\^|\$|$)|\\frac|\\pi|\\sqrt", chosen):
        return f"the right option is a word ({chosen[:40]!r})"
    if not _ASKS.search(_BLANK_END.sub("", text)):
        filled = None if _PHRASE.search(chosen) else _with_blank(text)
        if filled is None:
            return "it is not a question without its options"
        text = filled
    row.original.setdefault("problem", row.problem)
    row.original.setdefault("answer", row.answer or "")
    row.facts["options"] = list(options)
    row.problem, row.answer, row.options, row.verifier = text, chosen, [], "math"
    row.facts["converted"] = "multiple choice to closed answer"
    return None
