"""The filter's program answers as its rules say, on both processors; the kernel's own verdicts are elsewhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.inside.seccomp import (
    EPERM,
    RET_ALLOW,
    RET_ERRNO,
    RET_KILL,
    Condition,
    Rule,
    assemble,
    base_rules,
    interpret,
    process_tree_rules,
    single_process_rules,
)
from sandbox.inside.syscalls import AUDIT_ARCH, numbers

DENIED = RET_ERRNO | EPERM
MACHINES = ("x86_64", "aarch64")


def expected(rules: list[Rule], table: dict[str, int], number: int, arguments: tuple[int, ...]) -> int:
    for rule in rules:
        if table.get(rule.name) == number and all(
            arguments[c.argument] & 0xFFFFFFFF & c.mask == c.value & 0xFFFFFFFF for c in rule.conditions
        ):
            return rule.action
    return DENIED


@pytest.mark.parametrize("machine", MACHINES)
@given(data=st.data())
def test_program_agrees_with_its_rules(machine: str, data: st.DataObject) -> None:
    profile = data.draw(st.sampled_from([single_process_rules(77), process_tree_rules(DENIED)]))
    rules = [*profile, *base_rules(own_root=True)]
    table = numbers(machine)
    number = data.draw(st.sampled_from(sorted(table.values())) | st.integers(0, 600))
    interesting = [c.value for rule in rules for c in rule.conditions] + [0, 1, 77, 1 << 40, 0x10000]
    arguments = tuple(data.draw(st.lists(st.sampled_from(interesting), min_size=6, max_size=6)))
    program = assemble(rules, DENIED, machine)
    answer = interpret(program, number, arguments, architecture=AUDIT_ARCH[machine])
    assert answer == expected(rules, table, number, arguments)


@pytest.mark.parametrize("machine", MACHINES)
def test_what_one_process_may_not_do(machine: str) -> None:
    program = assemble([*base_rules(own_root=True), *single_process_rules(1)], DENIED, machine)
    table = numbers(machine)
    refused = [
        "execve",
        "execveat",
        "socket",
        "connect",
        "bind",
        "accept4",
        "sendmmsg",
        "ptrace",
        "process_vm_readv",
        "process_vm_writev",
        "mount",
        "umount2",
        "pivot_root",
        "chroot",
        "unshare",
        "setns",
        "bpf",
        "perf_event_open",
        "io_uring_setup",
        "userfaultfd",
        "memfd_create",
        "memfd_secret",
        "keyctl",
        "add_key",
        "request_key",
        "kexec_load",
        "init_module",
        "open_by_handle_at",
        "name_to_handle_at",
        "pidfd_open",
        "pidfd_getfd",
        "setuid",
        "setgid",
        "setresuid",
        "capset",
        "personality",
        "seccomp",
        "landlock_create_ruleset",
        "shmget",
        "msgget",
        "semget",
        "mq_open",
        "setxattr",
        "mknodat",
        "chown",
        "fchownat",
        "sched_setaffinity",
        "setpriority",
        "reboot",
        "sethostname",
        "clock_settime",
        "swapon",
        "quotactl",
        "fanotify_init",
        "inotify_init1",
        "splice",
        "vmsplice",
        "tee",
    ]
    allowed = {
        name
        for name in refused
        if name in table and interpret(program, table[name], architecture=AUDIT_ARCH[machine]) == RET_ALLOW
    }
    assert not allowed
    fork_like = interpret(program, table["clone"], (17,), architecture=AUDIT_ARCH[machine])
    thread = interpret(program, table["clone"], (0x3D0F00,), architecture=AUDIT_ARCH[machine])
    assert (fork_like, thread) == (DENIED, RET_ALLOW)


def test_other_doors_into_the_kernel_are_shut() -> None:
    program = assemble(base_rules(own_root=True), DENIED, "x86_64")
    assert interpret(program, 0, architecture=AUDIT_ARCH["aarch64"]) == RET_KILL
    assert interpret(program, 0, architecture=0x40000003) == RET_KILL
    assert interpret(program, 0x40000000, architecture=AUDIT_ARCH["x86_64"]) & 0xFFFF0000 == RET_ERRNO


def test_conditions_look_at_the_low_half_as_the_kernel_does() -> None:
    rules = [Rule("kill", (Condition(0, 5),), RET_ALLOW)]
    program = assemble(rules, DENIED, "x86_64")
    for pid, answer in ((5, RET_ALLOW), (5 | 1 << 32, RET_ALLOW), (6, DENIED)):
        assert interpret(program, 62, (pid,), architecture=AUDIT_ARCH["x86_64"]) == answer
