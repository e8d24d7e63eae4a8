"""The language of a problem text, by script and, for Latin script, by function words."""

from __future__ import annotations

import re

_LETTER = re.compile(r"[^\W\d_]")
_WORD = re.compile(r"[^\W\d_]+")
_NOTATION = re.compile(r"\\[A-Za-z]+|\$[^$]*\$|\\\(.*?\\\)|\\\[.*?\\\]", re.DOTALL)
_FUNCTION_WORDS = {
    name: frozenset(words.split())
    for name, words in {
        "en": "the of and is a to in that for find what are with how",
        "fr": "le la les des un une est et que du dans pour soit sur",
        "de": "der die das und ist ein eine den von mit sei für wie",
        "es": "el los las es una que del con para por se un en sea",
        "it": "il lo gli di che per con sia della una è sono del un",
        "pt": "um uma que da em para com seja é dos são você não",
    }.items()
}
_SCRIPTS = [
    (0x0400, 0x052F, "ru"),
    (0x0590, 0x05FF, "he"),
    (0x0600, 0x06FF, "ar"),
    (0x0900, 0x097F, "hi"),
    (0x0E00, 0x0E7F, "th"),
    (0x3040, 0x30FF, "ja"),
    (0x3400, 0x9FFF, "zh"),
    (0xAC00, 0xD7AF, "ko"),
]


def _script(char: str) -> str:
    code = ord(char)
    return next((name for low, high, name in _SCRIPTS if low <= code <= high), "")


def language(text: str) -> str:
    """ISO 639-1 code of a text's language; "en" where nothing speaks for another one."""
    if not text.isascii():
        letters = _LETTER.findall(_NOTATION.sub(" ", text))
        # Greek letters are notation; scripts begin behind them.
        scripts = [name for char in letters if char >= "\u0400" and (name := _script(char))]
        # One ideograph says about as much as three Latin letters.
        if scripts and 3 * len(scripts) >= 0.2 * len(letters):
            if scripts.count("ja") >= 0.1 * len(scripts):
                return "ja"
            return max(sorted(set(scripts)), key=scripts.count)
    elif " the " in text or " of " in text:
        return "en"
    words = [word.lower() for word in _WORD.findall(_NOTATION.sub(" ", text))]
    scores = {name: sum(word in common for word in words) for name, common in _FUNCTION_WORDS.items()}
    best = max(scores, key=lambda name: scores[name])
    return best if scores[best] >= 3 and scores[best] > 2 * scores["en"] else "en"
