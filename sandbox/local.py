"""The local sandbox: warm zygotes, and the supervisor that hands programs to them and collects what came out."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from .inside import codec, ledger
from .tiers import attack
from .types import (
    Call,
    CallResult,
    Execution,
    LimitName,
    Limits,
    OnResult,
    Program,
    Raised,
    SandboxError,
    Suite,
    SuiteExecution,
    TestReport,
    Usage,
)

TIERS = ("namespaces", "landlock")
"""From the strongest to the weakest that is safe."""


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


STANDARD_PRELOADS = _names(
    "abc array ast atexit bisect builtins calendar cmath collections collections.abc contextlib copy "
    "ctypes dataclasses datetime decimal enum fractions functools gc heapq inspect io itertools json "
    "linecache math numbers operator queue random re signal statistics string struct textwrap "
    "threading time traceback types typing unicodedata unittest warnings weakref"
)

_INSIDE = Path(__file__).parent / "inside"
GRACE_SECONDS = 10.0
START_SECONDS = 30.0
# By its path, for this folder on `sys.path` would shadow the standard module `types`.
_MAIN = """
import importlib.util, sys
path = sys.argv[1]
spec = importlib.util.spec_from_file_location("inside", path + "/__init__.py", submodule_search_locations=[path])
sys.modules["inside"] = importlib.util.module_from_spec(spec)
from inside.zygote import main
sys.exit(main())
"""
_FLAGS = ("-s", "-S", "-B", "-P", "-X", "utf8")
_ENVIRONMENT = {
    "PYTHONHASHSEED": "0",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",
}

Frame = dict[str, Any]


_withstood: set[str] = set()
"""Tiers that the probe's attacks did not break, in this process."""


class _Zygote:
    """One zygote process, seen from outside."""

    def __init__(self, tier: str, packages: dict[str, str]) -> None:
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.errors = os.memfd_create("errors")
        with theirs:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    *_FLAGS,
                    "-c",
                    _MAIN,
                    str(Path(__file__).parent / "inside"),
                    str(theirs.fileno()),
                ],
                env=_ENVIRONMENT,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self.errors,
                start_new_session=True,
                cwd="/",
            )
        config = {
            "tier": tier,
            "packages": packages,
            "preload": [*STANDARD_PRELOADS, *packages],
            "user": _own_user(self.process.pid),
        }
        self.control.settimeout(START_SECONDS)
        try:
            self.control.send(json.dumps(config).encode())
            answer = json.loads(self.control.recv(1 << 20) or b'{"failed": "it ended at once"}')
        except (OSError, ValueError) as error:
            answer = {"failed": f"no answer: {error}"}
        if "failed" in answer:
            said = os.pread(self.errors, 4000, 0).decode("utf-8", "replace").strip().rpartition("\n")[2]
            self.kill()
            raise SandboxError(f"the {tier} sandbox can't start here: {answer['failed']} {said}".rstrip())

    def start(self, limits: Limits, descriptors: Sequence[int]) -> None:
        """Begin a run. SandboxError where the zygote is gone."""
        request = json.dumps({"limits": {**limits.model_dump(), "wall": limits.elapsed}}).encode()
        try:
            socket.send_fds(self.control, [request], descriptors)
        except OSError as error:
            raise SandboxError(f"the sandbox's zygote is gone: {error}") from error

    def stop(self) -> None:
        """End the current run early."""
        with contextlib.suppress(OSError):
            self.control.send(b"stop")

    def answer(self) -> Frame:
        """How the run ended. SandboxError where the zygote is gone or could not start the run."""
        try:
            data = self.control.recv(65536)
        except OSError as error:
            raise SandboxError(f"the sandbox's zygote does not answer: {error}") from error
        if not data:
            raise SandboxError("the sandbox's zygote died")
        answer: Frame = json.loads(data)
        if "failed" in answer:
            raise SandboxError(f"the sandbox could not start a process: {answer['failed']}")
        return answer

    def answer_within(self, seconds: float) -> Frame:
        """As `answer`, and SandboxError where nothing comes in time."""
        if not select.select([self.control], [], [], seconds)[0]:
            raise SandboxError("the sandbox's zygote did not end a run in time")
        return self.answer()

    def kill(self) -> None:
        """End the zygote and, by that, everything below it."""
        self.control.close()
        os.close(self.errors)
        self.process.kill()
        self.process.wait()


def _own_user(pid: int) -> int | None:
    """A user id that nobody else has, so that limits per user count this zygote's processes only."""
    return 0x40000000 + pid if os.geteuid() == 0 else None


class _Run:
    """The files and pipes of one run."""

    def __init__(self, job: Frame, stdin: bytes, channel: int | None = None) -> None:
        self.descriptors: list[int] = []
        try:
            self.stdin = self._file("stdin", stdin)
            self.stdout = self._file("stdout")
            self.stderr = self._file("stderr")
            self.job = self._file("job", json.dumps(job).encode())
            self.ledger = self._file("ledger", bytes(ledger.SIZE))
            if channel is None:
                self.reader, self.channel = os.pipe2(os.O_CLOEXEC)
                os.set_blocking(self.reader, False)
                self.descriptors += [self.reader, self.channel]
            else:
                self.reader, self.channel = -1, channel
                self.descriptors.append(channel)
        except OSError as error:
            self.close()
            raise SandboxError(f"no descriptors or memory for a run: {error}") from error

    def _file(self, name: str, content: bytes = b"") -> int:
        descriptor = os.memfd_create(name)
        self.descriptors.append(descriptor)
        if content:
            view = memoryview(content)
            while view:
                view = view[os.write(descriptor, view) :]
            os.lseek(descriptor, 0, os.SEEK_SET)
        return descriptor

    def handed_over(self) -> list[int]:
        """What the program's process receives, in the zygote's order."""
        return [self.stdin, self.stdout, self.stderr, self.channel, self.job, self.ledger]

    def close_channel(self) -> None:
        """Drop this side's copy of the writing end, so that the reader sees the end."""
        self.descriptors.remove(self.channel)
        os.close(self.channel)

    def output(self, descriptor: int, limit: int) -> tuple[bytes, bool]:
        """What was written, up to `limit` bytes, and whether it was more."""
        size = os.fstat(descriptor).st_size
        return os.pread(descriptor, min(size, limit), 0), size > limit

    def close(self) -> None:
        """Close every descriptor of this side."""
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.descriptors.clear()


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
        self._packages = _locate(packages)
        self._permits = threading.BoundedSemaphore(size or os.cpu_count() or 1)
        self._lock = threading.Lock()
        self._idle: dict[bool, list[_Zygote]] = {False: [], True: []}
        self._closed = False
        self._owner = os.getpid()
        self.tier = tier
        self.tier = self._choose(tier)

    def _choose(self, tier: str) -> str:
        if tier != "auto":
            self._release(self._start(tier, heavy=False), heavy=False)
            return tier
        reasons = []
        for candidate in TIERS:
            try:
                self.tier = candidate
                self._release(self._start(candidate, heavy=False), heavy=False)
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
            self._idle = {False: [], True: []}
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
        stdin = (
            program.stdin.encode("utf-8", "surrogatepass")
            if isinstance(program.stdin, str)
            else program.stdin
        )
        job = job_of(program)
        try:
            return self._run_once(job, stdin, limits, on_result)
        except SandboxError:
            return self._run_once(job, stdin, limits, on_result)

    def _run_once(self, job: Frame, stdin: bytes, limits: Limits, on_result: OnResult | None) -> Execution:
        collector = _Collector(on_result)
        with self._permits, self._zygote(job) as zygote:
            run = _Run(job, stdin)
            try:
                zygote.start(limits, run.handed_over())
                run.close_channel()
                answer = _attend(zygote, run, limits, collector)
                return collector.execution(answer, run, limits, self.tier)
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
            "mode": "test",
            "sources": [*suite.tests, suite.setup],
            "files": {},
            "arguments": [],
        }
        # The tests wait while the program works, and have their own time for their own work.
        patient = limits.model_copy(update={"wall": limits.elapsed + limits.cpu})
        collector = _SuiteCollector()
        ours, theirs = socket.socketpair()
        with ours, theirs, self._permits, self._zygote(job) as first, self._zygote(tests) as second:
            run, watch = _Run(job, b"", ours.fileno()), _Run(tests, b"")
            try:
                first.start(limits, run.handed_over())
                second.start(patient, [*watch.handed_over(), theirs.fileno()])
                ours.close()
                theirs.close()
                run.descriptors.remove(run.channel)
                watch.close_channel()
                answer = _attend(second, watch, patient, collector)
                first.stop()
                ended = first.answer_within(GRACE_SECONDS)
                return SuiteExecution(
                    reports=tuple(collector.reports),
                    program=_Collector().execution(ended, run, limits, self.tier),
                    suite=collector.execution(answer, watch, patient, self.tier),
                    suite_error=collector.suite_error(answer),
                )
            finally:
                run.descriptors = [d for d in run.descriptors if d != run.channel]
                run.close()
                watch.close()

    @contextlib.contextmanager
    def _zygote(self, job: Frame) -> Iterator[_Zygote]:
        """An idle zygote, or a new one; given back unless the run failed in a way that leaves it in doubt."""
        heavy = any(name in source for source in job["sources"] for name in self._packages)
        with self._lock:
            if self._closed:
                raise SandboxError("the sandbox was closed")
            if self._owner != os.getpid():
                # After a fork the parent's zygotes belong to the parent.
                self._idle = {False: [], True: []}
                self._owner = os.getpid()
            idle = self._idle[heavy]
            zygote = idle.pop() if idle else None
            while zygote is not None and zygote.process.poll() is not None:
                zygote.kill()
                zygote = idle.pop() if idle else None
        if zygote is None:
            zygote = self._start(self.tier, heavy=heavy)
        try:
            yield zygote
        except BaseException:
            zygote.kill()
            raise
        self._release(zygote, heavy=heavy)

    def _start(self, tier: str, *, heavy: bool) -> _Zygote:
        return _Zygote(tier, self._packages if heavy else {})

    def _release(self, zygote: _Zygote, *, heavy: bool) -> None:
        with self._lock:
            if not self._closed:
                self._idle[heavy].append(zygote)
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


class _Collector:
    """Reads the channel of a run: one JSON message per line, nothing of it trusted."""

    def __init__(self, on_result: OnResult | None = None) -> None:
        self.on_result = on_result
        self.buffer = bytearray()
        self.received = 0
        self.results: list[CallResult] = []
        self.load_error: Raised | None = None
        self.violation: str | None = None

    def feed(self, data: bytes, limit: int) -> bool:
        """Take what was read; True where the run should end."""
        self.received += len(data)
        if self.received > limit:
            return True
        self.buffer += data
        *lines, rest = self.buffer.split(b"\n") if b"\n" in data else [self.buffer]
        self.buffer = bytearray(rest)
        enough = False
        for line in lines:
            enough = self._message(bytes(line)) or enough
        return enough

    def _message(self, line: bytes) -> bool:
        if self.violation is not None:
            return True
        try:
            frame = codec.load(line)
            if "ready" in frame:
                return False
            if "load" in frame:
                self.load_error = _raised(frame["load"])
                return True
            result = _call_result(frame)
        except (codec.CodecError, KeyError, TypeError, ValueError) as error:
            self.violation = f"what came over the channel is no result: {error}"
            return True
        self.results.append(result)
        return self.on_result(result) if self.on_result else False

    def execution(self, answer: Frame, run: _Run, limits: Limits, tier: str) -> Execution:
        """Everything known about the run."""
        stdout, long_stdout = run.output(run.stdout, limits.output)
        stderr, long_stderr = run.output(run.stderr, limits.output)
        limit = answer["limit"]
        if limit in (None, "stopped") and (long_stdout or long_stderr or self.received > limits.output):
            limit = "output"
        code = answer["code"]
        errors = stderr[-300:].decode("utf-8", "replace")
        last = self.results[-1].raised if self.results else self.load_error
        errors = f"{last.name}: {last.message}" if last else errors.strip().rpartition("\n")[2]
        if limit is None and (code != 0 or last):
            limit = _limit_in(errors, answer)
        return Execution(
            exit_code=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            limit=limit,
            stdout=stdout.decode("utf-8", "backslashreplace"),
            stderr=stderr.decode("utf-8", "backslashreplace"),
            results=tuple(self.results),
            load_error=self.load_error,
            violation=self.violation,
            usage=Usage(
                cpu=answer["cpu"],
                wall=answer["wall"],
                memory=answer["memory"],
                disk=answer.get("disk", 0),
                files=answer.get("files", 0),
            ),
            tier=tier,
            events=_events(answer, os.pread(run.ledger, ledger.SIZE, 0), code),
        )


def _events(answer: Frame, page: bytes, code: int) -> dict[str, int]:
    """What the program tried: refused system calls, what the hook saw, an end that is not the interpreter's."""
    events = {**ledger.read(page), **{f"denied:{name}": count for name, count in answer["denied"].items()}}
    if not events.pop("finished", 0) and code >= 0:
        events["early_exit"] = 1
    return events


class _SuiteCollector(_Collector):
    """Reads the reports of a suite's tests."""

    def __init__(self) -> None:
        super().__init__()
        self.reports: list[TestReport] = []
        self.setup_error: str | None = None
        self.done = False

    def _message(self, line: bytes) -> bool:
        frame = codec.load(line)
        if "setup" in frame:
            self.setup_error = str(frame["setup"])
        elif "done" in frame:
            self.done = True
        else:
            self.reports.append(TestReport(index=frame["test"], passed=frame["ok"], detail=frame["detail"]))
        return False

    def suite_error(self, answer: Frame) -> str | None:
        """Why the suite did not come to its end, where it did not."""
        if self.setup_error is not None:
            return f"the tests' set-up failed: {self.setup_error}"
        if self.done:
            return None
        return f"the tests ended early: {answer['limit'] or 'exit code ' + str(answer['code'])}"


_LIMIT_SIGNS: tuple[tuple[str, LimitName], ...] = (
    ("MemoryError", "memory"),
    ("can't start new thread", "processes"),
    ("[Errno 11]", "processes"),
    ("[Errno 27]", "file_size"),
    ("[Errno 28]", "disk"),
    ("[Errno 24]", "open_files"),
)


def _limit_in(error: str, answer: Frame) -> LimitName | None:
    """The limit that an error message speaks of: the kernel refused, and the program passed it on."""
    for sign, limit in _LIMIT_SIGNS:
        if sign in error:
            return limit
    return "disk" if answer.get("disk_full") else None


def _raised(frame: Frame) -> Raised:
    return Raised(
        types=tuple(str(name) for name in frame["types"]),
        message=str(frame["message"]),
        traceback=str(frame["traceback"]),
    )


def _call_result(frame: Frame) -> CallResult:
    if "error" in frame:
        return CallResult(raised=_raised(frame["error"]))
    after = tuple(codec.unpack(item, False) for item in frame["after"]) if "after" in frame else None
    return CallResult(value=codec.unpack(frame["value"], False), after=after)


def _attend(zygote: _Zygote, run: _Run, limits: Limits, collector: _Collector) -> Frame:
    """Read the channel until the run has ended; the zygote's answer."""
    poll = select.poll()
    poll.register(zygote.control, select.POLLIN)
    poll.register(run.reader, select.POLLIN)
    deadline = time.monotonic() + limits.elapsed + GRACE_SECONDS
    stopped = False
    answer: Frame | None = None
    while True:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise SandboxError("the sandbox's zygote did not end a run in time")
        ready = {
            descriptor for descriptor, _ in poll.poll(0 if answer is not None else int(1000 * remaining) + 1)
        }
        if run.reader in ready:
            data = os.read(run.reader, 1 << 20)
            if not data:
                poll.unregister(run.reader)
            elif collector.feed(data, limits.output) and not stopped:
                stopped = True
                zygote.stop()
            continue
        if answer is not None:
            return answer
        if zygote.control.fileno() in ready:
            answer = zygote.answer()


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
        "calls": [_packed(c) for c in program.calls],
    }


def _packed(call: Call) -> Frame:
    try:
        return {"args": codec.pack(list(call.args)), "kwargs": codec.pack(call.kwargs), "after": call.after}
    except codec.CodecError as error:
        raise SandboxError(f"an argument of a call is no plain data: {error}") from error


def _locate(packages: Sequence[str]) -> dict[str, str]:
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
