"""What the figures come from: the machine, the day, and the versions of everything that ran."""

import json
import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from bench.programs import NODE_MODULES, PRODUCT, ROOT, have_node
from run.loopback import server_program

PEERS = ("redis", "hiredis", "structlog", "orjson", "faststream", "broadcaster", "uvloop")
OURS = ("redis", "hiredis", "msgspec", "structlog", "uvloop")


def describe(mode: str) -> dict[str, str]:
    """Name and value of each thing that a reader needs to judge the figures."""
    found = {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "mode": mode,
        "machine": f"{_processor()}, {os.cpu_count()} cores, {_memory()}, {platform.system()} {platform.release()}",
        "load before": f"{os.getloadavg()[0]:.2f}",
        "Fanout": _said("git", "-C", str(ROOT), "describe", "--always", "--dirty"),
        "server": _said(server_program(), "--version"),
        "Python": f"{platform.python_version()}; for Fanout {_said(str(PRODUCT), '--version')}",
        "Fanout's packages": _packages(str(PRODUCT), OURS),
        "peers' packages": _packages(sys.executable, PEERS),
    }
    if have_node():
        package = json.loads((NODE_MODULES / "redis/package.json").read_text())
        found["Node"] = f"{_said('node', '--version')}, node-redis {package['version']}"
    return found


def _processor() -> str:
    try:
        names = re.findall(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def _memory() -> str:
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"


def _packages(python: str, names: tuple[str, ...]) -> str:
    if python == sys.executable:
        return ", ".join(f"{name} {metadata.version(name)}" for name in names)
    code = f"from importlib import metadata as m; print(', '.join(n + ' ' + m.version(n) for n in {names!r}))"
    return _said(python, "-c", code)


def _said(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"unknown ({error})"
    return done.stdout.strip() or "unknown"
