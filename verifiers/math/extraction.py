"""Finds the one final answer of a response.

A response says its answer in one of a few ways: a box, an `<answer>` tag, a line "Answer: ...", `#### ...`,
bold type, or, where nothing else is there, its last formula or number. What counts is selectable, because a
training run with a protocol must reward the protocol. All patterns are linear in the length of the text.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from verifiers.math.normalisation import canonical_latex
from verifiers.math.numbers import parse_rational
from verifiers.math.parser import LONGEST, UnparsedError, parse
from verifiers.math.text import choice, choices, plain, synonym, without_qualifier
from verifiers.types import InputError

LONGEST_RESPONSE = 4_000_000
"""Characters; of a longer response only the end is read."""


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
    r"|\b(?:for )?part\b(?: \(\w\))?|(?<![A-Za-z\\])[A-Za-z](?:_\{?\w\}?)?(?:\([a-z]\))?\s*=)*"
)
_CORRECTION = re.compile(
    r"(?i)\b(?:wait|actually|no|sorry|instead|correct\w*|rather|hmm|mistake|oops|but|then)\b"
)


_HEDGING = re.compile(r"(?i)\b(?:or|maybe|perhaps|possibly|alternatively|otherwise)\b")
_NEGATED = re.compile(
    r"(?i)(?:\b(?:not|never|cannot be)|n't|\\neq?|≠)\s*(?:be\s+|equal\s+(?:to\s+)?)?[$\s]*$"
    r"|\bif\b[^.\n]{0,30}\bwere\s*(?:equal to\s*)?[$\s]*$"
)
_DENIED_AFTER = re.compile(
    r"(?i)[\s$).]*(?:is|was|would be)\s+(?:wrong|incorrect|false|not\s+(?:the|correct|right|a|an|true)\b)"
)
_VALUE_OR = re.compile(
    r"(?i)(?P<value>[-+]?\d[\d.,/]*)[$\s]*,?\s*\bor\b[$\s]*(?:maybe |perhaps |possibly )?[$\s]*$"
)
_OR_VALUE = re.compile(
    r"(?i)[$\s.,;)]*(?:\b(?:or|maybe|perhaps|possibly|alternatively)\b[,\s]*)+[$\s]*(?P<value>[-+]?\d[\d.,/]*)"
)


def _last_boxes(text: str) -> Extraction | None:
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
    if _NEGATED.search(text[max(0, group[0].start - 40) : group[0].start]) or _DENIED_AFTER.match(
        text, group[-1].end
    ):
        return Extraction(None, "boxed", "the box is denied")
    if len(group) == 1:
        group = _row_of_boxes(text, boxes)
    contents = list(dict.fromkeys(box.content.strip() for box in group))
    before = _VALUE_OR.search(text[max(0, group[0].start - 40) : group[0].start])
    after = _OR_VALUE.match(text[group[-1].end : group[-1].end + 60])
    contents += [alternative.group("value") for alternative in (before, after) if alternative]
    return Extraction(", ".join(contents), "boxed", position=group[-1].end)


def _row_of_boxes(text: str, boxes: list[Box]) -> list[Box]:
    """The last box, or three and more that stand in one line with nothing between them: a choice left open."""
    row = [boxes[-1]]
    for earlier in reversed(boxes[:-1]):
        if text[earlier.end : row[0].start].strip(" $\t,;"):
            break
        row.insert(0, earlier)
    return row if len(row) > 2 else [boxes[-1]]


def _answer_tag(text: str) -> Extraction | None:
    lowered = text if text.isascii() and "<ANSWER>" not in text else text.replace("ANSWER>", "answer>")
    end = lowered.rfind("</answer>")
    start = lowered.rfind("<answer>", 0, max(end, 0))
    if end < 0 or start < 0:
        return None
    if _DENIED_AFTER.match(text, end + len("</answer>")):
        return Extraction(None, "answer_tag", "the answer is denied", end)
    content = text[start + len("<answer>") : end].strip()
    inner = _last_boxes(content)
    if inner is not None:
        return Extraction(inner.answer, "answer_tag", inner.reason, end)
    return _sentence(content, "answer_tag", end)


_PHRASE = re.compile(
    r"\b(?:answer|result|solution)(?:\s+to\s+[^.\n:]{0,80})?\s+(?:is|are)\s*:?|\b(?:answer|answers)\s*(?:\*\*|__)?\s*[:=：]"
    r"|\b(?:correct|right)\s+(?:option|choice)\s+is\s*:?|^[ \t]*A:"
    r"|\br[ée]ponse\s*(?:est\b)?\s*:?|答案(?:是|为)?\s*[:：]?|故选\s*[:：]?",
    re.IGNORECASE | re.MULTILINE,
)
_OPTION = re.compile(
    r"(?<!not )\b(?:(?:[Oo]ption|[Cc]hoice)\s+\(?(?P<letter>[A-J])\)?\s+is\s+(?:the\s+)?(?:correct|right|answer)\b"
    r"|[Cc]hoose\s+(?:option\s+)?\(?(?P<chosen>[A-J])\)?(?=\s*(?:[.,]|$)))"
)
_PHRASE_WORDS = ("answer", "result", "solution", "option", "choice", "ponse", "答案", "故选")
_LINE = re.compile(r"^[ \t]*A:", re.IGNORECASE | re.MULTILINE)
_COLON = re.compile(r"\banswer\s*:", re.IGNORECASE)


def _answer_line(text: str) -> Extraction | None:
    """What follows the last "Answer:" or "the answer is" that gives something."""
    lowered = text.lower()
    spoken = any(word in lowered for word in _PHRASE_WORDS)
    found = _last_phrase(_PHRASE if spoken else _LINE, text, "answer_line")
    if found is None and (option := _last_of(_OPTION.finditer(text))) is not None:
        return Extraction(option["letter"] or option["chosen"], "answer_line", position=option.start())
    return found


def _answer_colon(text: str) -> Extraction | None:
    """What follows the last "Answer:" on its line, and nothing else: the protocol of the DAPO prompt."""
    return _last_phrase(_COLON, text, "answer_colon")


_JUDGING = re.compile(r"(?i)\W*(?:not\s+)?(?:correct|wrong|right|incorrect)\b(?!\s*(?:option|choice|answer))")
_PHRASES_TRIED = 50


def _last_phrase(pattern: re.Pattern[str], text: str, rule: str) -> Extraction | None:
    """The last phrase that gives an answer; "this answer is wrong" and a phrase cut off at the end give none."""
    empty: Extraction | None = None
    for phrase in reversed(deque(pattern.finditer(text), maxlen=_PHRASES_TRIED)):
        if _JUDGING.match(text, phrase.end()):
            continue
        found = _after(phrase, text, rule)
        if found.answer is not None or found.reason != _NOTHING:
            return found
        empty = empty or found
    return empty


def _last_of(matches: Iterator[re.Match[str]]) -> re.Match[str] | None:
    return next(iter(deque(matches, maxlen=1)), None)


_NOTHING = "nothing follows the answer phrase"


def _after(phrase: re.Match[str], text: str, rule: str) -> Extraction:
    rest = text[phrase.end() :].lstrip(" \t*_")
    if rest.startswith("\n"):
        rest = rest.lstrip("\n \t*_")
    # A display formula or a matrix may go over several lines; a sentence ends with its line.
    opened = rest[:2] in ("$$", "\\[") or rest.startswith("\\begin")
    line = rest[:3000] if opened else rest.partition("\n")[0][:3000]
    if opened:
        closing = {"$$": "$$", "\\[": "\\]"}.get(rest[:2], "\n\n")
        end = rest.find(closing, 2)
        line = rest[: end + 2] if 0 <= end < 3000 else line
    if not line.strip():
        return Extraction(None, rule, _NOTHING, phrase.end())
    boxed = _last_boxes(line)
    if boxed is not None:
        return Extraction(boxed.answer, rule, boxed.reason, phrase.end())
    return _sentence(line, rule, phrase.end())


_SPECIAL = re.compile(r"<\|[^|>]{1,40}\|>.*|</?s>.*|\bI hope it is correct\b.*", re.DOTALL)
_DENIED = re.compile(
    r"(?i)^\W*(?:definitely |certainly |clearly )?(?:not\b|never\b|isn't\b)|^\W*(?:unknown|unclear|wrong)\b"
)
_UNSURE = re.compile(
    r"(?i)\b(?:not sure|unsure|maybe|perhaps|possibly|(?:might|could) (?:also )?be(?= [$\d\\])|I guess)"
)
_SENTENCE_END = re.compile(r"(?<=[^\s.])\.(?:\s+(?=[A-Z\"\\[(])|\s*$)|。|[!?]\s*$")
_CONTRAST = re.compile(r",?\s+(?:and not|not|non|nicht|rather than|instead of)\s|不是")
_CLAUSE = re.compile(
    r"[,;]?\s+(?:because|since|as|which|due to|so|by|given that|per|after)\s"
    r"|,\s+(?:it|that|this|not|and not|where)\s"
    r"|，|,?\s+\((?:since|because)"
)


def _sentence(rest: str, rule: str, position: int) -> Extraction:
    """The answer in a sentence: as it stands, or without the clause that explains it, or its last formula."""
    rest = _SPECIAL.sub("", rest).replace("**", "").replace("__", "").strip().strip('"').strip()
    if _UNSURE.search(rest):
        return Extraction(None, rule, "the sentence hedges", position)
    if _DENIED.search(rest):
        return Extraction(None, rule, "the sentence denies instead of answering", position)
    if contrast := _CONTRAST.search(rest):
        rest = rest[: contrast.start()].strip(" ,;")
    if readable(rest):
        return Extraction(rest.rstrip(".").strip(), rule, position=position)
    sentence = rest[: end.start()] if (end := _SENTENCE_END.search(rest)) else rest
    if readable(sentence):
        return Extraction(sentence.strip(), rule, position=position)
    if clause := _CLAUSE.search(sentence):
        before = sentence[: clause.start()].strip(" ,;")
        if before and readable(before):
            return Extraction(before, rule, position=position)
    said = _after_verb(sentence)
    return Extraction(said if said is not None else rest, rule, position=position)


_VERB = re.compile(
    r"\b(?:is|are|equals?|be|was|of|at|by|in|to|costs?|has|have|takes?|need(?:s|ed)?|about|approximately|exactly|total|only)\b|[=:]"
)
_HEDGE = re.compile(
    r"(?i)\b(?:or|either|maybe|perhaps|possibly|might|could|not|neither|nor|cannot|between|at (?:least|most)"
    r"|(?:more|less|fewer|greater|smaller|larger|bigger|higher|lower|other) than)\b|n't\b"
    r"|\b(?:over|under|above|below)\s+\$?\d"
)


def _after_verb(sentence: str) -> str | None:
    """The value in "the number of points is 19": what stands behind the last verb, if it is all there is."""
    if _HEDGE.search(sentence):
        return None
    spans = math_spans(sentence)
    if spans:
        start, end, content = spans[-1]
        before, after = sentence[:start], sentence[end:]
        if not _NUMBER.search(after) and (len(spans) == 1 or _VERB.search(sentence[spans[-2][1] : start])):
            return (
                content.strip()
                if not after.strip(" .,") or not readable(content + after)
                else content.strip() + after
            )
        if not _NUMBER.search(after):
            return None if _NUMBER.search(before) and len(spans) > 1 else content.strip()
    cut = _last_of(_VERB.finditer(sentence))
    if cut is not None and readable(sentence[cut.end() :]):
        value = len(sentence) - len(sentence[cut.end() :].lstrip(" $"))
        return None if _modified(sentence, value, len(sentence)) else sentence[cut.end() :].strip()
    numbers = list(_NUMBER.finditer(sentence))
    if len(numbers) != 1 or _modified(sentence, numbers[0].start(), numbers[0].end()):
        return None
    return numbers[0].group().strip()


def _modified(text: str, start: int, end: int) -> bool:
    """Whether what stands around a number makes another value of it: "twice 12", "12 squared", "over 12"."""
    return bool(
        _DENIED_BEFORE.search(text[max(0, start - 40) : start]) or _OPEN_AFTER.match(text[end : end + 20])
    )


_HASH = re.compile(r"####[ \t]*([^\n]*)")


def _hash_line(text: str) -> Extraction | None:
    found = _last_of(_HASH.finditer(text))
    if found is None or not found.group(1).strip():
        return None
    line = found.group(1)[:3000]
    boxed = _last_boxes(line)
    if boxed is not None:
        return Extraction(boxed.answer, "hash", boxed.reason, found.start())
    return _sentence(line, "hash", found.start())


_BOLD = re.compile(r"\*\*([^*\n]{1,200})\*\*")


def _bold(text: str) -> Extraction | None:
    """The last bold text near the end that can be read as an answer."""
    found = _last_of(_BOLD.finditer(text[-2000:]))
    if found is None:
        return None
    content = found.group(1).strip().rstrip(".:")
    return Extraction(content, "bold", position=found.start()) if readable(content) else None


_DELIMITER = re.compile(r"(?<!\\)\$\$?|\\[\[\]()]")
_CLOSING = {"$$": "$$", "$": "$", "\\[": "\\]", "\\(": "\\)"}


def math_spans(text: str) -> list[tuple[int, int, str]]:
    """Start, end and content of every formula between math delimiters, in order."""
    spans: list[tuple[int, int, str]] = []
    opened: re.Match[str] | None = None
    for found in _DELIMITER.finditer(text):
        mark = found.group()
        if opened is not None and mark == _CLOSING[opened.group()]:
            content = text[opened.end() : found.start()]
            if content.strip() and "\n\n" not in content:
                spans.append((opened.start(), found.end(), content))
            opened = None
        elif mark in _CLOSING:
            opened = found
    return spans


_NUMBER = re.compile(
    r"[-−+]?(?:\d{1,3}(?:(?:,|\{,\}|,\\!)\d{3})+(?!\d)|\d+)(?:\.\d+|,\d{1,2}(?!\d))?(?:\s*/\s*\d+(?:\.\d+)?)?\s?\\?%?|[-−+]?\.\d+%?"
)
_DENIED_BEFORE = re.compile(
    r"(?i)(?:(?:\b(?:not|never|cannot)|n't)(?: be| equal| equal to)?|\b(?:or|either|at least|at most"
    r"|(?:more|less|fewer|greater|smaller|larger|other) than(?: or equal to)?|over|under|above|below"
    r"|within|beyond|except|up to"
    r"|nearly|almost|barely|exceeds?|negative|minus|twice|thrice|double|triple|divisible by"
    r"|(?:half|third|quarter|fraction|percent|%|root|square|cube|power|reciprocal|multiples?|factors?|divisors?)"
    r" of)"
    r"|\\(?:neq?|geq?|leq?|approx|not)|[<>≠≥≤≈])\s*\$?$"
)
_OPEN_AFTER = re.compile(
    r"(?i)^(?:\W*(?:or|and) (?:more|less|so|fewer|above|below|greater|higher|larger|smaller|lower|\d"
    r"|a (?:half|third|quarter))|\s*[-+*/^]\s*[A-Za-z(\\]"
    r"|[)$\s]*(?:squared|cubed|factorial)\b|(?:st|nd|rd|th)\b|\s*\?)"
)
_LISTED = re.compile(r"\s*(?:,|;|,?\s*(?:and|or))\s*")
_CHUNK = re.compile(
    r"\s?(?:hundred|thousand|million|billion|trillion)\b|[π√^²³][^\s,;:!?]*(?<![.)])|\*[^\s*,;:!?]+(?<![.)])"
)
_COLONS = re.compile(r"\b\d+(?::\d+)+(?:\s?[ap]\.?m\b\.?)?", re.IGNORECASE)
_COPULA = re.compile(r"\b(?:is|are|equals)\s+")
_FORMULA = re.compile(r"[=+*/^<>(\[]|\d[A-Za-z]")
_TAIL = 20_000


def _last_value(text: str) -> Extraction | None:
    """The last formula or number, whichever comes later; one that is denied or an alternative is no answer."""
    tail = _SPECIAL.sub("", text[-_TAIL:])
    spans = math_spans(tail)
    number = _last_of(_NUMBER.finditer(tail))
    if not spans and number is None:
        return None
    if spans and (number is None or (number.start() < spans[-1][1] and readable(spans[-1][2]))):
        start, _, content = spans[-1]
        value, rule = content.strip(), "last_math"
        for earlier_start, earlier_end, earlier in reversed(spans[:-1]):
            # "$x = 1$ or $x = 2$" is one answer of two parts.
            if not _LISTED.fullmatch(tail[earlier_end:start]):
                break
            start, value = earlier_start, f"{earlier.strip()}, {value}"
    else:
        assert number is not None
        start, value, rule = number.start(), number.group().strip(), "last_number"
        clock = _last_of(_COLONS.finditer(tail))
        if clock is not None and clock.start() <= start < clock.end():
            start, value = clock.start(), clock.group()
        said = _formula_said(tail, number)
        if said is not None:
            return Extraction(said, "last_math")
        chunk = _CHUNK.match(tail, number.end())
        if chunk is not None and readable(value + chunk.group()):
            # 25π and 3√2 are no 25 and 3.
            value += chunk.group()
    end = spans[-1][1] if rule == "last_math" else start + len(value)
    if _modified(tail, start, end):
        return Extraction(None, rule, "the last value is denied, or one of several alternatives")
    return Extraction(value, rule)


def _formula_said(text: str, number: re.Match[str]) -> str | None:
    """The formula of "the line is y = 2x + 3.", whose last number is only a part of it."""
    begin = max(text.rfind("\n", 0, number.start()), number.start() - 200) + 1
    verb = _last_of(_COPULA.finditer(text, begin, number.start()))
    rest = text[verb.end() :].partition("\n")[0].strip().rstrip(".").strip() if verb else ""
    if (
        not _FORMULA.search(rest)
        or _HEDGE.search(rest)
        or "$" in rest
        or len(rest) > 100
        or not readable(rest)
    ):
        return None
    return rest


def _whole(text: str) -> Extraction | None:
    return Extraction(text.strip(), "whole")


def _bare(text: str) -> Extraction | None:
    """A response that is nothing but its answer."""
    text = _SPECIAL.sub("", text).strip()
    if len(text) > 4 and text.startswith("**") and text.endswith("**"):
        text = text[2:-2].strip()
    if not text or len(text) > 400 or "\n\n" in text or "\\boxed" in text:
        return None
    sentence = text.endswith(".") and len(text.split()) > 2
    if not sentence and not _SAID.search(text) and readable(text):
        return Extraction(text, "whole")
    if (clause := _EXPLAINED.search(text)) and clause.start() < 40:
        before = text[: clause.start()].strip(" ,;")
        if _HAS_VALUE.search(before) and readable(before):
            return Extraction(before, "whole")
    if len(text) <= 200 and not _RAW_WORD.search(_COMMAND.sub(" ", text)):
        # A formula that can't be read is no prose to search for a number.
        return Extraction(text, "whole")
    return None


_COMMAND = re.compile(r"\\(?:text|mathrm|mbox|textbf)\s*\{[^{}]*\}|\\[A-Za-z]+")
_RAW_WORD = re.compile(r"[^\W\d_]{2,}")
_HAS_VALUE = re.compile(r"\d|\\|^[A-J]$")
_EXPLAINED = re.compile(r",?\s+(?:because|since)\s|\s*不是|。")
_SAID = re.compile(r"[^\W\d_]{4,}\s*:|不是")
_FEW_WORDS = re.compile(r"[^\W\d_]+(?:[ -][^\W\d_]+){0,2}\.?")


def readable(text: str) -> bool:
    """Whether the text as a whole is an answer: a formula, an option, a fixed phrase, at most three words."""
    if parse_rational(text.strip()) is not None:
        return True
    canonical = canonical_latex(text)
    if not canonical or len(canonical) > LONGEST:
        return False
    if (
        choice(canonical)
        or choices(canonical)
        or synonym(canonical)
        or _FEW_WORDS.fullmatch(plain(canonical))
    ):
        return True
    for text in dict.fromkeys((canonical, without_qualifier(canonical))):
        try:
            parse(text)
        except (UnparsedError, RecursionError):
            continue
        return True
    return False


def _last_line(text: str) -> Extraction | None:
    """Of `#### 5` and "the answer is 5" the later one."""
    found = [f for f in (_hash_line(text), _answer_line(text)) if f is not None]
    return max(found, key=lambda f: f.position) if found else None


_RULES: dict[str, Callable[[str], Extraction | None]] = {
    "boxed": _last_boxes,
    "answer_tag": _answer_tag,
    "answer_line": _answer_line,
    "answer_colon": _answer_colon,
    "hash": _hash_line,
    "bold": _bold,
    "last_value": _last_value,
    "whole": _whole,
}
_LENIENT: tuple[Callable[[str], Extraction | None], ...] = (
    _answer_tag, _last_boxes, _last_line, _bare, _bold, _last_value,
)  # fmt: skip


def parse_rules(extraction: str) -> tuple[str, ...]:
    """The rules that an option such as "lenient", "boxed" or "boxed,answer_line" names, in order.

    Raises:
        InputError: an unknown rule.
    """
    rules = tuple(part.strip() for part in extraction.split(","))
    unknown = [rule for rule in rules if rule not in _RULES and rule != "lenient"]
    if unknown or ("lenient" in rules and len(rules) > 1):
        wrong = unknown[0] if unknown else extraction
        raise InputError(f"unknown extraction {wrong!r}; give lenient, or some of {', '.join(_RULES)}")
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
    finders = _LENIENT if rules == ("lenient",) else tuple(_RULES[rule] for rule in rules)
    for find in finders:
        found = find(text)
        if found is not None:
            if found.answer is not None and not found.answer.strip():
                return Extraction(None, found.rule, "the final answer is empty")
            return found
    return Extraction(None, "none", "the response states no final answer")


def gold_text(gold: str) -> str:
    """The answer in a gold that may be a whole solution: its boxes, what follows ####, a JSON list."""
    if gold.startswith('["') and gold.endswith('"]'):
        try:
            answers = json.loads(gold)
        except ValueError:
            return gold
        return ", ".join(answers) if all(isinstance(answer, str) for answer in answers) else gold
    if "\\boxed" in gold:
        found = _last_boxes(gold)
        if found is not None and found.answer:
            return found.answer
    if "####" in gold:
        found = _hash_line(gold)
        if found is not None and found.answer:
            return found.answer
    return gold
