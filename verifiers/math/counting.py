"""Numbers in English words: "twenty-five", "one million", "two thirds", "three and a half"."""

from __future__ import annotations

import re

from verifiers.math.text import plain

_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
    " seventeen eighteen nineteen"
)
_ROUND = "twenty thirty forty fifty sixty seventy eighty ninety"
_ONES = {word: value for value, word in enumerate(_UNITS.split())}
_TENS = {word: 10 * value for value, word in enumerate(_ROUND.split(), start=2)}
_SCALES = (("trillion", 10**12), ("billion", 10**9), ("million", 10**6), ("thousand", 10**3))
_PARTS = {
    "half": 2, "halves": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7,
    "eighth": 8, "ninth": 9, "tenth": 10, "twelfth": 12, "hundredth": 100, "thousandth": 1000,
}  # fmt: skip
_MOST_WORDS = 20
_LETTERS = re.compile(r"[A-Za-z -]{3,160}\.?")


def number_word(canonical: str) -> str | None:
    """ "6" for "six", "\\frac{2}{3}" for "two thirds"; None for anything but a number in words."""
    if not _LETTERS.fullmatch(text := plain(canonical)):
        return None
    words = re.split(r"[ -]+", text.lower().rstrip("."))
    if len(words) > _MOST_WORDS:
        return None
    sign = "-" if words[0] in ("minus", "negative") else ""
    words = words[1:] if sign else words
    if (whole := _whole(words)) is not None:
        return f"{sign}{whole}"
    if (part := _part(words)) is not None:
        return f"{sign}\\frac{{{part[0]}}}{{{part[1]}}}"
    if "and" in words:
        cut = len(words) - 1 - words[::-1].index("and")
        whole, part = _whole(words[:cut]), _part(words[cut + 1 :])
        if whole is not None and part is not None:
            return f"{sign}\\frac{{{whole * part[1] + part[0]}}}{{{part[1]}}}"
    return None


_PLACES = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"
_ORDINALS = {word: number for number, word in enumerate(_PLACES.split(), start=1)}
_ORDINAL = re.compile(r"(\d{1,9})\s*(?:\^\s*\{?\s*)?(st|nd|rd|th)\s*\}?")
_ENDINGS = {1: "st", 2: "nd", 3: "rd"}


def ordinal(canonical: str) -> int | None:
    """3 for "3rd", "3^{rd}" and "third"; None for anything else."""
    text = plain(canonical).lower().rstrip(".").removeprefix("the ").strip()
    if text in _ORDINALS:
        return _ORDINALS[text]
    found = _ORDINAL.fullmatch(text.replace("{ ", "{").replace(" }", "}"))
    if found is None:
        return None
    number = int(found[1])
    ending = "th" if number % 100 in (11, 12, 13) else _ENDINGS.get(number % 10, "th")
    return number if found[2] == ending else None


def _part(words: list[str]) -> tuple[int, int] | None:
    """Two thirds, a half, half: numerator and denominator; "twenty fifth" is no fraction, it counts."""
    if not words:
        return None
    last = words[-1]
    below = _PARTS.get(last) or _PARTS.get(last.removesuffix("s"))
    above = 1 if words in (["half"], ["a", "half"]) or words[:-1] in (["a"], ["an"]) else _whole(words[:-1])
    if below is None or above is None:
        return None
    plural = last.endswith("s")
    return (above, below) if plural == (above != 1) else None


def _whole(words: list[str]) -> int | None:
    for scale, factor in _SCALES:
        if scale in words:
            cut = words.index(scale)
            above = 1 if words[:cut] == ["a"] else _below_thousand(words[:cut])
            rest = words[cut + 1 :]
            below = _whole(rest[1:] if rest[:1] == ["and"] else rest) if rest else 0
            if above is None or below is None or below >= factor:
                return None
            return above * factor + below
    return _below_thousand(words)


def _below_thousand(words: list[str]) -> int | None:
    if "hundred" not in words:
        return _below_hundred(words)
    cut = words.index("hundred")
    above = 1 if words[:cut] == ["a"] else _below_hundred(words[:cut])
    rest = words[cut + 1 :]
    below = _below_hundred(rest[1:] if rest[:1] == ["and"] else rest) if rest else 0
    return None if above is None or below is None or not 0 < above < 20 else 100 * above + below


def _below_hundred(words: list[str]) -> int | None:
    if len(words) == 1:
        return _ONES.get(words[0], _TENS.get(words[0]))
    if len(words) == 2 and words[0] in _TENS and 0 < _ONES.get(words[1], 0) < 10:
        return _TENS[words[0]] + _ONES[words[1]]
    return None
