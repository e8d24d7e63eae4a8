"""Boxes of a response: where they stand, which of them are one answer, and which are denied."""

from __future__ import annotations

import re
from dataclasses import dataclass

from verifiers.math.clauses import retracted


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
_NEGATED = re.compile(
    r"(?i)(?:\b(?:not|never|cannot be)|n't|\\neq?|≠)\s*(?:be\s+|equal\s+(?:to\s+)?)?[$\s]*$"
    r"|\b(?:said|says|say|claim(?:s|ed)?)\s*:?\s*[$\s]*$|\S[ \t]+[<>][$ \t]*$"
    r"|(?<![<\w/])[A-Za-z][<>][$ \t]*$"
    r"|\bif\b[^.\n]{0,30}\bwere\s*(?:equal to\s*)?[$\s]*$"
)
DENIED_AFTER = re.compile(
    r"(?i)[\s$).]*(?:\\text\s*\{\s*)?(?:(?:is|was|would be)\s+(?:wrong|incorrect|false|rejected|extraneous"
    r"|impossible|invalid|too (?:small|large|big)|not\s+(?:the|correct|right|a|an|true|valid|possible)\b)"
    r"|is what\b[^.\n]{0,60}\b(?:would|might|could|thinks?|thought|says?|said|claims?|naive)\b"
    r"|(?:is|was) (?:only |just |merely )?(?:my |an? |the )?(?:first |initial |wild )?"
    r"(?:guess|(?:upper|lower) bound)\b"
    r"|(?:does(?:n't| not)) (?:work|satisfy|hold)|fails\b)"
)
_VALUE_OR = re.compile(
    r"(?i)(?P<value>[-+]?\d[\d.,/]*)[$\s]*,?\s*\bor\b[$\s]*(?:maybe |perhaps |possibly )?[$\s]*$"
)
_OR_VALUE = re.compile(
    r"(?i)[$\s.,;)]*(?:\b(?:or|maybe|perhaps|possibly|alternatively)\b[,\s]*)+[$\s]*(?P<value>[-+]?\d[\d.,/]*)"
)


# 2 \\cdot \\boxed{21} and \\boxed{42} + 1 give another value than what is boxed.
_FACTOR_BEFORE = re.compile(
    r"(?:(?:\d|(?<![A-Za-z])[A-Za-z]|[)}\]])(?:-|[ \t]*(?:[+/^]|(?<!\*)\*|\\cdot|\\times|\\div|\\pm)[ \t]*)|\d"
    r"|[\^_][ \t]*\{?[ \t]*|(?<![-–\w])-|\\(?:log|ln|lg|exp|sin|cos|tan|cot)\s*"
    r"|\\(?:[dt]?frac|sqrt|binom)\s*(?:\[[^\]]*\])?\s*\{\s*|\\[dt]?frac\s*\{[^{}]*\}\s*\{\s*)$"
)
# (\\boxed{5}, 6) is a point, and |\\boxed{-5}| is 5.
_OPENED = re.compile(r"[(\[|{][ \t]*$")
# 60 - \\boxed{1} = 59, where a dash with spaces may be one of prose.
_MINUS_BEFORE, _EQUALS_AFTER = re.compile(r"[\w)}\]][ \t]+-[ \t]+$"), re.compile(r"[ \t$]*=")
_GOES_ON = re.compile(r"[ \t]*(?:,[ \t]*[-\d\\]|\|)")
_FACTOR_AFTER = re.compile(
    r"[ \t]*(?:[-+/]|\*(?!\*)|\\cdot|\\times|\\div|\\pm)[ \t]*"
    r"(?:\d|\(|\\(?:[dt]?frac|sqrt|boxed|pi)|[b-hj-zB-HJ-Z](?![A-Za-z]))"
    r"|\^[ \t]*\{?[ \t]*-?\d|\\(?:pi|sqrt|frac)(?![A-Za-z])|[xyznkitabcde](?![A-Za-z])|!(?=\s*[=$])"
    r"|[ \t]*(?:>|<(?![|/A-Za-z])|\\(?:lt|gt|le|leq|ge|geq|ne|neq|leqslant|geqslant)(?![A-Za-z]))"
)


_ASKED = re.compile(r"[\s$)]*\?")
_BOUND = re.compile(
    r"(?i)(?P<words>\b(?:at (?:least|most)|no (?:more|less|fewer|greater|smaller) than))[\s$:]*$"
    r"|(?:(?<!no )\b(?:more|less|fewer|greater|smaller|larger) than(?: or equal to)?|\bbetween\b[^.\n]{1,30}\band"
    r"|\b(?:over|under|above|below|(?<!add )(?<!adds )(?<!added )(?<!sum )(?<!sums )up to|exceeds?"
    r"|nearly|almost))[\s$:]*$"
    r"|(?P<sign>\\(?:le|ge|leq|geq|leqslant|geqslant)(?![A-Za-z])|[≤≥])[\s${]*$"
)
_BOUND_ENDS = (
    "least", "most", "than", "equal to", "and", "over", "under", "above", "below", "up to", "exceed", "exceeds",
    "nearly", "almost", "\\le", "\\ge", "\\leq", "\\geq", "\\leqslant", "\\geqslant", "≤", "≥",
)  # fmt: skip
"""What any text that `_BOUND` matches ends with."""
_REQUIRED = re.compile(
    r"(?i)\b(?:must|needs?|needed|requires?|required|ha(?:s|ve|d) to|should|can|could|will)\b"
)
_EXTREME = re.compile(
    r"(?i)\b(?:max\w*|min\w*|largest|greatest|highest|biggest|smallest|least|lowest|most|best|bound\w*|equality"
    r"|attain\w*|achiev\w*|supremum|infimum)\b"
)
_CONTEXT = 400


def _bounds(text: str, start: int) -> bool:
    """Whether what stands before a box makes its value a bound: "at most", "more than", x <= .

    "She must score at least 9" says what is needed, and an inequality says its end where the text speaks of a
    greatest or least value.
    """
    before = text[max(0, start - 60) : start].rstrip(" \t\n$:{")
    found = _BOUND.search(before) if before.endswith(_BOUND_ENDS) else None
    if found is None:
        return False
    context = text[max(0, start - _CONTEXT) : start]
    if found["sign"]:
        return not _EXTREME.search(context + text[start : start + _CONTEXT])
    clause = re.split(r"[.!?\n]\s", context)[-1]
    return not (found["words"] and _REQUIRED.search(clause))


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
    before, behind = text[max(0, group[0].start - 40) : group[0].start], group[-1].end
    if _NEGATED.search(before) or DENIED_AFTER.match(text, behind) or retracted(text, behind):
        return Extraction(None, "boxed", "the box is denied")
    if _ASKED.match(text, behind):
        return Extraction(None, "boxed", "the box is part of a question")
    if _bounds(text, group[0].start):
        return Extraction(None, "boxed", "the box is a bound of the answer")
    inside = (_OPENED.search(before) and _GOES_ON.match(text, behind)) or (
        _MINUS_BEFORE.search(before) and _EQUALS_AFTER.match(text, behind)
    )
    if inside or _FACTOR_BEFORE.search(before) or _FACTOR_AFTER.match(text, behind):
        return Extraction(None, "boxed", "the box is a part of a formula, not its result")
    contents = list(dict.fromkeys(box.content.strip() for box in group))
    alternatives = _VALUE_OR.search(before), _OR_VALUE.match(text[behind : behind + 60])
    contents += [alternative.group("value") for alternative in alternatives if alternative]
    return Extraction(", ".join(contents), "boxed", position=behind)
