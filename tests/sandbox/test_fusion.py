"""The remote backend against a server that speaks SandboxFusion's interface and really runs what it gets."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import typing
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from sandbox.fusion import _LANGUAGES, SERVER_OUTPUT, FusionSandbox
from sandbox.types import Call, Limits, Program, SandboxError, Suite
from verifiers import Problem
from verifiers.code import CodeVerifier


class Handler(BaseHTTPRequestHandler):
    """Answers as the server's `sandbox/server/sandbox_api.py` and `sandbox/runners/base.py` do."""

    failures = 0
    exchanges: ClassVar[list[tuple[dict[str, Any], dict[str, Any]]]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer: dict[str, Any] = {
            "status": "Success", "message": "", "compile_result": None, "run_result": None,
            "executor_pod_name": None, "files": {},
        }  # fmt: skip
        if Handler.failures:
            Handler.failures -= 1
            answer |= {"status": "SandboxError", "message": "no pod"}
        else:
            with tempfile.TemporaryDirectory() as folder:
                answer |= self.run_code(body, Path(folder))
        ended = [part for part in (answer["compile_result"], answer["run_result"]) if part]
        if any(part["return_code"] != 0 for part in ended):
            answer["status"] = "Failed"
        Handler.exchanges.append((body, answer))
        data = json.dumps(answer).encode()
        self.send_response(200 if self.path == "/run_code" else 404)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def run_code(self, body: dict[str, Any], folder: Path) -> dict[str, Any]:
        for name, content in body["files"].items():
            (folder / name).write_bytes(base64.b64decode(content))
        suffix = {"python": "py", "cpp": "cpp", "bash": "sh"}[body["language"]]
        source = folder / f"program.{suffix}"
        source.write_text(body["code"])
        compiled = None
        command = [sys.executable if suffix == "py" else "bash", str(source)]
        if suffix == "cpp":
            compiled = self.outcome(["g++", str(source), "-o", "test"], folder, None, body["compile_timeout"])
            if compiled["return_code"] != 0:
                return {"compile_result": compiled}
            command = ["./test"]
        ran = self.outcome(command, folder, body["stdin"], body["run_timeout"])
        return {"compile_result": compiled, "run_result": ran}

    def outcome(self, command: list[str], folder: Path, stdin: str | None, seconds: float) -> dict[str, Any]:
        """What the server says of a command: `Error` is a failure of its own, not an exit code."""
        started = time.monotonic()
        try:
            done = subprocess.run(
                command, input=(stdin or "").encode(), capture_output=True, timeout=seconds, cwd=folder,
                check=False,
            )  # fmt: skip
            status, code, stdout, stderr = "Finished", done.returncode, done.stdout, done.stderr
        except subprocess.TimeoutExpired as late:
            status, code, stdout, stderr = "TimeLimitExceeded", None, late.stdout or b"", late.stderr or b""
        return {
            "status": status,
            "execution_time": time.monotonic() - started,
            "return_code": code,
            "stdout": stdout[:SERVER_OUTPUT].decode(errors="replace"),
            "stderr": stderr[:SERVER_OUTPUT].decode(errors="replace"),
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


def test_files_arguments_and_the_first_source_that_parses(sandbox: FusionSandbox) -> None:
    source = "import sys; print(open('data.txt').read(), sys.argv[1:], input())"
    run = sandbox.run(Program(source=source, files={"data.txt": "d"}, arguments=("-x", "1"), stdin="in"))
    assert run.stdout == "d ['-x', '1'] in\n"
    assert sandbox.run(Program(source="print(", fallbacks=("print(2)",))).stdout == "2\n"
    with pytest.raises(SandboxError, match="arguments"):
        sandbox.run(Program(source="echo $1", language="bash", arguments=("x",)))


def test_output_that_the_server_cut_is_a_limit_and_no_answer(sandbox: FusionSandbox) -> None:
    run = sandbox.run(Program(source=f"print('x' * {SERVER_OUTPUT})"), Limits(output=8 << 20))
    assert run.limit == "output"
    assert sandbox.run(Program(source=f"print('x' * {SERVER_OUTPUT - 2})")).limit is None


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ for the server")
def test_languages_that_are_built(sandbox: FusionSandbox) -> None:
    good = "#include <iostream>\nint main() { int x; std::cin >> x; std::cout << x + 1; }"
    run = sandbox.run(Program(source=good, language="cpp", stdin="41"))
    assert (run.stdout, run.exit_code, run.load_error) == ("42", 0, None)
    failed = sandbox.run(Program(source="int main() { return x; }", language="cpp"))
    assert failed.load_error is not None
    assert (failed.load_error.name, "error" in failed.load_error.message) == ("CompileError", True)
    assert not failed.ok


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
    expression = Problem(id="e", tests=["assert f([2, 1]) == sorted([1, 2])"])
    assert verifier.verify("```python\ndef f(x): return sorted(x)\n```", expression).correct
    asserts = Problem(id="a", tests=["x = [2, 1]\nassert f(x) == sorted(x)"])
    assert verifier.verify("```python\ndef f(x): return sorted(x)\n```", asserts).status == "error"


def test_a_server_that_fails_is_asked_again_and_never_a_result(sandbox: FusionSandbox) -> None:
    Handler.failures = 1
    assert sandbox.run(Program(source="print(1)")).stdout == "1\n"
    with pytest.raises(SandboxError, match="fails"):
        FusionSandbox("http://127.0.0.1:9", timeout=1).run(Program(source="print(1)"))
    with pytest.raises(SandboxError, match="calls or stdio"):
        sandbox.run_suite(Program(source=""), Suite(tests=("pass",)))


def test_what_is_asked_and_answered_is_what_the_published_client_knows(sandbox: FusionSandbox) -> None:
    """The models of `sandbox-fusion` are the interface: ours must fit them, and the stand-in's answers too."""
    client = pytest.importorskip("sandbox_fusion", reason="no package sandbox-fusion to compare with")
    Handler.exchanges.clear()
    sandbox.run(Program(source="def f(x): return x", entry_point="f", calls=(Call(args=(1,)),)))
    sandbox.run(Program(source="raise ValueError", files={"a": "b"}))
    sandbox.run(Program(source="while True: pass"), Limits(wall=0.5))
    sandbox.run(Program(source="exit 3", language="bash"))
    Handler.failures = 1
    sandbox.run(Program(source="print(1)"))
    statuses = set()
    for request, answer in Handler.exchanges:
        client.RunCodeRequest(**request)
        # Newer than the client: the server has it in its own model of the request.
        assert request.keys() - client.RunCodeRequest.__fields__.keys() == {"memory_limit_MB"}
        read = client.RunCodeResponse(**answer)
        assert answer.keys() <= client.RunCodeResponse.__fields__.keys()
        statuses.add(read.status.value)
    assert statuses == {"Success", "Failed", "SandboxError"}
    assert set(_LANGUAGES.values()) <= set(typing.get_args(client.models.Language))


def test_the_published_client_understands_the_stand_in(sandbox: FusionSandbox) -> None:
    client = pytest.importorskip("sandbox_fusion", reason="no package sandbox-fusion to compare with")
    request = client.RunCodeRequest(code="print(int(input()) + 1)", language="python", stdin="41")
    answer = client.run_code(request, endpoint=sandbox.url, max_attempts=1)
    assert (answer.status.value, answer.run_result.stdout) == ("Success", "42\n")
    late = client.RunCodeRequest(code="while True: pass", language="python", run_timeout=0.5)
    answer = client.run_code(late, endpoint=sandbox.url, max_attempts=1)
    assert client.summary_run_code_result(answer, client.SummaryMapping(RunTimeout="late")) == "late"
