"""A process and all below it, as the kernel counts them."""

from __future__ import annotations

import os
import resource
from pathlib import Path


def process_tree(root: int | None = None) -> dict[int, list[str]]:
    """What /proc/PID/stat says from the state on, of `root` (default: this process) and of every one below it."""
    stats: dict[int, list[str]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                stats[int(folder.name)] = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
    found = {root or os.getpid()}
    while more := {pid for pid, fields in stats.items() if int(fields[1]) in found} - found:
        found |= more
    return {pid: stats[pid] for pid in found if pid in stats}


def descendants(root: int | None = None) -> dict[int, int]:
    """Resident bytes of every process below `root` (default: this one)."""
    return {
        pid: int(fields[21]) * resource.getpagesize()
        for pid, fields in process_tree(root).items()
        if pid != (root or os.getpid())
    }
