"""Which ways to isolate programs work on this machine, found out by trying to break out of each.

python -m sandbox.tiers
"""

from __future__ import annotations

from .inside.linux import supported_machine
from .types import Limits, Program, Sandbox, SandboxError, TierReport

ATTACKS = """
import ctypes, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)

def attempt(name, action):
    try:
        if action():
            print(name)
    except (OSError, ValueError, RuntimeError):
        pass

def fork():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return True

attempt("forked", fork)
attempt("executed", lambda: os.spawnv(os.P_WAIT, "/bin/true", ["true"]) == 0)
attempt("read /etc/passwd", lambda: open("/etc/passwd").read(1))
attempt("listed a home", lambda: os.listdir(os.path.expanduser("~root")) != [".pyenv"] and os.listdir("/home"))
attempt("wrote outside", lambda: open("/var/tmp/sandbox-probe", "w"))
attempt("saw the parent", lambda: open("/proc/%d/environ" % os.getppid()).read())
attempt("signalled a process", lambda: os.getppid() and os.kill(os.getppid(), 0) is None)
attempt("opened a socket", lambda: socket.socket(socket.AF_INET))
attempt("opened an abstract socket", lambda: socket.socket(socket.AF_UNIX).bind("\\0probe") is None)
attempt("made a user namespace", lambda: libc.unshare(0x10000000) == 0)
attempt("mounted", lambda: libc.mount(b"none", b"/tmp", b"tmpfs", 0, None) == 0)
attempt("traced a process", lambda: libc.ptrace(16, 1, 0, 0) == 0)
attempt("made memory that no limit counts", lambda: os.memfd_create("x") >= 0)
attempt("is a superuser", lambda: os.geteuid() == 0 and os.setuid(0) is None)
attempt("reached limits of another process", lambda: os.getppid() and libc.prlimit(os.getppid(), 7, 0, 0) == 0)
"""
"""Prints one line per attack that succeeds."""


def attack(sandbox: Sandbox) -> list[str]:
    """The attacks that succeed in `sandbox`; SandboxError where the program did not end as it should."""
    run = sandbox.run(Program(source=ATTACKS), Limits(cpu=5, wall=20, memory=256 << 20))
    if run.exit_code != 0:
        raise SandboxError(f"the probe did not end: {run.limit or run.signal or run.stderr.strip()[-300:]}")
    return run.stdout.splitlines()


def probe() -> list[TierReport]:
    """A report for every tier, the strongest first; takes about a second."""
    return [*map(_probe_local, ("namespaces", "bubblewrap", "landlock")), _probe_docker()]


_ADVICE = {
    "namespaces": "allow user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone=1, "
    "kernel.apparmor_restrict_unprivileged_userns=0); in a container: CAP_SYS_ADMIN and no system call profile "
    "(seccomp=unconfined); not needed for Python where `landlock` works",
    "bubblewrap": "install the package `bubblewrap`; not needed where `namespaces` works",
    "landlock": "needs Linux 5.13 or later with Landlock in the `lsm=` list of the kernel's command line, and "
    "in a container a system call profile (seccomp) that lets the calls landlock_* through",
}


def _probe_local(tier: str) -> TierReport:
    from .local import LocalSandbox

    if not supported_machine():
        return TierReport(
            tier, False, "the processor is neither x86-64 nor aarch64", "use the Docker backend"
        )
    try:
        with LocalSandbox(1, tier=tier) as sandbox:
            succeeded = attack(sandbox)
    except SandboxError as error:
        return TierReport(tier, False, str(error), _ADVICE[tier])
    if succeeded:
        return TierReport(
            tier, False, f"a program {', '.join(succeeded)}", "please report this with `uname -a`"
        )
    return TierReport(tier, True, "every attack of the probe failed", "")


def _probe_docker() -> TierReport:
    advice = "install Docker and `pip install rlvr[docker]`; let this user reach the daemon"
    try:
        import docker
    except ImportError:
        return TierReport("docker", False, "the Python package `docker` is not installed", advice)
    try:
        client = docker.from_env(timeout=5)
        version = client.version()["Version"]
        client.close()
    except docker.errors.DockerException as error:
        return TierReport("docker", False, f"no daemon answers: {str(error)[:200]}", advice)
    return TierReport("docker", True, f"daemon {version}", "")


def main() -> None:
    """Print the reports."""
    for report in probe():
        print(f"{report.name:12} {'yes' if report.available else 'no ':3}  {report.detail}")
        if report.advice:
            print(f"{'':12}      {report.advice}")


if __name__ == "__main__":
    main()
