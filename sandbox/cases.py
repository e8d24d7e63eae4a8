"""The supervisor's side of a script that runs once per case: files for each case, and what became of it.

A case that has ended is judged here while the next one runs; no more than that one is on its way by then.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import time
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from .collect import Collector, Frame
from .inside import ledger
from .inside.linux import Ended
from .supervise import GRACE_SECONDS, Files, Zygote, taken
from .types import Execution, Limits, OnExecution, Program, Sandbox, SandboxError

AHEAD = 2
"""Cases whose files are with the sandbox at the same time: the one at work and the next."""
_FAILED = 125
"""Exit code of the process that forks the cases where it can't; no program runs in it."""


class _Case(NamedTuple):
    files: Files
    stdin: int
    stdout: int
    stderr: int


def one_by_one(
    sandbox: Sandbox,
    program: Program,
    stdins: Sequence[str | bytes],
    limits: Limits | None,
    on_execution: OnExecution | None,
) -> tuple[Execution, ...]:
    """What `Sandbox.run_cases` promises, where a sandbox can do no better than a run for each."""
    executions = []
    for stdin in stdins:
        executions.append(sandbox.run(program.model_copy(update={"stdin": stdin}), limits))
        if on_execution is not None and on_execution(executions[-1]):
            break
    return tuple(executions)


class CasesRun:
    """One request to a zygote: a program, and as many of its cases as it comes to."""

    def __init__(
        self,
        job: Frame,
        stdins: Sequence[bytes],
        limits: Limits,
        tier: str,
        on_execution: OnExecution | None,
    ) -> None:
        self.executions: list[Execution] = []
        self.stopped = False
        self._job = job
        self._stdins = stdins
        self._limits = limits
        self._tier = tier
        self._on_execution = on_execution
        self._files = Files()
        self._ledger = -1
        self._given: deque[_Case] = deque()
        self._since = 0.0

    def attend(self, zygote: Zygote) -> None:
        """Run the cases in order until one is found to be enough. SandboxError where none came to its end."""
        link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                self._ledger = self._files.add("ledger", size=self._page(len(self._stdins) - 1) + ledger.SIZE)
                job = self._files.add("job", json.dumps(self._job).encode())
                first = self._next()
                given = [first.stdin, first.stdout, first.stderr, theirs.fileno(), job, self._ledger]
                zygote.start(self._limits, given, cases=True)
            self._since = time.monotonic()
            self._conclude(self._wait(zygote, link))
        except OSError as error:
            raise SandboxError(f"no descriptors or memory for a run: {error}") from error
        finally:
            link.close()
            self._files.close()
            for case in self._given:
                case.files.close()

    def _page(self, number: int) -> int:
        return number * ledger.STRIDE

    def _next(self) -> _Case:
        """Files for the next case."""
        files = Files()
        stdin = self._stdins[len(self.executions) + len(self._given)]
        try:
            case = _Case(files, files.add("stdin", stdin), files.add("stdout"), files.add("stderr"))
        except OSError:
            files.close()
            raise
        self._given.append(case)
        return case

    def _feed(self, link: socket.socket) -> None:
        """Send what the next case is given, as far ahead as is allowed."""
        while len(self._given) < min(AHEAD, len(self._stdins) - len(self.executions)):
            # Where the other side is gone, the zygote's answer says why.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                socket.send_fds(link, [b"."], self._next()[1:])

    def _wait(self, zygote: Zygote, link: socket.socket) -> Frame:
        """Take the ends of cases as they come until the run has ended; the zygote's answer."""
        self._feed(link)
        poll = select.poll()
        poll.register(link, select.POLLIN)
        poll.register(zygote.control, select.POLLIN)
        listening = True
        while True:
            # Before the first case the program is compiled, in the time of a case.
            seconds = 2 * self._limits.elapsed + GRACE_SECONDS
            ready = {descriptor for descriptor, _ in poll.poll(int(1000 * seconds))}
            if not ready:
                raise SandboxError("the sandbox's zygote did not end a run in time")
            if listening and link.fileno() in ready:
                with contextlib.suppress(ConnectionResetError):
                    if (end := link.recv(Ended.SIZE)) and self._take(end):
                        self._feed(link)
                        continue
                listening = False
                poll.unregister(link)
                link.close()
                if self.stopped:
                    zygote.stop()
                continue
            return zygote.answer()

    def _take(self, end: bytes) -> bool:
        """Note how a case ended; whether there are more to wait for."""
        status, user, user_part, system, system_part, peak = Ended.LAYOUT.unpack(end)
        now = time.monotonic()
        code = os.waitstatus_to_exitcode(status)
        cpu = user + system + (user_part + system_part) / 1e6
        late = code in (-signal.SIGKILL, -signal.SIGXCPU) and cpu >= self._limits.cpu
        answer = {"code": code, "limit": "cpu" if late else None, "cpu": cpu, "wall": now - self._since}
        self._since = now
        self._append({**answer, "memory": peak * 1024, "denied": {}})
        return not self.stopped and len(self.executions) < len(self._stdins)

    def _append(self, answer: Frame) -> None:
        case = self._given.popleft()
        page = self._page(len(self.executions))
        found = taken(case.stdout, case.stderr, self._ledger, self._limits, page)
        case.files.close()
        self.executions.append(Collector().execution(answer, found, self._limits, self._tier))
        self.stopped = self._on_execution is not None and self._on_execution(self.executions[-1])

    def _conclude(self, answer: Frame) -> None:
        """Add what only the zygote knows: limits that it held, scratch directories, refused calls."""
        done = len(self.executions)
        at_work = answer["begun"] > done or answer["begun"] == 0
        if at_work and not self.stopped and done < len(self._stdins) and answer["code"] != _FAILED:
            # The end of the process that forks the cases is that of the case at work, or of its compilation.
            self._append({**answer, "denied": {}})
        if not self.executions:
            raise SandboxError("the sandbox could not run a program's cases")
        scratch = {**answer["scratch"], str(answer["begun"] - 1): answer}
        for number, execution in enumerate(self.executions):
            used = scratch.get(str(number), {})
            changes: Frame = {}
            if used.get("disk") or used.get("files"):
                sizes = {"disk": used["disk"], "files": used["files"]}
                changes["usage"] = execution.usage.model_copy(update=sizes)
            if execution.limit is None and execution.exit_code != 0 and used.get("disk_full"):
                changes["limit"] = "disk"
            if number == len(self.executions) - 1 and answer["denied"]:
                refused = {f"denied:{name}": count for name, count in answer["denied"].items()}
                changes["events"] = {**execution.events, **refused}
            if changes:
                self.executions[number] = execution.model_copy(update=changes)
