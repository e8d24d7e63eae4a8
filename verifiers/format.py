"""The format verifier: thinking and answer tags in order, once each, nothing outside; one language."""

from __future__ import annotations

import re
import time
import unicodedata
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from verifiers.limits import WorkerLimits
from verifiers.types import InputError, Problem, Verdict

Style = Literal["r1", "qwen3", "think"]
_SCRIPTS = {
    "latin": ("LATIN",),
    "chinese": ("CJK",),
    "japanese": ("HIRAGANA", "KATAKANA", "CJK"),
    "korean": ("HANGUL",),
    "cyrillic": ("CYRILLIC",),
    "arabic": ("ARABIC",),
    "devanagari": ("DEVANAGARI",),
}


@dataclass(frozen=True)
class FormatVerifier:
    """Checks that a response keeps the format it was told to keep.

    Args:
        style: "r1" is `<think>…</think><answer>…</answer>` and nothing else but white space; "qwen3" is
            `<think>…</think>` followed by text that is not empty; "think" is the same where the template has
            already written `<think>`, so that the response may begin inside it.
        think_tag, answer_tag: the names of the tags.
        require_boxed: whether the answer part must hold a closed `\\boxed{…}` with something in it.
        allow_empty_thinking: whether there may be nothing between the thinking tags.
        language: script that at least `language_share` of the letters outside of formulas must belong to
            (latin, chinese, japanese, korean, cyrillic, arabic, devanagari); None does not look.
        language_share: the share, from 0 to 1.

    The gold answer plays no part; a response in the format has status `correct`.
    """

    style: Style = "r1"
    think_tag: str = "think"
    answer_tag: str = "answer"
    require_boxed: bool = False
    allow_empty_thinking: bool = True
    language: str | None = None
    language_share: float = 0.9
    name: str = field(default="format", init=False)
    worker_limits: ClassVar[WorkerLimits] = WorkerLimits(cpu_seconds=2.0, wall_seconds=60.0, memory_mb=512)

    def __post_init__(self) -> None:
        if self.style not in ("r1", "qwen3", "think"):
            raise InputError(f"style must be r1, qwen3 or think, got {self.style!r}")
        if self.language is not None and self.language not in _SCRIPTS:
            raise InputError(f"language must be one of {', '.join(_SCRIPTS)}, got {self.language!r}")
        if not 0 <= self.language_share <= 1:
            raise InputError(f"language_share must be from 0 to 1, got {self.language_share}")
        for tag in (self.think_tag, self.answer_tag):
            if not re.fullmatch(r"[A-Za-z][\w.-]*", tag):
                raise InputError(f"a tag is a name without brackets, got {tag!r}")

    def verify(self, response: str, problem: Problem | str) -> Verdict:
        """Judge the format of `response`."""
        started = time.perf_counter()
        answer, fault = self._parts(response)
        if fault is None:
            fault = self._language_fault(response)
        return Verdict(
            reward=1.0 if fault is None else -1.0,
            status="correct" if fault is None else "incorrect",
            extracted=answer,
            method="format" if fault is None else f"format:{fault.partition(':')[0]}",
            detail="the format is kept" if fault is None else fault,
            seconds=time.perf_counter() - started,
        )

    def _parts(self, response: str) -> tuple[str | None, str | None]:
        """The answer part, and what is wrong with the format (None: nothing)."""
        expected = [f"<{self.think_tag}>", f"</{self.think_tag}>"]
        if self.style == "r1":
            expected += [f"<{self.answer_tag}>", f"</{self.answer_tag}>"]
        text = response.strip()
        if self.style == "think" and not text.startswith(expected[0]):
            text = expected[0] + text
        position = 0
        spans: list[str] = []
        for tag in expected:
            count = text.count(tag)
            if count != 1:
                return None, f"tags: {tag} stands {count} times, not once"
            at = text.find(tag)
            if at < position:
                return None, f"order: {tag} stands before the tag that should precede it"
            spans.append(text[position:at])
            position = at + len(tag)
        rest = text[position:]
        if spans[0].strip():
            return None, f"outside: text before {expected[0]}"
        if not self.allow_empty_thinking and not spans[1].strip():
            return None, "empty: nothing between the thinking tags"
        if self.style == "r1":
            if spans[2].strip():
                return None, f"outside: text between {expected[1]} and {expected[2]}"
            if rest.strip():
                return None, f"outside: text after {expected[3]}"
            answer = spans[3].strip()
        else:
            answer = rest.strip()
        if not answer:
            return None, "empty: the answer is empty"
        if self.require_boxed:
            from verifiers.math.extraction import find_boxes

            if not any(box.content.strip() for box in find_boxes(answer)):
                return answer, "boxed: the answer holds no \\boxed{...}"
        return answer, None

    def _language_fault(self, response: str) -> str | None:
        if self.language is None:
            return None
        share, letters = script_share(response, self.language)
        if letters == 0 or share >= self.language_share:
            return None
        return f"language: {share:.0%} of the letters are {self.language}, {self.language_share:.0%} is asked"


_FORMULA = re.compile(r"\$\$[^$]*\$\$|\$[^$\n]*\$|\\\([^\n]*?\\\)|\\[A-Za-z]+|<[^>\n]{1,40}>|```[\s\S]*?```")


def script_share(text: str, script: str) -> tuple[float, int]:
    """Share of the letters outside of formulas, code and tags that belong to `script`, and their number."""
    names = _SCRIPTS[script]
    total = matching = 0
    for character in _FORMULA.sub(" ", text):
        if not character.isalpha():
            continue
        total += 1
        if character.isascii():
            matching += "LATIN" in names
        else:
            matching += unicodedata.name(character, "").startswith(names)
    return (matching / total if total else 1.0), total
