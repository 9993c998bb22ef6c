"""The subscription, as programs use it: it outlives its connections and catches up on what it missed."""

import asyncio
import contextlib
import dataclasses
import heapq
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Self

from redis.exceptions import RedisError

from fanout import keys
from fanout._redis.commands import Commands
from fanout._redis.retry import cause, refusal, with_backoff
from fanout._subscribe.catch_up import Outcome
from fanout._subscribe.channels import Channels
from fanout._subscribe.cursor import Position
from fanout._subscribe.inbox import Inbox
from fanout._subscribe.outcomes import Outcomes
from fanout._subscribe.pages import Pages
from fanout._subscribe.receiver import Receiver
from fanout._subscribe.recovery import Parts
from fanout._subscribe.session import Session
from fanout.environment import Environment
from fanout.errors import ConnectionLost, RefusedByRedis, SettingError
from fanout.log import get_logger
from fanout.message import Message
from fanout.settings import Settings, SubscriptionSettings, read_settings, read_subscription
from fanout.statistics import SubscriptionStatistics

SAVE_WITHIN = 1.0
LOOK_EVERY = 0.05


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
        whole: set while every channel has caught up.
        reconnects: how often it has connected again; -1 before it was first connected.

    Raises:
        RefusedByRedis: Redis refuses, and trying again would not help (a wrong password, a server that is too old).
            Raised by the iteration, `live` and the block.
        NameTaken: likewise, if another subscriber has begun under the same name.
    """

    def __init__(
        self,
        redis: str | Settings | None = None,
        channels: str | Iterable[str] = (),
        *,
        name: str | None = None,
        what: SubscriptionSettings | None = None,
        alive: Callable[[], None] = lambda: None,
        connecting: asyncio.Semaphore | None = None,
        **options: object,
    ) -> None:
        """Make a subscription; entering its block connects it.

        Args:
            redis: the server's address, such as redis://localhost:6379/0, or settings that have been read.
            channels: the channels' names.
            name: the name under which Redis keeps the positions; without one, nothing is kept.
            what: what to subscribe to; it goes with settings that have been read.
            alive: called at least once a second while the subscription works.
            connecting: limits how many of the subscriptions that share it connect at once.
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
        self.what, self._settings, self._alive = what, redis, alive
        self.instance = redis.instance
        self.inbox = Inbox(what.queue_size)
        self._channels = Channels(redis.instance, what, self.inbox)
        self._receiver = Receiver(
            what.channels,
            self.inbox,
            history=what.history,
            cursor_of=self._channels.cursor_of,
            patterns=len(what.patterns),
        )
        self._outcomes = Outcomes()
        pages = Pages(redis.largest_message, redis.timings)
        probe = keys.probe(secrets.token_hex(8))
        self._parts = Parts(redis, what, self.inbox, self._channels, self._receiver, pages, self._outcomes, probe)
        self._connecting = connecting or contextlib.nullcontext()
        self._session: Session | None = None
        self._in_hand = 0
        self._batch: Iterator[Message] = iter(())
        self._pid, self._entered = os.getpid(), False
        self._log = get_logger()
        self.grace = redis.shutdown_grace
        self.whole = asyncio.Event()
        self.reconnects = -1

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
        self.task = asyncio.create_task(self._run())
        self.task.add_done_callback(lambda _: self.inbox.close())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.inbox.handled += self._in_hand
        try:
            await self._save_at_the_end(0.0 if kind else self.grace)
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
        task, whole = self._running(), asyncio.create_task(self.whole.wait())
        try:
            await asyncio.wait([whole, task], return_when=asyncio.FIRST_COMPLETED)
        finally:
            whole.cancel()
        if task.done():
            task.result()

    def _running(self) -> asyncio.Task[None]:
        if not self._entered:
            raise RuntimeError("a subscription works within its block: async with Subscription(...) as messages")
        return self.task

    @property
    def state(self) -> str:
        """`connecting`, `catching_up` or `live`."""
        return "connecting" if not self._session else "live" if self._session.live else "catching_up"

    @property
    def redis(self) -> Commands | None:
        """The connection for commands, while there is one."""
        return self._session.commands if self._session else None

    @property
    def on_lost(self) -> Callable[[Outcome], None]:
        """Called with the outcome of a catch-up that found messages gone for good."""
        return self._outcomes.on_lost

    @on_lost.setter
    def on_lost(self, told: Callable[[Outcome], None]) -> None:
        self._outcomes.on_lost = told

    def statistics(self) -> SubscriptionStatistics:
        """Return what it is doing, and what it has done so far."""
        return SubscriptionStatistics(
            state=self.state,
            waiting=self.inbox.waiting,
            fill=self.inbox.fill,
            recovered=self._outcomes.recovered,
            lost=self._outcomes.lost,
            duplicates=self._outcomes.duplicates + self._receiver.duplicates,
            gaps=self._receiver.gaps,
            dropped=self._receiver.dropped,
            reconnects=self.reconnects,
        )

    def positions(self, count: int) -> dict[str, int]:
        """Return the streamseq of the last event taken, by channel, for the `count` channels heard most recently."""
        latest = heapq.nlargest(count, self._channels.cursors.values(), key=lambda cursor: cursor.heard)
        return {cursor.channel: cursor.position.streamseq for cursor in latest}

    def position(self, channel: str) -> Position | None:
        """Return the last entry of a channel's history that was put into the inbox; None if the channel is unknown."""
        cursor = self._channels.cursors.get(channel)
        return cursor.position if cursor else None

    async def _run(self) -> None:
        while True:
            session = await with_backoff(self._open, self._settings, self._turn, again=self.reconnects >= 0)
            self.reconnects += 1
            self._alive()
            self._log.info("subscribed", channels=self.what.channels, patterns=self.what.patterns)
            session.on_live = self.whole.set
            self._session = session
            try:
                await session.run(self._alive)
            except (ConnectionLost, RedisError) as error:
                if refusal(error):
                    raise RefusedByRedis(f"Redis refuses: {error}") from None
                self._log.warning("connection_lost", cause=cause(error))
            finally:
                self._session = None
                self.whole.clear()

    async def _open(self, within: float) -> Session:
        async with self._connecting:
            return await Session.open(self._parts, within)

    def _turn(self) -> None:
        if self.reconnects >= 0:
            self._alive()

    async def _save_at_the_end(self, within: float) -> None:
        """Save the positions, trying for `within` seconds; log how many events will come again if that fails."""
        end, why, again = time.monotonic() + within, "Redis is away", self._channels.unsaved()
        while not self.task.done():
            if self.redis:
                try:
                    failed: Exception | None = await asyncio.wait_for(self._channels.save(self.redis), SAVE_WITHIN)
                except (TimeoutError, ConnectionLost, RedisError) as error:
                    failed = error
                if failed is None:
                    return
                why = cause(failed)
            left = end - time.monotonic()
            if left <= 0 or not again:
                break
            await asyncio.wait([self.task], timeout=min(left, LOOK_EVERY))
        if again:
            self._log.warning("position_not_saved", cause=why, again=again)


def _read_options(options: dict[str, object], name: str | None) -> tuple[Settings, SubscriptionSettings]:
    if name is not None and not name.strip():
        raise SettingError("name", name, "a text, or None if nothing is to be kept")
    env = Environment.of_options({"instance": name} | options)
    settings, what = read_settings(env), dataclasses.replace(read_subscription(env), save=name is not None)
    env.check_known()
    if not (env.text("CHANNELS") or what.patterns):
        raise TypeError("a subscription needs channels or patterns")
    return settings, what
