"""A session of a subscription: its two connections, and the tasks that run for as long as these last."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Self

from redis.exceptions import NoPermissionError

from fanout._redis.commands import Commands
from fanout._redis.server_checks import check_eviction, check_format
from fanout._subscribe.cursor import Cursor
from fanout._subscribe.idle import IdleWatch
from fanout._subscribe.joining import Joining
from fanout._subscribe.live_connection import LiveConnection
from fanout._subscribe.recovery import Begun, Parts, Recovery
from fanout._subscribe.workers import Workers
from fanout.log import get_logger
from fanout.message import Message

AT_ONCE = 32
"""How many channels may catch up at the same time."""


class Session:
    """Two connections: one on which live messages arrive, and one to read history and save positions.

    They are separate so that live messages are always read at once.

    Attributes:
        commands: the connection for commands.
        joining: adds and removes channels.
        live: whether every channel has caught up that was there at the start.
        on_live: called when they have.
    """

    def __init__(
        self,
        parts: Parts,
        commands: Commands,
        connection: LiveConnection,
        subscribed: Iterable[str],
        refuse: Callable[[str, Exception], None],
    ) -> None:
        self._parts, self.commands, self._connection = parts, commands, connection
        self._channels, self._receiver = parts.channels, parts.receiver
        self._log = get_logger()
        self._refuse = refuse
        self._recovery = Recovery(parts, commands, connection, self._spawn, refuse)
        self._catching_up = Workers(AT_ONCE, self._catch_up, self._spawn)
        self.joining = Joining(
            parts,
            commands,
            connection,
            subscribed,
            begin=lambda cursor: self._begin(cursor, "subscribed", None),
            settle=self._settle,
            refuse=refuse,
        )
        self._behind = 0
        self.live = False
        self.on_live: Callable[[], None] = lambda: None

    @classmethod
    async def open(cls, parts: Parts, within: float, refuse: Callable[[str, Exception], None]) -> Self:
        """Open both connections, and prepare and subscribe to the channels and patterns of the settings.

        Args:
            parts: the parts that outlive a connection.
            within: how many seconds the server may take to accept a connection.
            refuse: called with a channel that was added since, if Redis refuses it, and the error.

        Raises:
            OSError, RedisError, TimeoutError, ConnectionLost: it did not work this time.
            FanoutError: it will not work if tried again.
        """
        commands = await Commands.open(parts.settings, within)
        connection = None
        try:
            if parts.what.history:
                check_eviction(commands.info)
                await check_format(commands, claim=False)
                parts.channels.connected = False
                await parts.channels.prepare(commands)
            connection = await LiveConnection.open(parts.settings, within)
            subscribed = await _subscribe(parts, connection)
            if parts.what.history:
                await parts.channels.find(commands)
        except BaseException:
            commands.close()
            if connection:
                connection.close()
            raise
        return cls(parts, commands, connection, subscribed, refuse)

    async def run(self, alive: Callable[[], None]) -> None:
        """Read, catch up and save until one of these fails.

        Args:
            alive: called every second.

        Raises:
            ConnectionLost, RedisError: what failed.
            NameTaken: another process has begun under this name.
        """
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._connection.on_lost = lambda: self._fail(self._connection.error)
        self._began = time.monotonic()
        try:
            self._connection.check()
            async with asyncio.TaskGroup() as self._tasks:
                self._receiver.missing = self._begin
                self._channels.connected = True
                self._spawn(self._join())
                self._spawn(self._keep(alive))
                await self._failed
        except BaseExceptionGroup as group:
            task = asyncio.current_task()
            if task and task.cancelling():  # we were cancelled while the tasks ended
                raise asyncio.CancelledError from None
            raise group.exceptions[0] from None
        finally:
            self.close()

    def close(self) -> None:
        """Close both connections."""
        self.joining.close()
        self._connection.close()
        self.commands.close()

    def _fail(self, error: BaseException | None) -> None:
        if error and not self._failed.done():
            self._failed.set_exception(error)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Start a task that ends with the session.

        Its error reaches `run` through a future. If the task raised it, the group would cancel `run`, and until Python
        3.13 that cannot be told from a cancellation by somebody else.
        """
        guarded = self._guarded(work)
        try:
            task = self._tasks.create_task(guarded)
            task.add_done_callback(lambda _: work.close())  # if it was cancelled before its first step
        except RuntimeError:  # the session is ending already
            guarded.close()
            work.close()

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:
            self._fail(error)

    async def _join(self) -> None:
        """Compare every channel with its history and add those that were added before, busiest first; then new ones."""
        self._behind += 1
        self.joining.tidy()
        added = self._channels.added
        busiest = sorted(self._channels.cursors.values(), key=lambda cursor: -cursor.heard)
        if self._parts.what.history:
            await self.joining.compare([cursor for cursor in busiest if cursor.channel not in added])
        else:
            for channel in self._channels.fixed:
                self.joining.settled(channel)
        first = [cursor.channel for cursor in busiest if cursor.channel in added]
        self.joining.add(first + [channel for channel in added if channel not in self._channels.cursors])
        await self.joining.work()
        self._behind -= 1
        self._live_if_whole()
        await self.joining.run()

    def _settle(self, cursor: Cursor) -> None:
        self._recovery.deliver(cursor)
        self.joining.settled(cursor.channel)

    def _begin(self, cursor: Cursor, why: str, trigger: Message | None) -> None:
        cursor.catching_up = True
        self._behind += 1
        self._catching_up.add(Begun(cursor, why, trigger))

    async def _catch_up(self, begun: Begun) -> None:
        await self._recovery.run(begun)
        if not begun.cursor.left:
            self.joining.settled(begun.cursor.channel)
        self._behind -= 1
        self._live_if_whole()

    def _live_if_whole(self) -> None:
        if not self._behind and not self.live:
            self.live = True
            took = round((time.monotonic() - self._began) * 1000, 1)
            self._log.info("live", channels=len(self._channels.cursors), took_ms=took)
            self.on_live()

    async def _keep(self, alive: Callable[[], None]) -> None:
        """Save positions and look after silent channels, every second."""
        receiver, what = self._receiver, self._parts.what
        dropped = receiver.dropped
        idle = IdleWatch(
            self._parts,
            self.commands,
            begin=lambda cursor, why: self._begin(cursor, why, None),
            spawn=self._spawn,
            refuse=self._refuse,
        )
        while True:
            await asyncio.sleep(self._parts.settings.timings.tick)
            alive()
            self.commands.check()
            if receiver.dropped != dropped and self._parts.inbox.space > 0:
                self._log.warning("messages_dropped", count=receiver.dropped - dropped)
                dropped = receiver.dropped
            await self._save()
            if what.history:
                await idle.tick(patterns=bool(what.patterns))

    async def _save(self) -> None:
        channels = self._channels
        try:
            await channels.save(self.commands)
        except NoPermissionError:
            for channel in [channel for channel in channels.added if channel in channels.cursors]:
                try:
                    await channels.save(self.commands, [channel] if channel in channels.cursors else ())
                except NoPermissionError as error:
                    self._refuse(channel, error)
            await channels.save(self.commands)


async def _subscribe(parts: Parts, connection: LiveConnection) -> list[str]:
    """Subscribe to the channels and patterns of the settings; return the channels."""
    channels, receiver = parts.channels, parts.receiver
    for cursor in channels.cursors.values():
        cursor.catching_up = parts.what.history
        cursor.release()  # what the last connection brought is in the history, or was rolled back
    connection.on_replies, receiver.answer = receiver.take, connection.answer
    fixed = list(channels.fixed)
    receiver.listen(fixed)
    asked = (
        connection.probe(parts.probe),
        connection.subscribe(fixed),
        connection.subscribe(parts.what.patterns, "PSUBSCRIBE"),
    )
    await asyncio.gather(*asked)
    return fixed
