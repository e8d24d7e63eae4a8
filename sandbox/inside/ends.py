"""The end of a child as a descriptor that can be waited for together with others."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal

from . import linux

_SFD_NONBLOCK = 0x800
_SIGINFO_BYTES = 128
# One bit for each signal, from the lowest on, in the C library's 1024.
_MASK = (1 << signal.SIGCHLD - 1).to_bytes(128, "little")


class Ends:
    """Descriptors for the one child that its maker has at a time.

    A pidfd where the kernel has them. gVisor has none: there it is the signal that a child leaves, which is kept
    from being delivered. Make it before the first fork.
    """

    def __init__(self) -> None:
        self.signals = -1
        try:
            os.close(os.pidfd_open(os.getpid()))
        except OSError:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
            mask = ctypes.create_string_buffer(_MASK, len(_MASK))
            self.signals = linux.check(
                linux.libc.signalfd(-1, mask, os.O_CLOEXEC | _SFD_NONBLOCK), "signalfd"
            )

    def of(self, pid: int) -> int:
        """A descriptor that is ready to be read once `pid` has ended."""
        return os.pidfd_open(pid) if self.signals < 0 else self.signals

    def forget(self, descriptor: int) -> None:
        """Give back what `of` gave, after the child was waited for."""
        if self.signals < 0:
            os.close(descriptor)
            return
        with contextlib.suppress(BlockingIOError):
            while os.read(descriptor, _SIGINFO_BYTES):
                pass

    def leave_to_child(self) -> None:
        """In the child: signals as they are in any process."""
        if self.signals >= 0:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
