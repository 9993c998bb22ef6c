"""Settles what became of batches: with each answer, and again whenever Redis says what it holds."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from redis.exceptions import ResponseError

from fanout._publish import script
from fanout._publish.batch import Accepted, Batch, Pending
from fanout._publish.durability import on_disk
from fanout._publish.pipeline import Answer, Pipeline
from fanout._publish.producer import Producer
from fanout._publish.send_queue import SendQueue
from fanout._publish.tally import Tally
from fanout._redis.commands import Commands
from fanout._redis.retry import cause, of_channel, refusal
from fanout.errors import TooManyChannels
from fanout.settings import HistorySettings, Settings

REPEAT_AFTER = 5.0
"""Seconds in which the publisher that published an event first may send it again, before one that repeated it does."""


class Settlement:
    """Moves events from a queue to the replay ring, or back, as Redis answers. `clock` is the connected time."""

    def __init__(
        self,
        settings: Settings,
        history: HistorySettings,
        queue: SendQueue,
        tally: Tally,
        clock: Callable[[], float],
    ) -> None:
        self._settings, self._history, self._queue, self._tally = settings, history, queue, tally
        self._clock = clock
        self._repeat: deque[tuple[float, Producer, Pending]] = deque()

    @property
    def repeating(self) -> bool:
        """Whether an event that another publisher published first may still have to be published here."""
        return bool(self._repeat)

    @property
    def unconfirmed(self) -> int:
        """How many accepted events Redis may have lost since it was last asked."""
        return self._queue.ring.events + len(self._repeat)

    def settle(self, answer: Answer, pipeline: Pipeline) -> bool:
        """Settle a batch, and resolve the futures of its events; return False if it must be sent again."""
        batch, reply = answer
        producer = batch.producer
        if isinstance(reply, Exception) or (batch.doomed and reply is None):
            pipeline.done(batch)
            refused = producer.refuse(batch)
            if not batch.doomed:
                pipeline.doom(batch)
            self._queue.done(refused)
            why = cause(reply) if isinstance(reply, Exception) else self._tally.refused.get(producer.channel, "")
            self._tally.refuse(producer, refused, why)
            return True
        if reply is None:
            return False
        pipeline.done(batch)
        producer.accept(batch)
        self._queue.done(batch.events)
        if self._history.size:
            earlier = script.earlier(batch, reply) if len(reply) > 2 else {}
            self._take_in(batch, script.became(batch, reply), earlier)
        else:
            self._published(batch, reply)
        return True

    def _published(self, batch: Batch, replies: list[Any]) -> None:
        """Settle a batch without history, where each message has its own reply."""
        producer = batch.producer
        each = [reply for reply, count in zip(replies, batch.counts, strict=True) for _ in range(count)]
        results = list(zip(batch.events, each, strict=True))
        accepted = [event for event, result in results if not isinstance(result, Exception)]
        self._tally.accept(producer, accepted, producer.accepted_as)
        for event, result in results:
            if not isinstance(result, Exception):
                continue
            if of_channel(result):
                self._tally.refuse(producer, [event], cause(result))
            elif refusal(result):
                raise result
            else:
                self._tally.fail(producer, event, cause(result))

    def _take_in(self, batch: Batch, became: Callable[[Pending], Accepted], earlier: dict[int, script.Before]) -> None:
        """Settle events that are in Redis, or whose Idempotency-Keys had already become the events in `earlier`."""
        producer = batch.producer
        for event in batch.events if earlier else ():
            known = earlier.get(event.seq)
            if not (event.request and known) or known.accepted[:2] == producer.accepted_as(event)[:2]:
                continue
            event.repeats = True
            if known.hash not in ("", event.request.hash):
                self._tally.reuse(event, known.accepted)
                producer.skip([event])
                batch.events = [other for other in batch.events if other is not event]
        if batch.events:
            self._queue.ring.keep(batch, self._clock())
            self._tally.accept(producer, batch.events, became)

    async def resync(self, redis: Commands, producers: Sequence[Producer]) -> None:
        """Ask what Redis holds of the producers' events, and queue the others. None of their batches may be under way.

        Raises:
            ConnectionLost, RedisError: Redis did not answer.
        """
        await script.load(redis)
        asked = redis.send(*(script.command(producer, None, self._history) for producer in producers))
        if self._history.fsync:
            await on_disk(redis, self._settings.dead_after)
        for producer, answer in zip(producers, asked, strict=True):
            try:
                await self._rewind(redis, producer, script.held(await answer))
            except ResponseError as error:
                if not of_channel(error):
                    raise
                refused = producer.refuse_all()
                self._queue.done(refused)
                self._tally.refuse(producer, refused, cause(error))
        self._queue.rewound()

    async def _rewind(self, redis: Commands, producer: Producer, held: int) -> None:
        earlier = await self._earlier(redis, producer.keyed(held))
        confirmed, again, repeats, gone = producer.rewind(held)
        self._queue.done(confirmed)
        if confirmed:
            self._take_in(Batch(producer, confirmed), _became(producer, earlier), earlier)
        self._queue.again(again)
        self._tally.replay(producer, len(again))
        self._tally.lose(producer, gone)
        self._repeat += [(self._clock() + REPEAT_AFTER, producer, event) for event in repeats]

    async def _earlier(self, redis: Commands, events: list[Pending]) -> dict[int, script.Before]:
        """Return what the Idempotency-Keys of the events became, by seq."""
        names = [event.request.name for event in events if event.request]
        values = await redis.call("MGET", *names) if names else []
        return {
            e.seq: known for e, value in zip(events, values, strict=True) if value and (known := script.before(value))
        }

    def repeat_what_is_due(self) -> None:
        """Publish events that only repeated another, if Redis has lost both and REPEAT_AFTER has passed.

        If the other publisher has sent its event again by then, Redis knows the Idempotency-Key and publishes nothing.
        """
        while self._repeat and self._repeat[0][0] <= self._clock():
            _, producer, event = self._repeat.popleft()
            try:
                self._queue.publish_again(producer.channel, event)
            except TooManyChannels:
                self._tally.lose(producer, 1)

    def give_up(self, batches: Sequence[Batch], why: str) -> None:
        """Fail the events of batches that were under way when the connection was lost, without history."""
        for batch in batches:
            for event in batch.events:
                batch.producer.queue().popleft()
                self._tally.fail(batch.producer, event, why)
            self._queue.done(batch.events)
        self._queue.rewound()


def _became(producer: Producer, earlier: dict[int, script.Before]) -> Callable[[Pending], Accepted]:
    return lambda event: earlier[event.seq].accepted if event.seq in earlier else producer.accepted_as(event)
