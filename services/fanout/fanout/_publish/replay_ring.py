"""The latest accepted batches of all channels, which Redis may still lose, bounded in bytes and age.

An accepted event is not safe yet: a server that crashes loses its last second. The publisher asks Redis what it holds,
and sends the lost events again from the ring.
"""

from collections import deque
from typing import TYPE_CHECKING

from fanout._publish.batch import Batch, Pending, size_of

if TYPE_CHECKING:
    from fanout._publish.producer import Producer

RING_AGE = 60.0
"""Seconds that an accepted event stays in the ring; only connected time counts."""


class ReplayRing:
    """The accepted batches of all channels, in the order of acceptance; each producer also lists its own."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._batches: deque[Batch] = deque()
        self.events = self.bytes = 0
        self.now = 0.0

    def keep(self, batch: Batch, now: float) -> None:
        """Add a producer's next batch. `now` is the connected time in seconds."""
        batch.at, batch.size = now, size_of(batch.events)
        line = batch.producer.accepted_batches or deque()
        line.append(batch)
        batch.producer.accepted_batches = line
        self._batches.append(batch)
        self._count(len(batch.events), batch.size)
        self.forget(now)

    def take_back(self, producer: "Producer", held: int) -> list[Pending]:
        """Remove a producer's events after the seq `held`; return them in order."""
        found: list[list[Pending]] = []
        line = producer.accepted_batches
        while line and line[-1].last_seq > held:
            batch = line[-1]
            before = [event for event in batch.events if event.seq <= held]
            found.append(batch.events[len(before) :])
            self._count(len(before) - len(batch.events), size_of(before) - batch.size)
            batch.events, batch.size = before, size_of(before)
            if not before:
                line.pop()
        if not line:
            producer.accepted_batches = ()
        return [event for events in reversed(found) for event in events]

    def forget(self, now: float) -> None:
        """Remove the oldest batches while they are too old or the ring is too large."""
        self.now = now
        while self._batches:
            batch = self._batches[0]
            if batch.events:
                if now - batch.at <= RING_AGE and self.bytes <= self._limit:
                    return
                line = batch.producer.accepted_batches
                if line:
                    line.popleft()
                if not line:
                    batch.producer.accepted_batches = ()
                self._count(-len(batch.events), -batch.size)
            self._batches.popleft()

    def _count(self, events: int, size: int) -> None:
        self.events += events
        self.bytes += size
