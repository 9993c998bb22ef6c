"""A service as a process of its own, and what it logs."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from support.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]


class Service:
    def __init__(self, name: str, *arguments: str, stdin: bytes | None = None, **settings: object) -> None:
        self.name = name
        path = os.pathsep.join(str(ROOT / "services" / part) for part in ("fanout", name))
        env = os.environ | {
            "PYTHONPATH": path,
            "INSTANCE": f"{name}-1",
            "LOG_FORMAT": "json",
            "PUBLISH_INTERVAL": "0",
            "HTTP_PORT": "0",
        }
        self.lines: list[dict[str, Any]] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", name, *arguments],
            env=env | {key: str(value) for key, value in settings.items()},
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if stdin is not None and self.process.stdin:
            self.process.stdin.write(stdin)
            self.process.stdin.close()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            try:
                self.lines.append(json.loads(line))
            except ValueError:
                self.lines.append({"event": "NO JSON", "line": line.decode(errors="replace")})

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in list(self.lines) if line["event"] == name]

    def data(self) -> list[Any]:
        return [line["data"] for line in self.events("message_received")]

    def wait_for(self, event: str, count: int = 1, within: float = 20) -> list[dict[str, Any]]:
        def look() -> Any:
            found = self.events(event)
            return found if len(found) >= count else None

        try:
            return list(eventually(look, within))
        except AssertionError:
            raise AssertionError(f"no {count} x {event} within {within} s; the log was {self.lines[-15:]}") from None

    def signal(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def ended(self, within: float = 20) -> int:
        code = self.process.wait(within)
        self._reader.join(5)
        return code

    def stop(self, within: float = 20) -> int:
        self.signal()
        return self.ended(within)
