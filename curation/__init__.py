"""Raw problems become a training set, with the lineage of every row.

Names are loaded when they are first used, so that `import curation` stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from curation.types import CuratedProblem, LineageRow, PassRate, Split

if TYPE_CHECKING:
    from curation.config import CurateConfig
    from curation.dataset import load_curated, read_curated, read_lineage, write_curated
    from curation.files import JsonlAppender, atomic_path, atomic_write, read_jsonl, write_jsonl
    from curation.pipeline import CurationResult, curate
    from curation.statistics import pass_at_k, wilson

_HOME = {
    "CurateConfig": "config",
    "CurationResult": "pipeline",
    "curate": "pipeline",
    "load_curated": "dataset",
    "read_curated": "dataset",
    "read_lineage": "dataset",
    "write_curated": "dataset",
    "JsonlAppender": "files",
    "atomic_path": "files",
    "atomic_write": "files",
    "read_jsonl": "files",
    "write_jsonl": "files",
    "pass_at_k": "statistics",
    "wilson": "statistics",
}

__all__ = [
    "CurateConfig",
    "CuratedProblem",
    "CurationResult",
    "JsonlAppender",
    "LineageRow",
    "PassRate",
    "Split",
    "atomic_path",
    "atomic_write",
    "curate",
    "load_curated",
    "pass_at_k",
    "read_curated",
    "read_jsonl",
    "read_lineage",
    "wilson",
    "write_curated",
    "write_jsonl",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'curation' has no attribute {name!r}")
    return getattr(import_module(f"curation.{_HOME[name]}"), name)
