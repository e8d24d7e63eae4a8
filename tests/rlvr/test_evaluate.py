"""`rlvr eval` measures what the engine gives, samples nothing twice, and goes on after a stop."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from rich.progress import Progress

from rlvr.cli import main
from rlvr.evaluate import RecordedEngine
from rollout import Completion, Engine, Prompt, Sampling
from rollout.transformers_engine import TransformersEngine
from tests.rollout.reference import save_checkpoint
from tests.rollout.tiny import character_tokenizer, tiny_model

PROMPTS = ["1+1=", "2+2=", "hello"]


class Counting:
    """An engine that counts what it samples."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.sampled = engine, 0
        self.fingerprint, self.load_weights, self.close = (
            engine.fingerprint,
            engine.load_weights,
            engine.close,
        )

    def generate(
        self, prompts: Sequence[Prompt], n: int, sampling: Sampling, *, first_sample: int = 0
    ) -> Iterator[Completion]:
        for completion in self.engine.generate(prompts, n, sampling, first_sample=first_sample):
            self.sampled += 1
            yield completion


@pytest.fixture
def counting() -> Counting:
    return Counting(TransformersEngine(tiny_model(), character_tokenizer()))


def identity(completion: Completion) -> tuple[object, ...]:
    return completion.prompt_index, completion.sample_index, completion.token_ids, completion.text


def test_a_stopped_recording_goes_on_and_samples_only_the_rest(counting: Counting, tmp_path: Path) -> None:
    sampling = Sampling(max_tokens=6, seed=3)
    whole = sorted(map(identity, counting.engine.generate(PROMPTS, 4, sampling)))

    first = RecordedEngine(counting, tmp_path / "record.jsonl", Progress(disable=True))
    with closing(first.generate(PROMPTS, 4, sampling)) as stream:
        for _ in range(5):
            next(stream)
    first.appender.write(first.pending)
    first.appender.close()

    again = RecordedEngine(counting, tmp_path / "record.jsonl", Progress(disable=True))
    counting.sampled = 0
    assert sorted(map(identity, again.generate(PROMPTS, 4, sampling))) == whole
    assert counting.sampled == len(whole) - 5
    counting.sampled = 0
    again.appender.close()
    third = RecordedEngine(counting, tmp_path / "record.jsonl", Progress(disable=True))
    assert sorted(map(identity, third.generate(PROMPTS, 4, sampling))) == whole
    assert counting.sampled == 0


def test_other_sampling_or_more_samples_are_sampled(counting: Counting, tmp_path: Path) -> None:
    record = RecordedEngine(counting, tmp_path / "record.jsonl", Progress(disable=True))
    list(record.generate(PROMPTS, 2, Sampling(max_tokens=4)))
    record.appender.close()
    record = RecordedEngine(counting, tmp_path / "record.jsonl", Progress(disable=True))
    counting.sampled = 0
    list(record.generate(PROMPTS, 3, Sampling(max_tokens=4)))
    assert counting.sampled == len(PROMPTS)
    list(record.generate(PROMPTS, 1, Sampling(max_tokens=4, seed=1)))
    assert counting.sampled == 2 * len(PROMPTS)


def test_the_command_writes_results_with_intervals(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_checkpoint(tiny_model(), tmp_path / "model")
    benchmark = tmp_path / "sums.jsonl"
    rows = [{"problem": f"{n}+1=", "answer": str(n + 1)} for n in range(6)]
    benchmark.write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = [
        "eval",
        str(tmp_path / "model"),
        "--files",
        str(benchmark),
        "--max-tokens",
        "4",
        "--samples",
        "2",
    ]
    arguments += ["--output", str(tmp_path / "eval"), "--workers", "1"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    [result] = json.loads((tmp_path / "eval" / "results.json").read_text())
    assert result["problems"] == 6
    assert 0 <= result["greedy_low"] <= result["greedy_accuracy"] <= result["greedy_high"] <= 1
    assert result["k"] == 2
    assert "sums" in printed


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"--files": None}, "files"),
        ({"--files": "/nowhere.jsonl"}, "/nowhere.jsonl"),
        ({"--preset": "gpqa"}, "gpqa"),
    ],
)
def test_bad_input_is_one_line(
    change: dict[str, str | None], named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = {"--files": "x.jsonl", "--output": str(tmp_path / "eval")} | change
    given = [word for flag, value in flags.items() if value is not None for word in (flag, value)]
    assert main(["eval", "some-model", *given]) == 2
    error = capsys.readouterr().err
    assert named in error
    assert error.count("\n") == 1
