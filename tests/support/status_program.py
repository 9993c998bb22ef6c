"""`python -m fanout.cli status` as a process."""

import os
import subprocess
import sys

from support.service import ROOT


def status(*arguments: str, code: int = 0, **settings: str) -> str:
    env = {name: value for name, value in os.environ.items() if not name.startswith("REDIS_")}
    done = subprocess.run(
        [sys.executable, "-m", "fanout.cli", "status", *arguments],
        check=False,
        env=env | {"PYTHONPATH": str(ROOT / "services/fanout")} | settings,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == code, done.stderr
    return done.stderr if code else done.stdout
