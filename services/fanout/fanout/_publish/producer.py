"""A channel's producer: its events until Redis has accepted them for good. Nothing here touches the network."""

import asyncio
import itertools
from collections import deque
from typing import NamedTuple

from fanout._publish.batch import Accepted, Batch, Pending
from fanout._publish.holes import Holes
from fanout._publish.replay_ring import ReplayRing


class Rewound(NamedTuple):
    """A producer's events, sorted after Redis has said up to which seq it holds them.

    Attributes:
        confirmed: events that Redis holds although no reply said so.
        again: events of the ring that Redis has lost; they are sent again.
        repeats: events of the ring that were not published since their Idempotency-Keys were known. Redis may have
            lost the keys too.
        gone: how many events Redis has lost that are no longer in the ring.
    """

    confirmed: list[Pending]
    again: list[Pending]
    repeats: list[Pending]
    gone: int


class Producer:
    """The events of one publisher on one channel, in the order of their seq: accepted, under way, waiting.

    A batch joins on to the last event sent before it, even if the seqs between the two are missing. A publisher may
    have many idle producers, so the queues only exist while they hold something.

    Attributes:
        channel: the channel's name.
        name: the producer's random name.
        source: the source of its events.
        made: the last seq given to an event.
        accepted: the last seq that Redis has accepted; it may lose the event again.
        held: the last seq that Redis holds, as far as it has said.
        waiting: the events that wait to be sent.
        under_way: how many batches are under way.
        accepted_batches: the batches that the replay ring still has.
    """

    __slots__ = (
        "_ever_taken",
        "_holes",
        "_last_taken",
        "_ring",
        "accepted",
        "accepted_batches",
        "channel",
        "held",
        "made",
        "name",
        "source",
        "under_way",
        "waiting",
    )

    def __init__(self, channel: str, name: str, source: str, ring: ReplayRing) -> None:
        self.channel, self.name, self.source = channel, name, source
        self.made = self.accepted = self.held = 0
        self.waiting: deque[Pending] | tuple[()] = ()
        self.accepted_batches: deque[Batch] | tuple[()] = ()
        self.under_way = 0
        self._ring = ring
        self._holes = Holes()
        self._last_taken = self._ever_taken = 0

    @property
    def idle(self) -> bool:
        """Whether there is nothing to send, now or again."""
        return not (self.accepted_batches or self.under_way or self.waiting)

    def idle_for(self, age: float) -> bool:
        """Return whether there is nothing to send, and the last batch in the ring was accepted `age` seconds ago."""
        if self.under_way or self.waiting:
            return False
        return not self.accepted_batches or self._ring.now - self.accepted_batches[-1].at >= age

    def queue(self) -> deque[Pending]:
        """Return the queue of waiting events; it is created if there is none."""
        if not self.waiting:
            self.waiting = deque()
        return self.waiting

    def accepted_as(self, event: Pending) -> Accepted:
        """Return what an event was accepted as, without its place in the history."""
        return Accepted(self.source, str(event.seq))

    def take(self, most: int, room: int) -> Batch:
        """Take the next batch, which is then under way: at most `most` events and `room` bytes, but one event."""
        events: list[Pending] = []
        waiting = self.queue()
        while waiting and len(events) < most:
            room -= len(waiting[0].wire)
            if events and room < 0:
                break
            events.append(waiting.popleft())
        first = events[0].seq
        if events[-1].seq - first >= len(events):  # a batch has no gaps
            whole = next(i for i, event in enumerate(events) if event.seq - first != i)
            waiting.extendleft(reversed(events[whole:]))
            del events[whole:]
        if not waiting:
            self.waiting = ()
        batch = Batch(self, events, self._last_taken)
        self._last_taken = batch.last_seq
        self._ever_taken = max(self._ever_taken, self._last_taken)
        self.under_way += 1
        return batch

    def accept(self, batch: Batch) -> None:
        """Note that the oldest batch under way is accepted."""
        self.under_way -= 1
        self.held = max(self.held, batch.last_seq)

    def give_back(self, batch: Batch) -> None:
        """Put the events of a batch under way back into the queue. The last batch sent must be given back first."""
        self.under_way -= 1
        self.queue().extendleft(reversed(batch.events))

    def skip(self, events: list[Pending]) -> None:
        """Note that these events will not be sent, or not again."""
        first = last = 0
        for event in events:
            if event.seq != last + 1:
                self._holes.add(first, last)
                first = event.seq
            last = event.seq
        if events:
            self._holes.add(first, last)

    def keyed(self, held: int) -> list[Pending]:
        """Return the waiting events up to the seq `held` that have an Idempotency-Key."""
        return [e for e in itertools.takewhile(lambda event: event.seq <= held, self.waiting) if e.request]

    def refuse(self, batch: Batch) -> list[Pending]:
        """Refuse the oldest batch under way and all waiting events; return these events.

        Batches that were sent after it cannot join on. Each is refused without the waiting events.
        """
        self.under_way -= 1
        if batch.doomed:
            self.skip(batch.events)
            return batch.events
        return batch.events + self._refuse_waiting(batch.events)

    def refuse_all(self) -> list[Pending]:
        """Refuse all waiting events and return them. No batch may be under way."""
        return self._refuse_waiting([])

    def _refuse_waiting(self, before: list[Pending]) -> list[Pending]:
        refused = [*self.waiting]
        self.waiting = ()
        self._last_taken = self.held
        self.skip(before + refused)
        return refused

    def withdraw(self, future: asyncio.Future[Accepted]) -> Pending | None:
        """Remove the event of that future and return it, if it waits and was never sent."""
        for event in self.waiting:
            if event.future is future and event.seq > self._ever_taken:
                self.queue().remove(event)
                self.skip([event])
                return event
        return None

    def rewind(self, held: int) -> Rewound:
        """Queue all events after the seq `held`, which is what Redis holds. No batch may be under way."""
        waiting = self.queue()
        confirmed: list[Pending] = []
        while waiting and waiting[0].seq <= held:
            confirmed.append(waiting.popleft())
        lost = self._ring.take_back(self, held)
        again = [event for event in lost if not event.repeats]
        repeats = [event for event in lost if event.repeats]
        self.skip(repeats)
        waiting.extendleft(reversed(again))
        last_missing = waiting[0].seq - 1 if waiting else self.made
        if not waiting:
            self.waiting = ()
        gone = self._holes.others(held + 1, last_missing)
        self._holes.add(held + 1, last_missing)
        self.held = self._last_taken = held
        return Rewound(confirmed, again, repeats, gone)

    def leave_ring(self) -> None:
        """Remove its batches from the replay ring."""
        self._ring.take_back(self, -1)
