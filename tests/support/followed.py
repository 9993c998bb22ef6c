"""`make logs` as a user runs it, in the background, and what it has printed so far."""

import os
import re
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from support.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]


class Followed:
    def __init__(self, env: Mapping[str, str], output: Path, **settings: str) -> None:
        self.output = output
        with output.open("wb") as file:
            self.process = subprocess.Popen(
                ["make", "--no-print-directory", "logs"], cwd=ROOT, env={**env, **settings},
                stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def text(self) -> str:
        return self.output.read_text()

    def wait_for(self, pattern: str, within: float = 60) -> None:
        try:
            eventually(lambda: re.search(pattern, self.text(), re.MULTILINE), within)
        except AssertionError:
            raise AssertionError(f"no {pattern!r} in:\n{self.text()[-3000:]}") from None

    def interrupt(self) -> None:
        """As Ctrl-C does."""
        os.killpg(self.process.pid, signal.SIGINT)
        assert self.process.wait(60) in (0, -signal.SIGINT)
        assert "Traceback" not in self.text()
        assert "Error" not in self.text()

    def kill(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
