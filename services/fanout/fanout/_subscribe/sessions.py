"""Keeps a subscription connected, one session after another, and its channels while they come and go."""

import asyncio
import secrets
import time
from collections.abc import Callable

from redis.exceptions import RedisError

from fanout import keys
from fanout._redis.commands import Commands
from fanout._redis.retry import cause, refusal, with_backoff
from fanout._subscribe.channels import SHOWN, Channels
from fanout._subscribe.inbox import Inbox
from fanout._subscribe.joining import leave
from fanout._subscribe.outcomes import Outcomes
from fanout._subscribe.pages import Pages
from fanout._subscribe.receiver import Receiver
from fanout._subscribe.recovery import Parts
from fanout._subscribe.session import Session
from fanout._subscribe.waiters import Waiters
from fanout.errors import ChannelRefused, ConnectionLost, FanoutError, RefusedByRedis
from fanout.log import get_logger
from fanout.settings import Settings, StartFrom, SubscriptionSettings

SAVE_WITHIN = 1.0
LOOK_EVERY = 0.05


class Sessions:
    """The sessions of a subscription, and what outlives them.

    Attributes:
        inbox: where messages wait.
        channels: the channels and their cursors.
        receiver: classifies live messages.
        outcomes: counts what catch-ups found.
        session: the present session, while there is one.
        whole: set while every channel of the present session's start has caught up.
        reconnects: how often it has connected again; -1 before it was first connected.
        on_refused: called with a channel that was added and that Redis refuses, and why.
    """

    def __init__(self, settings: Settings, what: SubscriptionSettings, alive: Callable[[], None]) -> None:
        self._settings, self._what, self._alive = settings, what, alive
        self.inbox = Inbox(what.queue_size)
        self.channels = Channels(settings.instance, what, self.inbox)
        self.receiver = Receiver(
            what.channels,
            self.inbox,
            history=what.history,
            cursor_of=self.channels.cursor_of,
            patterns=len(what.patterns),
        )
        self.outcomes = Outcomes()
        self._waiters = Waiters()
        pages = Pages(settings.largest_message, settings.timings)
        probe = keys.probe(secrets.token_hex(8))
        self._parts = Parts(
            settings, what, self.inbox, self.channels, self.receiver, pages, self.outcomes, self._waiters, probe
        )
        self._log = get_logger()
        self.session: Session | None = None
        self.whole = asyncio.Event()
        self.reconnects = -1
        self.on_refused: Callable[[str, FanoutError], None] = lambda *_: None

    @property
    def redis(self) -> Commands | None:
        """The connection for commands, while there is one."""
        return self.session.commands if self.session else None

    async def run(self) -> None:
        """Connect, and connect again whenever a connection is lost; never return.

        Raises:
            FanoutError: Redis refuses.
        """
        why = FanoutError("the subscription has ended")
        try:
            while True:
                await self._run_once()
        except FanoutError as error:
            why = error
            raise
        finally:
            self._waiters.end(why)

    def add(self, channel: str, start_from: StartFrom) -> None:
        """Add a channel if it is not there yet; `live` waits for it."""
        channels = self.channels
        if not channels.named(channel):
            channels.added[channel] = start_from
            if self.session:
                self.session.joining.add([channel])

    async def remove(self, channel: str) -> None:
        """Remove a channel. Nothing of it is kept, neither here nor in Redis."""
        channels = self.channels
        if not channels.named(channel):
            return
        channels.added.pop(channel, None)
        channels.fixed.discard(channel)
        self._leave(channel, FanoutError(f"{channel} was unsubscribed"))
        if channels.saves and not channels.covered(channel):
            channels.left.add(channel)
            if self.session:
                self.session.joining.delete_later(channel)
                await channels.delete_left(self.session.commands)

    async def live(self, channel: str) -> None:
        """Wait until a channel has caught up, so that whatever is published to it from now on arrives.

        Raises:
            FanoutError: it never will: Redis refuses it, or it was removed.
        """
        if not self.channels.named(channel):
            raise FanoutError(f"{channel} is not subscribed")
        if not (self.session and self.session.joining.live(channel)):
            await self._waiters.wait(channel)

    async def save_at_the_end(self, running: asyncio.Task[None], within: float) -> None:
        """Save the positions, trying for `within` seconds; log how many events will come again if that fails."""
        end, why, again = time.monotonic() + within, "Redis is away", self.channels.unsaved()
        while not running.done():
            if self.redis:
                try:
                    failed: Exception | None = await asyncio.wait_for(self.channels.save(self.redis), SAVE_WITHIN)
                except (TimeoutError, ConnectionLost, RedisError) as error:
                    failed = error
                if failed is None:
                    return
                why = cause(failed)
            left = end - time.monotonic()
            if left <= 0 or not again:
                break
            await asyncio.wait([running], timeout=min(left, LOOK_EVERY))
        if again:
            self._log.warning("position_not_saved", cause=why, again=again)

    async def _run_once(self) -> None:
        session = await with_backoff(self._open, self._settings, self._on_attempt, again=self.reconnects >= 0)
        self.reconnects += 1
        self._alive()
        shown = tuple(sorted(self.channels.fixed)[:SHOWN])
        self._log.info("subscribed", channels=shown, patterns=self._what.patterns)
        session.on_live = self.whole.set
        self.session = session
        try:
            await session.run(self._alive)
        except (ConnectionLost, RedisError) as error:
            if refusal(error):
                raise RefusedByRedis(f"Redis refuses: {error}") from None
            self._log.warning("connection_lost", cause=cause(error))
        finally:
            self.session = None
            self.whole.clear()

    async def _open(self, within: float) -> Session:
        return await Session.open(self._parts, within, self._refuse)

    def _on_attempt(self) -> None:
        if self.reconnects >= 0:
            self._alive()

    def _refuse(self, channel: str, error: Exception) -> None:
        """Remove a channel that was added and that Redis refuses."""
        refused = ChannelRefused(f"Redis refuses the channel {channel}: {error}")
        if self.channels.added.pop(channel, None):
            self._log.error("channel_refused", channel=channel, reason=str(error))
            self._leave(channel, refused)
            self.on_refused(channel, refused)

    def _leave(self, channel: str, why: FanoutError) -> None:
        if self.session:
            self.session.joining.remove(channel)
        else:
            leave(self.channels, self.receiver, channel)
        self._waiters.settle(channel, why)
