"""What a program tries, counted: by the kernel's filter where it asks the zygote, and by the interpreter's hook.

The counts of the filter can't be forged. Those of the hook live in a page that the program's process shares with
the supervisor: they survive an early exit, and a program that knows of them could change them. They explain a
verdict; they never make one.
"""

from __future__ import annotations

import mmap
import os
import struct
import sys
from typing import Any

KINDS = (
    "odd_path",
    "fork",
    "exec",
    "signal",
    "socket",
    "foreign_code",
    "object_hunt",
    "code_object",
    "trace_hook",
    "finished",
)
"""What the interpreter's hook tells apart; `finished` is no attempt: the program came to its end by itself."""

SIZE = 4096
STRIDE = 1 << 16
"""From the page of one case to that of the next, whatever the kernel's pages measure."""
_EVENTS = {
    "os.fork": "fork",
    "os.forkpty": "fork",
    "os.exec": "exec",
    "os.posix_spawn": "exec",
    "os.system": "exec",
    "subprocess.Popen": "exec",
    "os.kill": "signal",
    "os.killpg": "signal",
    "socket.__new__": "socket",
    "socket.connect": "socket",
    "socket.bind": "socket",
    "ctypes.dlopen": "foreign_code",
    "ctypes.call_function": "foreign_code",
    "gc.get_objects": "object_hunt",
    "gc.get_referrers": "object_hunt",
    "sys._current_frames": "object_hunt",
    "code.__new__": "code_object",
    "sys.settrace": "trace_hook",
    "sys.setprofile": "trace_hook",
    "sys.addaudithook": "trace_hook",
}
_ODD = ("/proc", "/sys", "/etc", "/home", "/root", "/dev/tty", "/dev/shm", "/var", "/run", "/mnt", "/work")
_PLAIN = ("/etc/localtime", "/etc/ld.so.cache")


class Ledger:
    """Counts into a page, once it has begun. Made before the fork, for what a fork makes has to be copied."""

    def __init__(self) -> None:
        places = {kind: 4 * index for index, kind in enumerate(KINDS)}
        pack, unpack = struct.Struct("<I").pack_into, struct.Struct("<I").unpack_from
        plain = (*_PLAIN, *(path for path in sys.path if path))
        page: Any = None

        def begin(descriptor: int, number: int) -> None:
            nonlocal page
            page = mmap.mmap(descriptor, SIZE, offset=number * STRIDE)
            os.close(descriptor)
            sys.addaudithook(hook)

        def count(kind: str) -> None:
            place = places[kind]
            pack(page, place, min(unpack(page, place)[0] + 1, 1 << 31))

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            if event == "open":
                path = arguments[0]
                if type(path) is str and path.startswith(_ODD) and not path.startswith(plain):
                    count("odd_path")
            elif event in _EVENTS:
                count(_EVENTS[event])

        self.begin, self.count = begin, count


def read(page: bytes) -> dict[str, int]:
    """The counts in a page, without those that are zero."""
    counts = struct.unpack_from(f"<{len(KINDS)}I", page.ljust(SIZE, b"\0"))
    return {kind: count for kind, count in zip(KINDS, counts, strict=True) if count}
