"""Landlock: a process gives up the file system but for named trees (Linux 5.13 and later).

Source: Documentation/userspace-api/landlock.rst of the kernel.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable, Iterable

from . import linux

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_FILE_RIGHTS = _EXECUTE | _WRITE_FILE | _READ_FILE | 1 << 14 | 1 << 15
_RIGHTS_BY_VERSION = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1}
_ALL_RIGHTS = (1 << 16) - 1
_NETWORK_RIGHTS = 3
_SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS = 3


def version() -> int:
    """Version of the kernel's Landlock interface; 0 where there is none or it is switched off."""
    try:
        return linux.syscall("landlock_create_ruleset", None, ctypes.c_size_t(0), ctypes.c_uint(1))
    except OSError:
        return 0


def ruleset(readable: Iterable[str] | None, writable: Iterable[str] = (), *, execute: bool = False) -> int:
    """Descriptor of a rule set that leaves only reading and writing below the given paths.

    `readable=None` leaves files alone. The set also refuses TCP (version 4), and signals and abstract sockets
    to anyone outside of the process that enters it (version 6). Paths that do not exist are left out. OSError
    where Landlock is missing.
    """
    abi = version()
    handled = 0 if readable is None else _RIGHTS_BY_VERSION.get(abi, _ALL_RIGHTS)
    attributes = struct.pack("=QQQ", handled, _NETWORK_RIGHTS, _SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS)
    attributes = attributes[: 24 if abi >= 6 else 16 if abi >= 4 else 8]
    rules = linux.syscall(
        "landlock_create_ruleset", attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint(0)
    )
    read = _READ_FILE | _READ_DIR | (_EXECUTE if execute else 0)
    for path in readable or ():
        _allow(rules, path, read & handled)
    for path in writable:
        _allow(rules, path, handled & ~_EXECUTE | (read & handled))
    return rules


def enter(rules: int) -> Callable[[], int]:
    """A call that binds its caller (no_new_privs must be set) to a rule set."""
    return linux.prepared("landlock_restrict_self", rules, ctypes.c_uint(0))


def _allow(rules: int, path: str, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not os.path.isdir(path):
            rights &= _FILE_RIGHTS
        linux.syscall("landlock_add_rule", rules, 1, struct.pack("=Qi", rights, descriptor), ctypes.c_uint(0))
    finally:
        os.close(descriptor)
