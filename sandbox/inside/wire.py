"""Messages between two locked-up processes: one JSON object per line on a stream."""

from __future__ import annotations

import json
import os
from typing import Any

from . import codec

MAX_LINE = 64 << 20
PEER = 6
"""Where the tests find their end of the link to the program, and a command its archive."""


class Gone(BaseException):
    """The other side has ended. No `Exception`, so that a test which catches those does not survive it."""


class Wire:
    """One end of a stream of messages."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._buffer = bytearray()

    def send(self, message: dict[str, Any]) -> None:
        """Write a message; `Gone` where nobody reads any more."""
        view = memoryview(json.dumps(message, separators=(",", ":")).encode("ascii") + b"\n")
        try:
            while view:
                view = view[os.write(self.descriptor, view) :]
        except OSError as error:
            raise Gone(str(error)) from None

    def receive(self) -> dict[str, Any]:
        """Read a message; `Gone` at the end of the stream, `CodecError` where a line is none."""
        searched = 0
        while True:
            end = self._buffer.find(b"\n", searched)
            if end >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 1]
                return codec.load(line)
            searched = len(self._buffer)
            if searched > MAX_LINE:
                raise codec.CodecError(f"a message of more than {MAX_LINE} bytes")
            try:
                data = os.read(self.descriptor, 1 << 16)
            except OSError as error:
                raise Gone(str(error)) from None
            if not data:
                raise Gone("the program ended")
            self._buffer += data
