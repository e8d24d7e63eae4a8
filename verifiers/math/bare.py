"""Responses that are nothing but their answer, and those whose last sentence is a fixed phrase."""

from __future__ import annotations

import re

from verifiers.math.boxes import Extraction
from verifiers.math.prose import SPECIAL, readable
from verifiers.math.text import synonym, yes_or_no


def bare(text: str) -> Extraction | None:
    """A response that is nothing but its answer."""
    text = SPECIAL.sub("", text).strip().lstrip("#").strip()
    if text.startswith("> **"):
        text = text[2:]
    if len(text) > 4 and text.startswith("**") and text.endswith("**"):
        text = text[2:-2].strip()
    if len(text) > 2 and text[0] == text[-1] and text[0] in "\"'`*_" and text[0] not in text[1:-1]:
        text = text[1:-1].strip()
    if not text or len(text) > 400 or "\n\n" in text or "\\boxed" in text:
        return None
    lines = text.split("\n")
    if len(lines) > 1 and all(map(_NAMED_LINE.fullmatch, lines)):
        # Equations on lines of their own are one answer of several parts.
        return Extraction(", ".join(lines), "whole")
    sentence = text.endswith(".") and len(text.split()) > 2
    if not sentence and not _SAID.search(text) and readable(text):
        return Extraction(text, "whole")
    if (clause := _EXPLAINED.search(text)) and clause.start() < 40:
        before = text[: clause.start()].strip(" ,;")
        if _HAS_VALUE.search(before) and readable(before):
            return Extraction(before, "whole")
    said = _CONCLUDED.sub("", text)
    said = said[:1].upper() + said[1:]
    if (
        len(text) <= 200
        and _PLAIN_SENTENCE.fullmatch(said)
        and (yes_or_no(said) or _SAYS.search(said) or synonym(said))
    ):
        # "Yes, it is possible." and "So the function is odd."
        return Extraction(said, "whole")
    if len(text) <= 200 and not _RAW_WORD.search(_COMMAND.sub(" ", text)):
        # A formula that can't be read is no prose to search for a number.
        return Extraction(text, "whole")
    return None


_PLAIN_SENTENCE = re.compile(r"[A-Z][A-Za-z ,'-]*\.?")
_SAYS = re.compile(
    r"\b(?:is|are) (?:an? |the )?(?:[a-z-]+|[A-Z][a-z]+)\.?$|^[A-Z][a-z]+ (?:wins|won|will win)\.?$"
)
_CONCLUDED = re.compile(r"^(?:So|Thus|Hence|Therefore|Then|Consequently|Finally|In conclusion),?\s+")
_NAMED_LINE = re.compile(r"[ \t$]*[A-Za-z](?:_\{?\w\}?)?[ \t]*=[^=\n]+")
_LAST_SENTENCE = re.compile(r"(?:[.!?:]\s+|\n\s*)([^.!?:\n]{3,120})[.!]?\s*$")


def phrase_said(text: str) -> Extraction | None:
    """A fixed phrase that the last sentence says: "Therefore there is no solution." """
    found = _LAST_SENTENCE.search(text[-400:])
    said = _CONCLUDED.sub("", found[1].strip()) if found else ""
    return Extraction(said, "phrase") if said and synonym(said) and not yes_or_no(said) else None


_COMMAND = re.compile(r"\\(?:text|mathrm|mbox|textbf)\s*\{[^{}]*\}|\\[A-Za-z]+")
_RAW_WORD = re.compile(r"[^\W\d_]{2,}")
_HAS_VALUE = re.compile(r"\d|\\|^[A-J]$")
_EXPLAINED = re.compile(r",?\s+(?:because|since)\s|\s*不是(?=\s*[A-Z\d])|。")
_SAID = re.compile(r"[^\W\d_]{4,}\s*:|不是")
