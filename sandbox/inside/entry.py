"""What a locked-up process does with its job."""

from __future__ import annotations

import os
import sys
from typing import Any

from . import commands, runner
from .serve import serve
from .tester import PEER, run_tests


def run(job: dict[str, Any]) -> int:
    """Do the job that was read from outside; the process's exit code."""
    for name, text in job["files"].items():
        os.makedirs(os.path.dirname(os.path.abspath(name)), exist_ok=True)
        with open(name, "w", encoding="utf-8", errors="surrogatepass") as file:
            file.write(text)
    if job["files"]:
        sys.path.insert(0, os.getcwd())
    sys.argv = [runner.FILE_NAME, *job["arguments"]]
    mode = job["mode"]
    if mode == "script":
        return runner.run_script(job["sources"])
    if mode == "calls":
        return runner.run_calls(job)
    if mode == "serve":
        return serve(job["sources"], runner.CHANNEL)
    if mode == "build":
        return commands.build(job["command"], runner.CHANNEL)
    if mode == "command":
        return commands.execute(job["command"], PEER if job["artifact"] else -1)
    if mode == "test":
        return run_tests(job, runner.CHANNEL)
    raise ValueError(f"unknown mode {mode!r}")
