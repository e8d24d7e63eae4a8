"""Finds the one final answer of a response.

A response says its answer in one of a few ways: a box, an `<answer>` tag, a line "Answer: ...", `#### ...`,
bold type, or, where nothing else is there, its last formula or number. What counts is selectable, because a
training run with a protocol must reward the protocol. All patterns are linear in the length of the text.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from verifiers.types import InputError

LONGEST_RESPONSE = 4_000_000
"""Characters; of a longer response only the end is read."""


@dataclass(frozen=True, slots=True)
class Extraction:
    """The final answer as written, and which rule found it; `answer` None says that there is none, and why."""

    answer: str | None
    rule: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Box:
    """A `\\boxed{...}`: its content and where it stands."""

    content: str
    start: int
    end: int


_BOX = re.compile(r"\\f?boxed(?:\s*\{|\s+(?=[^\s{]))")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)


def find_boxes(text: str) -> list[Box]:
    """All outermost boxes with balanced braces, in order; an unclosed box is none."""
    boxes: list[Box] = []
    position = 0
    while (found := _BOX.search(text, position)) is not None:
        if not found.group().endswith("{"):
            # \boxed 5, as TeX reads it: the next token.
            end = found.end() + 1
            if text[found.end()] == "\\":
                end = found.end()
                token = re.compile(r"\\(?:[A-Za-z]+|.)", re.DOTALL).match(text, end)
                end = token.end() if token else end + 1
            boxes.append(Box(text[found.end() : end], found.start(), end))
            position = end
            continue
        end = closing_brace(text, found.end())
        if end < 0:
            # Nothing after an unclosed brace can be outside of it.
            inner = find_boxes_inside_unclosed(text, found.end())
            return boxes + inner
        boxes.append(Box(text[found.end() : end], found.start(), end + 1))
        position = end + 1
    return boxes


def find_boxes_inside_unclosed(text: str, start: int) -> list[Box]:
    """Boxes after an opening brace that is never closed: only a complete one counts, searched from the end."""
    last = None
    for found in _BOX.finditer(text, start):
        last = found
    if last is None or not last.group().endswith("{"):
        return []
    end = closing_brace(text, last.end())
    return [] if end < 0 else [Box(text[last.end() : end], last.start(), end + 1)]


def closing_brace(text: str, start: int) -> int:
    """Index of the brace that closes the one before `start`, or -1; escaped braces do not count."""
    depth = 1
    for found in _BRACE.finditer(text, start):
        token = found.group()
        if token == "{":
            depth += 1
        elif token == "}":
            depth -= 1
            if depth == 0:
                return found.start()
    return -1


_CONNECTED = re.compile(
    r"[\s$,;.&\\()\[\]]*(?:(?:quad|qquad|text|mbox|mathrm|textbf|\{|\}|and|or|und|et|as well as|[a-zA-Z](?:_\{?\d\}?)?"
    r"|=|for part \(\w\)|[\s$,;.&\\()\[\]])+)?"
)
_CORRECTION = re.compile(r"(?i)\b(?:wait|actually|no|sorry|instead|correct\w*|rather|hmm|mistake|oops|but)\b")


def _last_boxes(text: str) -> Extraction | None:
    """The last box, with those that it continues ("\\boxed{2} and \\boxed{3}")."""
    boxes = find_boxes(text)
    if not boxes:
        return None
    group = [boxes[-1]]
    for earlier in reversed(boxes[:-1]):
        between = text[earlier.end : group[0].start]
        if len(between) > 80 or "\n\n" in between.strip(" \t") or _CORRECTION.search(between):
            break
        if not _CONNECTED.fullmatch(between) or not between.strip():
            break
        group.insert(0, earlier)
    contents = list(dict.fromkeys(box.content.strip() for box in group))
    return Extraction(", ".join(contents), "boxed")


_ANSWER_TAG = re.compile(r"<answer>(.*?)</answer>", re.DOTALL | re.IGNORECASE)


def _answer_tag(text: str) -> Extraction | None:
    if "</answer>" not in text.lower():
        return None
    matches = _ANSWER_TAG.findall(text)
    if not matches:
        return None
    content = matches[-1].strip()
    inner = _last_boxes(content)
    return Extraction(inner.answer if inner else content, "answer_tag")


_ANSWER_LINE = re.compile(
    r"(?:\*\*|__|#+ *)?"
    r"(?:\b(?:the\s+)?(?:final\s+|correct\s+)?answer(?:\s+is)?\s*(?:\*\*|__)?\s*[:=：]"
    r"|\b(?:the\s+|my\s+)?(?:final\s+|correct\s+)?answer(?:\s+to\s+[^.\n:]{0,80})?\s+is\s*:?"
    r"|^\s*A:|réponse\s*(?:est)?\s*:?|答案(?:是|为)?\s*[:：]?|(?:故选|因此选)\s*[:：]?)"
    r"\s*(?:\*\*|__)?[ \t]*\n?[ \t]*(?P<rest>[^\n]+)",
    re.IGNORECASE | re.MULTILINE,
)
_NEGATION = re.compile(r"(?i)^\W*(?:definitely |certainly |clearly )?not\b|^\W*(?:unknown|unclear|wrong)\b")
_TRAILING_SENTENCE = re.compile(r"(?:(?<=[^\d\s])|(?<=\d))\.(?:\s+[A-Z].*|\s*)$", re.DOTALL)


def _last_of(matches: Iterator[re.Match[str]]) -> re.Match[str] | None:
    return next(iter(deque(matches, maxlen=1)), None)


def _answer_line(text: str) -> Extraction | None:
    last = _last_of(_ANSWER_LINE.finditer(text))
    if last is None:
        return None
    rest = last.group("rest").strip()
    boxed = _last_boxes(rest)
    if boxed:
        return Extraction(boxed.answer, "answer_line")
    if _NEGATION.search(rest):
        return Extraction(None, "answer_line", "the answer line denies instead of answering")
    return Extraction(clean_sentence(rest), "answer_line")


def clean_sentence(rest: str) -> str:
    """The answer in the rest of a sentence: without bold marks, a following sentence, and the full stop."""
    rest = rest.replace("**", "").replace("__", "").strip()
    rest = _TRAILING_SENTENCE.sub("", rest).strip()
    if rest.count("$") >= 2 and rest.startswith("$"):
        return rest
    return rest


_HASH = re.compile(r"####\s*([^\n]+)")


def _hash_line(text: str) -> Extraction | None:
    found = _HASH.findall(text)
    if not found:
        return None
    boxed = _last_boxes(found[-1])
    return Extraction(boxed.answer if boxed else found[-1].strip().rstrip("."), "hash")


_BOLD = re.compile(r"\*\*([^*\n]{1,200})\*\*")


def _bold(text: str) -> Extraction | None:
    found = _BOLD.findall(text)
    return Extraction(found[-1].strip().rstrip("."), "bold") if found else None


_MATH = re.compile(
    r"\$\$(?P<display>[^$]{1,2000})\$\$|\$(?P<inline>[^$\n]{1,500})\$"
    r"|\\\[(?P<bracket>(?:[^\\]|\\(?!\])){1,2000})\\\]|\\\((?P<paren>(?:[^\\]|\\(?!\))){1,500})\\\)",
    re.DOTALL,
)


def _last_math(text: str) -> Extraction | None:
    last = _last_of(_MATH.finditer(text[-20_000:]))
    if last is None:
        return None
    content = next(group for group in last.groups() if group is not None)
    return Extraction(content.strip(), "last_math")


_NUMBER = re.compile(r"[-−+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:\s*/\s*\d+)?%?|[-−+]?\.\d+%?")


def _last_number(text: str) -> Extraction | None:
    """The last number of the text; a number that is denied just before is no answer."""
    last = _last_of(_NUMBER.finditer(text[-20_000:]))
    if last is None:
        return None
    before = text[-20_000:][: last.start()][-12:]
    if re.search(r"(?i)\bnot\s*\$?$", before):
        return Extraction(None, "last_number", "the last number is denied")
    return Extraction(last.group().strip(), "last_number")


def _whole(text: str) -> Extraction | None:
    return Extraction(text.strip(), "whole")


_RULES: dict[str, Callable[[str], Extraction | None]] = {
    "boxed": _last_boxes,
    "answer_tag": _answer_tag,
    "answer_line": _answer_line,
    "hash": _hash_line,
    "bold": _bold,
    "last_math": _last_math,
    "last_number": _last_number,
    "whole": _whole,
}
LENIENT = ("answer_tag", "boxed", "hash", "answer_line", "bold", "last_math", "last_number")


def parse_rules(extraction: str) -> tuple[str, ...]:
    """The rules that an option such as "lenient", "boxed" or "boxed,answer_line" names, in order.

    Raises:
        InputError: an unknown rule.
    """
    if extraction == "lenient":
        return LENIENT
    rules = tuple(part.strip() for part in extraction.split(","))
    unknown = [rule for rule in rules if rule not in _RULES]
    if unknown:
        raise InputError(f"unknown extraction {unknown[0]!r}; there are lenient, {', '.join(_RULES)}")
    return rules


def after_thinking(text: str) -> str | None:
    """The text after the last `</think>`; None where thinking began and never ended."""
    _, closed, rest = text.rpartition("</think>")
    if closed:
        return rest
    return None if "<think>" in text else text


def extract(response: str, rules: tuple[str, ...]) -> Extraction:
    """The final answer of `response` by the first of `rules` that finds something."""
    if rules == ("whole",):
        return Extraction(response.strip(), "whole")
    text = after_thinking(response[-LONGEST_RESPONSE:])
    if text is None:
        return Extraction(None, "thinking", "the response ends inside its thinking")
    for found in _attempts(text, rules):
        if found.answer is not None and not found.answer.strip():
            return Extraction(None, found.rule, "the final answer is empty")
        return found
    return Extraction(None, "none", "the response states no final answer")


def _attempts(text: str, rules: tuple[str, ...]) -> Iterator[Extraction]:
    for rule in rules:
        found = _RULES[rule](text)
        if found is not None:
            yield found
