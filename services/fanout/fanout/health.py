"""The heartbeat: a file whose age tells a healthcheck whether the service's main loop still goes round."""

import math
import time
from pathlib import Path


class Heartbeat:
    """Touched at most once a second, from `start` on. Without a path it does nothing.

    It goes on while Redis is away: restarting the service would not bring Redis back, but would lose its buffers.
    """

    INTERVAL = 1.0

    def __init__(self, path: str) -> None:
        self._path = Path(path) if path else None
        self._next = math.inf
        if self._path:
            self._path.unlink(missing_ok=True)

    def start(self) -> None:
        """The first connection stands: the service is up."""
        self._next = min(self._next, time.monotonic())

    def beat(self) -> None:
        """The main loop went round once more."""
        now = time.monotonic()
        if self._path and now >= self._next:
            self._next = now + self.INTERVAL
            self._path.touch()
