"""Curation against a real HTTP server: good, sloppy and wrong rewriters; prompts that the server refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from curation import CurateConfig, curate, load_curated, read_lineage
from rollout import EngineError, create_engine
from rollout.types import PromptTooLongError, Sampling
from tests.curation.chat_server import RefusalError, chat_server

GOLDS = {
    r"100+75\pi": '{"form": "k+m\\\\pi", "numbers": {"k": 100, "m": 75}, "condition": "where k, m are integers"}',
    r"3\ln 7": '{"form": "k\\\\ln m", "numbers": {"k": 3, "m": 7}, "condition": "where m is no power"}',
    r"e^{12}": '{"form": "e^{k}", "numbers": {"k": 12}, "condition": "where k is an integer"}',
    r"\frac{9-\sqrt{5}}{4}": (
        '{"form": "\\\\frac{a-\\\\sqrt{b}}{c}", "numbers": {"a": 9, "b": 5, "c": 4}, "condition": "reduced"}'
    ),
}
SLOPPY = {
    r"100+75\pi": "The form is k+m\\pi.",
    r"3\ln 7": '```json\n{"form": "k\\\\ln m", "numbers": {"k": 1, "m": 343}, "condition": ""}\n```',
    r"e^{12}": '{"form": "k", "numbers": {"k": "e^{12}"}, "condition": ""}',
    r"\frac{9-\sqrt{5}}{4}": (
        '{"form": "\\\\frac{a-\\\\sqrt{b}}{c}", "numbers": {"a": 18, "b": 20, "c": 8}, "condition": ""}'
    ),
}
WRONG = {
    gold: re.sub(r"(\d+)}, ", lambda found: f"{int(found[1]) + 1}}}, ", reply)
    for gold, reply in GOLDS.items()
}


KEEP_ALL = {"mode": "fixed", "rollouts": 1, "keep": [0, 1]}


def rewritten(tmp_path: Path, replies: dict[str, str]) -> dict[str, str | None]:
    """Answers of the set after a run with a rewriter of these replies, by the gold before it."""

    def reply(text: str) -> str:
        asked, _, gold = text.rpartition("Answer: ")
        return replies[gold] if asked else r"\boxed{1}"

    raw = tmp_path / "raw.jsonl"
    rows = [{"problem": f"Evaluate quantity number {n + 7}.", "answer": gold} for n, gold in enumerate(GOLDS)]
    raw.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with chat_server(reply) as engine:
        curate(
            CurateConfig.model_validate(
                {
                    "inputs": [str(raw)],
                    "output": tmp_path / "set",
                    "workers": 1,
                    "integers": {"by": "model"},
                    "engine": engine,
                    "difficulty": KEEP_ALL,
                }
            )
        )
    found = load_curated(tmp_path / "set")
    assert len(found) == len(GOLDS)
    return {
        item.extra.get("original", {}).get("gold", item.problem.answer): item.problem.answer for item in found
    }


def test_a_good_rewriters_integers_become_the_golds(tmp_path: Path) -> None:
    answers = rewritten(tmp_path, GOLDS)
    assert answers == dict(zip(GOLDS, ["175", "10", "12", "18"], strict=True))


@pytest.mark.parametrize("replies", [SLOPPY, WRONG], ids=["sloppy", "wrong"])
def test_what_a_bad_rewriter_says_changes_nothing(tmp_path: Path, replies: dict[str, str]) -> None:
    assert rewritten(tmp_path, replies) == {gold: gold for gold in GOLDS}


def answer_short_sums(text: str) -> str:
    """Adds, and refuses what is longer than 60 characters as vLLM does."""
    if len(text) > 60:
        raise RefusalError(
            "This model's maximum context length is 60 tokens. However, you requested 99 tokens. "
            "Please reduce the length of the messages or completion."
        )
    left, right = map(int, re.findall(r"(\d+)\+(\d+)", text)[0])
    return f"\\boxed{{{left + right + (left % 2) * (right % 2)}}}"


@pytest.mark.parametrize("mode", ["fixed", "adaptive"])
def test_a_prompt_that_the_server_refuses_is_dropped_and_the_run_goes_on(tmp_path: Path, mode: str) -> None:
    raw = tmp_path / "raw.jsonl"
    texts = [f"What is {n}+{n * n}?" for n in range(2, 30)]
    texts[5] = "Somebody who likes very long questions would like to know what is 7+49?"
    texts[20] = "Somebody else who likes very long questions asks what is 22+484?"
    rows = [{"problem": text, "answer": str(n + n * n)} for n, text in enumerate(texts, 2)]
    raw.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with chat_server(answer_short_sums) as engine:
        settings = {
            "inputs": [str(raw)],
            "output": tmp_path / "set",
            "workers": 1,
            "prompt": {"template": "{problem}"},
            "engine": engine,
            "difficulty": {**KEEP_ALL, "mode": mode, "rollouts": 4},
            "guess": {"tries": 2, "most": 1, "template": "{problem}"},
        }
        curate(CurateConfig.model_validate(settings))
    lineage = list(read_lineage(tmp_path / "set"))
    dropped = [place for place, line in enumerate(lineage) if not line.kept]
    assert dropped == [5, 20]
    assert all(lineage[place].reason.startswith("prompt too long: ") for place in dropped)
    assert "maximum context length is 60 tokens" in lineage[5].reason
    assert all(item.pass_rate and item.pass_rate.rollouts >= 1 for item in load_curated(tmp_path / "set"))


def test_a_server_that_refuses_every_prompt_is_an_error_with_advice(tmp_path: Path) -> None:
    raw = tmp_path / "raw.jsonl"
    raw.write_text(json.dumps({"problem": "What is the sum 2+3 of these two numbers here?", "answer": "5"}))
    with chat_server(answer_short_sums) as engine:
        settings = {
            "inputs": [str(raw)], "output": tmp_path / "set", "workers": 1, "engine": engine,
            "difficulty": KEEP_ALL,
        }  # fmt: skip
        with pytest.raises(EngineError, match=r"every prompt too long; lower sampling\.max_tokens"):
            curate(CurateConfig.model_validate(settings))


def test_the_engine_hands_out_what_fits_before_it_says_what_does_not() -> None:
    prompts = [[{"role": "user", "content": text}] for text in ("1+2", "x" * 80 + "3+4", "5+6")]
    with chat_server(answer_short_sums) as settings:
        engine = create_engine(settings)
        found: list[tuple[int, str]] = []
        taken = (
            found.append((item.prompt_index, item.text)) for item in engine.generate(prompts, 2, Sampling())
        )
        with pytest.raises(PromptTooLongError, match="1 prompts are too long") as error:
            list(taken)
        engine.close()
    assert sorted(found) == [(0, r"\boxed{3}")] * 2 + [(2, r"\boxed{11}")] * 2
    assert list(error.value.prompts) == [1]
