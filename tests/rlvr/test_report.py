"""The report is one file that loads nothing, is well-formed, escapes what models wrote, and tells the truth."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from curation import CuratedProblem, write_curated
from rlvr.cli import main
from verifiers import Problem

VOID = {"meta", "br", "hr", "img", "input", "link"}
HOSTILE = "</pre><script>alert(1)</script> \\boxed{5}"


class Balance(HTMLParser):
    """Collects the tags that open and never close, those that load something, and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def run(tmp_path: Path) -> Path:
    data = tmp_path / "curated"
    rows = [CuratedProblem(problem=Problem(id="p", prompt="1+1?", answer="2"), band="mid")]
    write_curated(data, rows)
    stages = [
        {"name": "read", "entered": 10, "kept": 10, "reasons": {}, "notes": {}},
        {"name": "gold", "entered": 10, "kept": 1, "reasons": {"wrong gold": 6, "no gold": 3}, "notes": {}},
    ]
    funnel = {"stages": stages, "histogram_before": [3] * 10, "histogram_after": [0, 1] + [0] * 8}
    (data / "funnel.json").write_text(json.dumps(funnel))
    folder = tmp_path / "run"
    (folder / "rollouts").mkdir(parents=True)
    metrics = [
        {"kind": "eval", "step": 0, "benchmark": "held-out", "problems": 50, "greedy_accuracy": 0.3, "k": 4}
        | {"greedy_low": 0.2, "greedy_high": 0.4, "avg_at_k": 0.35, "avg_low": 0.3, "avg_high": 0.4}
        | {"length_mean": 9.5},
        *(
            {"kind": "train", "step": step, "reward_mean": step / 5, "accuracy": 0.5, "entropy": 0.4}
            | {
                "groups_correct": 1,
                "groups_mixed": 2,
                "groups_wrong": 1,
                "seconds": 2.0,
                "tokens_sampled": 100,
            }
            for step in (1, 2, 3)
        ),
        {"kind": "warning", "step": 2, "message": "entropy fell by half in 2 steps"},
        {"kind": "eval", "step": 3, "benchmark": "held-out", "problems": 50, "greedy_accuracy": 0.9, "k": 4}
        | {"greedy_low": 0.8, "greedy_high": 0.95, "avg_at_k": 0.85, "avg_low": 0.8, "avg_high": 0.9}
        | {"length_mean": 14.0},
    ]
    lines = "".join(json.dumps(row) + "\n" for row in metrics) + '{"kind": "train", "st'
    (folder / "metrics.jsonl").write_text(lines)
    (folder / "config.yaml").write_text(yaml.safe_dump({"data": str(data), "steps": 3}))
    record = {
        "step": 1,
        "problem_id": "p",
        "sample_index": 0,
        "prompt": "1+1?",
        "response": HOSTILE,
        "gold": "2",
        "reward": -1.0,
        "status": "incorrect",
        "extracted": "5",
        "method": "rational",
        "detail": "0/2 tests passed [namespaces]; tried socket 3, ptrace 1",
        "length": 7,
    }
    pq.write_table(pa.Table.from_pylist([record]), folder / "rollouts" / "step-000001.parquet")
    return folder


def page_of(run: Path) -> tuple[str, Balance]:
    text = (run / "report.html").read_text(encoding="utf-8")
    parser = Balance()
    parser.feed(text)
    assert parser.open == []
    return text, parser


def test_the_page_says_what_the_run_recorded(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(run)]) == 0
    assert capsys.readouterr().out.strip() == str(run / "report.html")
    _, page = page_of(run)
    words = re.sub(r"\s+", " ", page.text)
    for expected in (
        "30.0 % → 90.0 %",
        "20.0 % – 40.0 %",
        "entropy fell by half in 2 steps",
        "wrong gold 6 · no gold 3",
        "Held-out accuracy",
        "all wrong",
        "What programs tried",
        "socket: 3 at 1",
    ):
        assert expected in words


def test_the_page_loads_nothing_and_runs_nothing(run: Path) -> None:
    assert main(["report", str(run)]) == 0
    text, page = page_of(run)
    assert not [tag for tag, _ in page.seen if tag in ("script", "link", "iframe", "img")]
    assert not [attrs for _, attrs in page.seen if any(name in attrs for name in ("src", "href", "onload"))]
    assert "url(" not in text
    assert HOSTILE in page.text


def test_a_folder_without_metrics_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_missing_data_set_is_noted_on_the_page(run: Path, tmp_path: Path) -> None:
    (run / "config.yaml").write_text("data: /nowhere/at/all\n")
    assert main(["report", str(run), "--output", str(tmp_path / "r.html")]) == 0
    assert "is not there any more" in (tmp_path / "r.html").read_text()
