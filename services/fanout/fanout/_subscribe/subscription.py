"""The subscription, as programs use it: it outlives its connections and catches up on what it missed."""

import asyncio
import dataclasses
import heapq
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import attrgetter
from types import TracebackType
from typing import Self

from fanout._redis.commands import Commands
from fanout._subscribe.catch_up import Outcome
from fanout._subscribe.cursor import Position
from fanout._subscribe.sessions import Sessions
from fanout.environment import Environment
from fanout.errors import FanoutError, SettingError
from fanout.keys import check_channel
from fanout.message import Message
from fanout.settings import (
    Settings,
    StartFrom,
    SubscriptionSettings,
    read_settings,
    read_start_from,
    read_subscription,
)
from fanout.statistics import SubscriptionStatistics


class Subscription:
    """Receives what arrives on channels, and on all channels that match patterns, for as long as the block runs.

        async with Subscription("redis://localhost:6379", "orders", name="billing") as messages:
            async for message in messages:
                ...

    Each event is delivered once in the life of this object, in its producer's order. Missing events are read from the
    history; those that are gone from there are counted and logged. A message counts as handled when the next one is
    asked for, or when the block ends without an error. With a name, the next process of that name continues after the
    last message that was handled.

    Attributes:
        what: what it subscribes to.
        instance: its name.
        inbox: where messages wait.
        grace: how many seconds the end of the block may take to save positions.

    Raises:
        RefusedByRedis: Redis refuses, and trying again would not help (a wrong password, a server that is too old).
            Raised by the iteration, `live` and the block.
        NameTaken: likewise, if another subscriber has begun under the same name.
    """

    def __init__(
        self,
        redis: str | Settings | None = None,
        channels: str | Iterable[str] | None = None,
        *,
        name: str | None = None,
        what: SubscriptionSettings | None = None,
        alive: Callable[[], None] = lambda: None,
        **options: object,
    ) -> None:
        """Make a subscription; entering its block connects it.

        Args:
            redis: the server's address, such as redis://localhost:6379/0, or settings that have been read.
            channels: the channels' names; others may come and go (`subscribe`, `unsubscribe`).
            name: the name under which Redis keeps the positions; without one, nothing is kept.
            what: what to subscribe to; it goes with settings that have been read.
            alive: called at least once a second while the subscription works.
            options: settings by their names in lower case, such as patterns="user.*" or start_from="10m".

        Raises:
            SettingError: a setting is invalid.
            TypeError: there is no such option.
        """
        if isinstance(redis, Settings) and what and not (channels or name or options):
            pass
        elif isinstance(redis, Settings) or what:
            raise TypeError("pass settings that have been read as redis and what together, without any other option")
        else:
            redis, what = _read_options({"redis_url": redis, "channels": channels} | options, name)
        self.what, self.instance, self.grace = what, redis.instance, redis.shutdown_grace
        self._sessions = Sessions(redis, what, alive)
        self.inbox = self._sessions.inbox
        self._in_hand = 0
        self._batch: Iterator[Message] = iter(())
        self._pid, self._entered = os.getpid(), False

    @classmethod
    def from_environment(cls, variables: Mapping[str, str] = os.environ, *, name: str | None = None) -> Self:
        """Make a subscription with the settings of environment variables; INSTANCE is its name.

        Raises:
            SettingError: a variable is invalid.
        """
        env = Environment(variables)
        name = name or env.text("INSTANCE") or None
        settings, what = read_settings(env, lambda: name) if name else read_settings(env), read_subscription(env)
        return cls(settings, what=dataclasses.replace(what, save=name is not None))

    async def __aenter__(self) -> Self:
        if self._pid != os.getpid():  # a fork would copy its random names
            raise RuntimeError("a subscription is used in the process that made it: make it after the fork")
        self._entered = True
        self.task = asyncio.create_task(self._sessions.run())
        self.task.add_done_callback(lambda _: self.inbox.close())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.inbox.handled += self._in_hand
        try:
            await self._sessions.save_at_the_end(self.task, 0.0 if kind else self.grace)
        finally:
            self.task.cancel()
            await asyncio.wait([self.task])
        if kind is None and not self.task.cancelled():
            self.task.result()

    def __aiter__(self) -> Self:
        return self  # if a loop is left, the next one continues with the message that it did not reach

    async def __anext__(self) -> Message:
        self.inbox.handled += self._in_hand
        self._in_hand = 0
        for message in self._batch:
            self._in_hand = 1
            return message
        task = self._running()
        if not (batch := await self.inbox.next_batch()):
            if task.done() and not task.cancelled():
                task.result()
            raise StopAsyncIteration
        self._batch = iter(batch)
        self._in_hand = 1
        return next(self._batch)

    async def live(self) -> None:
        """Wait until every channel has caught up, so that whatever is published from now on arrives.

        Raises:
            FanoutError: the subscription has ended.
        """
        task = self._still_running()
        whole = asyncio.create_task(self._sessions.whole.wait())
        try:
            await asyncio.wait([whole, task], return_when=asyncio.FIRST_COMPLETED)
        finally:
            whole.cancel()
        self._still_running()

    async def subscribe(self, channel: str, start_from: str | StartFrom | None = None) -> None:
        """Add a channel, and wait until it is live: what is published to it from then on arrives, as on the others.

        Args:
            channel: the channel's name. If it is subscribed already, only wait.
            start_from: `now`, `earliest`, or an age such as `10m`; by default as the others. It counts if no position
                was saved for the channel.

        Raises:
            SettingError: the name or `start_from` is invalid.
            ChannelRefused: Redis does not permit the channel.
            FanoutError: the channel was unsubscribed meanwhile, or the subscription has ended.
        """
        try:
            check_channel(channel)
        except ValueError as error:
            raise SettingError("channel", channel, str(error)) from None
        if isinstance(start_from, str):
            start_from = read_start_from(Environment.of_options({"start_from": start_from}))
        self._still_running()
        self._sessions.add(channel, start_from or self.what.start_from)
        await self.live_on(channel)

    async def unsubscribe(self, channel: str) -> None:
        """Leave a channel; its saved position is deleted. Messages that already wait are still delivered.

        Raises:
            ConnectionLost: Redis went away before the position was deleted. It is deleted when Redis is back.
        """
        self._running()
        await self._sessions.remove(channel)

    async def live_on(self, channel: str) -> None:
        """Wait until a channel that is subscribed has caught up after an outage; raises as `subscribe` does."""
        self._still_running()
        await self._sessions.live(channel)

    def _running(self) -> asyncio.Task[None]:
        if not self._entered:
            raise RuntimeError("a subscription works within its block: async with Subscription(...) as messages")
        return self.task

    def _still_running(self) -> asyncio.Task[None]:
        task = self._running()
        if task.done():
            if not task.cancelled():
                task.result()
            raise FanoutError("the subscription has ended")
        return task

    @property
    def state(self) -> str:
        """`connecting`, `catching_up` or `live`."""
        session = self._sessions.session
        return "connecting" if not session else "live" if session.live else "catching_up"

    @property
    def reconnects(self) -> int:
        """How often it has connected again; -1 before it was first connected."""
        return self._sessions.reconnects

    @property
    def redis(self) -> Commands | None:
        """The connection for commands, while there is one."""
        return self._sessions.redis

    def on_lost(self, told: Callable[[str, Outcome], None]) -> None:
        """Have `told` called with the channel and the outcome of each catch-up that found messages gone for good."""
        self._sessions.outcomes.on_lost = told

    def on_refused(self, told: Callable[[str, FanoutError], None]) -> None:
        """Have `told` called with each channel that was added and that Redis refuses, and the reason."""
        self._sessions.on_refused = told

    def statistics(self) -> SubscriptionStatistics:
        """Return what it is doing, and what it has done so far."""
        outcomes, receiver = self._sessions.outcomes, self._sessions.receiver
        return SubscriptionStatistics(
            state=self.state,
            waiting=self.inbox.waiting,
            fill=self.inbox.fill,
            recovered=outcomes.recovered,
            lost=outcomes.lost,
            duplicates=outcomes.duplicates + receiver.duplicates,
            gaps=receiver.gaps,
            dropped=receiver.dropped,
            reconnects=self.reconnects,
        )

    def positions(self, count: int) -> dict[str, int]:
        """Return the streamseq of the last event taken, by channel, for the `count` channels heard most recently."""
        cursors = self._sessions.channels.cursors.values()
        latest = heapq.nlargest(count, cursors, key=attrgetter("heard"))
        return {cursor.channel: cursor.position.streamseq for cursor in latest}

    def position(self, channel: str) -> Position | None:
        """Return the last entry of a channel's history that was put into the inbox; None if the channel is unknown."""
        cursor = self._sessions.channels.cursors.get(channel)
        return cursor.position if cursor else None


def _read_options(options: dict[str, object], name: str | None) -> tuple[Settings, SubscriptionSettings]:
    if name is not None and not name.strip():
        raise SettingError("name", name, "a text, or None if nothing is to be kept")
    env = Environment.of_options({"instance": name} | options)
    settings, what = read_settings(env), dataclasses.replace(read_subscription(env), save=name is not None)
    env.check_known()
    if not env.text("CHANNELS"):  # there is no default among options
        what = dataclasses.replace(what, channels=())
        if options["channels"] is not None and not what.patterns:
            raise TypeError("a subscription to no channels: leave the channels out if they are added later")
    return settings, what
