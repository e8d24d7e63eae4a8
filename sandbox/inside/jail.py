"""The place in which programs run: a root of its own, with nothing of the host but the interpreter.

Built once per zygote, in new mount, process, network, IPC and host-name namespaces; by an ordinary user inside a
new user namespace. Where the kernel allows no namespaces, Landlock leaves the process only the interpreter's
files, and nothing to write to.
"""

from __future__ import annotations

import contextlib
import glob
import os
import sys
import sysconfig
from typing import Any

from . import linux

SCRATCH = "/tmp"
PACKAGES = "/packages"
DEVICES = ("null", "zero", "full", "random", "urandom")
_LINKS = {
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "fd": "/proc/self/fd",
    "shm": SCRATCH,
}
_NAMESPACES = (
    linux.CLONE_NEWNS | linux.CLONE_NEWPID | linux.CLONE_NEWNET | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS
)


def interpreter_trees() -> list[str]:
    """What the interpreter reads after its start: its library and the system's shared libraries."""
    paths = sysconfig.get_paths()
    trees = [paths["stdlib"], paths["platstdlib"]]
    libraries = ("/lib/*-linux-gnu*", "/usr/lib/*-linux-gnu*", "/lib64", "/usr/lib64", "/lib/ld-*")
    trees += [path for pattern in libraries for path in glob.glob(pattern)]
    trees += ["/usr/share/zoneinfo", "/etc/ld.so.cache"]
    return list(dict.fromkeys(path for path in trees if os.path.exists(path)))


def everybody_reads_interpreter() -> bool:
    """Whether every folder on the way to the interpreter's library is open to all users."""
    path = os.path.realpath(sysconfig.get_paths()["stdlib"])
    while path != "/":
        if os.stat(path).st_mode & 0o5 != 0o5:
            return False
        path = os.path.dirname(path)
    return True


def enter_namespaces() -> None:
    """Move into new namespaces; an ordinary user first becomes the only user of a new one. OSError if refused."""
    if not linux.capabilities() >> linux.CAP_SYS_ADMIN & 1:
        user, group = os.getuid(), os.getgid()
        linux.unshare(linux.CLONE_NEWUSER)
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"1000 {user} 1")
        _write("/proc/self/gid_map", f"1000 {group} 1")
    linux.unshare(_NAMESPACES)
    linux.mount("none", "/", None, linux.MS_REC | linux.MS_PRIVATE)


def build_root(config: dict[str, Any]) -> None:
    """Make the new root and move into it. OSError where a mount is refused."""
    base = "/tmp" if os.path.isdir("/tmp") else "/mnt"
    packages = {name: os.open(path, os.O_PATH) for name, path in config["packages"].items()}
    trees = [*interpreter_trees(), *config.get("trees", ())]
    held = [(path, os.open(path, os.O_PATH)) for path in dict.fromkeys(map(os.path.realpath, trees))]
    links = [
        (path, os.readlink(path)) for path in ("/lib", "/lib64", "/bin", "/sbin") if os.path.islink(path)
    ]
    links += [(path, os.path.realpath(path)) for path in trees]
    devices = {name: os.open(f"/dev/{name}", os.O_PATH) for name in DEVICES if os.path.exists(f"/dev/{name}")}
    if config["tools"] and "full" in devices:
        # Reads the same. Mapped, `zero` is memory without a file, which nobody could count.
        devices["zero"] = devices["full"]
    process_files = os.open("/proc/self/fd", os.O_PATH | os.O_DIRECTORY)
    os.fchdir(process_files)
    linux.mount("jail", base, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "size=1m,mode=0755")
    for path, descriptor in held:
        _bind_held(descriptor, base + path)
        masked = f"{base}{path}/site-packages"
        if os.path.isdir(masked):
            linux.mount("none", masked, "tmpfs", linux.MS_RDONLY | linux.MS_NOSUID, "size=4k")
    for path, target in links:
        if not os.path.lexists(base + path):
            os.makedirs(os.path.dirname(base + path), exist_ok=True)
            os.symlink(target, base + path)
    for name, descriptor in packages.items():
        _bind_held(descriptor, f"{base}{PACKAGES}/{name}")
    for name, descriptor in devices.items():
        _bind_held(descriptor, f"{base}/dev/{name}", devices=True)
    # Those that need /proc lead somewhere where there is one; semaphores are files of the C library's.
    for name, target in _LINKS.items():
        os.symlink(target, f"{base}/dev/{name}")
    os.makedirs(base + SCRATCH, exist_ok=True)
    os.makedirs(base + "/proc", exist_ok=True)
    if config["tools"]:
        mount_processes(base + "/proc")
    os.chdir(base)
    linux.pivot_root(".", ".")
    linux.umount(".")
    os.chdir("/")
    linux.mount(
        "none",
        "/",
        None,
        linux.MS_REMOUNT | linux.MS_BIND | linux.MS_RDONLY | linux.MS_NOSUID | linux.MS_NODEV,
    )
    with contextlib.suppress(OSError):
        linux.check(linux.libc.sethostname(b"sandbox", 7), "sethostname")


def _bind_held(descriptor: int, target: str, *, devices: bool = False) -> None:
    # The working directory is /proc/self/fd: paths on the host may lie below the new root's mount point.
    if os.path.isdir(str(descriptor)):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if not os.path.exists(target):
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    linux.bind(str(descriptor), target, devices=devices)


def mount_processes(target: str) -> None:
    """Mount the view of the caller's own process namespace."""
    try:
        linux.mount("proc", target, "proc", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
    except PermissionError as error:
        # The kernel gives no new view where parts of the old one are covered.
        why = "this container hides parts of /proc: it needs `procMount: Unmasked`, or systempaths=unconfined"
        raise PermissionError(error.errno, f"{error.strerror}; {why}") from None


def hide_other_processes(*, shows_own: bool) -> None:
    """In a mount namespace of the caller's own: show its own process namespace at most.

    /proc/self/exe of a program that is still our interpreter is a way out of the root, to a file that may be its
    user's.
    """
    linux.unshare(linux.CLONE_NEWNS)
    if shows_own:
        mount_processes("/proc")
    else:
        linux.mount("none", "/proc", "tmpfs", linux.MS_RDONLY | linux.MS_NOSUID, "size=4k")


def mount_scratch(size: int, inodes: int) -> None:
    """Mount an empty, sized scratch directory over what was there."""
    options = f"size={size},nr_inodes={inodes + 1},mode=1777"
    # Reading leaves no trace in times.
    flags = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOATIME
    linux.mount("scratch", SCRATCH, "tmpfs", flags, options)


def scratch_state() -> tuple[int, ...]:
    """What changes as soon as a program has left anything in the scratch directory, or has been there."""
    usage, root = os.statvfs(SCRATCH), os.stat(SCRATCH)
    return usage.f_bfree, usage.f_ffree, root.st_mtime_ns, root.st_ctime_ns, root.st_mode


def next_inode() -> int:
    """Number of the inode that this call takes: a file without a name changes nothing but the next one's."""
    unnamed = os.open(SCRATCH, os.O_TMPFILE | os.O_RDWR)
    try:
        return os.fstat(unnamed).st_ino
    finally:
        os.close(unnamed)


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def set_import_path(config: dict[str, Any], *, inside_root: bool) -> None:
    """Leave on `sys.path` the standard library and the packages that programs may import."""
    paths = sysconfig.get_paths()
    dynamic = os.path.join(paths["platstdlib"], "lib-dynload")
    sys.path[:] = list(dict.fromkeys([paths["stdlib"], paths["platstdlib"], dynamic]))
    if inside_root:
        sys.path.append(PACKAGES)
    else:
        sys.path += dict.fromkeys(os.path.dirname(path) for path in config["packages"].values())
