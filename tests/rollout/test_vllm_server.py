"""The openai engine against `vllm serve`, compared with forwards of the transformers model."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from rollout import (
    Engine,
    EngineConfig,
    EngineError,
    Sampling,
    ServerOptions,
    TransformersEngine,
    create_engine,
)
from tests.rollout.reference import PROMPTS, TOKENIZER, VLLM_SHAPE, assert_drawn_from, save_checkpoint
from tests.rollout.tiny import tiny_model

pytestmark = pytest.mark.vllm
pytest.importorskip("vllm", reason="vllm is not installed")

START_SECONDS = 180


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = save_checkpoint(tiny_model(**VLLM_SHAPE), tmp_path_factory.mktemp("served"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Not `vllm serve`: that command of the CPU build looks for a package named vllm, and finds none.
    command = f"""-m vllm.entrypoints.openai.api_server --model {folder} --served-model-name tiny
        --host 127.0.0.1 --port {port} --dtype float32 --max-model-len 128 --enforce-eager
        --logprobs-mode processed_logprobs --no-enable-chunked-prefill --max-num-batched-tokens 32768
        --gpu-memory-utilization 0.3"""
    log = folder / "server.log"
    with log.open("w") as output:
        server = subprocess.Popen(
            [sys.executable, *command.split()],
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_until_up(f"http://127.0.0.1:{port}/health", server, log)
        options = ServerOptions(base_url=f"http://127.0.0.1:{port}/v1", concurrency=8)
        yield create_engine(EngineConfig(kind="openai", model="tiny", server=options))
    finally:
        # The server's own worker processes go with it.
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def wait_until_up(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and server.poll() is None:
        try:
            with urlopen(address, timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.5)
    pytest.fail(f"vllm serve didn't start: {log.read_text()[-2000:]}")


@pytest.mark.parametrize(
    "sampling", [Sampling(max_tokens=30), Sampling(temperature=0.7, top_p=0.9, max_tokens=30)]
)
def test_tokens_and_logprobs_are_those_of_the_model(engine: Engine, sampling: Sampling) -> None:
    completions = list(engine.generate(PROMPTS, 4, sampling))
    assert len({(c.prompt_index, c.sample_index) for c in completions}) == 16
    assert_drawn_from(tiny_model(**VLLM_SHAPE), completions, sampling, tolerance=2e-3)


def test_greedy_is_that_of_the_transformers_engine(engine: Engine) -> None:
    sampling = Sampling(temperature=0, max_tokens=30)
    reference = TransformersEngine(tiny_model(**VLLM_SHAPE), TOKENIZER)
    expected = {c.prompt_index: c for c in reference.generate(PROMPTS, 1, sampling)}
    for completion in engine.generate(PROMPTS, 1, sampling):
        wanted = expected[completion.prompt_index]
        assert completion.prompt_token_ids == wanted.prompt_token_ids
        assert completion.token_ids == wanted.token_ids
        assert (completion.text, completion.finish_reason) == (wanted.text, wanted.finish_reason)


def test_stop_strings_seeds_and_refusals(engine: Engine) -> None:
    free = {c.sample_index: c.text for c in engine.generate(["a"], 8, Sampling(max_tokens=60, seed=3))}
    text = max(free.values(), key=len)
    stop = (text[8:10],)
    for completion in engine.generate(["a"], 8, Sampling(max_tokens=60, seed=3, stop=stop)):
        whole = free[completion.sample_index]
        cut = whole.find(stop[0])
        assert completion.text == (whole if cut < 0 else whole[: cut + 2])
    with pytest.raises(EngineError, match=r"refuses the request, HTTP 400: .*128"):
        list(engine.generate(["b" * 200], 1, Sampling(max_tokens=10)))
