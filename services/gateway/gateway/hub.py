"""A channel: one subscription, however many clients, who all get the same bytes in the same order."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from fanout import lifecycle
from fanout.catch_up import Outcome
from fanout.errors import FanoutError, RefusedByRedis
from fanout.health import Heartbeat
from fanout.position import Position
from fanout.settings import Settings, StartFrom, SubscriptionSettings
from fanout.subscription import Subscription
from gateway import frames
from gateway.client import PIECE, Client
from gateway.frames import Form, Frame
from gateway.ring import Ring
from gateway.rollback import Rollback

BEFORE = 5.0
"""Seconds of history that a ring begins with: what a crash of Redis takes may have come before the first client."""
LOOK_EVERY = 0.01
QUEUE_SIZE = 100_000
PRODUCERS = 100_000


class Hub:
    """Gives what arrives on a channel to its clients, and keeps the last of it in a ring.

    `ring_bytes` says how many bytes the ring may have at present.
    """

    def __init__(self, channel: str, settings: Settings, ring_bytes: Callable[[], int], *, history: bool) -> None:
        what = SubscriptionSettings(
            channels=(channel,),
            patterns=(),
            start_from=StartFrom(earliest=False, age=BEFORE),
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
        self._begun = self._giving = False
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.rollback = Rollback(channel, self.subscription, self.ring)

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
        whole = asyncio.create_task(self.subscription.whole.wait())
        try:
            waited: tuple[asyncio.Future[Any], ...] = (whole, self.ended)
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        finally:
            whole.cancel()
        if self.ended.done():
            self.ended.result()
        while not self._begun and self.position is None:  # what was before is for the ring alone
            await asyncio.sleep(LOOK_EVERY)
        self._begun = True

    def end(self, error: BaseException | None) -> None:
        """Tells whoever waits for it that it has ended, and why."""
        if not self.ended.done():
            self.ended.set_exception(
                error if isinstance(error, FanoutError) else RefusedByRedis("the channel was closed")
            )
            self.ended.exception()  # nobody need wait for it

    def known(self, at: Position) -> int | None:
        """The place in the ring where a client goes on who was given that position here; None if that is unsure."""
        self.rollback.notice()
        return None if self.rollback.unsure(at) else self.ring.after(at.streamid)

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

    async def _give_all(self) -> None:
        async for batch in self.subscription.inbox.batches():
            self.rollback.notice()
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
        self.rollback.given(batch)
        encoded: dict[Form, bytes] = {}
        for client in self.clients:
            form = client.form
            data = encoded.get(form)
            if data is None:
                data = encoded[form] = form(batch)
            client.write(data)
