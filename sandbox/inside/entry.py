"""What a locked-up process does with its job."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from . import runner
from .serve import serve
from .wire import PEER

Work = Callable[[dict[str, Any]], int]
_MODES: dict[str, Work] = {
    "calls": runner.run_calls,
    "serve": lambda job: serve(job["sources"], runner.CHANNEL),
}


def load(config: dict[str, Any]) -> None:
    """Import what only some zygotes do: every page of it is one that each fork accounts for."""
    if config["commands"]:
        from . import commands

        _MODES["build"] = lambda job: commands.build(job["command"], runner.CHANNEL)
        _MODES["command"] = lambda job: commands.execute(job["command"], PEER if job["artifact"] else -1)
    if config["tests"]:
        from .tester import run_tests

        _MODES["test"] = lambda job: run_tests(job, runner.CHANNEL)


def prepare(job: dict[str, Any]) -> Callable[[], int]:
    """Do what need not wait for the scratch directory, running nothing of the program; a call that does the rest.

    That one's result is the process's exit code.
    """
    sys.argv = [runner.FILE_NAME, *job["arguments"]]
    work = runner.script(job["sources"]) if job["mode"] == "script" else partial(_MODES[job["mode"]], job)
    return partial(_with_files, job["files"], work) if job["files"] else work


def _with_files(files: dict[str, str], work: Callable[[], int]) -> int:
    for name, text in files.items():
        os.makedirs(os.path.dirname(os.path.abspath(name)), exist_ok=True)
        with open(name, "w", encoding="utf-8", errors="surrogatepass") as file:
            file.write(text)
    sys.path.insert(0, os.getcwd())
    return work()
