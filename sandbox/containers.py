"""Programs in Docker containers: a pool of them, each with the zygote inside, fed over its attached stream.

The container has no network, a read-only root, no capabilities, no new privileges, a system call profile, limits
on memory and processes, and an unprivileged user; inside it, every program is locked up as by the local sandbox.
The image needs `python3` (3.9 or later) and nothing else.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from .cases import one_by_one
from .collect import Collector, Frame, SuiteCollector, Taken
from .inside import seccomp
from .local import job_of
from .names import names_of
from .supervise import GRACE_SECONDS, STANDARD_PRELOADS
from .types import Execution, Limits, OnExecution, OnResult, Program, SandboxError, Suite, SuiteExecution

USER = 65534
_LOADER = """
import importlib.abc, importlib.util, json, struct, sys
def exactly(n):
    data = b""
    while len(data) < n:
        part = sys.stdin.buffer.raw.read(n - len(data))
        if not part: sys.exit(1)
        data += part
    return data
sources = json.loads(exactly(struct.unpack(">I", exactly(4))[0]))
config = sources.pop("config")
class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):
        if name in sources:
            return importlib.util.spec_from_loader(name, self, is_package=name == "inside")
    def exec_module(self, module):
        exec(compile(sources[module.__name__], module.__name__, "exec"), module.__dict__)
finder = Finder()
sys.meta_path.insert(0, finder)
from inside.bridge import main
sys.meta_path.remove(finder)
sys.exit(main(config))
"""
_NOWHERE_TO_WRITE = ("/tmp", "/dev/shm", "/dev/mqueue")
"""Docker and gVisor mount these writable, in a read-only container too: where Landlock is missing, one program
would leave files to the next."""
_FOR_ZYGOTES = (
    "seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self prctl pidfd_open "
    "capset capget memfd_create setgroups setresuid setresgid prlimit64 socket clone3 ioctl fcntl "
    "arch_prctl socketpair sendto clone kill tgkill tkill execve fork vfork setitimer "
    "sched_setaffinity close_range rt_sigqueueinfo mlock setsockopt pidfd_send_signal"
)


def system_call_profile() -> str:
    """Docker's JSON for the container: what programs and the zygote need, everything else refused."""
    names = sorted(
        {*seccomp.FILES, *seccomp.MEMORY, *seccomp.PROCESS, *seccomp.STREAMS, *_FOR_ZYGOTES.split()}
    )
    architectures = ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"]
    allowed = [{"names": names, "action": "SCMP_ACT_ALLOW"}]
    return json.dumps(
        {"defaultAction": "SCMP_ACT_ERRNO", "architectures": architectures, "syscalls": allowed}
    )


class _Container:
    """One running container, seen through its stream."""

    def __init__(self, client: Any, options: dict[str, Any], packages: tuple[str, ...]) -> None:
        import docker

        try:
            self.container = client.containers.create(**options)
            stream = client.api.attach_socket(
                self.container.id, params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
            )
            self.stream: socket.socket = getattr(stream, "_sock", stream)
            self.stream.settimeout(60)
            self.container.start()
        except docker.errors.DockerException as error:
            raise SandboxError(f"Docker started no container: {str(error)[:300]}") from error
        self._buffer = bytearray()
        self._errors = bytearray()
        folder = Path(__file__).parent / "inside"
        sources: Frame = {f"inside.{path.stem}": path.read_text() for path in folder.glob("*.py")}
        sources["inside"] = sources.pop("inside.__init__")
        sources["config"] = {
            "packages": list(packages), "preload": list(STANDARD_PRELOADS),
            "user": None, "tools": False, "commands": False, "tests": True,
        }  # fmt: skip
        text = json.dumps(sources).encode()
        try:
            self.stream.sendall(struct.pack(">I", len(text)) + text)
            self.tier = f"docker+{self.receive()[0]['ready']}"
        except (OSError, KeyError) as error:
            self.kill()
            raise SandboxError(f"the container's Python did not start: {error} {self.said()}") from error

    def said(self) -> str:
        """The end of what came on standard error."""
        return self._errors[-300:].decode("utf-8", "replace").strip()

    def send(self, header: Frame, body: bytes = b"") -> None:
        """Write a frame. SandboxError where the container is gone."""
        text = json.dumps(header).encode()
        try:
            self.stream.sendall(struct.pack(">II", len(text), len(body)) + text + body)
        except OSError as error:
            raise SandboxError(f"the container is gone: {error}") from error

    def receive(self) -> tuple[Frame, bytes]:
        """Read a frame. SandboxError where the container is gone or silent."""
        text_length, body_length = struct.unpack(">II", self._exactly(8))
        return json.loads(self._exactly(text_length)), self._exactly(body_length)

    def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            kind, length = struct.unpack(">BxxxI", self._raw(8))
            data = self._raw(length)
            if kind == 2:
                self._errors += data
            else:
                self._buffer += data
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def _raw(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            try:
                part = self.stream.recv(size - len(data))
            except OSError as error:
                raise SandboxError(f"the container does not answer: {error}; {self.said()}") from error
            if not part:
                raise SandboxError(f"the container ended; {self.said()}")
            data += part
        return bytes(data)

    def kill(self) -> None:
        """End the container and remove it."""
        import docker

        self.stream.close()
        with contextlib.suppress(docker.errors.DockerException):
            self.container.remove(force=True)


class DockerSandbox:
    """Runs Python programs in containers of `image`, `size` at the same time.

    `runtime="runsc"` runs the containers under gVisor, where Docker knows it. `memory` bounds each container, in
    bytes. A container whose program ended abnormally is replaced.
    """

    def __init__(
        self,
        image: str = "python:3.12-slim",
        size: int = 2,
        *,
        runtime: str | None = None,
        memory: int = 2 << 30,
        processes: int = 256,
        packages: tuple[str, ...] = ("numpy",),
    ) -> None:
        try:
            import docker
        except ImportError as error:
            raise SandboxError("the Docker sandbox needs `pip install rlvr[docker]`") from error
        self._settings: dict[str, Any] = {
            "image": image, "size": size, "runtime": runtime, "memory": memory,
            "processes": processes, "packages": packages,
        }  # fmt: skip
        try:
            self._client = docker.from_env()
        except docker.errors.DockerException as error:
            raise SandboxError(f"no Docker daemon answers: {str(error)[:200]}") from error
        self._options = {
            "image": image,
            "command": ["python3", "-s", "-B", "-X", "utf8", "-c", _LOADER],
            "environment": {"PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            "stdin_open": True,
            "network_mode": "none",
            "read_only": True,
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges", f"seccomp={system_call_profile()}"],
            "pids_limit": processes,
            "mem_limit": memory,
            "memswap_limit": memory,
            "tmpfs": dict.fromkeys(_NOWHERE_TO_WRITE, "ro,size=4k"),
            "user": f"{USER}:{USER}",
            "working_dir": "/",
            "labels": {"rlvr-sandbox": f"{os.getpid()}-{id(self)}"},
            "auto_remove": True,
            "runtime": runtime,
        }
        self._packages = packages
        self._permits = threading.BoundedSemaphore(size)
        self._lock = threading.Lock()
        self._idle: list[_Container] = []
        self._closed = False
        with self._container() as first:
            self.tier = first.tier

    def __getstate__(self) -> dict[str, Any]:
        return self._settings

    def __setstate__(self, settings: dict[str, Any]) -> None:
        self.__init__(**settings)  # type: ignore[misc]

    @contextlib.contextmanager
    def _container(self) -> Iterator[_Container]:
        with self._permits:
            with self._lock:
                if self._closed:
                    raise SandboxError("the sandbox was closed")
                container = self._idle.pop() if self._idle else None
            if container is None:
                container = _Container(self._client, self._options, self._packages)
            try:
                yield container
            except BaseException:
                container.kill()
                raise
            with self._lock:
                keep = not self._closed
                if keep:
                    self._idle.append(container)
            if not keep:
                container.kill()

    def run(
        self, program: Program, limits: Limits | None = None, *, on_result: OnResult | None = None
    ) -> Execution:
        """Run `program`; as `LocalSandbox.run`."""
        limits = limits or Limits()
        if limits.processes > 1:
            raise SandboxError(
                "containers run single processes; `processes` needs the local tier `namespaces`"
            )
        stdin = program.stdin
        stdin = stdin.encode("utf-8", "surrogatepass") if isinstance(stdin, str) else stdin
        job = job_of(program)

        def once() -> Execution:
            collector = Collector.of(program, on_result)
            end, parts = self._exchange(job, None, stdin, limits, limits, collector)
            return collector.execution(end["end"], Taken(*parts), limits, self.tier)

        return _twice(once)

    def run_cases(
        self,
        program: Program,
        stdins: Sequence[str | bytes],
        limits: Limits | None = None,
        *,
        on_execution: OnExecution | None = None,
    ) -> tuple[Execution, ...]:
        """Run a script once for each of `stdins`; see `Sandbox.run_cases`."""
        return one_by_one(self, program, stdins, limits, on_execution)

    def run_suite(self, program: Program, suite: Suite, limits: Limits | None = None) -> SuiteExecution:
        """Run `suite` against `program`, both in one container; as `LocalSandbox.run_suite`."""
        limits = limits or Limits()
        job = {**job_of(program), "mode": "serve"}
        tests = {
            **suite.model_dump(),
            "free_names": names_of(suite),
            "mode": "test",
            "sources": [],
            "files": {},
            "arguments": [],
        }
        patient = limits.model_copy(update={"wall": limits.elapsed + limits.cpu})

        def once() -> SuiteExecution:
            collector = SuiteCollector()
            end, parts = self._exchange(job, tests, b"", limits, patient, collector)
            return SuiteExecution(
                reports=tuple(collector.reports),
                program=Collector().execution(end["end"], Taken(*parts[:3]), limits, self.tier),
                suite=collector.execution(end["suite"], Taken(*parts[3:]), patient, self.tier),
                setup_error=collector.setup_error,
                suite_error=collector.suite_error(end["suite"]),
            )

        return _twice(once)

    def _exchange(
        self,
        job: Frame,
        suite: Frame | None,
        stdin: bytes,
        limits: Limits,
        patient: Limits,
        collector: Collector,
    ) -> tuple[Frame, list[bytes]]:
        """Send a run, feed what comes to `collector`; the last frame and the parts of its body."""
        wire = [{**each.model_dump(), "wall": each.elapsed} for each in (limits, patient)]
        request = {"op": "run", "job": job, "suite": suite, "limits": wire[0], "patient": wire[1]}
        with self._container() as container:
            container.stream.settimeout(patient.elapsed + 2 * GRACE_SECONDS)
            container.send(request, stdin)
            stopped = False
            while True:
                header, body = container.receive()
                if "failed" in header:
                    raise SandboxError(f"the container could not run a program: {header['failed']}")
                if "end" in header:
                    break
                if collector.feed(body, patient.output) and not stopped:
                    stopped = True
                    container.send({"op": "stop"})
            if header["end"]["code"] < 0 and header["end"]["limit"] != "stopped":
                self._retire(container)
            return header, _cut(body, header["sizes"])

    def _retire(self, container: _Container) -> None:
        """Put a fresh container in the place of one whose program ended abnormally."""
        container.kill()
        container.__dict__.update(_Container(self._client, self._options, self._packages).__dict__)

    def close(self) -> None:
        """Remove every idle container; those at work are removed after their run."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for container in idle:
            container.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


T = TypeVar("T")


def _twice(once: Callable[[], T]) -> T:
    """What `once` gives, or gives the second time where the sandbox fails the first."""
    try:
        return once()
    except SandboxError:
        return once()


def _cut(body: bytes, sizes: list[int]) -> list[bytes]:
    parts, at = [], 0
    for size in sizes:
        parts.append(body[at : at + size])
        at += size
    return parts
