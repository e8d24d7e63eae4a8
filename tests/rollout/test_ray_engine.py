"""Replicas on Ray draw what a single engine draws, through new weights, aborts and deaths."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rollout import (
    Engine,
    EngineConfig,
    EngineError,
    PromptMeter,
    RayOptions,
    Sampling,
    VllmOptions,
    create_engine,
)
from tests.rollout.reference import PROMPTS, VLLM_SHAPE, assert_drawn_from, by_sample, save_checkpoint
from tests.rollout.tiny import tiny_model

ROOT = Path(__file__).resolve().parents[2]
SAMPLING = Sampling(max_tokens=24, seed=3)
SEEDS = {"first": 0, "second": 5}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two checkpoints of one architecture."""
    return {
        name: save_checkpoint(tiny_model(seed=seed), tmp_path_factory.mktemp(name))
        for name, seed in SEEDS.items()
    }


@pytest.fixture(scope="module")
def ray(folders: dict[str, Path]) -> Iterator[Any]:
    module = pytest.importorskip("ray", reason="ray is not installed")
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    module.init(num_cpus=2, include_dashboard=False, runtime_env={"env_vars": {"PYTHONPATH": path}})
    yield module
    module.shutdown()


@pytest.fixture
def engine(ray: Any, folders: dict[str, Path]) -> Iterator[Engine]:
    made = create_engine(config(folders["first"], RayOptions(replicas=2, restarts=2)))
    yield made
    made.close()
    with pytest.raises(EngineError, match="closed"):
        made.generate(PROMPTS, 1, SAMPLING)


def config(folder: Path, options: RayOptions | None = None) -> EngineConfig:
    return EngineConfig(model=str(folder), dtype="float32", device="cpu", ray=options)


def replica_processes() -> list[int]:
    """Ray names the process of an actor after its class."""
    found = []
    for status in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if status.read_bytes().startswith(b"ray::_Replica"):
                found.append(int(status.parent.name))
    return found


@given(st.integers(0, 30), st.integers(1, 20), st.integers(0, 9), st.integers(1, 12))
def test_every_sample_is_drawn_once(prompts: int, n: int, first: int, replicas: int) -> None:
    from rollout.ray_engine import shares

    work = shares(prompts, n, first, replicas)
    drawn = [(p, s) for w in work for p in w.prompts for s in range(w.first_sample, w.first_sample + w.n)]
    assert sorted(drawn) == [(p, s) for p in range(prompts) for s in range(first, first + n)]
    assert len(work) <= replicas
    if prompts >= replicas:
        sizes = [len(w.prompts) for w in work]
        assert max(sizes) - min(sizes) <= 1


@pytest.mark.ray
@pytest.mark.parametrize(("count", "n"), [(4, 3), (1, 6)])
def test_replicas_draw_what_one_engine_draws(
    engine: Engine, folders: dict[str, Path], count: int, n: int
) -> None:
    single = create_engine(config(folders["first"]))
    expected = by_sample(single.generate(PROMPTS[:count], n, SAMPLING, first_sample=2))
    found = by_sample(engine.generate(PROMPTS[:count], n, SAMPLING, first_sample=2))
    assert {k: c.token_ids for k, c in found.items()} == {k: c.token_ids for k, c in expected.items()}
    assert {k: c.text for k, c in found.items()} == {k: c.text for k, c in expected.items()}
    assert engine.fingerprint() == single.fingerprint()
    assert isinstance(engine, PromptMeter)
    assert isinstance(single, PromptMeter)
    assert engine.max_prompt_tokens == single.max_prompt_tokens


@pytest.mark.ray
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_new_weights_reach_every_replica(engine: Engine, dtype: torch.dtype) -> None:
    model = tiny_model(seed=SEEDS["second"])
    rounded = {name: tensor.to(dtype) for name, tensor in model.state_dict().items()}
    model.load_state_dict(rounded)
    with closing(engine.generate(PROMPTS, 2, SAMPLING)) as running:
        next(running)
        engine.load_weights(rounded.items(), version=7)
        with pytest.raises(EngineError, match="weights were replaced"):
            list(running)
    found = list(engine.generate(PROMPTS, 2, SAMPLING))
    assert {completion.policy_version for completion in found} == {7}
    assert_drawn_from(model, found, SAMPLING)


@pytest.mark.ray
def test_refused_weights_and_prompts_are_one_line(engine: Engine) -> None:
    with pytest.raises(EngineError, match=r"^[^\n]*no weight 'nonsense'[^\n]*$"):
        engine.load_weights([("nonsense", torch.zeros(2))], version=1)
    with pytest.raises(EngineError, match="prompt 1 has 400 tokens"):
        engine.generate(["1", "1" * 400], 1, SAMPLING)


@pytest.mark.ray
def test_closing_early_leaves_the_replicas_ready(engine: Engine) -> None:
    longer = SAMPLING.model_copy(update={"max_tokens": 200})
    for _ in range(3):
        with closing(engine.generate(PROMPTS, 40, longer)) as running:
            next(running)
    assert len(list(engine.generate(PROMPTS, 2, SAMPLING))) == 8


@pytest.mark.ray
def test_a_replica_that_dies_is_replaced_by_one_with_the_same_weights(engine: Engine) -> None:
    model = tiny_model(seed=SEEDS["second"])
    engine.load_weights(model.state_dict().items(), version=4)
    expected = by_sample(engine.generate(PROMPTS, 16, SAMPLING))
    running = engine.generate(PROMPTS, 16, SAMPLING)
    found = [next(running)]
    os.kill(replica_processes()[0], signal.SIGKILL)
    again = by_sample([*found, *running])
    assert {k: c.token_ids for k, c in again.items()} == {k: c.token_ids for k, c in expected.items()}
    assert {completion.policy_version for completion in again.values()} == {4}

    for process in replica_processes():
        os.kill(process, signal.SIGKILL)
    with pytest.raises(EngineError, match=r"^replicas died 3 times[^\n]*$"):
        list(engine.generate(PROMPTS, 16, SAMPLING))


@pytest.mark.ray
def test_a_cluster_without_room_is_named(ray: Any, folders: dict[str, Path]) -> None:
    with pytest.raises(EngineError, match="8 replicas need 8 CPU, but the cluster has 2"):
        create_engine(config(folders["first"], RayOptions(replicas=8)))
    with pytest.raises(EngineError, match="2 replicas need 2 GPU, but the cluster has 0"):
        create_engine(config(folders["first"], RayOptions(replicas=2, gpus=1)))


@pytest.mark.ray
def test_a_model_that_is_missing_is_named(ray: Any, folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"^[^\n]*nowhere[^\n]*$"):
        create_engine(config(tmp_path / "nowhere", RayOptions()))
    # The driver finds the tokenizer, but the replica no model.
    model, empty = folders["first"], tmp_path / "weights_missing"
    empty.mkdir()
    for file in model.iterdir():
        if file.suffix != ".safetensors":
            (empty / file.name).write_bytes(file.read_bytes())
    with pytest.raises(EngineError, match=r"^a replica can't start: [^\n]*weights_missing[^\n]*$"):
        create_engine(config(empty, RayOptions()))


@pytest.mark.vllm
def test_replicas_of_vllm(tmp_path: Path) -> None:
    pytest.importorskip("vllm", reason="vllm is not installed")
    pytest.importorskip("ray", reason="ray is not installed")
    folder = save_checkpoint(tiny_model(**VLLM_SHAPE), tmp_path / "model")
    options = VllmOptions(max_model_len=128, enforce_eager=True, gpu_memory_utilization=0.3)
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    replicas = RayOptions(replicas=2, cpus=0.5, environment={"PYTHONPATH": path})
    made = create_engine(
        EngineConfig(
            kind="vllm", model=str(folder), dtype="float32", batch_size=32, vllm=options, ray=replicas
        )
    )
    with closing(made):
        model = tiny_model(**VLLM_SHAPE, seed=9)
        made.load_weights(model.state_dict().items(), version=2)
        found = list(made.generate(PROMPTS, 4, SAMPLING))
        assert len(found) == 16
        assert {completion.policy_version for completion in found} == {2}
        assert_drawn_from(model, found, SAMPLING)
