"""Runs a script or calls a function, inside the process that is locked up for it.

Whatever this module reports, the program could have reported in its place: they share a process. So it is told
nothing that a program may not know, and what it says is judged outside.
"""

from __future__ import annotations

import _thread
import atexit
import builtins
import contextlib
import io
import json
import linecache
import os
import sys
import types
from collections.abc import Callable
from typing import Any

from . import codec

FILE_NAME = "solution.py"
CHANNEL = 3
MAX_TRACEBACK = 4000
# In a container the modules come over a stream, and have no file.
_OURS = (os.path.dirname(globals().get("__file__", "inside.")), "inside.", "<open>")


def rebuild_standard_streams() -> None:
    """Python's streams over the descriptors that this process now has."""
    for name, descriptor, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        raw = io.FileIO(descriptor, mode, closefd=False)
        buffer: Any = io.BufferedReader(raw) if mode == "r" else io.BufferedWriter(raw)
        errors = "backslashreplace" if name == "stderr" else "surrogateescape"
        stream: Any = io.TextIOWrapper(
            buffer, "utf-8", errors, line_buffering=name == "stderr", write_through=False
        )
        stream.mode = mode
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


class _Open:
    """`open`, for which the standard streams have their names although there is no /proc to find them by."""

    __name__ = __qualname__ = "open"
    __doc__ = io.open.__doc__

    def __init__(self) -> None:
        self._open = io.open

    def __call__(self, file: Any, *args: Any, **kwargs: Any) -> Any:
        path = os.fspath(file) if isinstance(file, os.PathLike) else file
        if type(path) is str and path in _STREAMS:
            file = os.dup(_STREAMS[path])
        return self._open(file, *args, **kwargs)


_STREAMS = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}


def name_standard_streams() -> None:
    """Have `open("/dev/stdin")` and the like work in every program to come."""
    # A name that nobody looks up: ours is a path of the host.
    _Open.__call__.__code__ = _Open.__call__.__code__.replace(co_filename=_OURS[2])
    builtins.open = io.open = _Open()


def load_module(sources: list[str], name: str) -> types.ModuleType:
    """Execute the first of `sources` that is Python as the module `name`.

    SyntaxError of the first one where none is. Its lines are at hand for tracebacks and `inspect`.
    """
    module, code = _module(sources, name)
    exec(code, module.__dict__)
    return module


def _module(sources: list[str], name: str) -> tuple[types.ModuleType, types.CodeType]:
    source, code = _compile(sources)
    module = types.ModuleType(name)
    module.__file__ = FILE_NAME
    module.__dict__["__builtins__"] = builtins
    sys.modules[name] = module
    linecache.cache[FILE_NAME] = (len(source), None, source.splitlines(True), FILE_NAME)
    return module, code


def forget() -> None:
    """Leave nothing of the modules that were executed here."""
    for name in ("solution", "__main__"):
        sys.modules.pop(name, None)
    linecache.cache.pop(FILE_NAME, None)


def _compile(sources: list[str]) -> tuple[str, types.CodeType]:
    first: Exception | None = None
    for source in sources:
        try:
            # A file may begin with a byte order mark, and the text of one with what it decodes to.
            return source, compile(source.removeprefix("\ufeff"), FILE_NAME, "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            first = first or error
    raise first or SyntaxError("no source")


def describe(error: BaseException) -> dict[str, Any]:
    """Type, message and the program's own lines of an exception; never raises."""
    try:
        names = [f"{base.__module__}.{base.__qualname__}" for base in type(error).__mro__]
    except BaseException:
        names = ["builtins.BaseException"]
    try:
        message = str(error)[:1000]
    except BaseException:
        message = "(its text can't be made)"
    arguments: list[Any] = []
    try:
        arguments = [codec.pack(argument) for argument in error.args]
        if len(json.dumps(arguments)) > 10_000:
            arguments = []
    except BaseException:
        arguments = []
    return {
        "types": names,
        "message": message,
        "arguments": arguments,
        "attributes": _attributes(error),
        "traceback": _traceback(error),
    }


def _attributes(error: BaseException) -> list[Any]:
    """What an exception says besides its arguments: names and packed values, as far as they are plain."""
    try:
        found = [[name, codec.pack(value)] for name, value in vars(error).items() if name.isidentifier()]
        return found if len(json.dumps(found)) <= 10_000 else []
    except BaseException:
        return []


def _traceback(error: BaseException) -> str:
    import traceback

    try:
        if isinstance(error, SyntaxError):
            return "".join(traceback.format_exception_only(type(error), error))[-MAX_TRACEBACK:]
        frames = list(traceback.extract_tb(_below_ours(error)))
        for frame in frames:
            frame.filename = (
                frame.filename if frame.filename == FILE_NAME else os.path.basename(frame.filename)
            )
        head = ["Traceback (most recent call last):\n"] if frames else []
        tail = traceback.format_exception_only(type(error), error)
        lines = head + traceback.StackSummary.from_list(frames[-20:]).format() + tail
        return "".join(lines)[-MAX_TRACEBACK:]
    except BaseException:
        return "(its traceback can't be made)"


def _below_ours(error: BaseException) -> types.TracebackType | None:
    """The traceback from the program's first frame to its last; ours are not even looked up."""
    step = error.__traceback__
    while step is not None and _is_ours(step):
        step = step.tb_next
    last = step
    while last is not None and last.tb_next is not None:
        if _is_ours(last.tb_next):
            last.tb_next = None
        last = last.tb_next
    return step


def _is_ours(step: types.TracebackType) -> bool:
    return step.tb_frame.f_code.co_filename.startswith(_OURS)


def script(sources: list[str]) -> Callable[[], int]:
    """The program, compiled, as a call that runs it as the main program and gives its exit code.

    An error of the compiler waits for the call.
    """
    try:
        module, code = _module(sources, "__main__")
    except Exception:
        return lambda: _to_its_end(lambda: load_module(sources, "__main__"))
    return lambda: _to_its_end(lambda: exec(code, module.__dict__))


def _to_its_end(program: Callable[[], object]) -> int:
    """Run a program to the end that the interpreter would give it; the exit code."""
    code = 0
    try:
        program()
    except SystemExit as leave:
        code = _exit_code(leave)
    except BaseException as error:
        _print_error(_traceback(error))
        code = 1
    # What the interpreter does at its end, without the teardown of every module.
    try:
        if _thread._count() and "threading" in sys.modules:
            sys.modules["threading"]._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
    except BaseException as error:
        _print_error(_traceback(error))
        code = code or 120
    return code


def _exit_code(leave: SystemExit) -> int:
    if leave.code is None:
        return 0
    if isinstance(leave.code, int):
        return leave.code & 0xFF
    _print_error(f"{leave.code}\n")
    return 1


def _print_error(text: str) -> None:
    with contextlib.suppress(OSError):
        os.write(2, text.encode("utf-8", "backslashreplace"))


def find(module: types.ModuleType, entry_point: str) -> Any:
    """What `entry_point` names: a function, or a method as in `Solution().method`."""
    target: Any = module
    for part in entry_point.split("."):
        instance = part.endswith("()")
        target = getattr(target, part.removesuffix("()"))
        if instance:
            target = target()
    return target


def run_calls(job: dict[str, Any]) -> int:
    """Load the program, make the calls one after the other, send what each returned; the exit code."""

    def send(frame: dict[str, Any]) -> None:
        data = json.dumps(frame, separators=(",", ":")).encode("ascii") + b"\n"
        view = memoryview(data)
        while view:
            view = view[os.write(CHANNEL, view) :]

    try:
        module = load_module(job["sources"], "solution")
        target = find(module, job["entry_point"])
    except BaseException as error:
        send({"load": describe(error)})
        return 1
    send({"ready": 1})
    alive = []
    for call in job["calls"]:
        try:
            arguments = codec.unpack(call["args"])
            named = dict(codec.unpack(call["kwargs"]))
            if not job["one_instance"]:
                target = find(module, job["entry_point"])
            value = target(*arguments, **named)
            alive.append(value)
            frame = {"value": codec.pack(value)}
            if call.get("after"):
                frame["after"] = [codec.pack(argument) for argument in arguments]
        except BaseException as error:
            frame = {"error": describe(error)}
        send(frame)
        sys.stdout.flush()
    return 0
