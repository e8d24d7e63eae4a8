"""The openai engine against a server that runs as a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from rollout import Engine, EngineConfig, EngineError, Sampling, ServerOptions, create_engine
from tests.rollout.reference import by_sample
from tests.rollout.tiny import character_tokenizer

ROOT = Path(__file__).resolve().parents[2]
SAMPLING = Sampling(max_tokens=100, seed=3)
Start = Callable[..., str]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a server with command line options; gives its address."""
    processes = []

    def run(*options: str) -> str:
        command = [sys.executable, "-m", "tests.rollout.openai_server", *options]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        assert process.stdout is not None
        return f"http://127.0.0.1:{process.stdout.readline().strip()}/v1"

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def engine_for(address: str, *, tokenizer: str | None = None, model: str = "tiny", **server: Any) -> Engine:
    options = ServerOptions(base_url=address, **{"backoff": 0.01, **server})
    return create_engine(EngineConfig(kind="openai", model=model, tokenizer=tokenizer, server=options))


def log(address: str) -> dict[str, Any]:
    with urlopen(f"{address}/log") as answer:
        content: dict[str, Any] = json.load(answer)
    return content


def test_text_and_messages_come_back_with_tokens_and_logprobs(start: Start) -> None:
    engine = engine_for(start())
    assert isinstance(engine, Engine)
    chat = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "two"}]
    completions = by_sample(list(engine.generate(["one", chat], 3, SAMPLING)))
    assert completions.keys() == {(p, s) for p in range(2) for s in range(3)}
    for (prompt, _), completion in completions.items():
        asked = ["one", "two"][prompt]
        assert completion.text.startswith(f"{asked} seed ")
        assert completion.text == "".join(map(chr, completion.token_ids))
        assert completion.prompt_token_ids == tuple(map(ord, asked))
        assert completion.logprobs == tuple(-0.5 - i for i in range(len(completion.token_ids)))
        assert completion.finish_reason == "stop"
    assert len({c.text for c in completions.values()}) == 6


def test_every_sample_has_a_seed_that_a_later_call_continues(start: Start) -> None:
    engine = engine_for(start())
    whole = by_sample(list(engine.generate(["a"], 5, SAMPLING)))
    rest = by_sample(list(engine.generate(["a"], 3, SAMPLING, first_sample=2)))
    other = by_sample(list(engine.generate(["a"], 5, SAMPLING.model_copy(update={"seed": 4}))))
    assert rest == {key: whole[key] for key in rest}
    assert len({c.text for c in [*whole.values(), *other.values()]}) == 10


def test_stop_strings_are_kept_at_the_end_and_lengths_are_cut(start: Start) -> None:
    engine = engine_for(start())
    (stopped,) = engine.generate(["a"], 1, Sampling(max_tokens=100, stop=("END",)))
    assert stopped.text.endswith(" END")
    (cut,) = engine.generate(["a"], 1, Sampling(max_tokens=4))
    assert (cut.text, cut.finish_reason, len(cut.token_ids)) == ("a se", "length", 4)


def test_failures_that_pass_are_tried_again(start: Start) -> None:
    address = start("--fail", "503", "429", "drop", "500")
    completions = list(engine_for(address, concurrency=1).generate(["a", "b"], 1, SAMPLING))
    assert len(completions) == 2
    assert len(log(address)["bodies"]) == 6


def test_the_servers_retry_after_is_respected(start: Start) -> None:
    address = start("--fail", "429", "--retry-after", "0.5")
    list(engine_for(address).generate(["a"], 1, SAMPLING))
    first, second = log(address)["times"]
    assert second - first >= 0.5


def test_a_hanging_request_times_out_and_is_tried_again(start: Start) -> None:
    address = start("--fail", "hang")
    assert len(list(engine_for(address, timeout=0.5).generate(["a"], 1, SAMPLING))) == 1


def test_lasting_failures_end_in_one_line(start: Start) -> None:
    address = start("--fail", *["502"] * 10)
    with pytest.raises(EngineError, match=r"failed 3 times, at last with HTTP 502: try later$"):
        list(engine_for(address, retries=2, concurrency=1).generate(["a", "b"], 1, SAMPLING))
    with pytest.raises(EngineError, match=r"failed 2 times, at last with ConnectionRefusedError"):
        list(engine_for("http://127.0.0.1:9/v1", retries=1).generate(["a"], 1, SAMPLING))
    with pytest.raises(EngineError, match="answers '<html>a proxy</html>', no JSON"):
        list(engine_for(start("--fail", "html")).generate(["a"], 1, SAMPLING))


def test_a_refused_key_names_the_variable(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    address = start("--key", "secret")
    with pytest.raises(
        EngineError, match="HTTP 401: Incorrect API key provided; set RLVR_TEST_KEY to a valid key"
    ):
        list(engine_for(address, api_key_env="RLVR_TEST_KEY").generate(["a"], 1, SAMPLING))
    monkeypatch.setenv("RLVR_TEST_KEY", "secret")
    assert len(list(engine_for(address, api_key_env="RLVR_TEST_KEY").generate(["a"], 1, SAMPLING))) == 1


def test_a_server_that_knows_only_the_openai_fields_is_asked_with_those(start: Start, tmp_path: Path) -> None:
    character_tokenizer().save_pretrained(tmp_path)
    address = start("--strict")
    sampling = Sampling(max_tokens=5, stop=("END",))
    bare = list(engine_for(address, concurrency=4).generate(["a"] * 8, 1, sampling))
    assert {(c.token_ids, c.logprobs, c.finish_reason) for c in bare} == {((), (), "length")}
    named = engine_for(address, tokenizer=str(tmp_path))
    (completion,) = named.generate(["a"], 1, sampling)
    assert character_tokenizer().decode(completion.token_ids) == completion.text
    assert completion.logprobs == ()


def test_what_would_change_the_samples_is_not_left_out(start: Start) -> None:
    with pytest.raises(EngineError, match="Unrecognized request argument: top_k"):
        list(engine_for(start("--strict")).generate(["a"], 1, Sampling(top_k=5)))


def test_requests_run_at_once_up_to_the_limit_and_not_far_ahead_of_the_reader(start: Start) -> None:
    address = start("--delay", "0.1")
    completions = engine_for(address, concurrency=8).generate(["a"], 400, SAMPLING)
    with closing(completions):
        for _ in range(20):
            next(completions)
        time.sleep(0.5)
        seen = log(address)
    # The server counts a request until after its answer is written, when the next may be on its way.
    assert 8 <= seen["most_at_once"] <= 9
    assert len(seen["bodies"]) <= 20 + 2 * 8 + 1


def test_closing_drops_the_requests_under_way_at_once(start: Start) -> None:
    address = start("--delay", "20", "--quick", "1")
    begun = time.monotonic()
    with closing(engine_for(address, concurrency=4).generate(["a"] * 20, 1, SAMPLING)) as completions:
        next(completions)
        while len(log(address)["bodies"]) < 5:
            time.sleep(0.05)
    assert time.monotonic() - begun < 5
    while log(address)["disconnected"] < 4:
        assert time.monotonic() - begun < 10
        time.sleep(0.05)


def test_fingerprint_follows_the_server_and_the_settings(start: Start) -> None:
    address = start()
    engine = engine_for(address)
    assert engine.fingerprint() == engine_for(address).fingerprint()
    others = [
        engine_for(address, model="other"),
        engine_for(start()),
        engine_for(address, extra={"min_p": 0.1}),
    ]
    assert len({engine.fingerprint(), *(other.fingerprint() for other in others)}) == 4


def test_weights_closing_and_wrong_settings_are_refused(start: Start) -> None:
    engine = engine_for("http://127.0.0.1:9/v1")
    with pytest.raises(EngineError, match="can't take new weights"):
        engine.load_weights([], version=1)
    with pytest.raises(EngineError, match="prompt 1 is empty"):
        engine.generate(["a", ""], 1, SAMPLING)
    with pytest.raises(EngineError, match="prompt 0: message 0 needs the keys"):
        engine.generate([[{"role": "user"}]], 1, SAMPLING)
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.generate(["a"], 1, SAMPLING)
    with pytest.raises(EngineError, match=r"server\.base_url is 'localhost:8000'"):
        engine_for("localhost:8000")
    with pytest.raises(EngineError, match="needs `model`"):
        engine_for("http://127.0.0.1:9/v1", model="")
