"""Inside Ray actors verdicts are those of the calling process, and a hang costs only its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.verifiers.math_pairs import DIFFERENT, EQUAL
from verifiers import MathVerifier

pytestmark = pytest.mark.ray
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def ray() -> Iterator[Any]:
    module = pytest.importorskip("ray")
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    module.init(num_cpus=2, include_dashboard=False, runtime_env={"env_vars": {"PYTHONPATH": path}})
    yield module
    module.shutdown()


def test_verdicts_under_ray_are_the_same(ray: Any) -> None:
    @ray.remote
    class Judge:
        def direct(self, answer: str, gold: str) -> str:
            return MathVerifier("whole").verify(answer, gold).status

        def pooled(self, pairs: list[tuple[str, str]]) -> list[str]:
            from verifiers import score

            answers, golds = zip(*pairs, strict=True)
            verdicts = score(list(answers), list(golds), MathVerifier("whole"), workers=1)
            return [verdict.status for verdict in verdicts]

        def hang(self) -> list[str]:
            from tests.verifiers.sample_verifiers import Misbehaving
            from verifiers import VerifierPool

            with VerifierPool(Misbehaving(), workers=1) as pool:
                return [pool.submit(text, "").result(timeout=60).status for text in ("spin", "fine")]

    judge = Judge.remote()
    pairs = [*EQUAL[:40], *DIFFERENT[:40]]
    expected = [MathVerifier("whole").verify(*pair).status for pair in pairs]
    assert ray.get([judge.direct.remote(*pair) for pair in pairs]) == expected
    assert ray.get(judge.pooled.remote(pairs)) == expected
    assert ray.get(judge.hang.remote()) == ["timeout", "correct"]
