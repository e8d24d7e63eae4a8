"""A verifier that a model without any knowledge satisfies now and then; light, for worker processes load it."""

from __future__ import annotations

from dataclasses import dataclass, field

from verifiers import Problem, Verdict, register


@register("toy_parity")
@dataclass(frozen=True)
class ParityVerifier:
    """The response's last digit is even for gold 0 and odd for gold 1; "##" makes the verifier itself fail."""

    name: str = field(default="toy_parity", init=False)

    def verify(self, response: str, problem: Problem | str) -> Verdict:
        """Judge."""
        gold = problem if isinstance(problem, str) else problem.answer
        if "##" in response:
            return Verdict(reward=-1.0, status="error", detail="the response has ##")
        digits = [character for character in response if character.isdigit()]
        if not digits:
            return Verdict(reward=-1.0, status="no_answer", method="parity")
        right = str(int(digits[-1]) % 2) == gold
        return Verdict(
            reward=1.0 if right else -1.0,
            status="correct" if right else "incorrect",
            extracted=digits[-1],
            method="parity",
        )
