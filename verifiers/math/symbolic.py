"""math-verify as a judge of two answers; imported in worker processes only, where nothing can hang the host."""

from __future__ import annotations

import logging

from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

logging.getLogger("math_verify").setLevel(logging.CRITICAL)
_LONGEST = 10_000


def equivalent(answer: str, gold: str) -> bool | None:
    """Whether math-verify finds the two equal; None where it can't read the answer or the gold.

    Its own time limit is SIGALRM, which does not work outside the main thread: it is off here, and the worker
    process has limits of its own.
    """
    if len(answer) > _LONGEST or len(gold) > _LONGEST:
        return None
    read = [_parse(answer), _parse(gold)]
    if not read[0] or not read[1]:
        return None
    return bool(verify(read[1], read[0], timeout_seconds=None, raise_on_error=True))


def _parse(text: str) -> list[object]:
    boxed = f"\\boxed{{{text}}}" if "\\boxed" not in text and "$" not in text else text
    config = [LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig()]
    found: list[object] = parse(boxed, config, parsing_timeout=None, raise_on_error=True)
    return found
