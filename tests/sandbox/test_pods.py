"""The local sandbox inside containers, set up as Kubernetes sets up pods."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pydantic
import pytest

from tests.shared_data import SHARED

docker = pytest.importorskip("docker")
pytestmark = pytest.mark.docker
ROOT = Path(__file__).parents[2]
PACKAGES = Path(pydantic.__file__).parents[1]
IMAGE = os.environ.get("RLVR_SANDBOX_IMAGE", "python:3.12-slim")

RESTRICTED: dict[str, Any] = {
    "user": "1000:1000",
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
    "read_only": True,
    "tmpfs": {"/tmp": "mode=1777"},
}
"""The restricted Pod Security Standard, with the runtime's own system call profile and an emptyDir on /tmp."""
SMALL = {**RESTRICTED, "pids_limit": 64, "mem_limit": "1g", "memswap_limit": "1g"}
PODS = {
    "restricted": RESTRICTED,
    "restricted, nothing writable": {**RESTRICTED, "tmpfs": {}},
    "restricted, limits on processes and memory": SMALL,
    "baseline": {},
}
REFUSED_CALLS = (
    "landlock_create_ruleset landlock_add_rule landlock_restrict_self unshare setns mount umount2 pivot_root"
)
LOOK = """
import json
from sandbox import LocalSandbox, Program, SandboxError
from sandbox.tiers import attack, probe
said = {"advice": {report.name: report.advice for report in probe()[:3]}}
try:
    with LocalSandbox(1) as sandbox:
        run = sandbox.run(Program(source="print(6 * 7)"))
        said |= {"tier": sandbox.tier, "broke": attack(sandbox), "out": run.stdout}
except SandboxError as error:
    said["error"] = str(error)
print(json.dumps(said))
"""
HANG = """
import json, os
from sandbox import Limits, LocalSandbox, Program
from sandbox.tiers import attack
program = Program(source="import time\\nkind = input()\\nwhile kind == 'b': pass\\ntime.sleep(60 * (kind == 'c'))")
with LocalSandbox(1, tier="landlock") as sandbox:
    runs = sandbox.run_cases(program, list("abcd"), Limits(cpu=1, wall=3))
    said = {"together": sandbox._runs_cases, "cases": [run.limit for run in runs], "broke": attack(sandbox)}
said["processes"] = len([name for name in os.listdir("/proc") if name.isdigit()])
print(json.dumps(said))
"""


def inside(command: list[str], **pod: Any) -> str:
    """What a command says in a pod that has this checkout and its packages; skips without daemon or image."""
    try:
        client = docker.from_env()
        version = client.containers.run(
            IMAGE, ["python3", "-c", "import sys; print(*sys.version_info[:2])"],
            network_mode="none", remove=True,
        )  # fmt: skip
    except docker.errors.DockerException as error:
        pytest.skip(f"no Docker daemon with the image {IMAGE}: {error}")
    if tuple(map(int, version.split())) != sys.version_info[:2]:
        pytest.skip("the image has another Python than the packages here")
    mounts = {ROOT: "/repo", PACKAGES: "/packages", SHARED: "/data"}
    container = client.containers.create(
        IMAGE, command, network_mode="none", working_dir="/repo",
        volumes={str(path): {"bind": place, "mode": "ro"} for path, place in mounts.items() if path.exists()},
        environment={
            "PYTHONPATH": "/repo:/packages", "PYTHONDONTWRITEBYTECODE": "1", "RLVR_SHARED_DATA": "/data"
        },
        **pod,
    )  # fmt: skip
    try:
        container.start()
        code = container.wait(timeout=900)["StatusCode"]
        said: str = container.logs(stderr=code != 0).decode()
    finally:
        container.remove(force=True)
    assert code == 0, said[-6000:]
    return said


@pytest.mark.parametrize("pod", PODS)
def test_auto_finds_a_tier_that_holds(pod: str) -> None:
    said = json.loads(inside(["python3", "-c", LOOK], **PODS[pod]))
    assert (said.get("tier"), said.get("broke"), said.get("out")) == ("landlock", [], "42\n"), said


def test_root_that_may_make_namespaces_makes_them() -> None:
    privileged = {"cap_add": ["SYS_ADMIN"], "security_opt": ["seccomp=unconfined", "apparmor=unconfined"]}
    said = json.loads(inside(["python3", "-c", LOOK], **privileged))
    assert (said.get("tier"), said.get("broke"), said.get("out")) == ("namespaces", [], "42\n"), said


def without(calls: str) -> dict[str, Any]:
    """A restricted pod whose profile refuses `calls`."""
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": calls.split(), "action": "SCMP_ACT_ERRNO"}],
    }
    return {**RESTRICTED, "security_opt": ["no-new-privileges", f"seccomp={json.dumps(profile)}"]}


def test_without_descriptors_of_processes_limits_hold_and_every_case_has_a_run() -> None:
    """As in runtimes whose profile is older than them."""
    said = json.loads(inside(["python3", "-c", HANG], **without("pidfd_open pidfd_send_signal")))
    # The container's first process waits for no orphans.
    assert said == {"together": False, "cases": [None, "cpu", "wall", None], "broke": [], "processes": 1}


def test_a_profile_without_landlock_is_named_as_the_cause() -> None:
    """As in runtimes whose profile is older than Landlock."""
    said = json.loads(inside(["python3", "-c", LOOK], **without(REFUSED_CALLS)))
    assert "no safe sandbox" in said["error"]
    assert "landlock_create_ruleset: Operation not permitted" in said["error"]
    assert "profile" in said["advice"]["landlock"]


@pytest.mark.skipif(not SHARED.exists(), reason="no labelled data")
def test_the_sandboxs_own_tests_hold_in_a_small_pod() -> None:
    """With every program of the hostile corpus that needs no limit to end, and half of HumanEval's solutions."""
    suites = (
        "tests/sandbox/test_local.py tests/sandbox/test_zygote.py tests/sandbox/test_cases.py "
        "tests/verifiers/test_code_hostile.py tests/verifiers/test_code.py"
    )
    command = ["python3", "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", "-m", "not slow"]
    chosen = "(landlock or reference) and not leetcode and not mbpp and not kodsport"
    said = inside([*command, "-k", chosen, *suites.split()], **SMALL)
    passed = {line.rpartition("::")[2] for line in said.splitlines() if line.startswith("PASSED")}
    quick = "test_quick_hostile_programs_and_benign_controls"
    assert {f"{quick}[landlock-func]", f"{quick}[landlock-stdio]"} <= passed
    assert any(
        name.startswith("test_a_sample_of_the_reference_solutions_passes[humaneval") for name in passed
    )
