"""One HTML file that shows a run: what was curated, what was learned, what the model writes."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class ReportConfig(BaseModel):
    """Write the one-file HTML report of a run."""

    model_config = ConfigDict(extra="forbid")

    run: Path = Field(description="Run folder (metrics.jsonl, rollouts/, config.yaml).")
    data: Path | None = Field(
        default=None, description="Curated set it learned on; default: the run's own config."
    )
    output: Path | None = Field(
        default=None, description="File to write; default: report.html in the run folder."
    )
    samples: int = Field(default=12, ge=0, description="Sample responses to show.")


def write_report(
    run: Path, *, data: Path | None = None, output: Path | None = None, samples: int = 12
) -> Path:
    """Write the report of `run` and return its path.

    Args:
        run: run folder; raises InputError where it holds no metrics.
        data: folder of the curated set; the run's config names it otherwise.
        output: file to write; `report.html` in the run folder otherwise.
        samples: number of sample responses shown.
    """
    from curation.files import atomic_write
    from rlvr.report.page import render
    from rlvr.report.sources import read_run

    output = output or Path(run) / "report.html"
    atomic_write(output, render(read_run(Path(run), data=data, samples=samples)))
    return output
