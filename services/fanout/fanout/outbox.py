"""A channel's events on their way out: those that wait, and a ring of those that Redis has accepted.

Accepted is not yet safe: a server that crashes forgets its last second. Whoever asks Redis what it holds can go back,
and the ring still has the events to send again. Nothing here touches the network.
"""

import asyncio
from collections import deque
from typing import Any, NamedTuple

BATCH_EVENTS = 128
BATCH_BYTES = 1_000_000
RING_EVENTS = 50_000
RING_BYTES = 32 * 2**20
RING_AGE = 60.0
"""Seconds that an accepted event stays; only time in which Redis accepts events counts."""


class Accepted(NamedTuple):
    """What Redis has accepted: `source` and `id` name the event; `streamid`, if known, its place in history."""

    source: str
    id: str
    streamid: str | None = None


class Pending(NamedTuple):
    """An event with what it is on the wire; `seq` counts its producer's events on its channel."""

    seq: int
    data: Any
    wire: bytes
    key: str | None
    future: asyncio.Future[Accepted]


class Outbox:
    """The events of one producer on one channel, in the order of their seq: ring, under way, waiting."""

    def __init__(self, channel: str, producer: str, source: str) -> None:
        self.channel, self.producer, self.source = channel, producer, source
        self.made = 0
        self.force = False
        self.waiting: deque[Pending] = deque()
        self.under_way: deque[Pending] = deque()
        self._ring: deque[tuple[float, Pending]] = deque()
        self._ring_bytes = 0

    @property
    def idle(self) -> bool:
        """Whether there is nothing to send, now or again."""
        return not (self._ring or self.under_way or self.waiting)

    @property
    def remembers(self) -> bool:
        """Whether it could send something again."""
        return bool(self._ring)

    def take(self) -> list[Pending]:
        """The next batch; its events are under way then."""
        batch: list[Pending] = []
        size = 0
        while self.waiting and len(batch) < BATCH_EVENTS:
            size += len(self.waiting[0].wire)
            if batch and size > BATCH_BYTES:
                break
            batch.append(self.waiting.popleft())
        self.under_way.extend(batch)
        return batch

    def accept(self, count: int, now: float, *, keep: bool = True) -> None:
        """The oldest `count` events that were under way are accepted; the ring keeps them, unless told not to.

        `now` counts seconds in which there was a connection.
        """
        for _ in range(count):
            event = self.under_way.popleft()
            if keep:
                self._ring.append((now, event))
                self._ring_bytes += len(event.wire)
        self.force = False
        self.forget(now)

    def forget(self, now: float) -> None:
        """Lets go of what is too old for the ring, or too much."""
        ring = self._ring
        while ring and (now - ring[0][0] > RING_AGE or len(ring) > RING_EVENTS or self._ring_bytes > RING_BYTES):
            self._ring_bytes -= len(ring.popleft()[1].wire)

    def rewind(self, held: int, now: float) -> tuple[list[Pending], list[Pending], int]:
        """Redis holds the events up to `held`: those after it wait again, in their order.

        Returns the events that turn out to be accepted though no reply said so, the accepted ones that are to be sent
        again, and how many are gone: accepted once, held no more, and not in the ring.
        """
        confirmed: list[Pending] = []
        while self.under_way and self.under_way[0].seq <= held:
            confirmed.append(self.under_way[0])
            self.accept(1, now)
        self.waiting.extendleft(reversed(self.under_way))
        self.under_way.clear()
        while self.waiting and self.waiting[0].seq <= held:
            event = self.waiting.popleft()
            confirmed.append(event)
            self.under_way.append(event)
            self.accept(1, now)
        again: list[Pending] = []
        while self._ring and self._ring[-1][1].seq > held:
            event = self._ring.pop()[1]
            self._ring_bytes -= len(event.wire)
            self.waiting.appendleft(event)
            again.append(event)
        following = self.waiting[0].seq if self.waiting else self.made + 1
        gone = following - held - 1
        if gone <= 0 or self.force:
            gone = 0
        else:
            self.force = True
        return confirmed, again, gone
