"""Write a curated set in the schema that another trainer reads, or a run's best responses as an SFT set.

The schemas are those of the trainers' own data preparation: verl's `RLHFDataset` (Parquet with `prompt` as
messages and `reward_model.ground_truth`), TRL's `GRPOTrainer` (a `prompt` column, every other column handed
to the reward function) and OpenRLHF (`--input_key input --label_key label`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from curation import CuratedProblem, load_curated
from curation.files import atomic_path
from verifiers import InputError

Schema = Literal["verl", "trl", "openrlhf", "sft"]


class ExportConfig(BaseModel):
    """Write a curated set in the schema of another trainer, or the best responses of a run for `rlvr sft`."""

    model_config = ConfigDict(extra="forbid")

    data: Path = Field(description="Folder of the curated set; of the run for schema sft.")
    output: Path = Field(description="File to write: .parquet or .jsonl.")
    schema_name: Schema = Field(
        default="verl",
        alias="schema",
        description="Trainer that will read the file; sft: right responses of a run as prompt/response pairs.",
    )
    split: Literal["train", "validation", "all"] = Field(default="train", description="Rows to write.")
    bands: tuple[str, ...] = Field(default=(), description="Difficulty bands to write; empty writes all.")
    per_problem: int = Field(default=1, gt=0, description="Schema sft: most responses of one problem.")
    first_step: int = Field(default=1, gt=0, description="Schema sft: leave out what earlier steps sampled.")


def as_messages(problem: CuratedProblem) -> list[dict[str, str]]:
    """The prompt as chat messages; plain text becomes one user message."""
    prompt = problem.problem.prompt
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}]
    return [{"role": message["role"], "content": message["content"]} for message in prompt]


def gold_of(problem: CuratedProblem) -> str:
    """The gold answer, or the tests of a code problem as JSON text."""
    if problem.problem.answer is not None:
        return problem.problem.answer
    return json.dumps(problem.problem.tests, ensure_ascii=False)


def _extra(problem: CuratedProblem, index: int) -> dict[str, Any]:
    rate = problem.pass_rate
    return {
        "index": index,
        "split": problem.split,
        "id": problem.problem.id,
        "band": problem.band,
        "pass_rate": rate.mean if rate else None,
    }


def verl_row(problem: CuratedProblem, index: int) -> dict[str, Any]:
    """A row of verl's Parquet files; `data_source` selects the reward function there."""
    return {
        "data_source": problem.problem.source or "rlvr",
        "prompt": as_messages(problem),
        "ability": "code" if problem.problem.tests is not None else "math",
        "reward_model": {"style": "rule", "ground_truth": gold_of(problem)},
        "extra_info": _extra(problem, index),
    }


def trl_row(problem: CuratedProblem, index: int) -> dict[str, Any]:
    """A row for TRL: a conversational `prompt`; `solution` is the column TRL's accuracy reward reads."""
    extra = _extra(problem, index)
    return {
        "prompt": as_messages(problem),
        "solution": gold_of(problem),
        "id": extra["id"],
        "source": problem.problem.source,
        "band": extra["band"],
        "pass_rate": extra["pass_rate"],
    }


def openrlhf_row(problem: CuratedProblem, index: int) -> dict[str, Any]:
    """A row for OpenRLHF: `input` (messages, for `--apply_chat_template`) and `label`."""
    return {
        "input": as_messages(problem),
        "label": gold_of(problem),
        "datasource": problem.problem.source or "rlvr",
    }


ROWS: dict[str, Callable[[CuratedProblem, int], dict[str, Any]]] = {
    "verl": verl_row,
    "trl": trl_row,
    "openrlhf": openrlhf_row,
}


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write rows as Parquet or JSONL, by the file's ending, whole or not at all."""
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        with atomic_path(path) as temporary:
            pq.write_table(pa.Table.from_pylist(list(rows)), temporary)
    elif path.suffix == ".jsonl":
        with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
            for row in rows:
                stream.write(json.dumps(row, ensure_ascii=False) + "\n")
    else:
        raise InputError(f"{path}: the name must end in .parquet or .jsonl")


def run_export(config: ExportConfig) -> int:
    """Write the chosen rows; returns how many. Raises InputError where nothing matches."""
    if config.schema_name == "sft":
        return _export_pairs(config)
    problems = [
        problem
        for problem in load_curated(config.data)
        if (config.split == "all" or problem.split == config.split)
        and (not config.bands or problem.band in config.bands)
    ]
    if not problems:
        chosen = f"split {config.split}" + (f", bands {', '.join(config.bands)}" if config.bands else "")
        raise InputError(f"{config.data}: no row matches {chosen}; nothing was written")
    make = ROWS[config.schema_name]
    write_rows(config.output, (make(problem, index) for index, problem in enumerate(problems)))
    return len(problems)


def _export_pairs(config: ExportConfig) -> int:
    from trainer.rejection import best_pairs

    pairs = best_pairs(config.data, per_problem=config.per_problem, first_step=config.first_step)
    if not pairs:
        raise InputError(
            f"{config.data}: the run has no right response that ended by itself; nothing written"
        )
    write_rows(config.output, pairs)
    return len(pairs)
