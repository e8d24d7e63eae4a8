"""Verifiers: turn a model's response into a reward, with the reason.

    from verifiers import MathVerifier
    MathVerifier().verify(r"so the answer is \\boxed{\\frac12}", "0.5").reward   # 1.0

Importing this package loads neither sympy nor math-verify: each verifier's module comes in when its name
is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from verifiers.registry import available_verifiers, get_verifier, register
from verifiers.types import InputError, Message, Problem, Status, Verdict, Verifier

if TYPE_CHECKING:
    from verifiers.code import CodeVerifier
    from verifiers.compose import AllOf, Gate, WeightedSum
    from verifiers.format import FormatVerifier
    from verifiers.judge import JudgeVerifier
    from verifiers.math import MathVerifier
    from verifiers.pool import VerifierPool
    from verifiers.scoring import score, score_stream
    from verifiers.simple import (
        ExactMatchVerifier,
        MathVerifyVerifier,
        MultipleChoiceVerifier,
        NumericVerifier,
        RegexVerifier,
    )

_LAZY = {
    "AllOf": "verifiers.compose",
    "CodeVerifier": "verifiers.code",
    "ExactMatchVerifier": "verifiers.simple",
    "FormatVerifier": "verifiers.format",
    "Gate": "verifiers.compose",
    "JudgeVerifier": "verifiers.judge",
    "MathVerifier": "verifiers.math",
    "MathVerifyVerifier": "verifiers.simple",
    "MultipleChoiceVerifier": "verifiers.simple",
    "NumericVerifier": "verifiers.simple",
    "RegexVerifier": "verifiers.simple",
    "VerifierPool": "verifiers.pool",
    "WeightedSum": "verifiers.compose",
    "score": "verifiers.scoring",
    "score_stream": "verifiers.scoring",
}

__all__ = [
    "AllOf",
    "CodeVerifier",
    "ExactMatchVerifier",
    "FormatVerifier",
    "Gate",
    "InputError",
    "JudgeVerifier",
    "MathVerifier",
    "MathVerifyVerifier",
    "Message",
    "MultipleChoiceVerifier",
    "NumericVerifier",
    "Problem",
    "RegexVerifier",
    "Status",
    "Verdict",
    "Verifier",
    "VerifierPool",
    "WeightedSum",
    "available_verifiers",
    "get_verifier",
    "register",
    "score",
    "score_stream",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_LAZY[name]), name)
    globals()[name] = value
    return value
