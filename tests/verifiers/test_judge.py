"""The judge against a real HTTP server: who is asked, what is cached, what happens without a reply."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from verifiers import InputError, JudgeVerifier, Problem


class Server(ThreadingHTTPServer):
    """Answers chat completions with what `reply` holds, and keeps what was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.reply = "They agree.\nVerdict: same"
        self.codes: list[int] = []
        self.asked: list[dict[str, object]] = []
        self.keys: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(body)
        self.server.keys.append(self.headers.get("Authorization"))
        code = self.server.codes.pop(0) if self.server.codes else 200
        message = {"choices": [{"message": {"role": "assistant", "content": self.server.reply}}]}
        data = json.dumps(message if code == 200 else {"error": "busy"}).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


PHRASES = (
    "The final answer is \\boxed{\\text{the river trip lasts longer}}.",
    "More time is needed on the river.",
)


def test_rules_decide_what_they_can_and_the_model_the_rest(server: Server) -> None:
    judge = JudgeVerifier(server.url, "tiny")
    assert judge.verify("\\boxed{0.5}", "1/2").method == "exact_number"
    assert judge.verify("\\boxed{3}", "4").status == "incorrect"
    assert judge.verify("I give up.", "4").status == "no_answer"
    assert server.asked == []
    verdict = judge.verify(PHRASES[0], Problem(id="p", prompt="Which trip takes longer?", answer=PHRASES[1]))
    assert (verdict.status, verdict.method, verdict.reward) == ("correct", "judge", 1.0)
    assert not verdict.parts["math"].correct
    question = json.dumps(server.asked[0])
    assert "Which trip takes longer?" in question
    assert "the river trip lasts longer" in question
    assert "The final answer is" not in question
    server.reply = "Not alike. Verdict: different"
    assert judge.verify(*PHRASES).status == "incorrect"


def test_replies_are_cached_by_question_and_model(server: Server, tmp_path: Path) -> None:
    judge = JudgeVerifier(server.url, "tiny", cache=tmp_path)
    assert judge.verify(*PHRASES).correct
    server.reply = "Verdict: different"
    assert judge.verify(*PHRASES).correct
    assert len(server.asked) == 1
    assert not JudgeVerifier(server.url, "other", cache=tmp_path).verify(*PHRASES).correct
    assert len(server.asked) == 2


def test_a_busy_server_is_asked_again_and_a_refusal_is_an_error(server: Server) -> None:
    server.codes = [503]
    assert JudgeVerifier(server.url, "tiny").verify(*PHRASES).correct
    server.codes = [401]
    verdict = JudgeVerifier(server.url, "tiny").verify(*PHRASES)
    assert verdict.status == "error"
    assert "401" in verdict.detail
    server.reply = "I would rather not say."
    assert JudgeVerifier(server.url, "tiny").verify(*PHRASES).status == "error"


def test_no_server_is_an_error_and_never_a_reward() -> None:
    verdict = JudgeVerifier("http://127.0.0.1:9/v1", "tiny", attempts=1).verify(*PHRASES)
    assert verdict.status == "error"
    assert verdict.failed


def test_the_key_comes_from_the_environment(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "s3cret")
    judge = JudgeVerifier(server.url, "tiny", api_key_env="MY_KEY")
    judge.verify(*PHRASES)
    assert server.keys == ["Bearer s3cret"]
    assert "s3cret" not in repr(judge)


def test_wrong_options_are_input_errors() -> None:
    with pytest.raises(InputError, match="name of a model"):
        JudgeVerifier("http://localhost:1/v1")
    with pytest.raises(InputError, match="base_url"):
        JudgeVerifier("localhost", "tiny")
    with pytest.raises(InputError, match="prompt"):
        JudgeVerifier(model="tiny", prompt="{nonsense}")
