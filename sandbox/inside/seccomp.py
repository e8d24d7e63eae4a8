"""The system call filter: an allowlist in classic BPF, built here and loaded by the process it binds.

A call that the list does not name is refused with EPERM; where the kernel gives a listener, the supervisor
is asked instead, so that what a program tried is counted by someone it can't reach.
"""

from __future__ import annotations

import ctypes
import os
import re
import struct
from collections.abc import Iterable
from typing import NamedTuple

from . import linux
from .syscalls import AUDIT_ARCH, numbers

RET_ALLOW = 0x7FFF0000
RET_ERRNO = 0x00050000
RET_NOTIFY = 0x7FC00000
RET_KILL = 0x80000000
EPERM, ENOSYS = 1, 38

SECCOMP_SET_MODE_FILTER = 1
FLAG_NEW_LISTENER = 8
_GET_ACTION_AVAILABLE = 2

CLONE_THREAD = 0x00010000
MAP_SHARED_ANONYMOUS = 0x21

_LOAD, _JUMP, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _AND, _RETURN = 0x20, 0x05, 0x15, 0x35, 0x54, 0x06


class Condition(NamedTuple):
    """Holds where the low 32 bits of argument `argument`, and-ed with `mask`, equal `value`."""

    argument: int
    value: int
    mask: int = 0xFFFFFFFF


class Rule(NamedTuple):
    """`action` for the call `name` where all `conditions` hold."""

    name: str
    conditions: tuple[Condition, ...]
    action: int


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


FILES = _names(
    "read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 lseek open openat "
    "openat2 creat close close_range stat fstat lstat newfstatat statx access faccessat faccessat2 "
    "getdents getdents64 getcwd chdir fchdir rename renameat renameat2 mkdir mkdirat rmdir link "
    "linkat unlink unlinkat symlink symlinkat readlink readlinkat umask ftruncate fallocate fsync "
    "fdatasync flock statfs fstatfs dup dup2 dup3 pipe pipe2 poll ppoll select pselect6 sendfile "
    "copy_file_range fadvise64 readahead sync_file_range getxattr lgetxattr fgetxattr listxattr "
    "epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 eventfd eventfd2 "
    "timerfd_create timerfd_settime timerfd_gettime signalfd signalfd4"
)
OWN_FILES = _names("truncate chmod fchmod fchmodat fchmodat2 utime utimes futimesat utimensat")
"""What Landlock lets a program do to every file of its user: only where it can name none but its own."""
MEMORY = _names("mmap mprotect munmap brk mremap msync mincore madvise membarrier")
PROCESS = _names(
    "exit exit_group getpid gettid getppid getuid geteuid getgid getegid getresuid getresgid "
    "getgroups getpgrp getpgid getsid setsid setpgid wait4 waitid rt_sigaction rt_sigprocmask "
    "rt_sigreturn rt_sigpending rt_sigtimedwait rt_sigsuspend sigaltstack pause alarm getitimer "
    "setitimer nanosleep clock_nanosleep clock_gettime clock_getres gettimeofday time times getrusage "
    "getrlimit setrlimit sysinfo uname futex futex_waitv futex_wake futex_wait futex_requeue "
    "set_robust_list get_robust_list set_tid_address rseq sched_yield sched_getaffinity "
    "sched_getparam sched_getscheduler sched_get_priority_max sched_get_priority_min "
    "sched_rr_get_interval getpriority getcpu getrandom restart_syscall capget"
)
STREAMS = _names("recvfrom recvmsg sendmsg shutdown getsockname getpeername getsockopt")

FCNTL_REFUSED = (1031, 1024, 1026, 8, 10, 15)
"""F_SETPIPE_SZ takes a megabyte of kernel memory per pipe; leases and directory notes have no use here. F_SETOWN,
F_SETSIG and F_SETOWN_EX have the kernel send a signal of choice to any process of the same user."""
IOCTL_ALLOWED = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
"""TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX."""


def base_rules(*, own_root: bool) -> list[Rule]:
    """What every program may do: files that it can reach, memory, threads, signals to itself, pipes.

    `own_root` says that the program sees no files but those of a root made for it.
    """
    files = [*FILES, *OWN_FILES] if own_root else FILES
    rules = [Rule(name, (), RET_ALLOW) for name in [*files, *MEMORY, *PROCESS, *STREAMS]]
    rules += [Rule("fcntl", (Condition(1, command),), RET_ERRNO | EPERM) for command in FCNTL_REFUSED]
    rules.append(Rule("fcntl", (), RET_ALLOW))
    rules += [Rule("ioctl", (Condition(1, request),), RET_ALLOW) for request in IOCTL_ALLOWED]
    rules.append(Rule("ioctl", (), RET_ERRNO | 25))
    # A stream pair can't be pointed elsewhere by a later send, a datagram pair can.
    rules.append(Rule("socketpair", (Condition(0, 1), Condition(1, 1, 0xF)), RET_ALLOW))
    rules.append(Rule("sendto", (Condition(4, 0),), RET_ALLOW))
    rules += [Rule("prctl", (Condition(0, option),), RET_ALLOW) for option in (15, 16, 3, 0x53564D41)]
    # To die with its parent, and not to go back on it.
    rules.append(Rule("prctl", (Condition(0, 1), Condition(1, 9)), RET_ALLOW))
    # Reading limits, not setting those of another process.
    rules.append(Rule("prlimit64", (Condition(0, 0),), RET_ALLOW))
    rules.append(Rule("clone3", (), RET_ERRNO | ENOSYS))
    if os.uname().machine == "x86_64":
        rules += [Rule("arch_prctl", (Condition(0, code),), RET_ALLOW) for code in (0x1002, 0x1003)]
    return rules


def single_process_rules(own_pid: int) -> list[Rule]:
    """Threads, but no second process, no other program, and signals to nobody else."""
    own = Condition(0, own_pid)
    return [
        Rule("clone", (Condition(0, CLONE_THREAD, CLONE_THREAD),), RET_ALLOW),
        Rule("kill", (own,), RET_ALLOW),
        Rule("tgkill", (own,), RET_ALLOW),
        Rule("prlimit64", (own,), RET_ALLOW),
    ]


def process_tree_rules(refuse: int) -> list[Rule]:
    """Processes and programs of its own, for compiled languages; namespaces bound what signals reach.

    They come before those of `base_rules`. `refuse` is the action for memory that processes share and no file
    holds: no count of what is mapped shows all of it, so whoever listens counts what is asked for.
    """
    new_namespaces = 0x7E020080
    rules = [
        Rule("clone", (Condition(0, 0, new_namespaces),), RET_ALLOW),
        Rule("mmap", (Condition(3, MAP_SHARED_ANONYMOUS, MAP_SHARED_ANONYMOUS),), refuse),
    ]
    names = "fork vfork execve execveat kill tgkill tkill prlimit64 setpriority socketpair mlock vfork"
    return rules + [Rule(name, (), RET_ALLOW) for name in names.split()]


Instruction = tuple[int, int, int, int]


def assemble(rules: Iterable[Rule], default: int, machine: str | None = None) -> bytes:
    """BPF program that answers with the action of the first rule that matches, else with `default`.

    Rules for calls that `machine` lacks are left out. The calls are found by bisection: the kernel walks the
    program for every call number when it is loaded, which happens once per run.
    """
    table = numbers(machine)
    by_number: dict[int, list[Instruction]] = {}
    for rule in rules:
        if rule.name in table:
            by_number.setdefault(table[rule.name], []).extend(_body(rule))
    leaves: list[tuple[int, list[Instruction]]] = []
    otherwise = [(_RETURN, 0, 0, default)]
    for number in range(max(by_number) + 2):
        body = [*by_number[number], *otherwise] if number in by_number else otherwise
        body = body[: next(at for at in range(len(body)) if _returns_always(body, at)) + 1]
        if not leaves or leaves[-1][1] != body:
            leaves.append((number, body))
    code = [
        (_LOAD, 0, 0, 4),
        (_JUMP_EQUAL, 1, 0, AUDIT_ARCH[machine or os.uname().machine]),
        (_RETURN, 0, 0, RET_KILL),
        (_LOAD, 0, 0, 0),
        # The x32 numbers are a second door to the same calls.
        (_JUMP_GREATER_EQUAL, 0, 1, 0x40000000),
        (_RETURN, 0, 0, RET_ERRNO | ENOSYS),
        *_bisect(leaves),
    ]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def _body(rule: Rule) -> list[Instruction]:
    """Instructions that return the rule's action where its conditions hold, and else go on behind themselves."""
    body: list[Instruction] = [(_RETURN, 0, 0, rule.action)]
    for condition in reversed(rule.conditions):
        check = [(_LOAD, 0, 0, 16 + 8 * condition.argument)]
        if condition.mask != 0xFFFFFFFF:
            check.append((_AND, 0, 0, condition.mask))
        body = [*check, (_JUMP_EQUAL, 0, len(body), condition.value & 0xFFFFFFFF), *body]
    return body


def _returns_always(body: list[Instruction], at: int) -> bool:
    """Whether no path goes on behind the return at `at`: no jump before it leads past it."""
    if body[at][0] != _RETURN:
        return False
    return all(
        step[0] != _JUMP_EQUAL or where + 1 + max(step[1], step[2]) <= at
        for where, step in enumerate(body[:at])
    )


def _bisect(leaves: list[tuple[int, list[Instruction]]]) -> list[Instruction]:
    if len(leaves) == 1:
        return leaves[0][1]
    middle = len(leaves) // 2
    left, right = _bisect(leaves[:middle]), _bisect(leaves[middle:])
    return [(_JUMP_GREATER_EQUAL, 0, 1, leaves[middle][0]), (_JUMP, 0, 0, len(left)), *left, *right]


def interpret(program: bytes, number: int, arguments: tuple[int, ...] = (), *, architecture: int) -> int:
    """The action of `program` for one system call, by a plain interpreter: for tests on any machine."""
    padded = [*arguments, 0, 0, 0, 0, 0, 0][:6]
    data = struct.pack("=IIQ6Q", number & 0xFFFFFFFF, architecture, 0, *padded)
    at, value = 0, 0
    while True:
        code, if_true, if_false, operand = struct.unpack_from("=HBBI", program, 8 * at)
        at += 1
        if code == _LOAD:
            value = struct.unpack_from("=I", data, operand)[0]
        elif code == _AND:
            value &= operand
        elif code == _JUMP:
            at += operand
        elif code == _JUMP_EQUAL:
            at += if_true if value == operand else if_false
        elif code == _JUMP_GREATER_EQUAL:
            at += if_true if value >= operand else if_false
        else:
            return int(operand)


def can_listen() -> bool:
    """Whether the kernel can ask a listener about refused calls (Linux 5.0); another filter may have taken it."""
    available = ctypes.c_uint32(RET_NOTIFY)
    try:
        linux.syscall("seccomp", _GET_ACTION_AVAILABLE, 0, ctypes.byref(available))
    except OSError:
        return False
    return True


def can_let_pass() -> bool:
    """Whether the listener may let a call happen (Linux 5.5)."""
    major, minor = re.match(r"(\d+)\.(\d+)", os.uname().release).groups()  # type: ignore[union-attr]
    return can_listen() and (int(major), int(minor)) >= (5, 5)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


_PID = struct.Struct("=I")


class Filter:
    """A program that is ready to be loaded, with a mark in the places of the loading process's own number."""

    def __init__(self, program: bytes, mark: bytes, *, listener: bool) -> None:
        self._buffer = ctypes.create_string_buffer(program, len(program))
        self._header = _Program(len(program) // 8, ctypes.cast(self._buffer, ctypes.c_void_p))
        self._load = linux.prepared(
            "seccomp",
            SECCOMP_SET_MODE_FILTER,
            FLAG_NEW_LISTENER if listener else 0,
            ctypes.byref(self._header),
        )
        self._places = [found.start() for found in re.finditer(re.escape(mark), program)]

    def install(self, own_pid: int) -> int:
        """Bind the calling process (no_new_privs must be set); the listener's descriptor, or 0."""
        for place in self._places:
            _PID.pack_into(self._buffer, place, own_pid)
        return self._load()
