"""The one way by which tests reach the labelled data that lies beside a checkout, where it does."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

SHARED = Path(os.environ.get("RLVR_SHARED_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


def shared_path(relative: str) -> Path:
    """Path of a file under the shared data, or skip the test with the reason."""
    path = SHARED / relative
    if not path.exists():
        pytest.skip(f"no labelled data: {relative} is not under {SHARED} (set RLVR_SHARED_DATA)")
    return path


def shared_rows(relative: str) -> list[dict[str, Any]]:
    """Rows of a (gzipped) JSONL file under the shared data, or skip the test with the reason."""
    path = shared_path(relative)
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
