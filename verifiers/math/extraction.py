"""Finds the one final answer of a response.

A response says its answer in one of a few ways: a box, an `<answer>` tag, a line "Answer: ...", `#### ...`,
bold type, or, where nothing else is there, its last formula or number. What counts is selectable, because a
training run with a protocol must reward the protocol. All patterns are linear in the length of the text.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable
from functools import cache

from verifiers.math.bare import bare, phrase_said
from verifiers.math.boxes import Extraction, find_boxes, last_boxes
from verifiers.math.clauses import affirms, doubted, retracted
from verifiers.math.last_values import last_value
from verifiers.math.numbers import parse_rational
from verifiers.math.prose import answer_of_sentence, last_of, readable
from verifiers.math.surroundings import DENIED_AFTER, objection, only_shown
from verifiers.types import InputError

__all__ = ["Extraction", "extract", "find_boxes", "gold_text", "parse_rules"]

LONGEST_RESPONSE = 4_000_000
"""Characters; of a longer response only the end is read."""


def _answer_tag(text: str) -> Extraction | None:
    if "final_answer>" in text:
        text = text.replace("final_answer>", "answer>")
    lowered = text if text.isascii() and "<ANSWER>" not in text else text.replace("ANSWER>", "answer>")
    end = lowered.rfind("</answer>")
    start = lowered.rfind("<answer>", 0, max(end, 0))
    if end < 0 or start < 0:
        return None
    behind = end + len("</answer>")
    if only_shown(text, start) or DENIED_AFTER.match(text, behind) or retracted(text, behind):
        return Extraction(None, "answer_tag", "the answer is denied", end)
    content = text[start + len("<answer>") : end].strip()
    inner = last_boxes(content)
    if inner is not None:
        return Extraction(inner.answer, "answer_tag", inner.reason, end)
    return answer_of_sentence(content, "answer_tag", end)


_PHRASE = re.compile(
    r"\b(?:answers?|results?|solutions?|roots|zeros)(?:\s+(?:to|of|for)\s+[^.\n:]{0,80})?"
    r"(?:\s*(?:,\s*(?:in|to|as|rounded|expressed|written|simplified|with|then|thus|therefore|of course)"
    r"\b[^,.\n]{0,40},|\(\s*(?:in|to|as|rounded|expressed|written|simplified|with)\b[^()\n]{0,40}\)))?"
    r"\s+(?:is|are|must be|should be|will be|has to be|equals|comes out to(?: be)?|turns out to be)\s*:?"
    r"|(?:\b|(?<=_))answers?(?:\s+to\s+[^.\n:]{0,80})?\s*[\"']?(?:\*\*|__)?\s*(?:[:=：→⇒]|[-–—]\s)|\bans\s*[:.](?=\s)"
    r"|\b(?:correct|right)\s+(?:option|choice)\s*(?:is\b\s*:?|:)|^[ \t]*A:"
    r"|^\W*(?:final )?answer[ \t]+(?=[\d$\\(]|-\d)|^[ \t>*_#-]*(?:final )?result[ \t*_]*:"
    r"|^[ \t*_#]*(?:final )?answer[ \t*_]*$"
    r"|\br[ée]ponse\s*(?:(?:correcte |finale |exacte )?est\b)?\s*:?"
    r"|\brespuesta\s*(?:(?:correcta |final )?es\b)?\s*:?"
    r"|\bantwort\s*(?:(?:ist|lautet)\b)?\s*:?"
    r"|\brisposta\s*(?:(?:corretta |finale |esatta )?è\b)?\s*:?"
    r"|\bresposta\s*(?:(?:correta |certa |final )?é\b)?\s*:?|\bответ\s*[:—–-]"
    r"|答案(?:是|为|為)?\s*[:：]?(?:选项?\s*(?=[A-J]))?|故?选\s*[:：]?\s*(?=[A-J])|答え\s*(?:は|[:：])|정답\s*(?:은|[:：])"
    r"|\bsvaret\s+(?:är|er)\b|\bantwoord\s*(?:is\b|:)|\bodpowied[źz]\s*(?:to\b|:)|\bcevap\s*:"
    r"|đáp án\s*(?:là|:)|คำตอบ\s*(?:คือ|:)|\bjawaban(?:nya)?\s*(?:adalah\b|:)"
    r"|답\s*(?:은|[:：])|उत्तर\s*(?:है|[:：]|(?=\S+\s+है))|(?:الجواب|الإجابة)(?:\s+الصحيحة?)?\s*(?:هو|هي|[:：])?",
    re.IGNORECASE | re.MULTILINE,
)
_OPTION = re.compile(
    r"(?<!not )\b(?:(?:[Oo]ption|[Cc]hoice)\s+\(?(?P<letter>[A-J])\)?\s+is\s+(?:the\s+)?(?:correct|right|answer)\b"
    r"|(?:^|(?:[Ss]o|[Tt]hus|[Hh]ence|[Tt]herefore),?\s+)\(?(?P<so>[A-J])\)?\s+is\s+(?:the\s+)?(?:correct|right|answer)\b"
    r"|[Cc]hoose\s+(?:option\s+)?\(?(?P<chosen>[A-J])\)?(?=\s*(?:[.,]|$)))",
    re.MULTILINE,
)
_PHRASE_WORDS = (
    "answer", "result", "solution", "root", "zero", "option", "choice", "ans:", "ans.", "ans ", "ponse",
    "respuesta", "antwort", "risposta", "resposta", "ответ", "答", "选", "답", "उत्तर", "الجواب", "الإجابة",
    "svaret", "antwoord", "odpowied", "cevap", "đáp án", "คำตอบ", "jawaban",
)  # fmt: skip
_LINE = re.compile(r"^[ \t]*A:", re.IGNORECASE | re.MULTILINE)
_COLON = re.compile(r"\banswer\s*:", re.IGNORECASE)


_LABEL_IN_TEXT = re.compile(
    r"(?i)\\(?:text|textbf|mathrm)\s*\{\s*((?:the\s+)?(?:final\s+)?answer(?:\s+is)?\s*[:=]?)\s*\}"
)


def _answer_line(text: str) -> Extraction | None:
    """What follows the last "Answer:" or "the answer is" that gives something."""
    if "\\text" in text:
        text = _LABEL_IN_TEXT.sub(r"\1 ", text)
    lowered = text.lower()
    spoken = any(word in lowered for word in _PHRASE_WORDS)
    found = _last_phrase(_PHRASE if spoken else _LINE, text, "answer_line")
    if found is None and (option := last_of(_OPTION.finditer(text))) is not None:
        return Extraction(
            option["letter"] or option["chosen"] or option["so"], "answer_line", position=option.start()
        )
    return found


def _answer_colon(text: str) -> Extraction | None:
    """What follows the last "Answer:" on its line, and nothing else: the protocol of the DAPO prompt."""
    return _last_phrase(_COLON, text, "answer_colon")


_JUDGING = re.compile(r"(?i)\W*(?:not\s+)?(?:correct|wrong|right|incorrect)\b(?!\s*(?:option|choice|answer))")
_PHRASES_TRIED = 50


def _last_phrase(pattern: re.Pattern[str], text: str, rule: str) -> Extraction | None:
    """The last phrase that gives an answer; "this answer is wrong" and a phrase cut off at the end give none."""
    empty: Extraction | None = None
    said = (found for found in pattern.finditer(text) if not _JUDGING.match(text, found.end()))
    for phrase in reversed(deque(said, maxlen=_PHRASES_TRIED)):
        if not affirms(text, phrase.start()):
            empty = empty or Extraction(
                None, rule, "the answer is supposed, reported or called wrong", phrase.start()
            )
            continue
        found = _after(phrase, text, rule)
        if found.answer is not None and retracted(text, _line_end(text, phrase.end())):
            return Extraction(None, rule, "the answer is taken back", phrase.start())
        if found.answer is not None or found.reason != _NOTHING:
            return found
        empty = empty or found
    return empty


def _line_end(text: str, start: int) -> int:
    """Where the line ends on which something is said behind `start`."""
    said = len(text) - len(text[start:].lstrip()) if text[start : start + 1].isspace() else start
    end = text.find("\n", said)
    return len(text) if end < 0 else end


_PREDICATE = re.compile(r"(?i)\b(?:is|are|be|equals|es|ist|è|é|est)\s*$")
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
    boxed = last_boxes(line)
    if boxed is not None:
        return Extraction(boxed.answer, rule, boxed.reason, phrase.end())
    return answer_of_sentence(line, rule, phrase.end(), predicate=_PREDICATE.search(phrase[0]) is not None)


_HASH = re.compile(r"####[ \t]*([^\n]*)")


def _hash_line(text: str) -> Extraction | None:
    found = last_of(_HASH.finditer(text))
    if found is None or not found.group(1).strip():
        return None
    line = found.group(1)[:3000]
    boxed = last_boxes(line)
    if boxed is not None:
        return Extraction(boxed.answer, "hash", boxed.reason, found.start())
    return answer_of_sentence(line, "hash", found.start())


_BOLD = re.compile(r"\*\*([^*\n]{1,200})\*\*")


def _bold(text: str) -> Extraction | None:
    """The last bold text near the end that can be read as an answer."""
    found = last_of(_BOLD.finditer(text[-2000:]))
    if found is None:
        return None
    content = found.group(1).strip().rstrip(".")
    behind = text[-2000:][found.end() :].partition("\n")[0]
    if content.endswith(":") or (
        content.isdigit() and found.group(1).rstrip().endswith(".") and behind.strip()
    ):
        # A label, or the number of a paragraph, with what it labels behind it.
        return None
    if not readable(content):
        return None
    start, end = max(0, len(text) - 2000) + found.start(), max(0, len(text) - 2000) + found.end()
    if objection(text, start, end) or doubted(text, start, end):
        return Extraction(None, "bold", "the bold value is denied or changed", start)
    return Extraction(content, "bold", position=start)


def _whole(text: str) -> Extraction | None:
    return Extraction(text.strip(), "whole")


def _last_line(text: str) -> Extraction | None:
    """Of `#### 5` and "the answer is 5" the later one."""
    found = [f for f in (_hash_line(text), _answer_line(text)) if f is not None]
    return max(found, key=lambda f: f.position) if found else None


_RULES: dict[str, Callable[[str], Extraction | None]] = {
    "boxed": last_boxes,
    "answer_tag": _answer_tag,
    "answer_line": _answer_line,
    "answer_colon": _answer_colon,
    "hash": _hash_line,
    "bold": _bold,
    "last_value": last_value,
    "whole": _whole,
}
_LENIENT: tuple[Callable[[str], Extraction | None], ...] = (
    _answer_tag, last_boxes, _last_line, bare, _bold, phrase_said, last_value,
)  # fmt: skip


@cache
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


_THOUGHT = re.compile(
    r"<(thinking|thought|thoughts|reasoning|scratchpad|reflection|analysis)>.*?(?:</\1>|\Z)", re.DOTALL
)


def after_thinking(text: str) -> str | None:
    """The text after the last `</think>`; None where thinking began and never ended."""
    if "<|message|>" in text:
        # What the last channel says.
        text = text.rpartition("<|message|>")[2]
    rest = text.rpartition("</think>")[2]
    if "<think>" in rest:
        return None
    return _THOUGHT.sub(" ", rest) if "<" in rest else rest


_NEXT_PROBLEM = re.compile(
    r"\bI hope it is correct\b\.?\s{0,9}(?:<\|[^|>]{1,40}\|>\s{0,9}){0,3}\n\s{0,9}(?:\*\*|#+ *)?"
    r"(?:Problem|Question|Q)\b.*"
    r"|<\|im_start\|>\s*user\b.*",
    re.DOTALL,
)
"""What a model without an end of turn goes on with: the next problem of its prompt."""
_HIDDEN = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)


def extract(response: str, rules: tuple[str, ...]) -> Extraction:
    """The final answer of `response` by the first of `rules` that finds something."""
    if rules == ("whole",):
        return Extraction(response.strip(), "whole")
    text = after_thinking(response[-LONGEST_RESPONSE:])
    if text is not None and "<!--" in text:
        text = _HIDDEN.sub(" ", text)
    if text is not None and ("I hope it is correct" in text or "<|im_start|>" in text):
        text = _NEXT_PROBLEM.sub("", text)
    if text is None:
        return Extraction(None, "thinking", "the response ends inside its thinking")
    finders = _LENIENT if rules == ("lenient",) else tuple(_RULES[rule] for rule in rules)
    for find in finders:
        found = find(text)
        if found is not None:
            if rules == ("lenient",) and found.rule == "boxed" and _contradicted(found, text):
                return Extraction(None, "boxed", "another answer is given behind the box")
            if found.answer is not None and not found.answer.strip():
                return Extraction(None, found.rule, "the final answer is empty")
            return found
    return Extraction(None, "none", "the response states no final answer")


def _contradicted(found: Extraction, text: str) -> bool:
    """Whether a number in a box is followed by "the answer is" with another number."""
    if not found.answer or "answer" not in text[found.position :].lower():
        return False
    boxed = parse_rational(found.answer.strip())
    if boxed is None:
        return False
    said = _last_phrase(_PHRASE, text[found.position :], "answer_line")
    number = parse_rational(said.answer.strip(" $.")) if said is not None and said.answer else None
    return number is not None and number != boxed


def gold_text(gold: str) -> str:
    """The answer in a gold that may be a whole solution: its boxes, what follows ####, a JSON list."""
    if gold.startswith('["') and gold.endswith('"]'):
        try:
            answers = json.loads(gold)
        except ValueError:
            return gold
        return ", ".join(answers) if all(isinstance(answer, str) for answer in answers) else gold
    if "\\boxed" in gold:
        found = last_boxes(gold)
        if found is not None and found.answer:
            return found.answer
    if "####" in gold:
        found = _hash_line(gold)
        if found is not None and found.answer:
            return found.answer
    return gold
