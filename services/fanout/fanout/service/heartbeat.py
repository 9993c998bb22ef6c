"""The heartbeat: a file whose age tells a healthcheck whether the service's main loop still runs."""

import time
from pathlib import Path

EVERY = 1.0


class Heartbeat:
    """Touches the file at most once a second; does nothing without a path.

    It continues while Redis is away: restarting the service would not bring Redis back, but would lose its buffers.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path) if path else None
        self._next = 0.0
        if self._path:
            self._path.unlink(missing_ok=True)

    def beat(self) -> None:
        """Record that the main loop runs."""
        now = time.monotonic()
        if self._path and now >= self._next:
            self._next = now + EVERY
            self._path.touch()
