"""Events as they wait to be sent, and the batches in which they are sent."""

import asyncio
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

if TYPE_CHECKING:
    from fanout._publish.producer import Producer

OVERHEAD = 128
"""Bytes of memory that an event takes beside its encoded form."""


class Accepted(NamedTuple):
    """What Redis has accepted: `source` and `id` name the event; `streamid`, if known, is its place in the history."""

    source: str
    id: str
    streamid: str | None = None


class Request(NamedTuple):
    """An Idempotency-Key: its key in Redis, a hash of what was published with it, and how many seconds it is kept."""

    name: str
    hash: str
    ttl: int


class Pending(msgspec.Struct, gc=False, eq=False):
    """An event that is to be sent.

    Attributes:
        seq: its number among its producer's events.
        wire: its JSON.
        request: its Idempotency-Key, if it has one.
        future: resolves to what the event was accepted as; None if nobody waits for it.
        repeats: whether it was not published, since its Idempotency-Key had already become another event.
        own: the source and id that its sender gave it.
    """

    seq: int
    wire: bytes
    request: Request | None
    future: asyncio.Future[Accepted] | None
    repeats: bool = False
    own: tuple[str, str] | None = None


class Batch(msgspec.Struct, gc=False, eq=False):
    """Events of one producer that travel together, from the send queue to the replay ring.

    Attributes:
        producer: whose events these are.
        events: the events, in order.
        joins: Redis accepts the batch if it holds the producer's events up to this seq.
        answered: resolves to the replies, once the batch is sent.
        doomed: whether it was sent after a batch that was refused.
        at: when it was accepted, on the ring's clock.
        size: its size in bytes when it was accepted.
        counts: how many events each of its messages has, once it is sent.
        ends: how many events there are up to the end of each message.
    """

    producer: "Producer"
    events: list[Pending]
    joins: int = 0
    answered: asyncio.Future[list[Any]] | None = None
    doomed: bool = False
    at: float = 0.0
    size: int = 0
    counts: Sequence[int] = ()
    ends: Sequence[int] = ()

    @property
    def first_seq(self) -> int:
        """The seq of its first event."""
        return self.events[0].seq

    @property
    def last_seq(self) -> int:
        """The seq of its last event."""
        return self.events[-1].seq

    def cut(self, most: int, room: int) -> list[tuple[int, bytes]]:
        """Cut it into messages, each a single event or a JSON array of events.

        Args:
            most: how many events a message may have. If any event has an Idempotency-Key, each is a message alone.
            room: how many bytes a message may have; a single event may be larger.

        Returns:
            For each message, how many events it has, and its JSON.
        """
        wires = [event.wire for event in self.events]
        if most == 1 or any(event.request for event in self.events):
            messages = [(1, wire) for wire in wires]
        else:
            messages = [_message(part) for part in _parts(wires, most, room)]
        self.counts = [count for count, _ in messages]
        self.ends = list(accumulate(self.counts))
        return messages

    def message_of(self, index: int) -> int:
        """Return the index of the message that contains the event of that index."""
        return bisect_right(self.ends, index)


def _parts(wires: list[bytes], most: int, room: int) -> Iterator[list[bytes]]:
    """Split into runs of at most `most` events and `room` bytes, commas and brackets included."""
    if len(wires) <= most and sum(map(len, wires)) + len(wires) < room:
        yield wires
        return
    part: list[bytes] = []
    size = 1
    for wire in wires:
        size += len(wire) + 1
        if part and (len(part) == most or size > room):
            yield part
            part, size = [], len(wire) + 2
        part.append(wire)
    yield part


def _message(wires: list[bytes]) -> tuple[int, bytes]:
    return len(wires), wires[0] if len(wires) == 1 else b"[%b]" % b",".join(wires)


def size_of(events: list[Pending]) -> int:
    """Return the bytes that events take in memory."""
    return sum([len(event.wire) for event in events]) + OVERHEAD * len(events)
