"""The tiers as a user without rights sees them, in a process of that user."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pydantic
import pytest

from tests.sandbox.conftest import reports

USER = 12345
ROOT = Path(__file__).parents[2]
PACKAGES = Path(pydantic.__file__).parents[1]
SCRIPT = """
import json, os
from sandbox import Limits, LocalSandbox, Program
from sandbox.tiers import attack, probe
said = {}
many = "import threading, time\\nfor _ in range(99):\\n"
many += "    threading.Thread(target=time.sleep, args=(30,), daemon=True).start()\\ntime.sleep(20)"
for report in probe()[:3]:
    said[report.name] = {"available": report.available, "detail": report.detail}
    if report.available:
        with LocalSandbox(1, tier=report.name) as sandbox:
            run = sandbox.run(Program(source="import os\\nprint(6 * 7, os.geteuid(), os.getpid())"))
            threads = sandbox.run(Program(source=many), Limits(threads=8, wall=60))
            said[report.name] |= {"said": run.stdout.split(), "threads": threads.limit, "broke": attack(sandbox)}
print(json.dumps(said))
"""


def answers(interpreter: str, script: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "PYTHONPATH": f"{ROOT}:{PACKAGES}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PATH": os.environ["PATH"],
    }
    return subprocess.run(
        [interpreter, "-c", script], user=USER, group=USER, extra_groups=[], env=environment, cwd="/",
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def said() -> dict[str, Any]:
    if os.geteuid() != 0:
        pytest.skip("only root can start a process of another user; this user is an ordinary one already")
    version = ".".join(map(str, sys.version_info[:2]))
    for interpreter in (sys.executable, f"/usr/bin/python{version}"):
        try:
            if answers(interpreter, "import pydantic, sandbox.local").returncode == 0:
                done = answers(interpreter, SCRIPT)
                assert done.returncode == 0, done.stderr
                found: dict[str, Any] = json.loads(done.stdout)
                return found
        except OSError:
            continue
    pytest.skip(f"user {USER} can't run Python {version} with this checkout")


@pytest.mark.parametrize("tier", ["namespaces", "bubblewrap", "landlock"])
def test_a_tier_holds_for_an_ordinary_user_or_says_why_not(said: dict[str, Any], tier: str) -> None:
    report = said[tier]
    if not report["available"]:
        # Root may make namespaces where others may not; Landlock asks for no rights.
        assert report["detail"]
        assert tier != "landlock" or not reports()["landlock"].available
        pytest.skip(f"not for ordinary users here: {report['detail']}")
    assert report["broke"] == []
    assert report["said"][0] == "42"
    assert report["said"][1] != "0"
    assert report["threads"] == "processes"
