"""A producer's way without a network: batches under way are in the hands of the test."""

from collections import deque

from fanout._publish.batch import Batch, Pending
from fanout._publish.producer import Producer, Rewound
from fanout._publish.replay_ring import ReplayRing


class Way:
    """A producer, and its batches under way."""

    def __init__(self, limit: int = 10**9, ring: ReplayRing | None = None, channel: str = "news") -> None:
        self.ring = ring or ReplayRing(limit)
        self.producer = Producer(channel, "p", f"/{channel}/p", self.ring)
        self.batches: deque[Batch] = deque()

    def make(self, count: int, size: int = 10) -> list[Pending]:
        first = self.producer.made + 1
        events = [Pending(seq, b"x" * size, None, None) for seq in range(first, first + count)]
        self.producer.queue().extend(events)
        self.producer.made += count
        return events

    def send(self, most: int = 1000) -> tuple[list[int], int]:
        batch = self.producer.take(most, 10**9)
        self.batches.append(batch)
        return [event.seq for event in batch.events], batch.joins

    def accept(self) -> None:
        batch = self.batches.popleft()
        self.producer.accept(batch)
        self.ring.keep(batch, 0.0)

    def accepted(self, count: int) -> None:
        self.make(count)
        self.send()
        self.accept()

    def refuse(self) -> list[int]:
        batch = self.batches.popleft()
        for other in self.batches:
            other.doomed = True
        return [event.seq for event in self.producer.refuse(batch)]

    def rewind(self, held: int) -> Rewound:
        while self.batches:
            self.producer.give_back(self.batches.pop())
        return self.producer.rewind(held)
