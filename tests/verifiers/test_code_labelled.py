"""Programs that models wrote get the verdict that their label says."""

from __future__ import annotations

import pytest

from benchmarks.sandbox.labelled import FILE, judge, read_samples
from tests.shared_data import shared_path
from verifiers.code import CodeVerifier

# It ends the interpreter with exit code 0 before its tests begin, which a plain run takes for passing.
MISLABELLED = {"claire/before/samples4.jsonl_results.jsonl#132"}


@pytest.mark.slow
def test_labelled_samples_agree() -> None:
    """Every fifth sample, and those that end the interpreter."""
    samples = read_samples(shared_path(f"code/{FILE}").parent)
    chosen = [s for at, s in enumerate(samples) if at % 5 == 0 or s.name in MISLABELLED]
    verifier = CodeVerifier(workers=2)
    verdicts = judge(verifier, chosen, 2)
    verifier.close()
    differing = {s.name for s, v in zip(chosen, verdicts, strict=True) if v.correct != s.measured}
    assert differing == MISLABELLED
