"""A channel's hub: one subscription for any number of clients, which all get the same bytes in the same order."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from fanout import Subscription
from fanout._subscribe.catch_up import Outcome
from fanout._subscribe.cursor import Position
from fanout.errors import FanoutError, RefusedByRedis
from fanout.settings import Settings, StartFrom, SubscriptionSettings
from gateway import frames
from gateway.client import PIECE, Client
from gateway.frames import Form, Frame
from gateway.ring import Ring
from gateway.rollback import Rollback
from gateway.since import EventId

BEFORE = 5.0
"""Seconds of history that a ring begins with: a crash of Redis may lose events from before the first client came."""
LOOK_EVERY = 0.01
QUEUE_SIZE = 100_000
PRODUCERS = 100_000


CONNECTING = 16
"""How many channels may connect to Redis at once: when Redis comes back, all of them want to."""


class Hub:
    """Gives what arrives on a channel to its clients, and keeps the last of it in a ring.

    Attributes:
        channel: the channel's name.
        largest_message: the bytes of the largest message.
        behind: how many bytes are kept for clients that read too slowly.
        subscription: the subscription to the channel.
        clients: the clients that are given what arrives.
        ring: the frames that clients were given last.
        received: how many messages have arrived.
        begun: whether nothing published from now on is missed.
        ended: fails when the hub has ended, with the reason.
        rollback: the last outage of the subscription.
    """

    def __init__(
        self,
        channel: str,
        settings: Settings,
        ring_bytes: Callable[[], int],
        turns: asyncio.Semaphore,
        kept: Callable[[int], None],
        *,
        history: bool,
    ) -> None:
        """Make a hub.

        Args:
            channel: the channel's name.
            settings: how to reach Redis.
            ring_bytes: returns how many bytes the ring may have at present.
            turns: limits how many hubs connect at once.
            kept: called with the change in the number of bytes that are kept for clients that read too slowly.
            history: whether the channel has a history.
        """
        what = SubscriptionSettings(
            channels=(channel,),
            patterns=(),
            start_from=StartFrom(earliest=False, age=BEFORE),
            queue_size=QUEUE_SIZE,
            producers=PRODUCERS,
            history=history,
            save=False,
        )
        self.channel, self._ring_bytes, self.largest_message = channel, ring_bytes, settings.largest_message
        self.behind, self._kept = 0, kept
        self.subscription = Subscription(settings, what=what, connecting=turns)
        self.subscription.on_lost = self._lost
        self.clients: set[Client] = set()
        self.ring = Ring()
        self.received = 0
        self._given = self._in_hand = 0
        self._before: int | None = None
        self._at: Position | None = None
        self.begun = False
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.rollback = Rollback(channel, self.subscription, self.ring)

    async def run(self) -> None:
        """Run until cancelled.

        Raises:
            FanoutError: Redis refuses.
        """
        async with self.subscription as subscription:
            own = [asyncio.create_task(work) for work in (self._give_all(), self.rollback.watch())]
            try:
                done, _ = await asyncio.wait([*own, subscription.task], return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            finally:
                for task in own:
                    task.cancel()

    async def ready(self) -> None:
        """Wait until nothing published from now on is missed, even while Redis is away; then `begun` is set.

        Raises:
            RefusedByRedis: the hub has ended.
        """
        while not self.begun:
            await self.live()
            if self._before is None:  # what came before is only for the ring
                self._before = self._given + self._in_hand + self.subscription.inbox.waiting
            self.begun = self._given >= self._before
            if not self.begun:
                await asyncio.sleep(LOOK_EVERY)

    async def live(self) -> None:
        """Wait until Redis is there and the subscription is live.

        Raises:
            RefusedByRedis: the hub has ended.
        """
        whole = asyncio.create_task(self.subscription.whole.wait())
        try:
            waited: tuple[asyncio.Future[Any], ...] = (whole, self.ended)
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        finally:
            whole.cancel()
        if self.ended.done():
            self.ended.result()

    def end(self, error: BaseException | None) -> None:
        """Tell everyone who waits for the hub that it has ended, and why."""
        if not self.ended.done():
            self.ended.set_exception(
                error if isinstance(error, FanoutError) else RefusedByRedis("the channel was closed")
            )
            self.ended.exception()  # so that asyncio does not complain if nobody waits

    def known(self, at: EventId) -> int | None:
        """Return the place in the ring where a client with that ID continues; None if this is unknown or unsure."""
        self._notice()
        place = self.ring.after(at.position)
        return None if place and at.mark != self.rollback.mark and self.rollback.unsure(place) else place

    @property
    def position(self) -> Position | None:
        """The position up to which clients have been given everything; None if there is no history."""
        if not self._in_hand and not self.subscription.inbox.waiting:
            self._at = self.subscription.position(self.channel)
        return self._at

    @property
    def event_id(self) -> EventId | None:
        """The ID with which a client that comes now will come back if it is given nothing; None without history."""
        self._notice()
        return EventId(self.position, self.mark) if self.position else None

    @property
    def mark(self) -> str:
        """The mark that IDs carry at present: the ring's name during a rollback, otherwise empty."""
        return self.rollback.mark if self.rollback.open else ""

    def reached(self, at: Position) -> int | None:
        """Return the place in the ring where a client continues that has all of the history up to that position.

        Returns:
            The place; None as long as the subscription has not come so far.
        """
        place = self.ring.after(at)
        return self.ring.end if place is None and self.position == at else place

    async def _give_all(self) -> None:
        async for batch in self.subscription.inbox.batches():
            self._notice()
            self.received += len(batch)
            self._in_hand = len(batch)
            made, mark = map(frames.of_message, batch), self.mark
            for piece in frames.pieces((frame.marked(mark) for frame in made) if mark else made, PIECE):
                self._give(piece)
                self._given += len(piece)
                self._in_hand -= len(piece)
                await asyncio.sleep(0)  # so that the sockets can send it

    def _notice(self) -> None:
        self.rollback.notice()
        self.rollback.settle(self.position)

    def _lost(self, outcome: Outcome) -> None:
        self._give([frames.gone(self.channel, outcome.lost, exact=outcome.exact)])

    def _give(self, batch: Sequence[Frame]) -> None:
        self.ring.extend(batch, self._ring_bytes())
        self.rollback.given(batch)
        self._at = next((frame.position for frame in reversed(batch) if frame.position), self._at)
        encoded: dict[Form, bytes] = {}
        behind = 0
        for client in self.clients:
            form = client.form
            data = encoded.get(form)
            if data is None:
                data = encoded[form] = form(batch)
            queued = client.write(data)
            behind = max(behind, queued)
        if behind or self.behind:
            self.keep(behind * len(encoded))

    def keep(self, behind: int) -> None:
        """Note how many bytes are kept: as many as for the slowest client, since all are given the same bytes."""
        change, self.behind = behind - self.behind, behind
        self._kept(change)
