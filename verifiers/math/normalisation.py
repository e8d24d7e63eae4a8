"""One spelling for what LaTeX and Unicode spell in many ways; meaning is never touched."""

from __future__ import annotations

import re

_WRAPPERS = (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]"))
_CHARACTERS = str.maketrans(
    {"−": "-", "–": "-", "—": "-", "＋": "+", "，": ",", "。": ".", "：": ":", "（": "(", "）": ")", "％": "%",
     "\u00a0": " ", "\u2009": " ", "\u202f": " ", "\u200b": None}
    | {chr(0xFF10 + digit): str(digit) for digit in range(10)}
)  # fmt: skip
_SPACING = re.compile(
    r"\\[,;:! ]|\\(?:quad|qquad|displaystyle|left|right|limits|big|Big|bigg|Bigg)(?![A-Za-z])|~|\s+"
)
_DFRAC = re.compile(r"\\[dtc]frac(?![A-Za-z])")


def strip_wrapping(text: str) -> str:
    """Without math delimiters around the whole, a box around the whole, and a final full stop."""
    text = text.strip()
    changed = True
    while changed:
        changed = False
        if text.endswith(".") and not text.endswith("..."):
            text, changed = text[:-1].rstrip(), True
        for opening, closing in _WRAPPERS:
            inside = text[len(opening) : -len(closing)]
            if (
                len(text) >= len(opening) + len(closing)
                and text.startswith(opening)
                and text.endswith(closing)
                and opening not in inside
                and closing not in inside
            ):
                text, changed = inside.strip(), True
                break
    return text


def canonical_text(text: str) -> str:
    """A form in which two spellings of the same formula are the same string."""
    text = strip_wrapping(text.translate(_CHARACTERS))
    text = _DFRAC.sub(r"\\frac", text)
    return _SPACING.sub("", text)
