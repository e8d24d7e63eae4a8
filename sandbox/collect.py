"""Makes an `Execution` of what came over a run's channel and of how it ended. Nothing that came is trusted."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

from .inside import codec, ledger
from .types import (
    CallResult,
    Execution,
    LimitName,
    Limits,
    OnResult,
    Program,
    Raised,
    TestReport,
    Usage,
)

Frame = dict[str, Any]


class Taken(NamedTuple):
    """What a run wrote, up to one byte more than it may, and the page in which it was counted."""

    stdout: bytes
    stderr: bytes
    ledger: bytes


class Collector:
    """Reads the channel of a run: one JSON message per line, nothing of it trusted.

    A program has `calls` results to give and no more to say: what comes behind them costs no reading.
    """

    def __init__(self, on_result: OnResult | None = None, reply_limit: int = 1 << 20, calls: int = 0) -> None:
        self.on_result = on_result
        self.reply_limit = reply_limit
        self.calls = calls
        self.ready = False
        self.buffer = bytearray()
        self.received = 0
        self.enough = False
        self.results: list[CallResult] = []
        self.load_error: Raised | None = None
        self.violation: str | None = None

    @classmethod
    def of(cls, program: Program, on_result: OnResult | None) -> Self:
        """For a run of `program`."""
        return cls(on_result, program.reply_limit, len(program.calls))

    def feed(self, data: bytes, limit: int) -> bool:
        """Take what was read; True where the run should end."""
        self.received += len(data)
        if self.received > limit or self.enough:
            return True
        self.buffer += data
        *lines, rest = self.buffer.split(b"\n") if b"\n" in data else [self.buffer]
        self.buffer = bytearray(rest)
        self.enough = any(self._message(bytes(line)) for line in lines)
        return self.enough

    def _message(self, line: bytes) -> bool:
        """Take one message; True where no more needs to be read."""
        try:
            if not self.ready:
                return self._first(line)
            if len(self.results) == self.calls:
                raise codec.CodecError("there were no more calls")
            if len(line) > self.reply_limit:
                # Read, it would take twenty times its size: more than a hostile program should cost here.
                opaque = codec.Opaque(f"a result of {len(line)} bytes")
                return self._result(CallResult(index=len(self.results), value=opaque))
            result = _call_result(len(self.results), codec.load(line))
        except (LookupError, TypeError, ValueError, RecursionError) as error:
            self.violation = f"what came over the channel is no result: {error}"
            return True
        return self._result(result)

    def _first(self, line: bytes) -> bool:
        if len(line) > self.reply_limit:
            raise codec.CodecError(f"a first message of {len(line)} bytes")
        frame = codec.load(line)
        if "ready" in frame:
            self.ready = True
            return False
        self.load_error = _raised(frame["load"])
        return True

    def _result(self, result: CallResult) -> bool:
        self.results.append(result)
        return self.on_result(result) if self.on_result else False

    def execution(self, answer: Frame, taken: Taken, limits: Limits, tier: str) -> Execution:
        """Everything known about the run."""
        stdout, stderr = taken.stdout, taken.stderr
        long_stdout, long_stderr = len(stdout) > limits.output, len(stderr) > limits.output
        stdout, stderr = stdout[: limits.output], stderr[: limits.output]
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
            # Any other way to deal with what is no UTF-8 takes a call for each byte.
            stdout=stdout.decode("utf-8", "replace"),
            stderr=stderr.decode("utf-8", "replace"),
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
            events=_events(answer, taken.ledger, code),
        )


def _events(answer: Frame, page: bytes, code: int) -> dict[str, int]:
    """What the program tried: refused system calls, what the hook saw, an end that is not the interpreter's."""
    events = {**ledger.read(page), **{f"denied:{name}": count for name, count in answer["denied"].items()}}
    if not events.pop("finished", 0) and code >= 0:
        events["early_exit"] = 1
    return events


class BuildCollector(Collector):
    """Takes what a build left, as it is."""

    def feed(self, data: bytes, limit: int) -> bool:
        """Take what was read; True where it is too much."""
        self.received += len(data)
        self.buffer += data
        return self.received > limit


class SuiteCollector(Collector):
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


def _call_result(index: int, frame: Frame) -> CallResult:
    if "error" in frame:
        return CallResult(index=index, raised=_raised(frame["error"]))
    after = tuple(codec.unpack(item, False) for item in frame["after"]) if "after" in frame else None
    return CallResult(index=index, value=codec.unpack(frame["value"], False), after=after)
