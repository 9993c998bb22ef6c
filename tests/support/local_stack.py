"""The stack without containers, in a folder and on ports of its own, started as a user does."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from run.loopback import free_port

ROOT = Path(__file__).resolve().parents[2]


class Local:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        ports = {name: str(free_port(0)) for name in ("API_PORT", "REDIS_PORT", "GATEWAY_PORT")}
        self.env = os.environ | ports | {"FANOUT_RUN": str(folder), "RUNTIME": "local", "PUBLISH_INTERVAL": "0"}

    def make(self, *arguments: str, code: int = 0, **settings: str) -> str:
        """What it prints; with `code` also what it says on standard error."""
        command = ["make", "--no-print-directory", *arguments]
        done = subprocess.run(
            command, cwd=ROOT, env=self.env | settings, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr * bool(code)

    def pid(self, name: str) -> int:
        return int(json.loads((self.folder / "state.json").read_text())["processes"][name])

    def lines(self) -> list[tuple[str, dict[str, Any]]]:
        rows = (line.partition(" | ") for line in (self.folder / "log").read_text().splitlines())
        return [(name.strip(), json.loads(rest)) for name, _, rest in rows if rest.startswith("{")]

    def received(self, data: str) -> list[str]:
        return sorted(
            name for name, line in self.lines() if line["event"] == "message_received" and line["data"] == data
        )
