"""Finds how much memory the process may use: the limit of its container, or a part of the machine's memory."""

import os
from pathlib import Path

UNLIMITED = 512 * 2**20
"""Bytes that count as the limit where there is none."""


def share(part: float) -> int:
    """Return a part of the memory limit, in bytes."""
    return int(memory_limit() * part)


def memory_limit(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int:
    """Return the smallest limit of the process's cgroups (version 2 or 1), at most half of the machine's memory."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    limits = [limit for file in _files(root, own) if (limit := _read(file))]
    return min([*limits, machine]) if limits else min(UNLIMITED, machine)


def _files(root: Path, own: Path) -> list[Path]:
    try:
        lines = [line.split(":", 2) for line in own.read_text().splitlines()]
    except OSError:
        lines = []
    files = [root / "memory.max", root / "memory" / "memory.limit_in_bytes"]
    for _, controllers, path in (line for line in lines if len(line) == 3):
        inside = Path(path.lstrip("/"))
        for group in (inside, *inside.parents):
            if not controllers:
                files.append(root / group / "memory.max")
            elif "memory" in controllers.split(","):
                files.append(root / "memory" / group / "memory.limit_in_bytes")
    return files


def _read(file: Path) -> int | None:
    """Return the limit in a file; None if there is no such file or it holds no limit."""
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    limit = int(text) if text.isdigit() else 0
    return limit if 0 < limit < 2**60 else None  # larger numbers are how cgroup v1 writes "no limit"
