"""The Docker sandbox against a real daemon, with an image that has a whole Python."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

import sandbox.containers as containers_module
from sandbox.containers import DockerSandbox
from sandbox.tiers import attack
from sandbox.types import Call, Limits, Program, SandboxError, Suite

docker = pytest.importorskip("docker")
pytestmark = pytest.mark.docker
IMAGE = os.environ.get("RLVR_SANDBOX_IMAGE", "python:3.12-slim")
QUICK = Limits(cpu=2, wall=10, memory=256 << 20)
LIMITED = [
    ("cpu", "while True: pass"),
    ("wall", "import time; time.sleep(60)"),
    ("memory", "x = bytearray(b'x') * (400 << 20)"),
    ("output", "print('x' * 20_000_000)"),
]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[DockerSandbox]:
    try:
        made = DockerSandbox(IMAGE, 1)
    except SandboxError as error:
        pytest.skip(f"no Docker sandbox (RLVR_SANDBOX_IMAGE={IMAGE}): {error}")
    with made:
        yield made


def containers(sandbox: DockerSandbox) -> list[Any]:
    label = sandbox._options["labels"]["rlvr-sandbox"]
    return list(sandbox._client.containers.list(filters={"label": f"rlvr-sandbox={label}"}))


def test_scripts_calls_and_suites(sandbox: DockerSandbox) -> None:
    run = sandbox.run(Program(source="print(int(input()) + 1)", stdin="41\n"), QUICK)
    assert (run.stdout, run.exit_code) == ("42\n", 0)
    called = sandbox.run(
        Program(source="def f(x): return (x, {x})", entry_point="f", calls=(Call(args=(1,)),)), QUICK
    )
    assert called.results[0].value == (1, [1])
    suite = Suite(tests=("assert f(1) == 2", "assert f(1) == 3"), stop_at_failure=False)
    tested = sandbox.run_suite(Program(source="def f(x): return x + 1"), suite, QUICK)
    assert [report.passed for report in tested.reports] == [True, False]


def test_attacks_of_the_probe_fail(sandbox: DockerSandbox) -> None:
    assert attack(sandbox) == []


LEAVE = """
import os
for folder, _, _ in os.walk("/"):
    if not folder.startswith(("/proc", "/sys")):
        try:
            open(folder + "/left", "w")
            print(folder)
        except OSError:
            pass
"""


def test_gvisor_runs_the_same_container() -> None:
    """gVisor lacks Landlock, listeners of filters and pidfds: the container's own walls are what is left."""
    try:
        made = DockerSandbox(IMAGE, 1, runtime="runsc")
    except SandboxError as error:
        pytest.skip(f"no runtime runsc: {error}")
    with made as sandbox:
        host = [container.attrs["HostConfig"] for container in containers(sandbox)]
        assert [(one["Runtime"], one["NetworkMode"], one["ReadonlyRootfs"]) for one in host] == [
            ("runsc", "none", True)
        ]
        test_scripts_calls_and_suites(sandbox)
        for limit, source in LIMITED:
            test_limits_by_name_and_a_fresh_container_afterwards(sandbox, limit, source)
        # The image's own files, and the environment of the interpreter in it: nothing of the host's.
        assert set(attack(sandbox)) <= {"read /etc/passwd", "saw the parent"}
        assert sandbox.run(Program(source=LEAVE), QUICK).stdout == ""
        reading = "import os\nopen(f'/proc/{os.getppid()}/mem', 'rb')"
        assert "PermissionError" in sandbox.run(Program(source=reading), QUICK).stderr


@pytest.mark.parametrize("landlock", [True, False])
def test_no_folder_takes_a_file_for_the_next_program(landlock: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not landlock:
        # A kernel without Landlock, as the container sees it: its profile refuses the calls.
        profile = containers_module.system_call_profile().replace("landlock_create_ruleset", "fsopen")
        monkeypatch.setattr(containers_module, "system_call_profile", lambda: profile)
    try:
        made = DockerSandbox(IMAGE, 1)
    except SandboxError as error:
        pytest.skip(str(error))
    with made as sandbox:
        assert sandbox.tier == ("docker+landlock" if landlock else "docker+container")
        run = sandbox.run(Program(source=LEAVE), QUICK)
        assert (run.stdout, run.exit_code) == ("", 0)


@pytest.mark.parametrize(("limit", "source"), LIMITED)
def test_limits_by_name_and_a_fresh_container_afterwards(
    sandbox: DockerSandbox, limit: str, source: str
) -> None:
    run = sandbox.run(Program(source=source), Limits(cpu=0.5, wall=3, memory=256 << 20))
    assert run.limit == limit, run
    assert sandbox.run(Program(source="print(1)"), QUICK).stdout == "1\n"
    assert len(containers(sandbox)) == 1


def test_a_container_that_vanishes_is_replaced(sandbox: DockerSandbox) -> None:
    for container in containers(sandbox):
        container.remove(force=True)
    assert sandbox.run(Program(source="print(2)"), QUICK).stdout == "2\n"


def test_processes_are_refused_by_name(sandbox: DockerSandbox) -> None:
    with pytest.raises(SandboxError, match="namespaces"):
        sandbox.run(Program(source="pass"), Limits(processes=4))


def test_closing_removes_every_container() -> None:
    try:
        sandbox = DockerSandbox(IMAGE, 2)
    except SandboxError as error:
        pytest.skip(str(error))
    assert len(containers(sandbox)) == 1
    sandbox.close()
    assert containers(sandbox) == []
    with pytest.raises(SandboxError, match="closed"):
        sandbox.run(Program(source=""), QUICK)


def test_a_missing_image_or_daemon_is_an_error_with_its_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SandboxError, match="started no container"):
        DockerSandbox("no-such-image-anywhere:0", 1)
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent.sock")
    with pytest.raises(SandboxError, match="daemon"):
        DockerSandbox(IMAGE, 1)
