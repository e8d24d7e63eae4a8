"""Repair of problem texts: Unicode, control characters, broken escapes, glued-on instructions.

Every repair has a name, which goes into the row's record; the text as it was found is kept beside it.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple


class Repaired(NamedTuple):
    """A repaired text and the names of the repairs that changed it."""

    text: str
    repairs: tuple[str, ...]


# JSON turns "\f" of an unescaped "\frac" into a form feed; a later cleaning step may then drop the control
# character and leave "rac{m}{n}". Both are undone, by the LaTeX commands that begin with that letter.
_EATEN = {
    "\x0c": ("f", r"rac|orall|lat"),
    "\x08": ("b", r"oxed|egin|inom|eta|ar\b|ar\{|igl|igr|igg|mod|ullet|ot\b|ecause|ig\b|ig[(|)\[\]]"),
    "\t": ("t", r"ext|imes|heta|riangle|an\b|an\s*[({\\^\d]|au\b|herefore|o\b|frac|ilde|op\b"),
    "\x0b": ("v", r"ec|arphi|arepsilon|dots|ert|ee\b"),
    "\r": ("r", r"ight|angle|ho\b|floor|ceil|m\{"),
    "\x07": ("a", r"ngle|lpha|pprox|rctan|rcsin|st\b"),
}
_EATEN_CONTROL = [
    (re.compile(f"{re.escape(char)}(?={rest})"), "\\\\" + letter) for char, (letter, rest) in _EATEN.items()
]
_LOST = re.compile(
    r"(?<![A-Za-z\\])(?:(?P<f>rac(?=\{|\d))|(?P<b>oxed(?=\{)|egin(?=\{)|inom(?=\{))"
    r"|(?P<t>ext(?=\{)|imes(?=[\s\\\d]|$)|heta(?=[\s\\$)=,])|riangle(?=[\s\\$A-Z]))|(?P<r>ight(?=[)\]}|.])))"
)
_LOST_HINT = ("rac", "oxed", "egin", "inom", "ext", "imes", "heta", "riangle", "ight")

_MOJIBAKE = re.compile("[Ââ][\x80-\xbf€™œžŸ¢£¤¥¦§¨©ª«¬®¯°±²³´µ¶·¸¹º»¼½¾¿\u2018-\u2022–—‚„…ˆ‰Š‹Œ]{1,2}")
_SPACES = dict.fromkeys((160, 8194, 8195, 8201, 8239, 8287, 12288), " ")
_INVISIBLE = dict.fromkeys((0xAD, 0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF))
_CONTROL = {code: None for code in range(32) if code not in (9, 10)} | {0x7F: None}
_TO_SPACE = {9: " ", 0x2028: "\n", 0x2029: "\n", 0x0B: " ", 0x0C: " "}
_CLEAN = {**_CONTROL, **_SPACES, **_INVISIBLE, **_TO_SPACE}
_NEEDS_CLEAN = re.compile("[" + "".join(re.escape(chr(code)) for code in _CLEAN) + "]")
_LIGATURES = dict(zip(range(0xFB00, 0xFB05), ("ff", "fi", "fl", "ffi", "ffl"), strict=True))
# A page of print that broke a word, or a ligature that was one byte.
_INSIDE_WORD = re.compile(r"(?<=[a-z])[\x0b\x0c](?=[a-z])")
_RUN_OF_SPACES = re.compile(r" {2,}| +(?=\n)")
_RUN_OF_LINES = re.compile(r"\n{3,}")

_BOX = r"\\?boxed\s*(?:\{\s*\}|\{\{\s*\}\}|\{answer\}|\{\})?"
_SUFFIXES = [
    r"let'?s think step by step(?: and (?:output|put|give)[^.\n]*?(?:" + _BOX + r")?)?\.?",
    r"please (?:reason|think|solve)[^.\n]{0,40}step by step[^.\n]*?(?:,? and put[^.\n]*?" + _BOX + r")?\.?",
    r"(?:please )?(?:put|output|present|enclose|give|write|place)(?: your)? (?:the )?(?:final )?answer"
    r" (?:within|in|inside|using) \$?" + _BOX + r"\$?\.?",
    r"remember to (?:put|box) your (?:final )?answer[^\n]*",
    r"(?:make sure|be sure) to (?:put|box) your (?:final )?answer[^\n]*",
    r"the last line of your response should be[^\n]*",
    r"think step by step\.?",
]
_SUFFIX = re.compile(r"\s*(?:" + "|".join(_SUFFIXES) + r")\s*\Z", re.IGNORECASE)
_PREFIX = re.compile(
    r"\A\s*(?:solve the following (?:math )?problem step by step\.[^\n]*\n+"
    r"|(?:question|problem|q)\s*:\s+(?=\S)|\d{1,4}\s*\*\*\s+)",
    re.IGNORECASE,
)
_SUFFIX_HINT = re.compile(r"answer|step|boxed", re.IGNORECASE)


def _demojibake(match: re.Match[str]) -> str:
    found = match.group()
    try:
        return found.encode("cp1252").decode("utf-8")
    except UnicodeError:
        pass
    try:
        # cp1252 leaves five bytes undefined; readers pass them through as C1 controls.
        return b"".join(
            bytes([ord(char)]) if ord(char) < 256 else char.encode("cp1252") for char in found
        ).decode("utf-8")
    except UnicodeError:
        return found


def _restore(match: re.Match[str]) -> str:
    return f"\\{match.lastgroup}{match.group()}"


def repair(text: str) -> Repaired:
    """Undo what scraping and bad escaping did to a text, without touching what it says.

    NFC and not NFKC: compatibility forms carry meaning here (x² is not x2).
    """
    repairs: list[str] = []

    def note(name: str, new: str) -> None:
        nonlocal text
        if new != text:
            repairs.append(name)
            text = new

    if not text.isascii():
        if "â" in text or "Â" in text:
            note("mojibake", _MOJIBAKE.sub(_demojibake, text))
        note("unicode", unicodedata.normalize("NFC", text.translate(_LIGATURES)))
    if _NEEDS_CLEAN.search(text):
        restored = text
        for pattern, command in _EATEN_CONTROL:
            restored = pattern.sub(command, restored)
        note("broken_escape", restored)
        note("control_characters", _INSIDE_WORD.sub("", text))
        note("control_characters", text.replace("\r\n", "\n").replace("\r", "\n").translate(_CLEAN))
    if any(hint in text for hint in _LOST_HINT):
        note("broken_escape", _LOST.sub(_restore, text))
    note("spacing", _RUN_OF_LINES.sub("\n\n", _RUN_OF_SPACES.sub(_one_space, text)).strip())
    return Repaired(text, tuple(dict.fromkeys(repairs)))


def _one_space(match: re.Match[str]) -> str:
    following = match.string[match.end() : match.end() + 1]
    return "" if following == "\n" else " "


def strip_instructions(text: str) -> Repaired:
    """Take off what a set glued on for its own prompts ("Let's think step by step and ... \\boxed{}.")."""
    original = text
    text = _PREFIX.sub("", text, count=1)
    if _SUFFIX_HINT.search(text[-300:]):
        while (shorter := _SUFFIX.sub("", text)) != text and shorter:
            text = shorter
    text = text.strip()
    return Repaired(text, ("instructions",) if text != original.strip() else ())
