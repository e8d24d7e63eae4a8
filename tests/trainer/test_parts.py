"""Rewards, warm start, configuration, checkpoints, metrics, health, export: each says and does what it should."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rollout.transformers_engine import TransformersEngine
from rollout.types import Completion, Sampling
from tests.trainer.toy import make_model, make_problems, make_tokenizer
from trainer import Pair, TrainConfig, WarmStartConfig, export_pairs, read_pairs, train, warm_start
from trainer.checkpoint import Checkpoints, best_step, load_state, save_state
from trainer.config import RewardConfig
from trainer.groups import Account, Group
from trainer.health import HealthWatch
from trainer.loop import advantages_of, learning_samples, shaped_rewards
from trainer.metrics import MetricsWriter
from trainer.optimizer import learning_rate_factor
from trainer.rewards import Shaping, kimi_length_rewards, script_consistency, soft_overlong_punishment
from trainer.sampler import Rollout
from trainer.store import write_record
from verifiers import InputError, Problem, Status, Verdict

# -- rewards ------------------------------------------------------------------------------------------------


def make_group(*samples: tuple[int, Status], finish: str = "stop", text: str = "x") -> Group:
    """A group of responses given by length and status."""
    completions = tuple(
        Completion(0, number, (2, 3), (4,) * length, (-1.0,) * length, text, finish)  # type: ignore[arg-type]
        for number, (length, _) in enumerate(samples)
    )
    verdicts = tuple(
        Verdict(reward=1.0 if status == "correct" else -1.0, status=status) for _, status in samples
    )
    return Group(Problem(id="p", prompt="Wie viel?"), completions, verdicts, step=1)


def test_a_group_whose_shaped_rewards_differ_only_by_length_is_not_mixed() -> None:
    group = make_group((10, "correct"), (100, "correct"))
    rewards = shaped_rewards(group, Shaping(RewardConfig(), max_tokens=100, overlong_cache=50))
    assert rewards == [1.0, 0.0]
    assert group.kind == "correct"


def test_a_sample_that_the_verifier_could_not_judge_has_no_reward_and_no_advantage() -> None:
    group = make_group((4, "correct"), (4, "error"), (4, "incorrect"), (4, "timeout"))
    rewards = shaped_rewards(group, Shaping(RewardConfig(), 100, 20))
    assert rewards == [1.0, None, -1.0, None]
    advantages = advantages_of([rewards], TrainConfig(output=Path("x")).advantage)
    assert advantages[0][0] == pytest.approx(2**-0.5, abs=1e-5)
    assert advantages[0][1] is None
    assert len(learning_samples([group], advantages, False)) == 2
    assert make_group((4, "correct"), (4, "error")).kind == "failed"


def test_overlong_filtering_keeps_the_group_and_drops_the_loss() -> None:
    group = make_group((4, "correct"), (8, "incorrect"), finish="length")
    samples = learning_samples([group], [[0.7, -0.7]], True)
    assert [sample.has_loss for sample in samples] == [False, False]
    assert all(sample.has_loss for sample in learning_samples([group], [[0.7, -0.7]], False))


def test_format_and_language_rewards() -> None:
    group = make_group((4, "correct"), text="<think>да</think><answer>нет</answer>")
    shaping = Shaping(RewardConfig(soft_overlong=False, format_reward=0.5, language_reward=1.0), 100, 20)
    latin = 2 * len("think") + 2 * len("answer")
    assert shaped_rewards(group, shaping) == [pytest.approx(1.5 + latin / (latin + 5))]
    assert script_consistency("12 + 7", "anything") == 1.0


@given(st.integers(0, 50_000), st.integers(1, 20_480))
def test_soft_overlong_punishment_is_bounded_and_falls(length: int, cache: int) -> None:
    punishment = soft_overlong_punishment(length, 20_480, cache)
    assert -1.0 <= punishment <= 0.0
    assert punishment >= soft_overlong_punishment(length + 1, 20_480, cache)
    assert (punishment == 0.0) == (length <= 20_480 - cache)


@given(st.lists(st.tuples(st.integers(1, 500), st.booleans()), min_size=1, max_size=20))
def test_kimi_never_rewards_a_wrong_response_for_shortness(samples: list[tuple[int, bool]]) -> None:
    rewards = kimi_length_rewards([length for length, _ in samples], [right for _, right in samples])
    assert all(right or reward <= 0 for (_, right), reward in zip(samples, rewards, strict=True))
    assert all(-0.5 <= reward <= 0.5 for reward in rewards)


# -- warm start ---------------------------------------------------------------------------------------------


def test_warm_start_learns_its_pairs_and_ends_with_eos(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    pairs = [Pair(f"{number}+1=", f"#{number + 1}") for number in range(8)]
    path.write_text("".join(json.dumps(pair._asdict()) + "\n" for pair in pairs))
    model, tokenizer = make_model(width=64, layers=2), make_tokenizer()
    seen: list[int] = []
    result = warm_start(
        model,
        tokenizer,
        read_pairs(path),
        WarmStartConfig(steps=200, batch_size=16, learning_rate=1e-2),
        lambda step, steps, loss: seen.append(step),
    )
    assert result.losses[-1] < 0.05 < result.losses[0]
    assert seen == list(range(1, 201))
    engine = TransformersEngine(model, tokenizer)
    found = engine.generate([pair.prompt for pair in pairs], 1, Sampling(temperature=0.0, max_tokens=8))
    for completion in found:
        assert (completion.text, completion.finish_reason) == (
            pairs[completion.prompt_index].response,
            "stop",
        )


def test_warm_start_is_deterministic() -> None:
    runs = []
    for _ in range(2):
        result = warm_start(
            make_model(),
            make_tokenizer(),
            [("1+1=", "2"), ("1+2=", "3")],
            WarmStartConfig(steps=5, batch_size=3),
        )
        runs.append(result.losses)
    assert runs[0] == runs[1]


def test_bad_pairs_are_named(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"prompt": "1", "response": "2"}\n{"prompt": "1"}\n')
    with pytest.raises(InputError, match=r"pairs.jsonl:2: not a JSON object with `prompt` and `response`"):
        read_pairs(path)
    with pytest.raises(InputError, match="pair 1 has 5 tokens, more than max_length 4"):
        warm_start(make_model(), make_tokenizer(), [("1+1=", "")], WarmStartConfig(max_length=4))


# -- configuration ------------------------------------------------------------------------------------------


def test_defaults_are_those_of_the_dapo_paper() -> None:
    config = TrainConfig(output=Path("x"))
    assert (config.objective.clip_low, config.objective.clip_high) == (0.2, 0.28)
    assert (config.rollout.prompts_per_step, config.rollout.group_size) == (512, 16)
    assert (config.rollout.max_tokens, config.overlong_cache) == (20480, 4096)
    learner = config.learner
    assert (learner.learning_rate, learner.warmup_steps, learner.weight_decay) == (1e-6, 20, 0.1)
    assert (learner.grad_clip, learner.mini_batch) == (1.0, 512)
    assert config.objective.aggregation == "token_mean"
    assert config.objective.kl_coefficient == 0.0
    assert config.dynamic_sampling.enabled


def test_presets_fill_in_and_what_is_given_wins() -> None:
    grpo = TrainConfig.model_validate({"output": "x", "preset": "grpo", "objective": {"kl_coefficient": 0.0}})
    assert (grpo.objective.clip_high, grpo.objective.aggregation) == (0.2, "sequence_mean")
    assert grpo.objective.kl_coefficient == 0.0
    assert not grpo.dynamic_sampling.enabled
    again = TrainConfig.model_validate(json.loads(grpo.model_dump_json()))
    assert again == grpo
    dr_grpo = TrainConfig.model_validate({"output": "x", "preset": "dr_grpo"})
    assert (dr_grpo.advantage.scale, dr_grpo.objective.aggregation) == ("none", "constant")


def test_every_field_is_described() -> None:
    def described(model: Any) -> None:
        for name, info in model.model_fields.items():
            nested = info.annotation
            if isinstance(nested, type) and hasattr(nested, "model_fields"):
                described(nested)
            else:
                assert info.description, f"{model.__name__}.{name}"

    described(TrainConfig)


def test_unknown_and_impossible_settings_are_refused() -> None:
    with pytest.raises(ValidationError, match="clip_hihg"):
        TrainConfig.model_validate({"output": "x", "objective": {"clip_hihg": 0.3}})
    with pytest.raises(ValidationError, match="must not exceed"):
        TrainConfig.model_validate(
            {"output": "x", "rollout": {"max_tokens": 10}, "reward": {"overlong_cache": 11}}
        )


def test_learning_rate() -> None:
    assert [learning_rate_factor(step, 4, 100, "constant") for step in (1, 2, 4, 5, 100)] == [
        0.25,
        0.5,
        1,
        1,
        1,
    ]
    falling = [learning_rate_factor(step, 4, 20, "cosine") for step in range(4, 21)]
    assert falling == sorted(falling, reverse=True)
    assert 0 < falling[-1] < 0.05


# -- checkpoints, metrics, health ---------------------------------------------------------------------------


def write_checkpoint(checkpoints: Checkpoints, step: int, accuracy: float | None) -> None:
    folder = checkpoints.begin(step)
    (folder / "model.safetensors").write_bytes(bytes([step]) * 100)
    checkpoints.commit(step, accuracy)


def test_the_best_and_the_latest_checkpoints_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step, accuracy in ((1, 0.3), (2, 0.9), (3, None), (4, 0.5), (5, 0.6)):
        write_checkpoint(checkpoints, step, accuracy)
    assert checkpoints.steps() == [2, 4, 5]
    assert best_step(tmp_path) == (2, 0.9)


def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=3)
    for step in (1, 2, 3):
        write_checkpoint(checkpoints, step, None)
    (checkpoints.path(3) / "model.safetensors").write_bytes(b"torn")
    (checkpoints.path(2) / "model.safetensors").unlink()
    assert checkpoints.damage(3) == "model.safetensors is not what was written"
    assert checkpoints.latest() == 1
    (checkpoints.path(1) / "manifest.json").write_text("{")
    with pytest.raises(InputError, match="no checkpoint of the run is whole"):
        checkpoints.latest()


def test_a_checkpoint_that_was_not_committed_is_none(tmp_path: Path) -> None:
    (Checkpoints(tmp_path, keep=1).begin(4) / "model.safetensors").write_bytes(b"half")
    assert Checkpoints(tmp_path, keep=1).latest() is None
    assert list(tmp_path.iterdir()) == []


def test_random_states_go_on(tmp_path: Path) -> None:
    torch.manual_seed(5)
    save_state(tmp_path / "state.pt", {"step": 3})
    expected = torch.rand(3)
    torch.manual_seed(6)
    assert load_state(tmp_path / "state.pt")["step"] == 3
    assert torch.equal(torch.rand(3), expected)


def test_metrics_are_cut_at_the_checkpoint_and_a_torn_line_goes(tmp_path: Path) -> None:
    with MetricsWriter(tmp_path, (), {}, -1) as writer:
        for step in (1, 2, 3):
            writer.write({"kind": "train", "step": step})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "tra')
    with MetricsWriter(tmp_path, (), {}, 2) as writer:
        assert [row["step"] for row in writer.kept] == [1, 2]
        writer.write({"kind": "train", "step": 3})
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3]


def test_tensorboard_gets_the_numbers(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with MetricsWriter(tmp_path, ("tensorboard",), {}, -1) as writer:
        writer.write({"kind": "train", "step": 1, "reward_mean": 0.25, "note": "text"})
        writer.write({"kind": "eval", "step": 1, "benchmark": "aime", "greedy_accuracy": 0.5})
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert events.Scalars("train/reward_mean")[0].value == 0.25
    assert events.Scalars("aime/greedy_accuracy")[0].value == 0.5


LOG_TWICE = """
import sys
from pathlib import Path
from trainer.metrics import MetricsWriter
folder, name = Path(sys.argv[1]), sys.argv[2]
for after, step in ((-1, 1), (1, 2)):
    with MetricsWriter(folder, (name,), {"steps": 2, "nested": {"seed": 0}}, after) as writer:
        writer.write({"kind": "train", "step": step, "loss": 0.5, "note": "text"})
        writer.write({"kind": "warning", "step": step, "message": "text"})
"""


def log_twice(folder: Path, name: str) -> None:
    """A run and its continuation, in a process of its own: these packages leave threads behind."""
    pytest.importorskip(name, reason=f"{name} is not installed")
    environment = {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "TRACKIO_DIR": str(folder / "trackio")}
    command = [sys.executable, "-c", LOG_TWICE, str(folder), name]
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_wandb_goes_on_with_the_same_run(tmp_path: Path) -> None:
    log_twice(tmp_path, "wandb")
    identity = (tmp_path / "logger-id").read_text()
    found = {path.name for path in (tmp_path / "wandb").glob("offline-run-*/*.wandb")}
    assert found == {f"run-{identity}.wandb"}


def test_trackio_goes_on_with_the_same_run(tmp_path: Path) -> None:
    log_twice(tmp_path, "trackio")
    with closing(sqlite3.connect(tmp_path / "trackio" / "rlvr.db")) as database:
        rows = database.execute("select run_id, step, metrics from metrics order by step").fetchall()
    assert [row[1] for row in rows] == [1, 2]
    assert rows[0][0] == rows[1][0]
    assert json.loads(rows[0][2]) == {"train/loss": 0.5}


def test_a_logger_that_is_not_installed_is_said_so(tmp_path: Path) -> None:
    if find_spec("trackio"):
        pytest.skip("trackio is installed")
    with pytest.raises(InputError, match="pip install trackio"):
        MetricsWriter(tmp_path, ("trackio",), {}, -1)


HEALTHY = {
    "kind": "train",
    "accuracy": 0.5,
    "entropy": 1.0,
    "length_mean": 100.0,
    "truncated_share": 0.0,
    "kl_sampler": 0.001,
    "updates_skipped": 0,
    "verifier_failures": 0,
    "responses": 100,
    "groups_mixed": 8,
    "groups_correct": 4,
    "groups_wrong": 4,
}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"entropy": 0.001}, "entropy has collapsed from 1.000 to 0.0010"),
        ({"length_mean": 20.0}, "shrunk from 100 to 36 tokens"),
        ({"kl_sampler": 0.3}, "sampler and learner disagree"),
        ({"groups_mixed": 1, "groups_correct": 20}, "give harder problems"),
        ({"groups_mixed": 1, "groups_wrong": 20}, "give easier problems"),
        ({"truncated_share": 0.5}, "raise rollout.max_tokens"),
        ({"verifier_failures": 30}, "verifier failed on 30 of 100"),
        ({"updates_skipped": 1}, "gradient was not finite"),
    ],
)
def test_health_watch_warns_once_and_says_what_to_try(change: dict[str, Any], words: str) -> None:
    watch = HealthWatch()
    for step in range(1, 31):
        assert watch.see({**HEALTHY, "step": step}) == []
    warnings = [text for step in range(31, 61) for text in watch.see({**HEALTHY, **change, "step": step})]
    assert len(warnings) == 1
    assert words in warnings[0]


def test_health_watch_sees_reward_up_and_held_out_down() -> None:
    watch = HealthWatch()
    warnings = []
    for step in range(1, 41):
        warnings += watch.see({**HEALTHY, "accuracy": step / 50, "step": step})
        if step % 10 == 0:
            accuracy = 0.6 - 0.1 * abs(step - 20) / 10
            row = {"kind": "eval", "step": step, "benchmark": "aime", "greedy_accuracy": accuracy}
            warnings += watch.see(row)
    assert len(warnings) == 1
    assert "aime fell from 0.600 at step 20" in warnings[0]


# -- records and export -------------------------------------------------------------------------------------


def test_rejection_export_takes_the_best_right_responses(tmp_path: Path) -> None:
    def record(step: int, *samples: tuple[str, int, Status]) -> None:
        base = make_group(*[(length, status) for _, length, status in samples])
        completions = tuple(
            Completion(0, item.sample_index, (2,), item.token_ids, item.logprobs, text, "stop")
            for item, (text, _, _) in zip(base.completions, samples, strict=True)
        )
        group = Group(base.problem, completions, base.verdicts, step)
        rewards = [[verdict.reward for verdict in group.verdicts]]
        write_record(tmp_path / "rollouts", Rollout(step, (group,), (), (), Account(), 0.0), rewards, rewards)

    record(1, ("long and right", 9, "correct"), ("wrong", 2, "incorrect"), ("right", 4, "correct"))
    record(2, ("right", 4, "correct"), ("not judged", 1, "error"), ("so-so", 6, "correct"))
    assert export_pairs(tmp_path, tmp_path / "pairs.jsonl", per_problem=2) == 2
    assert [pair.response for pair in read_pairs(tmp_path / "pairs.jsonl")] == ["right", "so-so"]
    with pytest.raises(InputError, match="no rollouts"):
        export_pairs(tmp_path / "nowhere", tmp_path / "pairs.jsonl")


def test_a_run_in_memory_leaves_a_whole_folder(tmp_path: Path) -> None:
    """Engine, problems and benchmark given as objects; the result opens with from_pretrained."""
    from transformers import AutoModelForCausalLM

    engine = TransformersEngine(make_model(), make_tokenizer())
    config = TrainConfig.model_validate(
        {
            "output": tmp_path / "run",
            "steps": 2,
            "rollout": {"prompts_per_step": 4, "group_size": 4, "max_tokens": 5},
            "learner": {"learning_rate": 1e-2, "warmup_steps": 0},
            "verifier": {"workers": 1},
        }
    )
    result = train(config, engine=engine, problems=make_problems(20), eval_sets={"sums": make_problems(6, 1)})
    assert [row["step"] for row in result.evaluations] == [0, 2]
    trained = AutoModelForCausalLM.from_pretrained(result.checkpoint)
    for ours, theirs in zip(engine.model.parameters(), trained.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    record = pq.read_table(tmp_path / "run" / "rollouts" / "step-000002.parquet").to_pylist()
    used = [row for row in record if row["used"]]
    assert len(used) == 16
    assert all(row["advantage"] is not None and row["shaped_reward"] is not None for row in used)
    assert (tmp_path / "run" / "config.yaml").exists()
    assert train(config, engine=engine, problems=make_problems(20)).checkpoint == result.checkpoint
