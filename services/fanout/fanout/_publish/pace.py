"""How large a batch may be, so that slow networks carry it in time."""

from fanout._publish.batch import Pending

EVENTS = 256
BYTES = 1_000_000
GROWTH = 1.1
IN_TIME = 1 / 4
"""Part of DEAD_AFTER: if a batch takes longer, batches do not grow."""


class Pace:
    """The limits of a batch, in events and bytes. They halve when a batch times out, and grow with quick ones."""

    def __init__(self, dead_after: float) -> None:
        self._dead_after = dead_after
        self._part = 1.0
        self._set()

    def timed_out(self, took: float) -> bool:
        """Note a connection that was lost after `took` seconds without an answer; return whether limits halved."""
        if took < self._dead_after / 2 or self.events == 1:
            return False
        self._part /= 2
        self._set()
        return True

    def answered(self, batch: list[Pending], took: float) -> None:
        """Note that a batch was answered after `took` seconds."""
        if self._part == 1 or took > self._dead_after * IN_TIME:
            return
        if len(batch) * 2 >= self.events or sum([len(event.wire) for event in batch]) * 2 >= self.bytes:
            self._part = min(1.0, self._part * GROWTH)
            self._set()

    def _set(self) -> None:
        self.events = max(1, int(EVENTS * self._part))
        self.bytes = int(BYTES * self._part)
