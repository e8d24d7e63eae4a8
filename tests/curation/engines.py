"""A sampler whose pass rates are known: the oracle against which measured pass rates are held."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path

from rollout import Completion, Prompt, Sampling


class KnownRateEngine:
    """Answers `a+b` rightly with the probability that `rate` gives; each sample depends on its number only.

    `log` receives a line per completion that was drawn, so that a test sees what was paid for.
    """

    def __init__(self, rate: Callable[[str], float], log: Path | None = None, seconds: float = 0.0) -> None:
        self.rate, self.log, self.seconds = rate, log, seconds

    def generate(
        self, prompts: Sequence[Prompt], n: int, sampling: Sampling, *, first_sample: int = 0
    ) -> Iterator[Completion]:
        for index, prompt in enumerate(prompts):
            text = prompt if isinstance(prompt, str) else str(prompt[-1]["content"])
            left, right = map(int, re.findall(r"(\d+)\+(\d+)", text)[0])
            for sample in range(first_sample, first_sample + n):
                if self.seconds:
                    time.sleep(self.seconds)
                drawn = blake2b(f"{sampling.seed}/{text}/{sample}".encode(), digest_size=8).digest()
                lucky = int.from_bytes(drawn, "big") / 2**64 < self.rate(text)
                answer = left + right if lucky else left + right + 1
                if self.log is not None:
                    with self.log.open("a") as lines:
                        lines.write(f"{text}\t{sample}\n")
                yield Completion(index, sample, (1,), (2, 3), (-0.1, -0.1), f"\\boxed{{{answer}}}", "stop")

    def load_weights(self, tensors: object, version: int) -> None:
        raise NotImplementedError("its answers come from no weights")

    def fingerprint(self) -> str:
        return "known rates"

    def close(self) -> None:
        pass


def hashed_rate(text: str) -> float:
    """A pass rate that belongs to the text: uniform over 0, 0.05, ... 1."""
    return int.from_bytes(blake2b(text.encode(), digest_size=2).digest(), "big") % 21 / 20
