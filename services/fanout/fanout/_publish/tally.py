"""Counts and logs what became of the events, and resolves their futures."""

from collections import Counter
from collections.abc import Callable

from fanout._event.decode import received
from fanout._publish.batch import Accepted, Pending, size_of
from fanout._publish.producer import Producer
from fanout._publish.send_queue import reject
from fanout.errors import ChannelRefused, KeyReused, NotAccepted
from fanout.log import get_logger
from fanout.shown import every, shown

REFUSED = 10_000
"""How many refused channels are remembered; beyond that all are forgotten, and logged again when refused again."""


class Tally:
    """What became of a publisher's events.

    Attributes:
        accepted: how many events Redis has accepted.
        failed: how many it never will.
        replayed: how many it lost and were sent again.
        gone: how many it lost and could not be sent again.
        refused: why Redis refuses a channel, by channel, while the connection lives.
        grown: bytes by which each channel's history has grown since it was last measured.
    """

    def __init__(self, log_messages: float) -> None:
        self._log = get_logger()
        self._every = every(log_messages)
        self.accepted = self.failed = self.replayed = self.gone = 0
        self.refused: dict[str, str] = {}
        self.grown: Counter[str] = Counter()

    def accept(self, producer: Producer, events: list[Pending], became: Callable[[Pending], Accepted]) -> None:
        """Count events that are in Redis, and resolve their futures to `became(event)`."""
        if events and events[0].seq <= producer.accepted:  # sent again after a rollback, and counted before it
            events = [event for event in events if event.seq > producer.accepted]
        if not events:
            return
        producer.accepted = events[-1].seq
        self.grown[producer.channel] += size_of(events)
        first = self.accepted + 1
        self.accepted += len(events)
        for event in [event for event in events if event.future]:
            if event.future and not event.future.done():
                event.future.set_result(_named(event, became(event)))
            event.future = None  # the ring does not need it
        for event in events[-first % self._every :: self._every] if self._every else ():
            source, seq, streamid = _named(event, became(event))
            known = {"streamid": streamid} if streamid else {}
            data = shown(received(producer.channel, event.wire)[0].data)
            self._log.info("message_published", channel=producer.channel, data=data, source=source, id=seq, **known)

    def fail(self, producer: Producer, event: Pending, why: str) -> None:
        """Count an event as failed that was under way when the connection was lost and is not sent again."""
        self.failed += 1
        seq = str(event.seq)
        self._log.error("publish_failed", channel=producer.channel, source=producer.source, id=seq, cause=why)
        reject(event, NotAccepted(why))

    def reuse(self, event: Pending, earlier: Accepted) -> None:
        """Reject an event whose Idempotency-Key was used for other data."""
        became = f"{earlier.source} {earlier.id}"
        reject(event, KeyReused(f"the Idempotency-Key was used for other data, which became {became}"))

    def refuse(self, producer: Producer, events: list[Pending], why: str) -> None:
        """Reject events whose channel Redis refuses; those without a future count as failed."""
        if producer.channel not in self.refused:
            if len(self.refused) >= REFUSED:
                self.refused.clear()
            self.refused[producer.channel] = why
            self._log.error("channel_refused", channel=producer.channel, reason=why)
        new = [event for event in events if event.seq > producer.accepted]
        for event in new:
            self.failed += event.future is None
            reject(event, ChannelRefused(f"Redis refuses the channel {producer.channel}: {why}"))
        self.lose(producer, len(events) - len(new))

    def replay(self, producer: Producer, count: int) -> None:
        """Count accepted events that Redis has lost and that are sent again."""
        if count:
            self.replayed += count
            self._log.warning("replaying", channel=producer.channel, count=count)

    def lose(self, producer: Producer, count: int) -> None:
        """Count accepted events that Redis has lost and that cannot be sent again."""
        if count:
            self.gone += count
            self._log.error("events_gone", channel=producer.channel, source=producer.source, count=count)


def _named(event: Pending, accepted: Accepted) -> Accepted:
    """Return what an event was accepted as, with the source and id that its sender gave it, if any."""
    return Accepted(*event.own, accepted.streamid) if event.own else accepted
