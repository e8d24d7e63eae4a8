"""Results of finished runs, each kept as a small file, so that a benchmark may be stopped at any time."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.trainer.paired import Result
from curation.files import atomic_write


def kept_result(
    folder: Path, variant: int, seed: int, train: Callable[[Path], dict[str, Any]], *, kind: str
) -> Result:
    """The result of a variant with a seed: read where it is there, otherwise of `train`.

    `train` gets the run folder, in which a run that was stopped lies as it was; it goes when the result is kept.
    `kind` names the variants in file names.
    """
    output = folder / f"{kind}-{variant}-seed-{seed}"
    kept = output.with_suffix(".json")
    if kept.exists():
        found: Result = json.loads(kept.read_text())
        return found
    began = time.process_time()
    result = {**train(output), "cpu_seconds": time.process_time() - began}
    atomic_write(kept, json.dumps(result))
    shutil.rmtree(output)
    return result


def collect(folder: Path, variants: int, *, kind: str) -> dict[int, dict[int, Result]]:
    """The finished runs of the first `variants`: by variant, then by seed."""
    found: dict[int, dict[int, Result]] = {variant: {} for variant in range(variants)}
    for variant in found:
        for path in sorted(folder.glob(f"{kind}-{variant}-seed-*.json")):
            found[variant][int(path.stem.rpartition("-")[2])] = json.loads(path.read_text())
    return found


def metric_rows(output: Path) -> list[dict[str, Any]]:
    """The rows of a run's `metrics.jsonl`."""
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
