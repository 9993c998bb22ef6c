"""A publisher's queue: the events of all channels that Redis has not accepted, bounded in number and bytes."""

import asyncio
import dataclasses
import hashlib
import secrets
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

import msgspec

from fanout import keys
from fanout._event.cloudevent import TYPE, CloudEvent
from fanout._event.encode import Event, encode, encode_plain, encode_text, encode_whole, timestamp
from fanout._publish.batch import OVERHEAD, Accepted, Batch, Pending, Request, size_of
from fanout._publish.producer import Producer
from fanout._publish.replay_ring import ReplayRing
from fanout.errors import ChannelNotAllowed, TooManyChannels
from fanout.keys import check_channel
from fanout.message import source_of
from fanout.settings import HistorySettings

_encode = msgspec.json.Encoder().encode

BUFFER_EVENTS = 100_000
BUFFER_PART = 1 / 3
"""The queue's part of the memory that a publisher has for events; the rest is the ring's."""
BURST = 20e-6
"""Seconds in which events share one `time`: formatting it takes as long as encoding the rest of the event."""
CLOSE_AFTER = 10.0
"""Seconds of idleness after which a channel may be closed to open another. Its events leave the replay ring: by then
the server has written them to disk.
"""
LOOK_AGAIN = 0.25
CLOSED = 10_000


class SendQueue:
    """Numbers events, and queues them by channel.

    Attributes:
        ring: the replay ring.
        producer_name: the last part of the source of events on channels that are opened from now on.
        producers: the producer of each open channel.
        closed: channels and producer names whose keys in Redis can be left to expire.
        waiting: how many events Redis has not accepted yet.
        wake: set when there is something to send.
        error: why the queue is closed; None while it is open.
    """

    def __init__(self, max_event: int, history: HistorySettings) -> None:
        self._max_event, self._history, self._plain = max_event, history, history.plain
        self._most_bytes = int(history.memory * BUFFER_PART)
        self.ring = ReplayRing(history.memory - self._most_bytes)
        self.producer_name = secrets.token_hex(8)
        self._ready: deque[Producer] = deque()
        self._bytes = 0
        self._stamped, self._time = 0.0, ""
        self._room = asyncio.Event()
        self._room.set()
        self._own: set[str] = set()
        self._may_close: list[str] = []
        self._looked = 0.0
        self.producers: dict[str, Producer] = {}
        self.closed: deque[tuple[str, str]] = deque(maxlen=CLOSED)
        self.waiting = 0
        self.wake, self._empty = asyncio.Event(), asyncio.Event()
        self._empty.set()
        self.error: Exception | None = None

    @property
    def full(self) -> bool:
        """Whether it has reached its limit of events or bytes."""
        return self.waiting >= BUFFER_EVENTS or self._bytes >= self._most_bytes

    @property
    def fill(self) -> float:
        """How full it is, from 0 to 1; above 1 if events were added although it was full."""
        return max(self.waiting / BUFFER_EVENTS, self._bytes / self._most_bytes)

    async def room(self) -> None:
        """Wait until it is not full."""
        await self._room.wait()
        self._check()

    async def empty(self) -> None:
        """Wait until Redis has accepted everything."""
        await self._empty.wait()
        self._check()

    @property
    def is_empty(self) -> bool:
        """Whether Redis has accepted everything."""
        return self._empty.is_set()

    def _check(self) -> None:
        if self.error:
            raise self.error

    def extend(
        self,
        channel: str,
        items: Iterable[Any],
        datacontenttype: str | None,
        traceparent: str | None = None,
        key: str | None = None,
        future: asyncio.Future[Accepted] | None = None,
    ) -> None:
        """Add an event for each item, even if the queue is full. With a key or a future there must be only one item.

        Raises:
            ValueError: the channel's name is invalid, or an item cannot be encoded. The items before it are added.
            ChannelNotAllowed: CHANNELS_ALLOWED does not include the channel.
            EventTooLarge: an event is larger than MAX_EVENT. The items before it are added.
            TooManyChannels: MAX_CHANNELS channels are open, and none of them is idle.
        """
        self._check()
        producer = self.producers.get(channel) or self._open(channel)
        max_event, source, waiting, seq = self._max_event, producer.source, producer.queue(), producer.made
        before, size = len(waiting), 0
        try:
            for data in items:
                own = None
                keyed = key or (isinstance(data, CloudEvent) and data.key)
                request = self._request(channel, key, data, datacontenttype) if keyed else None
                if self._plain:
                    wire = encode_plain(data.data if isinstance(data, CloudEvent) else data, max_event)
                else:
                    now = time.time()
                    if not 0 <= now - self._stamped < BURST:
                        self._stamped, self._time = now, timestamp(now)
                    if type(data) is str and datacontenttype is None and traceparent is None:
                        wire = encode_text(source, seq + 1, self._time, data, max_event)
                    elif isinstance(data, CloudEvent):
                        wire = encode_whole(
                            data, producer.name, source, seq=seq + 1, time=self._time, max_event=max_event
                        )
                        own = data.own_names
                    else:
                        event = Event("1.0", TYPE, source, str(seq + 1), self._time, datacontenttype, data, traceparent)
                        wire = encode(event, max_event)
                seq += 1
                size += len(wire)
                waiting.append(Pending(seq, wire, request, future, own=own))
        finally:
            producer.made = seq
            count = len(waiting) - before
            self._add(count, size + OVERHEAD * count)
            if waiting and not before:
                self._ready.append(producer)
                self.wake.set()

    def publish_again(self, channel: str, event: Pending) -> None:
        """Add an event that was not published again, with a new seq."""
        producer = self.producers.get(channel) or self._open(channel)
        seq = producer.made + 1
        attributes = msgspec.json.decode(event.wire, type=dict[str, msgspec.Raw])
        if event.own:
            attributes |= {"fanoutproducer": _raw(producer.name), "fanoutseq": _raw(str(seq))}
        else:
            attributes |= {"source": _raw(producer.source), "id": _raw(str(seq))}
        producer.made = seq
        again = Pending(seq, _encode(attributes), event.request, None, own=event.own)
        producer.queue().append(again)
        self._add(1, size_of([again]))
        self._ready.append(producer)
        self.wake.set()

    def withdraw(self, channel: str, future: asyncio.Future[Accepted]) -> bool:
        """Remove the event of that future if it was never sent; return whether it was removed."""
        event = (producer := self.producers.get(channel)) and producer.withdraw(future)
        if event:
            self.done([event])
        return bool(event)

    def open(self, channel: str) -> None:
        """Open a channel that is never closed and does not count towards MAX_CHANNELS."""
        self._own.add(channel)
        if channel not in self.producers:
            self._open(channel)

    def take(self, most: int, room: int, under_way: int) -> Batch | None:
        """Take the next batch; channels take turns.

        Args:
            most: how many events the batch may have.
            room: how many bytes the batch may have.
            under_way: how many batches of one producer may be under way at once.

        Returns:
            The batch; None if no event may be sent now.
        """
        for _ in range(len(self._ready)):
            producer = self._ready.popleft()
            if not producer.waiting:  # its events were withdrawn or refused
                continue
            batch = producer.take(most, room) if producer.under_way < under_way else None
            if producer.waiting:
                self._ready.append(producer)
            if batch:
                return batch
        return None

    def done(self, events: list[Pending]) -> None:
        """Count out events that need not be sent any more."""
        self._add(-len(events), -size_of(events))

    def again(self, events: list[Pending]) -> None:
        """Count events in again that their producers have queued again."""
        self._add(len(events), size_of(events))

    def rewound(self) -> None:
        """Find the producers that have something to send, after some were rewound."""
        self._ready = deque(producer for producer in self.producers.values() if producer.waiting)

    def close(self, error: Exception) -> None:
        """Accept no more events. All who wait for an event or for room get this error, and so do later calls."""
        self.error = error
        for producer in self.producers.values():
            for event in producer.waiting:
                reject(event, error)
        self._room.set()
        self._empty.set()

    def _close_one(self) -> None:
        """Close an idle channel. The producer name changes, as a reopened channel counts from 1 again."""
        while True:
            while self._may_close:
                channel = self._may_close.pop()
                producer = self.producers.get(channel)
                if producer and producer.idle_for(CLOSE_AFTER):
                    producer.leave_ring()
                    del self.producers[channel]
                    if producer.accepted:
                        self.closed.append((channel, producer.name))
                    self.producer_name = secrets.token_hex(8)
                    return
            now = time.monotonic()
            if now - self._looked >= LOOK_AGAIN:  # checking all producers takes a while
                self._looked = now
                self._may_close = [
                    name for name, one in self.producers.items() if one.idle_for(CLOSE_AFTER) and name not in self._own
                ][::-1]
            if not self._may_close:
                raise TooManyChannels(
                    f"{self._history.max_channels} channels are open, and MAX_CHANNELS allows no more"
                )

    def _request(self, channel: str, key: str | None, data: Any, datacontenttype: str | None) -> Request:
        if isinstance(data, CloudEvent):
            event = dataclasses.replace(data, traceparent=None)  # a retry may belong to another trace
            said = encode_whole(event, "", "", seq=0, time="", max_event=self._max_event)
        else:
            said = f"{datacontenttype}\n".encode() + encode_plain(data, self._max_event)
        digest = hashlib.blake2b(said, digest_size=8).hexdigest()
        if key is None:
            return Request(keys.request(channel, data.key), digest, keys.OWN_ID_TTL)
        return Request(keys.request(channel, key), digest, keys.REQUEST_TTL)

    def _add(self, count: int, size: int) -> None:
        self.waiting += count
        self._bytes += size
        for event, happened in ((self._empty, not self.waiting), (self._room, not self.full)):
            if happened:
                event.set()
            else:
                event.clear()

    def _open(self, channel: str) -> Producer:
        check_channel(channel)
        if not self._history.allows(channel):
            raise ChannelNotAllowed(f"CHANNELS_ALLOWED does not include the channel {channel}")
        if len(self.producers) - len(self._own) >= self._history.max_channels:
            self._close_one()
        self.producers[channel] = producer = Producer(
            channel, self.producer_name, source_of(channel, self.producer_name), self.ring
        )
        return producer


def _raw(text: str) -> msgspec.Raw:
    return msgspec.Raw(_encode(text))


def reject(event: Pending, why: Exception) -> None:
    """Fail an event's future, if it has one that is not done."""
    if event.future and not event.future.done():
        event.future.set_exception(why)
        event.future.exception()  # else asyncio reports the error if nobody awaits the future
