"""A channel: one subscription, however many clients, who all get the same bytes in the same order."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from fanout import keys, lifecycle
from fanout.catch_up import Outcome
from fanout.connection import pack
from fanout.errors import FanoutError, RefusedByRedis
from fanout.health import Heartbeat
from fanout.message import source_of
from fanout.position import Position
from fanout.settings import Settings, StartFrom, SubscriptionSettings
from fanout.subscription import Subscription
from gateway import frames
from gateway.client import PIECE, Client
from gateway.frames import Form, Frame
from gateway.ring import Ring

QUEUE_SIZE = 100_000
PRODUCERS = 100_000
REPLAYED_WITHIN = 60.0
"""Seconds after an outage in which publishers send again what Redis has lost."""


class Hub:
    """Gives what arrives on a channel to its clients, and keeps the last of it in a ring.

    `ring_bytes` says how many bytes the ring may have at present.
    """

    def __init__(self, channel: str, settings: Settings, ring_bytes: Callable[[], int], *, history: bool) -> None:
        what = SubscriptionSettings(
            channels=(channel,),
            patterns=(),
            start_from=StartFrom(earliest=False, age=0),
            queue_size=QUEUE_SIZE,
            producers=PRODUCERS,
            history=history,
            save=False,
        )
        self.channel, self._ring_bytes = channel, ring_bytes
        self.subscription = Subscription(settings, what, Heartbeat(""))
        self.subscription.on_lost = self._lost
        self.clients: set[Client] = set()
        self.ring = Ring()
        self.received = 0
        self._giving = False
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reconnects = -1
        self._outage = self._duplicates = self._duplicates_then = 0
        self._replayed_at = 0.0

    async def run(self) -> None:
        """Never returns.

        Raises:
            FanoutError: Redis refuses.
        """
        async with self.subscription as subscription:
            giving = asyncio.create_task(self._give_all())
            try:
                await lifecycle.until(asyncio.Event(), giving, subscription.task)
            finally:
                giving.cancel()

    async def ready(self) -> None:
        """Returns when nothing that is published from then on is missed.

        Raises:
            RefusedByRedis: that will never be.
        """
        subscribed = asyncio.create_task(self.subscription.subscribed.wait())
        try:
            waited: tuple[asyncio.Future[Any], ...] = (subscribed, self.ended)
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        finally:
            subscribed.cancel()
        if self.ended.done():
            self.ended.result()

    def end(self, error: BaseException | None) -> None:
        """Tells whoever waits for it that it has ended, and why."""
        if not self.ended.done():
            self.ended.set_exception(
                error if isinstance(error, FanoutError) else RefusedByRedis("the channel was closed")
            )
            self.ended.exception()  # nobody need wait for it

    def known(self, at: Position) -> int | None:
        """The place in the ring where a client goes on who was given that position here; None if that is not certain.

        After an outage the history may bring again what clients have, between events that are new: there, who read the
        history up to a position has not the same as who had it from here.
        """
        self._notice()
        place = self.ring.after(at.streamid)
        if place is not None and place > self._outage and self._duplicates > self._duplicates_then:
            return None
        return place

    @property
    def position(self) -> Position | None:
        """Up to where clients have been given everything; None while that cannot be said."""
        if self._giving or self.subscription.inbox.waiting:
            return None
        return self.subscription.position(self.channel)

    def reached(self, at: Position) -> int | None:
        """The place in the ring where a client goes on who has all that the history has up to that position.

        None while the subscription has not come so far.
        """
        place = self.ring.after(at.streamid)
        return self.ring.end if place is None and self.position == at else place

    async def missing(self) -> list[tuple[int, Frame]]:
        """What clients were given before an outage in which Redis lost it, and publishers have not sent again yet.

        Each with its place in the ring.

        Raises:
            ConnectionLost, RedisError: Redis cannot be asked.
        """
        self._notice()
        redis = self.subscription.redis
        if redis is None or asyncio.get_running_loop().time() > self._replayed_at:
            return []
        given = list(enumerate(self.ring.frames(self.ring.start, self._outage), self.ring.start))
        latest = {
            frame.source: (frame.position.streamid, int(frame.id))
            for _, frame in given
            if frame.position and self._ours(frame)
        }
        asked = [
            redis.send(
                pack(("GET", keys.producer(self.channel, source.rpartition("/")[2]))),
                pack(("XRANGE", keys.history(self.channel), streamid, streamid)),
            )
            for source, (streamid, _) in latest.items()
        ]
        held: dict[str, int] = {}
        for (source, (_, seq)), (last, entry) in zip(latest.items(), asked, strict=True):
            accepted = int(await last or 0)
            if accepted < seq and not await entry:
                held[source] = accepted
        if not held:
            self._replayed_at = 0.0
        return [one for one in given if one[1].source in held and int(one[1].id) > held[one[1].source]]

    def _ours(self, frame: Frame) -> bool:
        """Whether a Fanout publisher made it, who sends again what Redis loses."""
        producer = frame.source.rpartition("/")[2]
        return frame.id.isdecimal() and frame.source == source_of(self.channel, producer)

    def _notice(self) -> None:
        """Notes where in the ring the last outage was, and whether events came twice since."""
        if self.subscription.reconnects != self._reconnects:
            self._reconnects = self.subscription.reconnects
            self._outage, self._duplicates_then = self.ring.end, self._duplicates
            self._replayed_at = asyncio.get_running_loop().time() + REPLAYED_WITHIN if self.ring.end else 0.0
        self._duplicates = self.subscription.live.duplicates

    async def _give_all(self) -> None:
        async for batch in self.subscription.inbox.batches():
            self._notice()
            self.received += len(batch)
            self._giving = True
            for piece in frames.pieces([frames.of_message(message) for message in batch], PIECE):
                self._give(piece)
                await asyncio.sleep(0)  # lets the sockets take it
            self._giving = False

    def _lost(self, outcome: Outcome) -> None:
        self._give([frames.gone(self.channel, outcome.lost, exact=outcome.exact)])

    def _give(self, batch: Sequence[Frame]) -> None:
        self.ring.extend(batch, self._ring_bytes())
        encoded: dict[Form, bytes] = {}
        for client in self.clients:
            form = client.form
            data = encoded.get(form)
            if data is None:
                data = encoded[form] = form(batch)
            client.write(data)
