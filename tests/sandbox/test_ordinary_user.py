"""The tiers as a user without rights sees them, in a process of that user."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydantic
import pytest

from tests.sandbox.conftest import reports

USER = 12345
ROOT = Path(__file__).parents[2]
PACKAGES = Path(pydantic.__file__).parents[1]
SCRIPT = """
import json, os, sys, tempfile
from sandbox import Limits, LocalSandbox, Program
from sandbox.tiers import attack, probe
said = {}
victim = tempfile.NamedTemporaryFile()
def state():
    return [(s.st_mode, s.st_size, s.st_mtime_ns) for s in map(os.stat, (victim.name, sys.executable))]
before = state()
spoil = f"import os\\nfor p in ({victim.name!r}, {sys.executable!r}, '/proc/self/exe'):\\n"
spoil += "    for change in (lambda: os.chmod(p, 0o701), lambda: os.utime(p), lambda: os.truncate(p, 1)):\\n"
spoil += "        try: change(); print('changed', p)\\n        except OSError: pass"
many = "import threading, time\\nfor _ in range(99):\\n"
many += "    threading.Thread(target=time.sleep, args=(30,), daemon=True).start()\\ntime.sleep(20)"
for report in probe()[:3]:
    said[report.name] = {"available": report.available, "detail": report.detail}
    if report.available:
        with LocalSandbox(1, tier=report.name) as sandbox:
            run = sandbox.run(Program(source="import os\\nprint(6 * 7, os.geteuid(), os.getpid())"))
            threads = sandbox.run(Program(source=many), Limits(threads=8, wall=60))
            several = Limits(processes=4 if report.name == "namespaces" else 1)
            spoilt = [sandbox.run(Program(source=spoil), limits).stdout for limits in (Limits(), several)]
            said[report.name] |= {"said": run.stdout.split(), "threads": threads.limit}
            said[report.name]["broke"] = attack(sandbox)
            said[report.name] |= {"spoilt": "".join(spoilt), "same": before == state()}
print(json.dumps(said))
"""


def answers(interpreter: Path, script: str) -> subprocess.CompletedProcess[str]:
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
def said() -> Iterator[dict[str, Any]]:
    if os.geteuid() != 0:
        pytest.skip("only root can start a process of another user; this user is an ordinary one already")
    version = ".".join(map(str, sys.version_info[:2]))
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    try:
        for original in (sys.executable, f"/usr/bin/python{version}"):
            # Its user's own, as where Python was installed without being root.
            interpreter = Path(shutil.copy(original, folder / "python"))
            os.chown(interpreter, USER, USER)
            with contextlib.suppress(OSError):
                if answers(interpreter, "import pydantic, sandbox.local").returncode == 0:
                    done = answers(interpreter, SCRIPT)
                    assert done.returncode == 0, done.stderr
                    yield json.loads(done.stdout)
                    return
    finally:
        shutil.rmtree(folder)
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
    assert (report["spoilt"], report["same"]) == ("", True)
