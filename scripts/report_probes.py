"""The probe messages of a report: published by a process of their own, here or in the publisher's container."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ledger import Accepted
from replicas import API, Replica, Trouble
from report_result import Order

PROGRAM = Path(__file__).resolve().parent / "probe.py"
KILLED = 137


class Probes:
    """What became of the messages so far: `accepted` by number; `waits`, why the next one is not, just now; `failed`,
    why the rest was given up; `ended`, when there are no more to come, on the monotonic clock.
    """

    def __init__(self, publishers: Sequence[Replica], order: Order) -> None:
        """Publishes through a publisher whose API this machine reaches, or else from inside a publisher's container.

        Raises:
            Trouble: there is no way to reach an API.
        """
        self.accepted: dict[int, Accepted] = {}
        self.waits = self.failed = ""
        self.ended: float | None = None
        self._count, self._where = order.count, "on this machine"
        if reached := [one.api for one in publishers if one.api]:
            command = [sys.executable, str(PROGRAM), "--url", reached[0]]
        elif publishers[0].ident:
            url = f"http://127.0.0.1:{publishers[0].setting('HTTP_PORT') or API}"
            self._where = f"in the container of {publishers[0].name}"
            command = ["docker", "exec", "-i", publishers[0].ident, "python", "-", "--url", url]
        else:
            raise Trouble(f"{publishers[0].name} has not logged yet where its API is; make logs shows how it is")
        with PROGRAM.open() as program:
            self._process = subprocess.Popen(
                [*command, *(f"--{name}={value}" for name, value in asdict(order).items())],
                stdin=program,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,  # Ctrl-C reaches it through us alone
            )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        said = ""
        assert self._process.stdout
        for line in self._process.stdout:
            try:
                self._take(json.loads(line))
            except ValueError:
                said = line.strip() or said
        code = self._process.wait()
        if len(self.accepted) < self._count and not self.failed:
            why = said or ("as it does when that is stopped" if code == KILLED else "")
            self.failed = f"what publishes {self._where} ended with exit code {code}{why and f': {why}'}"
        self.ended = time.monotonic()

    def _take(self, row: dict[str, Any]) -> None:
        self.failed, self.waits = row.get("failed", ""), row.get("waits", "")
        if "id" in row:
            self.accepted[row["n"]] = Accepted(row["sent"], (row["source"], int(row["id"])))

    def close(self) -> None:
        """Ends the program if it still runs."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
