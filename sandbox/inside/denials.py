"""The supervisor's end of the filter: told of every refused system call, it counts and refuses.

Source: seccomp_unotify(2).
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Callable

from .syscalls import numbers

_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_EPERM = 1
_CONTINUE = 1
MAX_DENIALS = 1000


class Denials:
    """Counts the refused calls of one program, and answers them with EPERM."""

    def __init__(self) -> None:
        self.descriptor = -1
        self.counts: dict[str, int] = {}
        self._total = 0

    def answer(self, allow: Callable[[str, int, tuple[int, ...]], bool]) -> bool:
        """Answer one call; False where there will be no more, or where there were too many to go on counting.

        `allow` sees the call's name, the number of its caller and its arguments; what it allows is no denial.

        Closing the descriptor makes the kernel refuse every further call by itself, with ENOSYS.
        """
        notification = bytearray(80)
        try:
            fcntl.ioctl(self.descriptor, _RECEIVE, notification)
        except FileNotFoundError:
            # The caller was killed between its call and our question.
            return True
        except OSError:
            return False
        identity, caller, _, number, _, _, *arguments = struct.unpack_from("=QIIiIQ6Q", notification)
        name = _NAMES.get(number, f"call_{number}")
        if allow(name, caller, tuple(arguments)):
            reply = struct.pack("=QqiI", identity, 0, 0, _CONTINUE)
        else:
            self.counts[name] = self.counts.get(name, 0) + 1
            reply = struct.pack("=QqiI", identity, 0, -_EPERM, 0)
        self._total += 1
        try:
            fcntl.ioctl(self.descriptor, _SEND, reply)
        except FileNotFoundError:
            return True
        return self._total < MAX_DENIALS

    def close(self) -> None:
        """Stop answering."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


_NAMES = {number: name for name, number in numbers().items()}
