"""Boxes of a response: where they stand, which of them are one answer, and which are denied."""

from __future__ import annotations

import re
from dataclasses import dataclass

from verifiers.math.surroundings import objection


@dataclass(frozen=True, slots=True)
class Extraction:
    """The final answer as written, and which rule found it; `answer` None says that there is none, and why."""

    answer: str | None
    rule: str
    reason: str = ""
    position: int = 0
    """Where it stands in the text, to tell the later of two."""


@dataclass(frozen=True, slots=True)
class Box:
    """A `\\boxed{...}`: its content and where it stands."""

    content: str
    start: int
    end: int


_BOX = re.compile(r"\\(?:boxed|fbox)(?:\s*\{|\s+(?=[^\s{]))")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)


def find_boxes(text: str) -> list[Box]:
    """All outermost boxes with balanced braces, in order; an unclosed box is none."""
    boxes: list[Box] = []
    position = 0
    while (found := _BOX.search(text, position)) is not None:
        if not found.group().endswith("{"):
            # \boxed 5, as TeX reads it: the next token.
            token = _TOKEN.match(text, found.end())
            end = token.end() if token else found.end() + 1
            boxes.append(Box(text[found.end() : end], found.start(), end))
            position = end
            continue
        end = closing_brace(text, found.end())
        if end < 0:
            break
        boxes.append(Box(text[found.end() : end], found.start(), end + 1))
        position = end + 1
    return boxes


_TOKEN = re.compile(r"\\(?:[A-Za-z]+|.)|\d+(?:\.\d+)?|.", re.DOTALL)


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


_JOINED = re.compile(
    r"(?:[\s$,;.&:()\[\]{}~]|\\[,;:!()\[\] ]|\\q?quad|\\(?:text|mbox|mathrm|textbf)\b"
    r"|\b(?:and|or|und|et|as well as)\b"
    r"|\b(?:for )?[Pp]art\b(?: \(\w\))?|(?<![A-Za-z])[A-Ea-e1-9](?=[).])"
    r"|(?<![A-Za-z\\])[A-Za-z](?:_\{?\w\}?)?(?:\([a-z]\))?\s*=)*"
)
_CORRECTION = re.compile(
    r"(?i)\b(?:wait|actually|no|sorry|instead|correct\w*|rather|hmm|mistake|oops|but|then)\b"
)


_HEDGING = re.compile(r"(?i)\b(?:or|maybe|perhaps|possibly|alternatively|otherwise)\b")
_VALUE_OR = re.compile(
    r"(?i)(?P<value>[-+]?\d[\d.,/]*)[$\s]*,?\s*\bor\b[$\s]*(?:maybe |perhaps |possibly )?[$\s]*$"
)
_OR_VALUE = re.compile(
    r"(?i)[$\s.,;)]*(?:\\text\s*\{\s*)?(?:\b(?:or|maybe|perhaps|possibly|alternatively)\b[,\s]*)+[}$\s]*(?P<value>[-+]?\d[\d.,/]*)"
)


def last_boxes(text: str) -> Extraction | None:
    """The last box, with those that it continues: "\\boxed{2} and \\boxed{3}" is one answer of two parts."""
    boxes = find_boxes(text)
    last_opened = text.rfind("boxed{")
    after_boxes = last_opened >= (boxes[-1].end if boxes else 0)
    if after_boxes and closing_brace(text, last_opened + len("boxed{")) < 0:
        return Extraction(None, "boxed", "the last box is never closed")
    if not boxes:
        return None
    group = [boxes[-1]]
    for earlier in reversed(boxes[:-1]):
        between = text[earlier.end : group[0].start]
        if len(between) > 80 or not between.strip(" $\n\t\\[]()") or _CORRECTION.search(between):
            break
        if not (_JOINED.fullmatch(between) or _HEDGING.search(between)) or len(group) > 40:
            break
        group.insert(0, earlier)
    begin, behind = group[0].start, group[-1].end
    if reason := objection(text, begin, behind):
        return Extraction(None, "boxed", reason)
    contents = list(dict.fromkeys(box.content.strip() for box in group))
    alternatives = (
        _VALUE_OR.search(text[max(0, begin - 40) : begin]),
        _OR_VALUE.match(text[behind : behind + 60]),
    )
    contents += [alternative.group("value") for alternative in alternatives if alternative]
    return Extraction(", ".join(contents), "boxed", position=behind)
