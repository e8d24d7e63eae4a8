"""Inside a container: takes runs from a byte stream, has zygotes do them, and sends what came of them back.

A frame is two big-endian lengths, a JSON header and a body. The stream is the container's own standard input and
output; programs have neither, and can't reach this process, which gives up being readable to its own user.
"""

from __future__ import annotations

import importlib.util
import json
import os
import select
import socket
import struct
import time
from typing import Any

from . import landlock, ledger, linux, zygote
from . import tester as tester  # Now, for later nobody finds it.

GRACE_SECONDS = 10.0
MAX_OUTPUT_FRAME = 1 << 20


def main(config: dict[str, Any]) -> int:
    """Serve runs until the stream ends."""
    linux.prctl(linux.PR_SET_DUMPABLE, 0)
    config["tier"] = "landlock" if landlock.version() else "container"
    config["packages"] = _packages(config["packages"])
    config["preload"] += list(config["packages"])
    workers = [_Worker(config), _Worker(config)]
    send({"ready": config["tier"]})
    while True:
        frame = receive()
        if frame is None:
            return 0
        header, body = frame
        if header["op"] == "run":
            try:
                _run(workers, header, body)
            except (OSError, ValueError) as error:
                send({"failed": f"{type(error).__name__}: {error}"})


def _packages(names: list[str]) -> dict[str, str]:
    found = {}
    for name in names:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations:
            found[name] = next(iter(spec.submodule_search_locations))
    return found


class _Worker:
    """A zygote in a process of its own."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if os.fork() == 0:
            self.control.close()
            linux.prctl(linux.PR_SET_PDEATHSIG, 9)
            try:
                zygote.settle(socket.socket(fileno=linux.own(theirs.detach())), config).serve()
            finally:
                os._exit(0)
        theirs.close()

    def start(self, limits: dict[str, Any], descriptors: list[int]) -> None:
        socket.send_fds(self.control, [json.dumps({"limits": limits}).encode()], descriptors)

    def answer(self) -> dict[str, Any]:
        data = self.control.recv(65536)
        if not data:
            raise OSError("a zygote died")
        return dict(json.loads(data))


class _Files:
    """The files of one process: what it is given, what it writes."""

    def __init__(self, job: dict[str, Any], stdin: bytes, channel: int) -> None:
        self.stdin, self.stdout, self.stderr = (
            os.memfd_create(name) for name in ("stdin", "stdout", "stderr")
        )
        self.job, self.ledger = os.memfd_create("job"), os.memfd_create("ledger")
        self.channel = channel
        for descriptor, content in (
            (self.stdin, stdin),
            (self.job, json.dumps(job).encode()),
            (self.ledger, bytes(ledger.SIZE)),
        ):
            view = memoryview(content)
            while view:
                view = view[os.write(descriptor, view) :]
            os.lseek(descriptor, 0, os.SEEK_SET)

    def given(self) -> list[int]:
        return [self.stdin, self.stdout, self.stderr, self.channel, self.job, self.ledger]

    def taken(self, limit: int) -> list[bytes]:
        return [
            os.pread(self.stdout, limit + 1, 0),
            os.pread(self.stderr, limit + 1, 0),
            os.pread(self.ledger, ledger.SIZE, 0),
        ]

    def close(self) -> None:
        for descriptor in (self.stdin, self.stdout, self.stderr, self.job, self.ledger):
            os.close(descriptor)


def _run(workers: list[_Worker], header: dict[str, Any], stdin: bytes) -> None:
    """One program, or a program and the suite that tests it."""
    program, suite = workers
    limits, patient = header["limits"], header["patient"]
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    link = socket.socketpair() if header["suite"] else None
    files = _Files(header["job"], stdin, link[0].fileno() if link else writer)
    tests = _Files(header["suite"], b"", writer) if header["suite"] else None
    try:
        program.start(limits, files.given())
        watched, watched_limits = program, limits
        if link is not None and tests is not None:
            suite.start(patient, [*tests.given(), link[1].fileno()])
            watched, watched_limits = suite, patient
            for end in link:
                end.close()
        os.close(writer)
        answer = _attend(watched, reader, watched_limits)
        second = None
        if tests is not None:
            program.control.send(b"stop")
            second, answer = answer, program.answer()
        taken = files.taken(limits["output"])
        if tests is not None:
            taken += tests.taken(patient["output"])
        send({"end": answer, "suite": second, "sizes": [len(part) for part in taken]}, b"".join(taken))
    finally:
        os.close(reader)
        files.close()
        if tests is not None:
            tests.close()


def _attend(worker: _Worker, reader: int, limits: dict[str, Any]) -> dict[str, Any]:
    """Pass the channel on until the run has ended; the zygote's answer."""
    poll = select.poll()
    for descriptor in (worker.control.fileno(), reader, 0):
        poll.register(descriptor, select.POLLIN)
    deadline = time.monotonic() + limits["wall"] + GRACE_SECONDS
    received = 0
    answer: dict[str, Any] | None = None
    while True:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise OSError("a zygote did not end a run in time")
        ready = {
            descriptor for descriptor, _ in poll.poll(0 if answer is not None else int(1000 * remaining) + 1)
        }
        if reader in ready:
            data = os.read(reader, MAX_OUTPUT_FRAME)
            if not data:
                poll.unregister(reader)
            elif received <= limits["output"]:
                received += len(data)
                send({"chunk": 1}, data)
            continue
        if answer is not None:
            return answer
        if 0 in ready:
            if receive() is None:
                os._exit(0)
            worker.control.send(b"stop")
        if worker.control.fileno() in ready:
            answer = worker.answer()


def send(header: dict[str, Any], body: bytes = b"") -> None:
    """Write a frame to standard output."""
    text = json.dumps(header).encode()
    view = memoryview(struct.pack(">II", len(text), len(body)) + text + body)
    while view:
        view = view[os.write(1, view) :]


def receive() -> tuple[dict[str, Any], bytes] | None:
    """Read a frame from standard input; None at its end."""
    lengths = _exactly(8)
    if lengths is None:
        return None
    text_length, body_length = struct.unpack(">II", lengths)
    text, body = _exactly(text_length), _exactly(body_length)
    if text is None or body is None:
        return None
    return json.loads(text), body


def _exactly(size: int) -> bytes | None:
    data = bytearray()
    while len(data) < size:
        part = os.read(0, min(size - len(data), 1 << 20))
        if not part:
            return None
        data += part
    return bytes(data)
