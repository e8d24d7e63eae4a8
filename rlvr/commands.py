"""What each command does with its filled configuration: call the room, print for a person, give a status."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rollout import EngineError
from sandbox import SandboxError
from verifiers import InputError

if TYPE_CHECKING:
    from curation.config import CurateConfig
    from rlvr.doctor import DoctorConfig, Finding
    from rlvr.evaluate import EvalConfig
    from rlvr.export import ExportConfig
    from rlvr.quickstart.demo import DemoConfig
    from rlvr.report import ReportConfig
    from rlvr.score import ScoreConfig
    from trainer.config import TrainConfig
    from trainer.sft_config import SftConfig

USER_ERRORS = (InputError, EngineError, SandboxError, FileNotFoundError, PermissionError, IsADirectoryError)
"""Errors that a user can mend: their message is one line, and a traceback would say nothing more."""


def _console() -> Console:
    """Standard output; away from a terminal wide enough that no table is folded."""
    console = Console()
    return console if console.is_terminal else Console(width=120)


def _is_first_process() -> bool:
    """Of those that torchrun started, the one that writes and shows; True where it started none."""
    return os.environ.get("RANK", "0") == "0"


def demo(config: DemoConfig) -> int:
    """`rlvr demo`."""
    from rlvr.quickstart.demo import run_demo

    run_demo(config, _console())
    return 0


def score(config: ScoreConfig) -> int:
    """`rlvr score`."""
    from rlvr.score import run_score

    run_score(config, _console())
    return 0


def curate(config: CurateConfig) -> int:
    """`rlvr curate`."""
    from curation import curate as run_curate

    run_curate(config, console=_console())
    return 0


def train(config: TrainConfig) -> int:
    """`rlvr train`; the report is written at the end."""
    from rlvr.report import write_report
    from trainer import train as run_train

    console = _console()
    result = run_train(config, console=console)
    if not _is_first_process():
        return 0
    page = write_report(result.folder, data=config.data)
    console.print(f"report: {page}", highlight=False, soft_wrap=True)
    return 0


def sft(config: SftConfig) -> int:
    """`rlvr sft`."""
    from trainer import run_sft

    result = run_sft(config, console=_console())
    if _is_first_process():
        print(f"{result.checkpoint}: after {result.steps} steps; give it to `rlvr train --model`")
    return 0


def evaluate(config: EvalConfig) -> int:
    """`rlvr eval`."""
    from rlvr.evaluate import run_eval

    run_eval(config, _console())
    return 0


def report(config: ReportConfig) -> int:
    """`rlvr report`."""
    from rlvr.report import write_report

    page = write_report(config.run, data=config.data, output=config.output, samples=config.samples)
    print(page)
    return 0


def export(config: ExportConfig) -> int:
    """`rlvr export`."""
    from rlvr.export import run_export

    count = run_export(config)
    print(f"{config.output}: {count} rows in the schema of {config.schema_name}")
    return 0


class DiffConfig(BaseModel):
    """Say what changed between two curated sets."""

    model_config = ConfigDict(extra="forbid")

    first: Path = Field(description="Folder of the earlier set.")
    second: Path = Field(description="Folder of the later set.")
    json_output: bool = Field(default=False, alias="json", description="Print one JSON object.")


def diff(config: DiffConfig) -> int:
    """`rlvr diff`."""
    from curation.diff import diff_curated

    found = diff_curated(config.first, config.second)
    if config.json_output:
        print(json.dumps(found.to_json(), ensure_ascii=False))
    else:
        found.print(_console())
    return 0


def doctor(config: DoctorConfig) -> int:
    """`rlvr doctor`; status 1 when something that should work does not."""
    from rlvr.doctor import examine

    if config.json_output:
        broken = False
        for finding in examine():
            print(json.dumps(asdict(finding), ensure_ascii=False), flush=True)
            broken |= finding.state == "broken"
        return int(broken)
    console = _console()
    findings, broken = [], False
    for finding in examine():
        findings.append(finding)
        broken |= finding.state == "broken"
        if not console.is_terminal:
            advice = f" -> {finding.advice}" if finding.advice else ""
            print(f"{finding.state:<7} {finding.area}: {finding.name}: {finding.detail}{advice}", flush=True)
    if console.is_terminal:
        console.print(findings_table(findings))
    return int(broken)


def findings_table(findings: Sequence[Finding]) -> Table:
    """What `rlvr doctor` found, as a table."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("", "", "state", "found", "what to do"):
        table.add_column(heading, overflow="fold")
    colours = {"ok": "green", "absent": "dim", "broken": "bold red", "note": "yellow"}
    area = ""
    for finding in findings:
        state = f"[{colours[finding.state]}]{finding.state}[/]"
        shown = "" if finding.area == area else finding.area
        table.add_row(shown, finding.name, state, escape(finding.detail), escape(finding.advice))
        area = finding.area
    return table
