"""The buffer of a publisher: events of all channels that Redis has not accepted, bounded in their number and bytes."""

import asyncio
import itertools
import secrets
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

from fanout.errors import NotAccepted
from fanout.keys import check_channel
from fanout.message import Event, encode, encode_plain, source_of, timestamp
from fanout.outbox import Accepted, Outbox, Pending

BUFFER_EVENTS = 100_000
BUFFER_BYTES = 64 * 2**20
BURST = 20e-6
"""Seconds within which events have one `time`: to write it takes as long as to write the rest of the event."""
CHANNELS = 10_000
"""Channels whose count of events is remembered; one that is idle beyond that starts anew, as another producer."""


class Buffer:
    """Numbers events and keeps them by channel. `wake`: there is something to send; `empty`: nothing waits.

    `producer` ends the source of the events of channels that are opened now.
    """

    def __init__(self, max_event: int, *, plain: bool) -> None:
        self._max_event, self._plain = max_event, plain
        self.producer = secrets.token_hex(8)
        self._ready: deque[Outbox] = deque()
        self._bytes = 0
        self._stamped, self._time = 0.0, ""
        self._room = asyncio.Event()
        self._room.set()
        self.outboxes: dict[str, Outbox] = {}
        self.waiting = 0
        self.wake, self.empty = asyncio.Event(), asyncio.Event()
        self.empty.set()

    @property
    def full(self) -> bool:
        """Whether it holds as many events, or bytes, as it may."""
        return self.waiting >= BUFFER_EVENTS or self._bytes >= BUFFER_BYTES

    @property
    def fill(self) -> float:
        """How full it is, from 0 to 1 and, as it never refuses, beyond."""
        return max(self.waiting / BUFFER_EVENTS, self._bytes / BUFFER_BYTES)

    async def room(self) -> None:
        """Waits until it is not full."""
        await self._room.wait()

    def extend(
        self,
        channel: str,
        items: Iterable[Any],
        datacontenttype: str,
        traceparent: str | None = None,
        key: str | None = None,
        future: asyncio.Future[Accepted] | None = None,
    ) -> None:
        """Adds an event for each of the items, also when it is full. A key or a future is for one event.

        Raises:
            ValueError: the channel's name is not allowed, the data cannot be encoded, or (EventTooLarge) is too long.
                The events before that one are added.
        """
        outbox = self.outboxes.get(channel) or self._open(channel)
        max_event, source, waiting, seq = self._max_event, outbox.source, outbox.waiting, outbox.made
        before, size = len(waiting), 0
        try:
            for data in items:
                if self._plain:
                    wire = encode_plain(data, max_event)
                else:
                    now = time.time()
                    if not 0 <= now - self._stamped < BURST:
                        self._stamped, self._time = now, timestamp(now)
                    event = Event(
                        "1.0", "notification", source, str(seq + 1), self._time, datacontenttype, data, traceparent
                    )
                    wire = encode(event, max_event)
                seq += 1
                size += len(wire)
                waiting.append(Pending(seq, wire, key, future))
        finally:
            outbox.made = seq
            self._add(len(waiting) - before, size)
            if waiting and not before:
                self._ready.append(outbox)
                self.wake.set()

    def take(self) -> tuple[Outbox, list[Pending]] | None:
        """The next batch, of the channels in turn; None if nothing waits."""
        if not self._ready:
            return None
        outbox = self._ready.popleft()
        batch = outbox.take()
        if outbox.waiting:
            self._ready.append(outbox)
        return outbox, batch

    def done(self, events: list[Pending]) -> None:
        """These need not be sent any more."""
        self._add(-len(events), -sum([len(event.wire) for event in events]))

    def again(self, events: list[Pending]) -> None:
        """These wait once more, in their outboxes."""
        self._add(len(events), sum([len(event.wire) for event in events]))

    def rewound(self) -> None:
        """Outboxes were rewound: looks anew which have something to send."""
        self._ready = deque(outbox for outbox in self.outboxes.values() if outbox.waiting)

    def under_way(self) -> Iterable[tuple[Outbox, list[Pending]]]:
        """Takes back the batches that were sent and not answered."""
        for outbox in self.outboxes.values():
            while outbox.under_way:
                yield outbox, outbox.under_way.popleft()

    def close(self) -> None:
        """Tells whoever waits for an event that it will not be accepted."""
        for outbox in self.outboxes.values():
            for event in (*itertools.chain.from_iterable(outbox.under_way), *outbox.waiting):
                reject(event, "the publisher has ended")

    def _add(self, count: int, size: int) -> None:
        self.waiting += count
        self._bytes += size
        for event, happened in ((self.empty, not self.waiting), (self._room, not self.full)):
            if happened:
                event.set()
            else:
                event.clear()

    def _open(self, channel: str) -> Outbox:
        check_channel(channel)
        if len(self.outboxes) >= CHANNELS and (idle := next((c for c, o in self.outboxes.items() if o.idle), None)):
            del self.outboxes[idle]
            self.producer = secrets.token_hex(8)  # the channel's next life must not count from 1 under the same name
        self.outboxes[channel] = outbox = Outbox(channel, self.producer, source_of(channel, self.producer))
        return outbox


def reject(event: Pending, why: str) -> None:
    """Fails an event's future, if anybody waits for it, with NotAccepted."""
    if event.future and not event.future.done():
        event.future.set_exception(NotAccepted(why))
        event.future.exception()  # who does not wait for it is not told twice
