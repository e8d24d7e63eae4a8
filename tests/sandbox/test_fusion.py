"""The remote backend against a server that speaks SandboxFusion's interface and really runs what it gets."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from sandbox.fusion import FusionSandbox
from sandbox.types import Call, Limits, Program, SandboxError, Suite
from verifiers import Problem
from verifiers.code import CodeVerifier


class Handler(BaseHTTPRequestHandler):
    failures = 0

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer: dict[str, Any] = {"status": "Success", "message": "", "compile_result": None}
        if Handler.failures:
            Handler.failures -= 1
            answer = {
                "status": "SandboxError",
                "message": "no pod",
                "compile_result": None,
                "run_result": None,
            }
        else:
            answer["run_result"] = self.run_code(body)
        data = json.dumps(answer).encode()
        self.send_response(200 if self.path == "/run_code" else 404)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def run_code(self, body: dict[str, Any]) -> dict[str, Any]:
        assert body["language"] == "python"
        try:
            done = subprocess.run(
                [sys.executable, "-c", body["code"]],
                input=body["stdin"], capture_output=True, text=True, timeout=body["run_timeout"], check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return {"status": "TimeLimitExceeded", "execution_time": body["run_timeout"], "return_code": None}
        return {
            "status": "Finished" if done.returncode == 0 else "Error",
            "execution_time": 0.1,
            "return_code": done.returncode,
            "stdout": done.stdout,
            "stderr": done.stderr,
        }

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def sandbox() -> Iterator[FusionSandbox]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield FusionSandbox(f"http://127.0.0.1:{server.server_address[1]}/")
        server.shutdown()


def test_scripts(sandbox: FusionSandbox) -> None:
    run = sandbox.run(Program(source="print(int(input()) + 1)", stdin="41"))
    assert (run.stdout, run.exit_code, run.tier) == ("42\n", 0, "fusion")
    assert sandbox.run(Program(source="raise SystemExit(3)")).exit_code == 3
    assert sandbox.run(Program(source="while True: pass"), Limits(wall=0.5)).limit == "wall"


def test_calls_come_back_typed_and_apart_from_what_is_printed(sandbox: FusionSandbox) -> None:
    source = "def f(x):\n    print('{\"value\": 9}')\n    return (x, {x})"
    run = sandbox.run(Program(source=source, entry_point="f", calls=(Call(args=(1,)), Call(args=([],)))))
    assert run.results[0].value == (1, [1])
    assert run.results[1].raised is not None
    assert run.results[1].raised.name == "TypeError"


def test_verdicts(sandbox: FusionSandbox) -> None:
    verifier = CodeVerifier(sandbox=sandbox)
    problem = Problem(id="p", tests={"entry_point": "f", "tests": [{"args": [[2, 1]], "expected": [1, 2]}]})
    assert verifier.verify("```python\ndef f(x): return sorted(x)\n```", problem).correct
    assert verifier.verify("```python\ndef f(x): return x\n```", problem).status == "incorrect"
    literal = Problem(id="l", tests=["assert f([2, 1]) == [1, 2]"])
    assert verifier.verify("```python\ndef f(x): return sorted(x)\n```", literal).correct
    asserts = Problem(id="a", tests=["assert f([2, 1]) == sorted([1, 2])"])
    assert verifier.verify("```python\ndef f(x): return sorted(x)\n```", asserts).status == "error"


def test_a_server_that_fails_is_asked_again_and_never_a_result(sandbox: FusionSandbox) -> None:
    Handler.failures = 1
    assert sandbox.run(Program(source="print(1)")).stdout == "1\n"
    with pytest.raises(SandboxError, match="fails"):
        FusionSandbox("http://127.0.0.1:9", timeout=1).run(Program(source="print(1)"))
    with pytest.raises(SandboxError, match="calls or stdio"):
        sandbox.run_suite(Program(source=""), Suite(tests=("pass",)))
