"""An even load: how many messages are due, and how long it is to the next ones."""

import time

TICK = 0.001


class Pace:
    """`count` messages at `rate` a second from now on, due at every millisecond; whoever is late makes up for it."""

    def __init__(self, rate: float, count: int) -> None:
        self._rate, self._count = rate, count
        self._made = 0
        self._tick = 0
        self._began = time.monotonic()

    @property
    def ended(self) -> bool:
        """Whether all have been due."""
        return self._made >= self._count

    def due(self) -> int:
        """How many messages are to be sent now."""
        passed = time.monotonic() - self._began
        self._tick = int(passed / TICK) + 1
        burst = min(int(passed * self._rate) + 1, self._count) - self._made
        self._made += burst
        return burst

    def wait(self) -> float:
        """Seconds to the next tick."""
        return max(0.0, self._began + self._tick * TICK - time.monotonic())
