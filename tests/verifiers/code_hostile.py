"""The host around a hostile program: secrets to steal, files to destroy, ports to call, and checks of all of them.

The layout is the one that the programs under `data/code_hostile` were written against.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from sandbox.types import Limits, Program
from tests.processes import descendants
from tests.shared_data import shared_path, shared_rows
from verifiers import Problem
from verifiers.code import CodeVerifier

CANARY = Path("/tmp/rlvr_canary")
SECRETS = ("hf_ENV_CANARY_77", "hf_FILE_CANARY_88", "SECRET_CANARY_99")
LIMITS = Limits(cpu=4, wall=8, memory=512 << 20, output=1 << 20, file_size=16 << 20)
IMAGE = os.environ.get("RLVR_SANDBOX_IMAGE", "python:3.12-slim")
RIGHT = "```python\ndef solve(nums, k):\n    return sum(sorted(nums)[-k:])\n```"
LITTER = ("/tmp/rlvr_fill", "/var/tmp/rlvr_fill", "/tmp/rlvr_handoff", "/tmp/rlvr_userns_ok", "/tmp/conftest.py",
          "/tmp/sitecustomize.py")  # fmt: skip


def problems() -> dict[str, Problem]:
    """The task of the hostile programs, for each protocol."""
    task = json.loads(shared_path("code_hostile/task.json").read_text())
    return {
        "func": Problem(id="func", tests=task["func"], verifier="code"),
        "stdio": Problem(id="stdio", tests={"tests": task["stdio"]["tests"]}, verifier="code"),
    }


def cases() -> list[dict[str, Any]]:
    """Rows of the index, one for each protocol under which a program is to be tried."""
    rows = shared_rows("code_hostile/index.jsonl")
    protocols = {"both": ("func", "stdio"), "func": ("func",), "stdio": ("stdio",)}
    return [{**row, "protocol": name} for row in rows for name in protocols[row["protocol"]]]


def source_of(row: dict[str, Any]) -> str:
    return shared_path(f"code_hostile/{row['file']}").read_text()


@contextmanager
def hostile_host() -> Iterator[Path]:
    """Set the canaries and listeners up; yields the log to which listeners append what reaches them."""
    home = Path("/tmp/home")
    token = home / ".cache/huggingface/token"
    with ExitStack() as stack:
        for folder in (CANARY, home):
            shutil.rmtree(folder, ignore_errors=True)
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        token.parent.mkdir(parents=True)
        token.write_text(SECRETS[1])
        CANARY.mkdir()
        CANARY.chmod(0o777)
        (CANARY / "secret.txt").write_text(SECRETS[2])
        (CANARY / "victim.txt").write_text("victim")
        (CANARY / "victim.txt").chmod(0o666)
        stack.enter_context((CANARY / "trainer.log").open("w"))
        log = CANARY / "net.log"
        log.write_text("")
        for family, kind, address in (
            (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 47123)),
            (socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 47124)),
            (socket.AF_UNIX, socket.SOCK_STREAM, "\0rlvr_canary"),
            (socket.AF_UNIX, socket.SOCK_STREAM, str(CANARY / "sock")),
        ):
            listener = stack.enter_context(socket.socket(family, kind))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.settimeout(0.1)
            listener.bind(address)
            threading.Thread(target=_listen, args=(listener, kind, log), daemon=True).start()
        before = {name: os.environ.get(name) for name in ("HF_TOKEN", "HOME")}
        os.environ.update(HF_TOKEN=SECRETS[0], HOME=str(home))
        try:
            yield log
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


def _listen(listener: socket.socket, kind: int, log: Path) -> None:
    if kind == socket.SOCK_STREAM:
        listener.listen()
    while listener.fileno() >= 0:
        try:
            data = listener.accept()[0].recv(1000) if kind == socket.SOCK_STREAM else listener.recv(1000)
        except TimeoutError:
            continue
        except OSError:
            return
        with log.open("ab") as file:
            file.write(data or b"connected")


class Watch:
    """Samples the memory of everything below this process."""

    def __init__(self) -> None:
        self.peak = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def _sample(self) -> None:
        while not self._stop.wait(0.02):
            self.peak = max(self.peak, sum(descendants().values()))

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def complaints(verifier: CodeVerifier, row: dict[str, Any], problem: Problem, log: Path) -> list[str]:
    """What did not hold of what the index says about a program; empty where all did."""
    expected = set(row["expected"])
    own_limits = [resource.getrlimit(resource.RLIMIT_NOFILE), os.sched_getaffinity(0), os.nice(0)]
    log.write_text("")
    before = descendants()
    resident = sum(before.values())
    mine = own_memory()
    started = time.monotonic()
    with Watch() as watch:
        verdict = verifier.verify(f"```python\n{source_of(row)}\n```", problem)
    seconds = time.monotonic() - started
    tests = 5 if row["protocol"] == "stdio" else 1
    bad = []
    if "must_pass" in expected:
        if not verdict.correct:
            bad.append(f"must pass, but: {verdict.status} {verdict.detail}")
        return bad
    if verdict.status != "incorrect":
        bad.append(f"verdict is {verdict.status}: {verdict.detail}")
    if seconds > LIMITS.elapsed * (tests if verdict.correct else 1) + 20:
        bad.append(f"took {seconds:.1f} s")
    if watch.peak - resident > LIMITS.memory * 1.1 + (32 << 20) or own_memory() - mine > 64 << 20:
        grown = (watch.peak - resident) >> 20, (own_memory() - mine) >> 20
        bad.append(f"memory grew by {grown[0]} MiB, the verifier's own by {grown[1]} MiB")
    if (CANARY / row["id"]).exists():
        bad.append("wrote its marker on the host")
    if not (CANARY / "victim.txt").exists() or (CANARY / "victim.txt").read_text() != "victim":
        bad.append("changed the victim")
    if log.read_text():
        bad.append(f"reached a listener: {log.read_text()[:100]}")
    if any(secret in verdict.model_dump_json() for secret in SECRETS):
        bad.append("leaked a secret")
    if any(Path(path).exists() for path in LITTER):
        bad.append("left files on the host")
    if own_limits != [resource.getrlimit(resource.RLIMIT_NOFILE), os.sched_getaffinity(0), os.nice(0)]:
        bad.append("changed the verifier's limits")
    if {"no_state", "no_leak", "info_kernel", "no_marker"} & expected:
        bad += _said(verifier, row)
    bad += _survivors(before)
    if not verifier.verify(RIGHT, problems()["func"]).correct:
        bad.append("the next right program does not pass")
    return bad


def _said(verifier: CodeVerifier, row: dict[str, Any]) -> list[str]:
    said = "".join(
        run.stdout + run.stderr
        for run in [verifier.sandbox.run(Program(source=source_of(row)), LIMITS) for _ in range(2)]
    )
    signs = [*SECRETS, "STATE_SEEN", "USERNS_MOUNT 0", "PTRACE_OK", "READ_PARENT_MEM_OK"]
    return [f"printed {sign}" for sign in signs if sign in said]


def _survivors(before: dict[int, int]) -> list[str]:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        left = descendants().keys() - before.keys()
        programs = [pid for pid in left if is_program(pid)]
        if not programs:
            return []
        time.sleep(0.05)
    return [f"{len(programs)} processes survive"]


def is_program(pid: int) -> bool:
    """Whether a process is locked up: it has a filter more than this one, which in a container has one already."""
    try:
        return filters(pid) > filters(os.getpid())
    except OSError:
        return False


def filters(pid: int) -> int:
    """How many system call filters bind a process (Linux 5.9)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("\nSeccomp_filters:")[2].split(maxsplit=1)[0])


def own_memory() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def main() -> None:
    """Try every program on every tier that works here: `python -m tests.verifiers.code_hostile [TIER...]`."""
    tasks = problems()
    for tier in sys.argv[1:] or ("namespaces", "landlock"):
        verifier = CodeVerifier(workers=1, tier=tier, limits=LIMITS, image=IMAGE)
        verifier.verify(RIGHT, tasks["func"])
        failed = 0
        with hostile_host() as log:
            for row in cases():
                found = complaints(verifier, row, tasks[row["protocol"]], log)
                failed += bool(found)
                if found:
                    print(f"{tier} {row['id']} ({row['protocol']}): {'; '.join(found)}", flush=True)
        print(f"{tier}: {len(cases()) - failed} of {len(cases())} hold, uid {os.getuid()}")
        verifier.close()


if __name__ == "__main__":
    main()
