"""Languages other than Python: how a source is built and run, and where its tools lie on this machine."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from .types import Language, Limits, SandboxError

BUILD_LIMITS = Limits(
    cpu=60, wall=120, memory=2 << 30, processes=64, threads=256, disk=512 << 20, files=4000,
    file_size=256 << 20, open_files=1024, output=128 << 20,
)  # fmt: skip
_SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/sbin", "/etc/alternatives", "/etc/ld.so.cache")
_PUBLIC_CLASS = re.compile(
    r"^\s*public\s+(?:final\s+|abstract\s+)*(?:class|enum|record|interface)\s+(\w+)", re.M
)


class Plan(NamedTuple):
    """File to write the source to, command that builds it (empty: none), command that runs it."""

    file: str
    build: tuple[str, ...]
    run: tuple[str, ...]


class Tools(NamedTuple):
    """The programs of a language, by name, and the folders that they need besides the system's."""

    paths: dict[str, str]
    trees: tuple[str, ...]


_PROGRAMS: dict[Language, tuple[str, ...]] = {
    "c": ("gcc",),
    "cpp": ("g++",),
    "java": ("javac", "java"),
    "javascript": ("node",),
    "go": ("go",),
    "rust": ("rustc",),
    "bash": ("bash",),
}


@functools.cache
def tools(language: Language) -> Tools:
    """Tools of `language` on this machine. SandboxError names the one that is missing."""
    paths: dict[str, str] = {}
    trees: list[str] = []
    for name in _PROGRAMS.get(language, ()):
        found = shutil.which(name)
        if found is None:
            raise SandboxError(f"no {name} on this machine: install it to run programs in {language}")
        if language == "rust":
            root = _ask(found, "--print", "sysroot")
            found, trees = f"{root}/bin/rustc", [root]
        elif language == "go":
            trees = [_ask(found, "env", "GOROOT")]
            found = f"{trees[0]}/bin/go"
        paths[name] = found
        real = str(Path(found).resolve())
        if not real.startswith(("/usr/", "/bin/", "/lib")) and not trees:
            trees = [str(Path(real).parent.parent)]
    if language == "java":
        trees += [str(path) for path in Path("/etc").glob("java*")]
    return Tools(paths, tuple(trees))


def _ask(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise SandboxError(f"`{' '.join(command)}` failed: {done.stderr.strip()[:200]}")
    return done.stdout.strip()


def available() -> list[Language]:
    """Languages whose tools are all installed."""
    found: list[Language] = []
    for language in _PROGRAMS:
        try:
            tools(language)
        except SandboxError:
            continue
        found.append(language)
    return found


def trees() -> tuple[str, ...]:
    """Folders that the tools of all installed languages need."""
    # aarch64 has no /lib64.
    system = [path for path in _SYSTEM if Path(path).exists()]
    return tuple(dict.fromkeys((*system, *(tree for name in available() for tree in tools(name).trees))))


def plan(language: Language, source: str, limits: Limits) -> Plan:
    """How to build and run `source`. SandboxError where a tool is missing."""
    paths = tools(language).paths
    if language == "c":
        return Plan("main.c", (paths["gcc"], "-O2", "-std=gnu17", "-o", "main", "main.c", "-lm"), ("./main",))
    if language == "cpp":
        return Plan("main.cpp", (paths["g++"], "-O2", "-std=gnu++20", "-o", "main", "main.cpp"), ("./main",))
    if language == "rust":
        command = (paths["rustc"], "-O", "--edition", "2021", "-o", "main", "main.rs")
        return Plan("main.rs", command, ("./main",))
    if language == "go":
        return Plan("main.go", (paths["go"], "build", "-o", "main", "main.go"), ("./main",))
    if language == "java":
        public = _PUBLIC_CLASS.search(source)
        name = public[1] if public else "Main"
        heap = max(32, int(limits.memory * 0.6) >> 20)
        virtual = ("-XX:+UseSerialGC", f"-Xmx{heap}m", "-Xss64m", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
        build = (paths["javac"], "-J-XX:+UseSerialGC", "-J-Xmx512m", "-nowarn", f"{name}.java")
        return Plan(f"{name}.java", build, (paths["java"], *virtual, "-cp", ".", name))
    if language == "javascript":
        heap = max(32, int(limits.memory * 0.7) >> 20)
        return Plan("main.js", (), (paths["node"], f"--max-old-space-size={heap}", "main.js"))
    if language == "bash":
        return Plan("main.sh", (), (paths["bash"], "main.sh"))
    raise SandboxError(f"no plan for the language {language!r}")
