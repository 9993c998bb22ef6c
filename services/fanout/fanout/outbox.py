"""A channel's events on their way out: those that wait, and a ring of those that Redis has accepted.

Accepted is not yet safe: a server that crashes forgets its last second. Whoever asks Redis what it holds can go back,
and the ring still has the events to send again. Nothing here touches the network.
"""

import asyncio
from collections import deque
from typing import NamedTuple

import msgspec

BATCH_EVENTS = 256
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


class Pending(msgspec.Struct, gc=False):
    """An event as it is on the wire; `seq` counts its producer's events on its channel.

    `future` is told what it was accepted as, if anybody wants to know.
    """

    seq: int
    wire: bytes
    key: str | None
    future: asyncio.Future[Accepted] | None


class Outbox:
    """The events of one producer on one channel, in the order of their seq: ring, batches under way, waiting.

    `made` is the last seq there is, `accepted` the last that was accepted, if not for good.
    """

    def __init__(self, channel: str, producer: str, source: str) -> None:
        self.channel, self.producer, self.source = channel, producer, source
        self.made = self.accepted = 0
        self.force = False
        self.waiting: deque[Pending] = deque()
        self.under_way: deque[list[Pending]] = deque()
        self._ring: deque[tuple[float, int, list[Pending]]] = deque()
        self._ring_events = self._ring_bytes = 0

    @property
    def idle(self) -> bool:
        """Whether there is nothing to send, now or again."""
        return not (self._ring or self.under_way or self.waiting)

    @property
    def remembers(self) -> bool:
        """Whether it could send something again."""
        return bool(self._ring)

    def accepted_as(self, event: Pending) -> Accepted:
        """What an event of its own was accepted as, where nobody says at which place."""
        return Accepted(self.source, str(event.seq))

    def take(self) -> list[Pending]:
        """The next batch; its events are under way then."""
        batch: list[Pending] = []
        room, waiting = BATCH_BYTES, self.waiting
        while waiting and len(batch) < BATCH_EVENTS:
            room -= len(waiting[0].wire)
            if batch and room < 0:
                break
            batch.append(waiting.popleft())
        self.under_way.append(batch)
        return batch

    def accept(self, now: float, *, keep: bool) -> None:
        """The oldest batch that was under way is accepted; `keep` it in the ring.

        `now` counts seconds in which there was a connection.
        """
        batch = self.under_way.popleft()
        self.force = False
        if keep:
            self._remember(batch, now)

    def forget(self, now: float) -> None:
        """Lets go of what is too old for the ring, or too much."""
        ring = self._ring
        while ring and (
            now - ring[0][0] > RING_AGE or self._ring_events > RING_EVENTS or self._ring_bytes > RING_BYTES
        ):
            _, size, batch = ring.popleft()
            self._ring_events -= len(batch)
            self._ring_bytes -= size

    def rewind(self, held: int, now: float) -> tuple[list[Pending], list[Pending], int]:
        """Redis holds the events up to `held`: those after it wait again, in their order.

        Returns the events that turn out to be accepted though no reply said so, the accepted ones that are to be sent
        again, and how many are gone: accepted once, held no more, and not in the ring.
        """
        waiting = self.waiting
        while self.under_way:
            waiting.extendleft(reversed(self.under_way.pop()))
        confirmed: list[Pending] = []
        while waiting and waiting[0].seq <= held:
            confirmed.append(waiting.popleft())
        if confirmed:
            self._remember(confirmed, now)
        again: list[Pending] = []
        while self._ring and self._ring[-1][2][-1].seq > held:
            accepted_at, size, batch = self._ring.pop()
            self._ring_events -= len(batch)
            self._ring_bytes -= size
            lost = [event for event in batch if event.seq > held]
            waiting.extendleft(reversed(lost))
            again[:0] = lost
            if len(lost) < len(batch):
                self._remember(batch[: -len(lost)], accepted_at)
        following = waiting[0].seq if waiting else self.made + 1
        gone = following - held - 1
        if gone <= 0 or self.force:
            gone = 0
        else:
            self.force = True
        return confirmed, again, gone

    def _remember(self, batch: list[Pending], now: float) -> None:
        size = sum([len(event.wire) for event in batch])
        self._ring.append((now, size, batch))
        self._ring_events += len(batch)
        self._ring_bytes += size
        self.forget(now)
