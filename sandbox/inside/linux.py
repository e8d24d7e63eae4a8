"""The kernel interfaces that Python's standard library does not offer, through the C library."""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
from collections.abc import Callable

from .syscalls import numbers

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_NOATIME, MS_BIND, MS_REC, MS_PRIVATE = 32, 1024, 4096, 16384, 1 << 18
MNT_DETACH = 2

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_SET_CHILD_SUBREAPER = 36
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4

MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV = 1, 2, 4
AT_RECURSIVE = 0x8000
AT_FDCWD = -100

CAP_DAC_READ_SEARCH, CAP_SYS_ADMIN = 2, 21

FIRST_OWN = 16
"""The zygote keeps its own descriptors from here on, so that what it receives takes the places before."""

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


# They keep the interpreter's lock, for there is one thread, and less to copy after a fork.
_fork = ctypes.PyDLL(None, use_errno=True).fork
_wait = ctypes.PyDLL(None, use_errno=True).wait4


def check(result: int, what: str) -> int:
    """`result` of a C call, or OSError with `what` in its message where the call failed."""
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def syscall(name: str, *arguments: object) -> int:
    """A system call by its name; OSError where it fails."""
    return check(libc.syscall(ctypes.c_long(numbers()[name]), *arguments), name)


def fork() -> int:
    """fork(2) alone, for a process with one thread: 0 in the child.

    `os.fork` also runs the hooks of `threading` and `random`, which rewrite two hundred pages of the child.
    """
    return check(_fork(), "fork")


def prepared(name: str, *arguments: object) -> Callable[[], int]:
    """A system call that is ready to be made: what a fresh fork allocates and touches, the kernel has to copy."""
    number = ctypes.c_long(numbers()[name])

    def call() -> int:
        return check(libc.syscall(number, *arguments), name)

    return call


class Ended:
    """How the child ended that is waited for: a wait status and, behind padding, a `struct rusage`.

    It can be wiped, which an object of the interpreter can't: what is forked later finds nothing of it.
    """

    SIZE = 152
    LAYOUT = struct.Struct("=i4x5q104x")
    """Status, seconds and microseconds of a user and of the system, peak memory in KiB; the rest is not read."""

    def __init__(self) -> None:
        self.buffer = bytearray(self.SIZE)
        self._nothing = bytes(self.SIZE)
        view = (ctypes.c_char * self.SIZE).from_buffer(self.buffer)
        self._arguments = (-1, ctypes.byref(view), 0, ctypes.byref(view, 8))

    def wait(self) -> int:
        """Wait for any child; its number. ChildProcessError where there is none."""
        return check(_wait(*self._arguments), "wait4")

    def wipe(self) -> None:
        """Forget it."""
        self.buffer[:] = self._nothing


def unshare(flags: int) -> None:
    """Move the caller into new namespaces."""
    check(libc.unshare(flags), "unshare")


def setns(descriptor: int, flags: int) -> None:
    """Move the caller into the namespace behind `descriptor`."""
    check(libc.setns(descriptor, flags), "setns")


def mount(source: str, target: str, kind: str | None, flags: int = 0, data: str | None = None) -> None:
    """mount(2)."""
    encode = [part.encode() if part is not None else None for part in (source, target, kind, data)]
    check(libc.mount(encode[0], encode[1], encode[2], ctypes.c_ulong(flags), encode[3]), f"mount {target}")


def bind(source: str, target: str, *, devices: bool = False) -> None:
    """Bind-mount `source` with what is mounted below it; all of it read-only, without set-id programs.

    Devices are written to all the same: read-only are their times and modes.
    """
    mount(source, target, None, MS_BIND | MS_REC)
    attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_RDONLY
    if not devices:
        attributes |= MOUNT_ATTR_NODEV
    request = struct.pack("=QQQQ", attributes, 0, 0, 0)
    syscall("mount_setattr", AT_FDCWD, target.encode(), AT_RECURSIVE, request, ctypes.c_size_t(len(request)))


def umount(target: str) -> None:
    """Detach the mount at `target` at once."""
    check(libc.umount2(target.encode(), MNT_DETACH), f"umount {target}")


def pivot_root(new: str, old: str) -> None:
    """pivot_root(2)."""
    syscall("pivot_root", new.encode(), old.encode())


def prepared_prctl(option: int, argument: int) -> Callable[[], int]:
    """prctl(2) with one argument, ready to be made."""
    zero = ctypes.c_ulong(0)
    return prepared("prctl", option, ctypes.c_ulong(argument), zero, zero, zero)


def prctl(option: int, argument: int = 0, third: int = 0) -> int:
    """prctl(2) with two arguments at most."""
    return check(
        libc.prctl(
            option, ctypes.c_ulong(argument), ctypes.c_ulong(third), ctypes.c_ulong(0), ctypes.c_ulong(0)
        ),
        f"prctl {option}",
    )


def capabilities() -> int:
    """Effective capabilities of the caller, one bit each."""
    header = struct.pack("=Ii", 0x20080522, 0)
    data = ctypes.create_string_buffer(24)
    syscall("capget", header, data)
    low, high = struct.unpack_from("=I", data.raw, 0)[0], struct.unpack_from("=I", data.raw, 12)[0]
    return int(low | high << 32)


def drop_bounding_set() -> None:
    """Give up what a later exec could bring back; needs CAP_SETPCAP, and is no more than a second bolt."""
    for capability in range(64):
        if libc.prctl(PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0) < 0:
            break
    libc.prctl(PR_CAP_AMBIENT, ctypes.c_ulong(PR_CAP_AMBIENT_CLEAR_ALL), 0, 0, 0)


def keep_capabilities(kept: int) -> Callable[[], int]:
    """A call that gives up every capability but those of the bit mask `kept`."""
    return prepared("capset", struct.pack("=Ii", 0x20080522, 0), struct.pack("=6I", kept, kept, 0, 0, 0, 0))


def knows_processes() -> bool:
    """Whether the kernel has descriptors of processes (Linux 5.3); gVisor has none."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        return False
    return True


def own(descriptor: int) -> int:
    """The same file at a number that no run's descriptor takes."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, FIRST_OWN)
    os.close(descriptor)
    return moved


def close_range(first: int, last: int = 0xFFFFFFFF) -> None:
    """Close every descriptor from `first` to `last`."""
    try:
        syscall("close_range", ctypes.c_uint(first), ctypes.c_uint(last), 0)
    except OSError:
        os.closerange(first, min(last, 1 << 16) + 1)


def supported_machine() -> bool:
    """Whether the system call numbers of this processor are known."""
    return os.uname().machine in ("x86_64", "aarch64")
