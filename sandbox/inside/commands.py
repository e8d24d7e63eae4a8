"""Programs that are no Python: built by one command, run by another, in a profile that allows processes."""

from __future__ import annotations

import io
import os
import sys
import tarfile

ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/tmp",
    "TMPDIR": "/tmp",
    "LANG": "C.UTF-8",
    "GOCACHE": "/tmp/.cache",
    "GOFLAGS": "-mod=mod",
    "GO111MODULE": "off",
}


def build(command: list[str], channel: int) -> int:
    """Run `command` in the scratch directory and send what it leaves there, as a tar archive; its exit code."""
    pid = os.fork()
    if pid == 0:
        execute(command, -1)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code:
        return code & 0xFF
    with (
        os.fdopen(channel, "wb", closefd=False) as stream,
        tarfile.open(fileobj=stream, mode="w|") as archive,
    ):
        archive.add(".", filter=_artifact)
    return 0


def _artifact(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if member.name.startswith("./.") else member


def execute(command: list[str], archive: int) -> int:
    """Become `command`, in a directory that holds the archive's files; returns only where that fails."""
    if archive >= 0:
        with (
            os.fdopen(archive, "rb") as stream,
            tarfile.open(fileobj=io.BytesIO(stream.read()), mode="r:") as files,
        ):
            files.extractall(".", filter="fully_trusted")
    try:
        os.execve(command[0], command, ENVIRONMENT)
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error}\n")
        sys.stderr.flush()
    os._exit(127)
