"""The tests' side of a tested program: runs the tests against stand-ins and reports what each one said.

The tests come with the problem and are not the program's; they are locked up all the same, in another process.
"""

from __future__ import annotations

import builtins
import contextlib
import importlib
import linecache
import sys
import traceback
from typing import Any

from .codec import CodecError
from .remote import Link, LoadFailed, Remote
from .wire import PEER, Gone, Wire

FILE_NAME = "tests.py"
CONTEXT_NAME = "suite.py"


def run_tests(job: dict[str, Any], channel: int) -> int:
    """Run the job's tests one after the other; one report each, and at the end `done`."""
    reports = Wire(channel)
    link = Link(PEER)
    namespace: dict[str, Any] = {"__name__": "tests", "__builtins__": builtins}
    try:
        exec(compile(job["setup"], "setup.py", "exec", dont_inherit=True), namespace)
    except BaseException as error:
        reports.send({"setup": _say(error)})
        return 1
    try:
        _introduce(job, link, namespace)
    except BaseException as error:
        # The program has had its say by now.
        reports.send({"test": 0, "ok": False, "detail": _say(error)})
        reports.send({"done": 1})
        return 0
    for index, source in enumerate(job["tests"]):
        report = _run(source, namespace, link)
        reports.send({"test": index, **report})
        if not report["ok"] and (job["stop_at_failure"] or "ended" in report):
            break
    reports.send({"done": 1})
    return 0


def _run(source: str, namespace: dict[str, Any], link: Link) -> dict[str, Any]:
    _show(source, FILE_NAME)
    try:
        exec(compile(source, FILE_NAME, "exec", dont_inherit=True), namespace)
    except Gone:
        return {"ok": False, "ended": True, "detail": "the program ended before the test did"}
    except LoadFailed as error:
        detail = str(error.description.get("traceback", error))
        return {"ok": False, "ended": True, "detail": detail, "load": error.description}
    except CodecError as error:
        return {"ok": False, "ended": True, "detail": f"the program's answer can't be read: {error}"}
    except BaseException as error:
        return {"ok": False, "detail": _say(error)}
    return {"ok": True, "detail": ""}


def _show(source: str, name: str) -> None:
    linecache.cache[name] = (len(source), None, source.splitlines(True), name)


def _say(error: BaseException) -> str:
    theirs = getattr(error, "program_traceback", "")
    if theirs:
        return str(theirs)
    try:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == FILE_NAME]
        where = f"line {frames[-1].lineno}: {frames[-1].line}\n" if frames else ""
        return (where + "".join(traceback.format_exception_only(type(error), error)))[-2000:].rstrip()
    except BaseException:
        return type(error).__name__


def _introduce(job: dict[str, Any], link: Link, namespace: dict[str, Any]) -> None:
    """Add stand-ins for what the tests expect of the program, and what the problem builds with them."""
    for name in job["program_names"]:
        namespace[name] = Remote(link, name, -1, name)
    for alias, expression in job["aliases"].items():
        namespace[alias] = Remote(link, alias, -1, expression)
    if job["free_names"] is None:
        for source in (job["context"], *job["tests"]):
            compile(source, FILE_NAME, "exec", dont_inherit=True)
        raise SyntaxError("the tests can't be parsed")
    for name in job["free_names"]:
        if name in namespace or hasattr(builtins, name):
            continue
        namespace[name] = Remote(link, name, -1, name)
        # A module must be the real one: `math.isclose` of the program's making decides what it likes.
        if name in sys.stdlib_module_names:
            with contextlib.suppress(ImportError):
                namespace[name] = importlib.import_module(name)
    theirs = [name for name, value in namespace.items() if isinstance(value, Remote)]
    with contextlib.suppress(Gone, LoadFailed):
        # A program that does not load is the first test's failure, not the set-up's.
        link.learn_exceptions(theirs)
        for kind in link.exceptions.values():
            namespace[kind.__name__] = kind
    if job["context"]:
        _show(job["context"], CONTEXT_NAME)
        exec(compile(job["context"], CONTEXT_NAME, "exec", dont_inherit=True), namespace)
