"""How the type rules look for words: cue words first, patterns only where a cue stands; most texts have none."""

from __future__ import annotations

import re
from collections.abc import Sequence


def any_of(*phrases: str) -> re.Pattern[str]:
    """One pattern of alternatives, for lower-case text."""
    return re.compile("|".join(phrases), re.DOTALL)


def holds(text: str, cues: Sequence[str]) -> bool:
    """Whether one of the cue words is in the text."""
    return any(cue in text for cue in cues)
