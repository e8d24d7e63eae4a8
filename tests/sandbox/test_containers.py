"""The Docker sandbox against a real daemon, with an image that has a whole Python."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydantic
import pytest

from sandbox.containers import DockerSandbox
from sandbox.tiers import attack
from sandbox.types import Call, Limits, Program, SandboxError, Suite

docker = pytest.importorskip("docker")
pytestmark = pytest.mark.docker
ROOT = Path(__file__).parents[2]
IMAGE = os.environ.get("RLVR_SANDBOX_IMAGE", "python:3.12-slim")
QUICK = Limits(cpu=2, wall=10, memory=256 << 20)


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


@pytest.mark.parametrize(
    ("limit", "source"),
    [
        ("cpu", "while True: pass"),
        ("wall", "import time; time.sleep(60)"),
        ("memory", "x = bytearray(b'x') * (400 << 20)"),
        ("output", "print('x' * 20_000_000)"),
    ],
)
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


def test_the_local_sandbox_inside_a_container_without_rights(sandbox: DockerSandbox) -> None:
    """As in a Kubernetes pod: no capabilities, an unprivileged user, Docker's own system call profile."""
    packages = Path(pydantic.__file__).parents[1]
    script = (
        "import sys\nif sys.version_info[:2] != tuple(map(int, sys.argv[1:])): sys.exit('another Python')\n"
        "from sandbox import LocalSandbox, Program\nfrom sandbox.tiers import attack\n"
        "with LocalSandbox(1) as sandbox:\n"
        "    print(sandbox.tier, attack(sandbox), sandbox.run(Program(source='print(6 * 7)')).stdout)\n"
    )
    try:
        said = sandbox._client.containers.run(
            IMAGE,
            ["python3", "-B", "-c", script, *map(str, sys.version_info[:2])],
            user="65534:65534",
            cap_drop=["ALL"],
            network_mode="none",
            volumes={
                str(ROOT): {"bind": "/repo", "mode": "ro"},
                str(packages): {"bind": "/packages", "mode": "ro"},
            },
            environment={"PYTHONPATH": "/repo:/packages"},
            remove=True,
        )
    except docker.errors.ContainerError as error:
        if b"another Python" in error.stderr:
            pytest.skip("the image has another Python than the packages here")
        raise
    assert said.decode().split() == ["landlock", "[]", "42"]


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
