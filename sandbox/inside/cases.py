"""A program that runs once per case: compiled here, in a locked-up process that never runs it, then forked.

Between two cases this process learns nothing of them: how a case ended goes from the kernel to the supervisor
through a buffer that is wiped, and a case's files take the places of those of the case before. Each fork is
allowed by the zygote, which has a clean scratch directory ready by then. A case does as little as it can before
the program's first line, for each page that it touches has to be copied.
"""

from __future__ import annotations

import _socket
import array
import os
import struct
from collections.abc import Callable
from typing import Any

from . import linux, seccomp

LINK = 3
"""The supervisor's link: the files of the next case come in, how each case ended goes out."""
LINE = 6
"""The line to the zygote, which learns from it the process of each case."""
_STREAMS = array.array("i", (0, 1, 2)).tobytes()


def possible(config: dict[str, Any]) -> bool:
    """Whether the kernel has what it takes.

    What refuses a fork to programs has to let it pass where the zygote says so, and a process whose number may be
    another's by then has to be ended at its limit.
    """
    return (
        config["tier"] != "none"
        and not config["tools"]
        and seccomp.can_let_pass()
        and linux.knows_processes()
    )


class Cases:
    """What is made before a fork, so that there is less to copy behind it."""

    def __init__(self, die_with_parent: Callable[[], int] | None) -> None:
        self.ended = linux.Ended()
        self.die_with_parent = die_with_parent
        self.space = _socket.CMSG_SPACE(len(_STREAMS))
        self.pack = struct.Struct("=i").pack
        self.link: _socket.socket | None = None

    def fork_each(self) -> int:
        """The number of the case, in the process that is to run it; does not return in the caller's own."""
        # Kept, for its end would close what is then at its number.
        link = self.link = _socket.socket(fileno=LINK)
        fork, ended, own, number = linux.fork, self.ended, os.getpid(), 0
        while fork():
            ended.wait()
            link.send(ended.buffer)
            ended.wipe()
            os.closerange(0, len(_STREAMS) // 4)
            message, rights, _, _ = link.recvmsg(1, self.space)
            if not message:
                os._exit(0)
            if rights[0][2] != _STREAMS:
                raise OSError(9, "a case's files came in other places")
            number += 1
        if self.die_with_parent is not None:
            self.die_with_parent()
            if os.getppid() != own:
                os._exit(0)
        os.write(LINE, self.pack(os.getpid()))
        return number
