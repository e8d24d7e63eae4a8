"""Supervised runs: stopped ones go on to the same bytes, several processes learn what one does."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from rlvr.cli import main
from tests.trainer.test_distributed import torchrun
from tests.trainer.toy import make_model, make_tokenizer, save_toy
from tests.trainer.toy_run import toy_config
from trainer import Pair, SftConfig, run_sft, train, warm_start
from trainer.sft_config import WarmStartConfig
from verifiers import InputError

ROOT = Path(__file__).resolve().parents[2]
STEPS = 24


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and pairs of different lengths."""
    folder = tmp_path_factory.mktemp("start")
    save_toy(folder / "model")
    rows = [{"prompt": f"{n}+{n % 7}=", "response": "#" * (n % 5) + str(n % 10)} for n in range(64)]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As in the processes that are killed: sums by other numbers of threads differ in the last digit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def sft_config(start: Path, output: Path, **more: Any) -> SftConfig:
    return SftConfig.model_validate(
        {
            "pairs": start / "pairs.jsonl",
            "model": str(start / "model"),
            "output": output,
            "epochs": 4,
            "batch_size": 8,
            "learning_rate": 3e-3,
            "warmup_steps": 3,
            "micro_batch_tokens": 60,
            "held_out": 0.25,
            "checkpoint": {"every": 5, "keep": 2},
            "device": "cpu",
            **more,
        }
    )


def weights(output: Path) -> bytes:
    return (output / "checkpoints" / f"step-{STEPS:06d}" / "model.safetensors").read_bytes()


def rows(output: Path) -> list[dict[str, Any]]:
    read = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return [
        {key: value for key, value in row.items() if key not in ("seconds", "memory_bytes")} for row in read
    ]


def test_killed_at_any_instant_it_goes_on_to_the_same_bytes(start: Path, tmp_path: Path) -> None:
    run_sft(sft_config(start, tmp_path / "undisturbed"))
    config = sft_config(start, tmp_path / "killed")
    (tmp_path / "config.json").write_text(config.model_dump_json())
    code = (
        "import sys, torch; torch.set_num_threads(1)\n"
        "from trainer import SftConfig, run_sft\n"
        "from trainer.sft import SupervisedLearner as Learner\n"
        "import time; step = Learner.step\n"
        "def slowly(self, *arguments): time.sleep(0.03); return step(self, *arguments)\n"
        "Learner.step = slowly; print('ready', flush=True)\n"
        "run_sft(SftConfig.model_validate_json(open(sys.argv[1]).read()))"
    )
    generator, kills = random.Random(3), 0
    while kills < 4:
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "config.json")], cwd=ROOT, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(generator.uniform(0.2, 0.7))
        process.kill()
        assert process.wait() in (0, -9)
        process.stdout.close()
        kills += 1
    result = run_sft(config)
    assert result.steps == STEPS
    assert weights(config.output) == weights(tmp_path / "undisturbed")
    assert rows(config.output) == rows(tmp_path / "undisturbed")


def test_it_learns_the_pairs_and_nothing_of_the_held_out_ones(start: Path, tmp_path: Path) -> None:
    config = sft_config(start, tmp_path / "run")
    result = run_sft(config, console=Console(quiet=True))
    losses = [row["loss"] for row in rows(config.output) if row["kind"] == "sft"]
    assert len(losses) == STEPS == result.steps
    assert losses[-1] < 0.9 * losses[0]
    assert [row["step"] for row in rows(config.output) if row["kind"] == "held_out"] == [5, 10, 15, 20, 24]
    # The same as in memory, on the pairs that were not held out.
    pairs = [Pair(**json.loads(line)) for line in (start / "pairs.jsonl").read_text().splitlines()]
    order = list(range(64))
    random.Random("held out:0").shuffle(order)
    learnt = [pair for place, pair in enumerate(pairs) if place not in order[:16]]
    shared = config.recipe(len(learnt)).model_dump()
    model = make_model()
    warm_start(model, make_tokenizer(), learnt, WarmStartConfig(**shared))
    for name, tensor in load_file(result.checkpoint / "model.safetensors").items():
        assert torch.equal(tensor, model.state_dict()[name]), name


def test_other_pairs_under_the_same_name_are_refused(start: Path, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text((start / "pairs.jsonl").read_text())
    run_sft(sft_config(start, tmp_path / "run", pairs=pairs))
    pairs.write_text((start / "pairs.jsonl").read_text().replace("#", "##"))
    with pytest.raises(InputError, match="started with other pairs"):
        run_sft(sft_config(start, tmp_path / "run", pairs=pairs))
    with pytest.raises(InputError, match=r"batch_size was 8 and is 4"):
        run_sft(sft_config(start, tmp_path / "run", batch_size=4))


def test_adapters_alone_are_learnt_and_the_checkpoint_holds_the_merged_model(
    start: Path, tmp_path: Path
) -> None:
    pytest.importorskip("peft")
    config = sft_config(start, tmp_path / "run", lora={"rank": 4}, gradient_checkpointing=True)
    result = run_sft(config)
    assert (result.checkpoint / "adapter" / "adapter_config.json").exists()
    merged, before = load_file(result.checkpoint / "model.safetensors"), make_model().state_dict()
    changed = {name for name, tensor in merged.items() if not torch.equal(tensor, before[name])}
    assert changed
    assert all("proj" in name for name in changed)


def test_best_responses_of_a_run_go_through_export_to_a_new_start(tmp_path: Path) -> None:
    """Rejection sampling by the command line: train, export, sft."""
    from tests.trainer.toy import make_problems

    model = save_toy(tmp_path / "model")
    config = toy_config(tmp_path / "run", model).model_copy(update={"steps": 2})
    train(config, problems=make_problems(40))
    pairs = tmp_path / "pairs.jsonl"
    assert main(["export", str(config.output), str(pairs), "--schema", "sft", "--per-problem", "2"]) == 0
    exported = [json.loads(line) for line in pairs.read_text().splitlines()]
    assert exported
    assert max(sum(row["problem_id"] == other["problem_id"] for other in exported) for row in exported) <= 2
    arguments = ["--model", str(model), "--output", str(tmp_path / "sft"), "--batch-size", "4"]
    assert main(["sft", str(pairs), *arguments, "--device", "cpu"]) == 0
    assert list((tmp_path / "sft" / "checkpoints").glob("step-*/model.safetensors"))


@pytest.mark.distributed
def test_two_processes_learn_what_one_does(start: Path, tmp_path: Path) -> None:
    for processes in (1, 2):
        output = tmp_path / str(processes)
        config = sft_config(start, output)
        path = tmp_path / f"{processes}.json"
        path.write_text(config.model_dump_json())
        script = tmp_path / "run.py"
        script.write_text(
            "import sys, torch; torch.set_num_threads(1)\nfrom trainer import SftConfig, run_sft\n"
            "run_sft(SftConfig.model_validate_json(open(sys.argv[1]).read()))"
        )
        torchrun(processes, str(script), str(path))
    one, two = (
        load_file(tmp_path / str(count) / "checkpoints" / f"step-{STEPS:06d}" / "model.safetensors")
        for count in (1, 2)
    )
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-4, atol=1e-5)
