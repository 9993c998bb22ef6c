"""The probe messages of a report: published by a separate process, here or in the publisher's container."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from chaos.ledger import Accepted
from report.result import Order
from run.child import Child, Trouble
from run.replicas import API, Replica

PROGRAM = ("-m", "fanout.cli", "probe")
KILLED = 137


class Probes:
    """What became of the messages so far.

    Attributes:
        accepted: the accepted messages by number.
        waits: why the next message is not accepted yet.
        failed: why publishing was given up.
        ended: when publishing ended, on the monotonic clock.
    """

    def __init__(self, publishers: Sequence[Replica], order: Order) -> None:
        """Start publishing to a publisher whose API this machine reaches, else from inside a publisher's container.

        Raises:
            Trouble: no API can be reached.
        """
        self.accepted: dict[int, Accepted] = {}
        self.waits = self.failed = ""
        self.ended: float | None = None
        self._count, self._where = order.count, "on this machine"
        if reached := [one.api for one in publishers if one.api]:
            command = [sys.executable, *PROGRAM, "--url", reached[0]]
        elif publishers[0].ident:
            url = f"http://127.0.0.1:{publishers[0].setting('HTTP_PORT') or API}"
            self._where = f"in the container of {publishers[0].name}"
            command = ["docker", "exec", "-i", publishers[0].ident, "python", *PROGRAM, "--url", url]
        else:
            raise Trouble(f"{publishers[0].name} has not logged its API's address yet; make logs shows its state")
        words = (f"--{name}={value}" for name, value in asdict(order).items())
        self._child = Child(*command, *words, stderr=subprocess.STDOUT)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        output = ""
        while not self._child.ended:
            for line in self._child.read():
                try:
                    self._take(json.loads(line))
                except ValueError:
                    output = line.strip() or output
        code = self._child.process.wait()
        if len(self.accepted) < self._count and not self.failed:
            why = output or ("as when the container is stopped" if code == KILLED else "")
            self.failed = f"the program that publishes {self._where} ended with exit code {code}{why and f': {why}'}"
        self.ended = time.monotonic()

    def _take(self, row: dict[str, Any]) -> None:
        self.failed, self.waits = row.get("failed", ""), row.get("waits", "")
        if "id" in row:
            self.accepted[row["n"]] = Accepted(row["sent"], (row["source"], int(row["id"])))

    def close(self) -> None:
        """End the program if it is still running."""
        self._child.signal(signal.SIGTERM)
