"""The verifier of code: runs the response's program against the problem's tests in a sandbox.

The tests' expected values never enter the program's process. Calls go in and plain data comes out, standard
output is compared here, and assert-style tests run in a process of their own.
"""

from __future__ import annotations

import asyncio
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal

from sandbox.types import Limits, Sandbox, SandboxError
from verifiers.code_convert import read_tests
from verifiers.code_extract import extract_code
from verifiers.code_judges import Outcome, judge
from verifiers.code_tests import CodeTests
from verifiers.types import InputError, Problem, Status, Verdict

Reward = Literal["all", "share"]
_MAX_DETAIL = 1000


_TRIED = re.compile(r"; tried ([\w:]+ [0-9]+(?:, [\w:]+ [0-9]+)*)\Z")


def _detail(count: str, outcome: Outcome) -> str:
    tried = ", ".join(f"{name} {times}" for name, times in sorted(outcome.events.items()))
    text = f"{count} tests passed [{outcome.tier}]; {outcome.detail}"[:_MAX_DETAIL]
    # Programs have a say in the detail, from its first word on, and none in what they tried.
    text = text.replace("; tried ", ", tried ")
    return f"{text}; tried {tried}" if tried else text


def tried(verdict: Verdict) -> Counter[str]:
    """What the program behind a verdict of this verifier tried: refused system calls, odd paths, an early exit.

    Add the counters up to see what a training step brought.
    """
    found = _TRIED.search(verdict.detail)
    pairs = (pair.rsplit(" ", 1) for pair in found[1].split(", ")) if found else ()
    return Counter({name: int(times) for name, times in pairs})


class CodeVerifier:
    """Runs the response's program against the problem's tests; +1 where all pass, else -1.

    `reward="share"` gives the share of passed tests, from -1 to +1, and runs all of them; otherwise the first
    failure ends the run. `limits` bound each run; a problem's own limits come first. Programs run in `sandbox`,
    by default the strongest local one, started when first needed; `tier="docker"` takes containers of
    `image`. What the sandbox fails at is status `error`.
    """

    name = "code"

    def __init__(
        self,
        *,
        reward: Reward = "all",
        limits: Limits | Mapping[str, Any] | None = None,
        workers: int | None = None,
        tier: str = "auto",
        image: str = "python:3.12-slim",
        allow_unsafe: bool = False,
        sandbox: Sandbox | None = None,
    ) -> None:
        if reward not in ("all", "share"):
            raise InputError(f"code verifier: reward is 'all' or 'share', not {reward!r}")
        self.reward = reward
        self.limits = limits if isinstance(limits, Limits) else Limits.model_validate(limits or {})
        self._options: dict[str, Any] = {"size": workers, "tier": tier, "allow_unsafe": allow_unsafe}
        self._image = image
        self._given = sandbox
        self._made: Sandbox | None = None
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_made": None, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    @property
    def sandbox(self) -> Sandbox:
        """The sandbox in use; starts it. InputError where none is safe here, with what to do."""
        if self._given is not None:
            return self._given
        with self._lock:
            if self._made is None:
                try:
                    self._made = self._start()
                except SandboxError as error:
                    raise InputError(f"code verifier: {error}") from error
            return self._made

    def _start(self) -> Sandbox:
        if self._options["tier"] == "docker":
            from sandbox.containers import DockerSandbox

            return DockerSandbox(self._image, self._options["size"] or os.cpu_count() or 1)
        from sandbox.local import LocalSandbox

        return LocalSandbox(**self._options)

    def close(self) -> None:
        """End the processes of the sandbox that this verifier started."""
        if self._made is not None:
            self._made.close()
            self._made = None

    def verify(self, response: str, problem: Problem | str) -> Verdict:
        """Judge `response` against `problem.tests`.

        A string stands for assert-style tests. InputError where the tests can't be read, or where this machine
        has no sandbox that is safe.
        """
        started = time.perf_counter()
        tests = read_tests(problem if isinstance(problem, str) else problem.tests)
        code = extract_code(response, tests.language)
        if code is None:
            return Verdict(
                reward=-1.0, status="no_answer", method="extract", detail="no program in the response"
            )
        try:
            outcome = judge(code, tests, self.sandbox, self._limits(tests), stop_early=self.reward == "all")
        except SandboxError as error:
            return Verdict(
                reward=-1.0,
                status="error",
                extracted=code,
                method="sandbox",
                detail=str(error)[:_MAX_DETAIL],
                seconds=time.perf_counter() - started,
            )
        status: Status = "correct" if outcome.correct else "incorrect"
        count = f"{outcome.passed}/{outcome.total}"
        share = 2.0 * outcome.passed / outcome.total - 1.0
        return Verdict(
            reward=share if self.reward == "share" else 1.0 if outcome.correct else -1.0,
            status=status,
            extracted=code,
            method=outcome.method,
            detail=_detail(count, outcome),
            seconds=time.perf_counter() - started,
        )

    async def verify_async(self, response: str, problem: Problem | str) -> Verdict:
        """As `verify`, without holding up the event loop."""
        return await asyncio.to_thread(self.verify, response, problem)

    def _limits(self, tests: CodeTests) -> Limits:
        own = {
            name: value for name in ("cpu", "wall", "memory") if (value := getattr(tests, name)) is not None
        }
        return self.limits.model_copy(update=own)
