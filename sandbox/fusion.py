"""A remote backend: programs run by a SandboxFusion server, over its HTTP interface.

Source: bytedance/SandboxFusion, `POST /run_code`; its client package `sandbox-fusion` has the models. What
isolates the programs is that server's matter, and so the tier says `fusion`. Calls are made by our runner, which
travels with the program and whose answers are read as plain data here, as everywhere; suites need two processes
that can't reach each other, which the interface lacks.
"""

from __future__ import annotations

import base64
import json
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .cases import one_by_one
from .collect import Collector, Taken
from .local import job_of
from .types import (
    Execution,
    Language,
    Limits,
    OnExecution,
    OnResult,
    Program,
    Raised,
    SandboxError,
    Suite,
    SuiteExecution,
)

_LANGUAGES: dict[Language, str] = {
    "python": "python",
    "cpp": "cpp",
    "java": "java",
    "javascript": "nodejs",
    "go": "go",
    "rust": "rust",
    "bash": "bash",
}
_RETRY_SECONDS = (0.5, 2.0)
SERVER_OUTPUT = 1 << 20
"""Bytes of each stream that the server keeps: it cuts the rest off without a word."""
_RUNNER = """
import importlib.abc, importlib.util, json, os, sys
sources = json.loads({sources!r})
class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):
        if name in sources:
            return importlib.util.spec_from_loader(name, self, is_package=name == "inside")
    def exec_module(self, module):
        exec(compile(sources[module.__name__], module.__name__, "exec"), module.__dict__)
sys.meta_path.insert(0, Finder())
from inside import runner
job = json.loads({job!r})
if job["mode"] == "script":
    sys.argv = [runner.FILE_NAME, *job["arguments"]]
    sys.exit(runner.script(job["sources"])())
# Results leave on the real standard output; what the program prints goes to standard error.
channel = os.dup(1)
os.dup2(2, 1)
os.dup2(channel, runner.CHANNEL)
sys.exit(runner.run_calls(job))
"""


class FusionSandbox:
    """Runs programs on the SandboxFusion server at `url`."""

    tier = "fusion"

    def __init__(self, url: str, *, timeout: float = 30.0) -> None:
        self.url = url.rstrip("/")
        self.timeout = timeout

    def run(
        self, program: Program, limits: Limits | None = None, *, on_result: OnResult | None = None
    ) -> Execution:
        """Run `program`. SandboxError where the server fails, after two more tries."""
        limits = limits or Limits()
        if program.language not in _LANGUAGES:
            raise SandboxError(f"SandboxFusion does not run {program.language}")
        if program.arguments and program.language != "python":
            raise SandboxError(f"SandboxFusion passes no arguments to a program in {program.language}")
        stdin = (
            program.stdin
            if isinstance(program.stdin, str)
            else program.stdin.decode("utf-8", "surrogateescape")
        )
        called = program.entry_point is not None
        by_runner = called or (program.language == "python" and (program.arguments or program.fallbacks))
        files = {name: base64.b64encode(text.encode()).decode() for name, text in program.files.items()}
        answer = self._ask(
            {
                "code": _with_runner(program) if by_runner else program.source,
                "language": _LANGUAGES[program.language],
                "stdin": "" if called else stdin,
                "compile_timeout": 60,
                "run_timeout": limits.elapsed,
                "memory_limit_MB": limits.memory >> 20,
                "files": files,
                "fetch_files": [],
            }
        )
        return _execution(answer, limits, Collector.of(program, on_result) if called else None)

    def run_cases(
        self,
        program: Program,
        stdins: Sequence[str | bytes],
        limits: Limits | None = None,
        *,
        on_execution: OnExecution | None = None,
    ) -> tuple[Execution, ...]:
        """Run a script once for each of `stdins`; see `Sandbox.run_cases`."""
        return one_by_one(self, program, stdins, limits, on_execution)

    def run_suite(self, program: Program, suite: Suite, limits: Limits | None = None) -> SuiteExecution:
        """Refuses: the interface has no two processes that are safe from each other."""
        raise SandboxError(
            "SandboxFusion can't run assert-style tests apart from the program; use calls or stdio"
        )

    def close(self) -> None:
        """Nothing is kept open."""

    def _ask(self, body: dict[str, Any]) -> dict[str, Any]:
        request = urllib.request.Request(
            f"{self.url}/run_code", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        failure = ""
        for pause in (0.0, *_RETRY_SECONDS):
            time.sleep(pause)
            try:
                with urllib.request.urlopen(request, timeout=body["run_timeout"] + self.timeout) as response:
                    answer: dict[str, Any] = json.load(response)
            except (urllib.error.URLError, TimeoutError, ConnectionError, ValueError) as error:
                failure = str(error)
                continue
            if answer.get("status") != "SandboxError":
                return answer
            failure = str(answer.get("message"))
        raise SandboxError(f"the SandboxFusion server at {self.url} fails: {failure[:300]}")


def _with_runner(program: Program) -> str:
    folder = Path(__file__).parent / "inside"
    sources = {f"inside.{name}": (folder / f"{name}.py").read_text() for name in ("codec", "runner")}
    job = json.dumps(job_of(program))
    return _RUNNER.format(sources=json.dumps({**sources, "inside": ""}), job=job)


def _execution(answer: dict[str, Any], limits: Limits, collector: Collector | None) -> Execution:
    build, run = answer.get("compile_result") or {}, answer.get("run_result")
    failed_build = run is None
    run = run or build
    limits = limits.model_copy(update={"output": min(limits.output, SERVER_OUTPUT - 1)})
    stdout, stderr = (str(run.get(name) or "").encode("utf-8", "replace") for name in ("stdout", "stderr"))
    if collector is not None:
        collector.feed(stdout, limits.output)
        stdout = b""
    code = run.get("return_code")
    seconds = float(run.get("execution_time") or 0.0)
    late = run.get("status") == "TimeLimitExceeded"
    end: dict[str, Any] = {
        "code": -9 if late or code is None else int(code),
        "limit": "wall" if late else None,
        "wall": seconds,
        "cpu": 0.0,
        "memory": 0,
        "denied": {},
    }
    execution = (collector or Collector()).execution(
        end, Taken(stdout, stderr, b""), limits, FusionSandbox.tier
    )
    error = Raised(types=("CompileError",), message=execution.stderr[:1000]) if failed_build else None
    return execution.model_copy(update={"events": {}, "load_error": error or execution.load_error})
