"""The tables of system calls against libseccomp's, which were made independently of them."""

from __future__ import annotations

import ctypes

import pytest

from sandbox.inside.syscalls import AUDIT_ARCH, numbers

NEWER_THAN_LIBRARY = -1
"""`__NR_SCMP_ERROR`: libseccomp knows no call of that name. Other negative numbers: not on this processor."""
MACHINES = ("x86_64", "aarch64")


@pytest.fixture(scope="module")
def library() -> ctypes.CDLL:
    try:
        found = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        pytest.skip("no libseccomp.so.2 to compare with: install the package libseccomp2")
    found.seccomp_syscall_resolve_name_arch.argtypes = (ctypes.c_uint32, ctypes.c_char_p)
    found.seccomp_syscall_resolve_num_arch.argtypes = (ctypes.c_uint32, ctypes.c_int)
    found.seccomp_syscall_resolve_num_arch.restype = ctypes.c_char_p
    return found


@pytest.mark.parametrize("machine", MACHINES)
def test_every_name_has_the_number_of_its_processor(library: ctypes.CDLL, machine: str) -> None:
    table, architecture = numbers(machine), AUDIT_ARCH[machine]
    resolved = {
        name: library.seccomp_syscall_resolve_name_arch(architecture, name.encode()) for name in table
    }
    known = {name: number for name, number in resolved.items() if number != NEWER_THAN_LIBRARY}
    assert len(known) > 0.9 * len(table)
    assert known == {name: table[name] for name in known}


@pytest.mark.parametrize("machine", MACHINES)
def test_no_call_of_the_processor_is_missing(library: ctypes.CDLL, machine: str) -> None:
    by_number = {number: name for name, number in numbers(machine).items()}
    assert len(by_number) == len(numbers(machine))
    highest = numbers(machine)["cachestat"]
    theirs = {
        number: name.decode()
        for number in range(highest + 1)
        if (name := library.seccomp_syscall_resolve_num_arch(AUDIT_ARCH[machine], number))
    }
    assert theirs == {number: name for number, name in by_number.items() if number in theirs}
    assert len(theirs) > 0.9 * len(by_number)


@pytest.mark.parametrize("machine", MACHINES)
def test_processors_are_told_apart_as_the_library_does(library: ctypes.CDLL, machine: str) -> None:
    library.seccomp_arch_resolve_name.argtypes = (ctypes.c_char_p,)
    library.seccomp_arch_resolve_name.restype = ctypes.c_uint32
    assert library.seccomp_arch_resolve_name(machine.encode()) == AUDIT_ARCH[machine]
