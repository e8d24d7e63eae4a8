"""The local sandbox: warm zygotes, and the supervisor that hands programs to them and collects what came out."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import socket
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from . import languages
from .cases import CasesRun, one_by_one
from .collect import BuildCollector, Collector, Frame, SuiteCollector
from .inside import codec
from .names import names_of
from .supervise import GRACE_SECONDS, MORE_PRELOADS, Run, Zygote, attend
from .tiers import attack
from .types import (
    Call,
    Execution,
    Limits,
    OnExecution,
    OnResult,
    Program,
    Raised,
    SandboxError,
    Suite,
    SuiteExecution,
)

TIERS = ("namespaces", "bubblewrap", "landlock")
"""From the strongest to the weakest that is safe."""


C = TypeVar("C", bound=Collector)
KEPT_BUILDS = 16
MOST_CASES = 500
"""Cases of one request: what the zygote says of their scratch directories has to fit in its answer."""
WORTH_A_PROCESS = 3
"""Cases from which on it is cheaper to have one more process, which compiles the program and forks them."""
_MORE = re.compile("|".join(MORE_PRELOADS))

_withstood: set[str] = set()
"""Tiers that the probe's attacks did not break, in this process."""


class LocalSandbox:
    """Runs Python programs on this machine, each in a fresh process that is forked from a warm interpreter.

    `size` programs run at the same time (default: one per core). `packages` are third-party packages that
    programs may import; an interpreter that has them loaded is kept for programs that mention them. `tier` is
    `auto` or a name from `TIERS`; `allow_unsafe` lets `tier="none"` run programs with nothing but resource
    limits around them.
    """

    def __init__(
        self,
        size: int | None = None,
        *,
        tier: str = "auto",
        packages: Sequence[str] = ("numpy",),
        allow_unsafe: bool = False,
    ) -> None:
        self._settings: dict[str, Any] = {
            "size": size,
            "tier": tier,
            "packages": tuple(packages),
            "allow_unsafe": allow_unsafe,
        }
        if tier == "none" and not allow_unsafe:
            raise SandboxError("tier 'none' isolates nothing; allow_unsafe=True runs programs all the same")
        if tier not in ("auto", "none", *TIERS):
            raise SandboxError(f"unknown tier {tier!r}; known: auto, {', '.join(TIERS)}, none")
        self._packages = locate(packages)
        self._permits = threading.BoundedSemaphore(size or os.cpu_count() or 1)
        self._lock = threading.Lock()
        self._idle: defaultdict[str, list[Zygote]] = defaultdict(list)
        self._artifacts: OrderedDict[tuple[Any, ...], tuple[Execution, bytes]] = OrderedDict()
        self._closed = False
        self._runs_cases = False
        self._owner = os.getpid()
        self.tier = tier
        self.tier = self._choose(tier)

    def _choose(self, tier: str) -> str:
        if tier != "auto":
            self._release(self._start(tier, "lean"), "lean")
            return tier
        reasons = []
        for candidate in TIERS:
            try:
                self.tier = candidate
                self._release(self._start(candidate, "lean"), "lean")
                if candidate not in _withstood:
                    self._withstand(candidate)
                return candidate
            except SandboxError as error:
                reasons.append(str(error))
        if self._settings["allow_unsafe"]:
            return "none"
        raise SandboxError(
            "no safe sandbox is possible here (use Docker, or allow_unsafe): " + "; ".join(reasons)
        )

    def _withstand(self, tier: str) -> None:
        """Once per process and tier: try to break out, and refuse the tier where anything succeeds."""
        succeeded = attack(self)
        if succeeded:
            self._drain()
            raise SandboxError(f"the {tier} sandbox does not hold here: a program {', '.join(succeeded)}")
        _withstood.add(tier)

    def _drain(self) -> None:
        with self._lock:
            zygotes = [zygote for idle in self._idle.values() for zygote in idle]
            self._idle = defaultdict(list)
        if self._owner == os.getpid():
            for zygote in zygotes:
                zygote.kill()

    def __getstate__(self) -> dict[str, Any]:
        return self._settings

    def __setstate__(self, settings: dict[str, Any]) -> None:
        self.__init__(**settings)  # type: ignore[misc]

    def run(
        self, program: Program, limits: Limits | None = None, *, on_result: OnResult | None = None
    ) -> Execution:
        """Run `program`. `on_result` sees each result as it comes and may return True to end the run.

        SandboxError where the sandbox fails, twice in a row.
        """
        limits = limits or Limits()
        stdin = _bytes(program.stdin)
        if program.language != "python":
            return self._run_built(program, stdin, limits)
        job = {**job_of(program), "processes": limits.processes}
        return self._twice(job, stdin, limits, lambda: Collector.of(program, on_result))[0]

    def run_cases(
        self,
        program: Program,
        stdins: Sequence[str | bytes],
        limits: Limits | None = None,
        *,
        on_execution: OnExecution | None = None,
    ) -> tuple[Execution, ...]:
        """Run a script once for each of `stdins`, compiled once; see `Sandbox.run_cases`."""
        limits = limits or Limits()
        job = {**job_of(program), "processes": limits.processes} if program.language == "python" else None
        together = job is not None and job["mode"] == "script" and limits.processes == 1 and self._runs_cases
        if job is None or not together or len(stdins) < WORTH_A_PROCESS:
            return one_by_one(self, program, stdins, limits, on_execution)
        waiting = [_bytes(stdin) for stdin in stdins]
        executions: list[Execution] = []
        failed = False
        while waiting:
            run = CasesRun(job, waiting[:MOST_CASES], limits, self.tier, on_execution)
            try:
                with self._permits, self._zygote(job) as zygote:
                    run.attend(zygote)
            except SandboxError:
                # What was judged stays so; of the case at work nothing is known.
                if failed and not run.executions:
                    raise
                failed = not run.executions
            executions += run.executions
            waiting = [] if run.stopped else waiting[len(run.executions) :]
        return tuple(executions)

    def _run_built(self, program: Program, stdin: bytes, limits: Limits) -> Execution:
        """Build the program, unless that was done just before, and run what came of it."""
        plan = languages.plan(program.language, program.source, limits)
        job: Frame = {"sources": [], "files": {**program.files, plan.file: program.source}, "arguments": []}
        artifact = b""
        if plan.build:
            built, artifact = self._built(program, plan, job)
            if not built.ok:
                error = Raised(types=("CompileError",), message=(built.stderr or str(built.limit))[:1000])
                return built.model_copy(update={"load_error": error, "exit_code": built.exit_code or 1})
            job["files"] = {}
        run = {
            **job,
            "mode": "command",
            "command": [*plan.run, *program.arguments],
            "artifact": bool(artifact),
        }
        wide = limits.model_copy(
            update={
                "processes": max(limits.processes, 16),
                "files": limits.files + 2000,
                "disk": limits.disk + len(artifact) * 2 + (4 << 20),
                "file_size": max(limits.file_size, len(artifact)),
                "open_files": max(limits.open_files, 256),
            }
        )
        return self._twice(run, stdin, wide, Collector, artifact)[0]

    def _built(self, program: Program, plan: languages.Plan, job: Frame) -> tuple[Execution, bytes]:
        key = (program.language, program.source, tuple(sorted(program.files.items())))
        with self._lock:
            if key in self._artifacts:
                self._artifacts.move_to_end(key)
                return self._artifacts[key]
        build = {**job, "mode": "build", "command": list(plan.build)}
        execution, collector = self._twice(build, b"", languages.BUILD_LIMITS, BuildCollector)
        with self._lock:
            self._artifacts[key] = execution, bytes(collector.buffer)
            while len(self._artifacts) > KEPT_BUILDS:
                self._artifacts.popitem(last=False)
        return execution, bytes(collector.buffer)

    def _twice(
        self, job: Frame, stdin: bytes, limits: Limits, collect: Callable[[], C], artifact: bytes = b""
    ) -> tuple[Execution, C]:
        """Run a job, once more where the sandbox fails; SandboxError where it fails again."""
        try:
            return self._run_once(job, stdin, limits, collect(), artifact)
        except SandboxError:
            return self._run_once(job, stdin, limits, collect(), artifact)

    def _run_once(
        self, job: Frame, stdin: bytes, limits: Limits, collector: C, artifact: bytes
    ) -> tuple[Execution, C]:
        with self._permits, self._zygote(job) as zygote:
            run = Run(job, stdin)
            try:
                zygote.start(limits, [*run.handed_over(), *run.extra(artifact)])
                run.close_channel()
                answer = attend(zygote, run, limits, collector)
                return collector.execution(answer, run.taken(limits), limits, self.tier), collector
            finally:
                run.close()

    def run_suite(self, program: Program, suite: Suite, limits: Limits | None = None) -> SuiteExecution:
        """Run `suite` in one process against `program` in another. SandboxError as in `run`."""
        limits = limits or Limits()
        try:
            return self._run_suite_once(program, suite, limits)
        except SandboxError:
            return self._run_suite_once(program, suite, limits)

    def _run_suite_once(self, program: Program, suite: Suite, limits: Limits) -> SuiteExecution:
        job = {**job_of(program), "mode": "serve"}
        tests = {
            **suite.model_dump(),
            "free_names": names_of(suite),
            "mode": "test",
            "sources": [*suite.tests, suite.setup],
            "files": {},
            "arguments": [],
        }
        # The tests wait while the program works, and have their own time for their own work.
        patient = limits.model_copy(update={"wall": limits.elapsed + limits.cpu})
        collector = SuiteCollector()
        ours, theirs = socket.socketpair()
        with ours, theirs, self._permits, self._zygote(job) as first, self._zygote(tests) as second:
            run, watch = Run(job, b"", ours.fileno()), Run(tests, b"")
            try:
                first.start(limits, run.handed_over())
                second.start(patient, [*watch.handed_over(), theirs.fileno()])
                ours.close()
                theirs.close()
                run.descriptors.remove(run.channel)
                watch.close_channel()
                answer = attend(second, watch, patient, collector)
                first.stop()
                ended = first.answer_within(GRACE_SECONDS)
                return SuiteExecution(
                    reports=tuple(collector.reports),
                    program=Collector().execution(ended, run.taken(limits), limits, self.tier),
                    suite=collector.execution(answer, watch.taken(patient), patient, self.tier),
                    setup_error=collector.setup_error,
                    suite_error=collector.suite_error(answer),
                )
            finally:
                run.descriptors = [d for d in run.descriptors if d != run.channel]
                run.close()
                watch.close()

    @contextlib.contextmanager
    def _zygote(self, job: Frame) -> Iterator[Zygote]:
        """An idle zygote, or a new one; given back unless the run failed in a way that leaves it in doubt."""
        flavour = _flavour(job, self._packages)
        with self._lock:
            if self._closed:
                raise SandboxError("the sandbox was closed")
            if self._owner != os.getpid():
                # After a fork the parent's zygotes belong to the parent.
                self._idle = defaultdict(list)
                self._owner = os.getpid()
            idle = self._idle[flavour]
            zygote = idle.pop() if idle else None
            while zygote is not None and zygote.process.poll() is not None:
                zygote.kill()
                zygote = idle.pop() if idle else None
        if zygote is None:
            zygote = self._start(self.tier, flavour)
        try:
            yield zygote
        except BaseException:
            zygote.kill()
            raise
        self._release(zygote, flavour)

    def _start(self, tier: str, flavour: str) -> Zygote:
        if flavour not in ("commands", "processes"):
            packages = self._packages if flavour == "packages" else {}
            zygote = Zygote(tier, packages, lean=flavour == "lean")
            self._runs_cases = zygote.runs_cases
            return zygote
        if tier != "namespaces":
            raise SandboxError(
                f"programs that start processes need the tier `namespaces`: `{tier}` can't limit what they "
                "use together"
            )
        return Zygote(tier, {}, languages.trees(), commands=flavour == "commands")

    def _release(self, zygote: Zygote, flavour: str) -> None:
        with self._lock:
            if not self._closed:
                self._idle[flavour].append(zygote)
                return
        zygote.kill()

    def close(self) -> None:
        """End every idle zygote; those at work end with their run."""
        with self._lock:
            self._closed = True
        self._drain()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _bytes(stdin: str | bytes) -> bytes:
    return stdin.encode("utf-8", "surrogatepass") if isinstance(stdin, str) else stdin


def job_of(program: Program) -> Frame:
    """What the process of `program` is told."""
    if program.language != "python":
        raise SandboxError(f"this sandbox runs Python only, not {program.language}")
    sources = [program.source, *program.fallbacks]
    job: Frame = {"sources": sources, "files": program.files, "arguments": program.arguments}
    if program.entry_point is None:
        return {**job, "mode": "script"}
    return {
        **job,
        "mode": "calls",
        "entry_point": program.entry_point,
        "one_instance": program.one_instance,
        "calls": [_packed(c) for c in program.calls],
    }


def _flavour(job: Frame, packages: dict[str, str]) -> str:
    """Which kind of zygote a job needs: for tools, with processes, or with what its sources may import loaded."""
    if job["mode"] in ("build", "command"):
        return "commands"
    if job.get("processes", 1) > 1:
        return "processes"
    if any(name in source for source in job["sources"] for name in packages):
        return "packages"
    return "plain" if job["mode"] == "test" or any(map(_MORE.search, job["sources"])) else "lean"


def _packed(call: Call) -> Frame:
    try:
        return {"args": codec.pack(list(call.args)), "kwargs": codec.pack(call.kwargs), "after": call.after}
    except codec.CodecError as error:
        raise SandboxError(f"an argument of a call is no plain data: {error}") from error


def locate(packages: Sequence[str]) -> dict[str, str]:
    """Folders of the packages that are installed here, with those of the libraries that they bring along."""
    found: dict[str, str] = {}
    for name in packages:
        spec = importlib.util.find_spec(name)
        if spec is None or not spec.submodule_search_locations:
            continue
        folder = Path(next(iter(spec.submodule_search_locations)))
        found[name] = str(folder)
        libraries = folder.with_name(f"{name}.libs")
        if libraries.is_dir():
            found[libraries.name] = str(libraries)
    return found
