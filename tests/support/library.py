"""The library as a distribution, and programs that use it."""

import os
import re
import subprocess
import sys
from pathlib import Path

LIBRARY = Path(__file__).resolve().parents[2] / "services/fanout"
ADDRESS = "redis://localhost:6379"
PRINTS = "orders {'id': 42}\n"


def readme_program(url: str) -> str:
    """The README's first Python block, with another address."""
    first = re.findall(r"```python\n(.*?)```", (LIBRARY / "README.md").read_text(), re.DOTALL)[0]
    assert first.count(ADDRESS) == 2
    return first.replace(ADDRESS, url)


def errors(stderr: str) -> str:
    """What is on standard error, but for attempts to connect that took too long, as on a busy machine."""
    return "".join(line for line in stderr.splitlines(keepends=True) if not line.startswith("connect_failed "))


def run(*command: str, stdin: str = "", **variables: str) -> "subprocess.CompletedProcess[str]":
    """Runs Python with the library on its path: a process of its own, that may fork and end as it likes."""
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(LIBRARY)} | variables
    return subprocess.run(
        [sys.executable, "-W", "error", *command],
        env=env,
        input=stdin,
        timeout=60,
        check=False,
        capture_output=True,
        text=True,
    )
