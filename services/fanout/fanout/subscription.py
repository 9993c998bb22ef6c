"""A subscription that outlives its connections and makes whole what it missed: connecting, catching up, live.

The news comes by Pub/Sub, on a connection of its own that is always read. A second connection reads the history, and
saves the position. When either is lost, or they turn out to reach different servers, both are replaced.
"""

import asyncio
import contextlib
import heapq
import time
from collections.abc import Callable, Coroutine
from typing import Any, Self

from redis.exceptions import RedisError

from fanout.backoff import cause, refusal, with_backoff
from fanout.catch_up import CatchUp, Outcome
from fanout.channels import Channels
from fanout.commands import Commands
from fanout.connection import Connection, check_eviction, pack
from fanout.errors import ConnectionLost, RefusedByRedis
from fanout.health import Heartbeat
from fanout.history import History, entries
from fanout.inbox import Inbox
from fanout.live import Live
from fanout.logs import get_logger
from fanout.message import Message
from fanout.position import FIRST_IDLE, ORIGIN, Position, Progress
from fanout.settings import Settings, SubscriptionSettings

AT_ONCE = 32
LONGEST_IDLE = 60.0
PATIENCE = 1.0
TICK = 1.0
SAVE_WITHIN = 1.0


class Subscription:
    """What arrives on channels, and on all channels that match patterns, for as long as the block runs.

        async with Subscription(settings, what, heartbeat) as subscription:
            async for batch in subscription.inbox.batches():
                ...

    Each event is delivered once in the life of this object, in its producer's order. What does not follow what came
    before is read from history; what is gone from there is counted in `lost` and logged.

    `state` is `connecting`, `catching_up` or `live`; `redis` the connection for commands, while there is one.
    `whole` is set while it is live; `on_lost` is told of what is gone for good.

    Raises:
        FanoutError: from `task`, when Redis says no for good, or another subscriber has the same name.
    """

    def __init__(self, settings: Settings, what: SubscriptionSettings, heartbeat: Heartbeat) -> None:
        self._settings, self.what, self._heartbeat = settings, what, heartbeat
        self.instance = settings.instance
        self.inbox = Inbox(what.queue_size)
        self._channels = Channels(settings.instance, what, self.inbox)
        self.live = Live(
            what.channels,
            self.inbox,
            history=what.history,
            progress_of=self._channels.progress_of,
            missing=self._begin,
        )
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._behind = 0
        self._log = get_logger()
        self.state = "connecting"
        self.redis: Commands | None = None
        self.whole = asyncio.Event()
        self.on_lost: Callable[[Outcome], None] = lambda _: None
        self.recovered = self.lost = 0
        self.reconnects = -1

    async def __aenter__(self) -> Self:
        self.task = asyncio.create_task(self._run())
        return self

    def positions(self, count: int) -> dict[str, int]:
        """The streamseq of the last event taken, by channel, of the `count` channels heard of most recently."""
        latest = heapq.nlargest(count, self._channels.progress.values(), key=lambda progress: progress.heard)
        return {progress.channel: progress.position.streamseq for progress in latest}

    def position(self, channel: str) -> Position | None:
        """The last entry of a channel's history that has been put into the inbox; None while it is not known."""
        progress = self._channels.progress.get(channel)
        return progress.position if progress else None

    async def __aexit__(self, *_: object) -> None:
        if self.redis:
            with contextlib.suppress(TimeoutError, ConnectionLost, RedisError):
                await asyncio.wait_for(self._channels.save(self.redis), SAVE_WITHIN)
        self.task.cancel()
        await asyncio.wait([self.task])

    async def _run(self) -> None:
        while True:
            commands, connection = await with_backoff(
                self._connect, self._settings, self._heartbeat.beat, again=self.reconnects >= 0
            )
            self.redis = commands
            self.reconnects += 1
            self._heartbeat.start()
            self._log.info("subscribed", channels=self.what.channels, patterns=self.what.patterns)
            self._connected_at = time.monotonic()
            try:
                await self._until_lost(commands, connection)
            except (ConnectionLost, RedisError) as error:
                if refusal(error):
                    raise RefusedByRedis(f"Redis refuses: {error}") from None
                self._log.warning("connection_lost", cause=cause(error))
            finally:
                self.state = "connecting"
                self.redis = None
                self.whole.clear()
                self._behind = 0
                connection.close()
                commands.close()

    async def _until_lost(self, commands: Commands, connection: Connection) -> None:
        """Reads, catches up and saves until one of these fails, and raises that error."""
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tasks: set[asyncio.Task[None]] = set()
        try:
            self._spawn(self._read(connection))
            if self.what.history:
                self.state = "catching_up"
                self._channels.connected = True
                for progress in list(self._channels.progress.values()):
                    self._begin(progress, "subscribed", None)
            self._spawn(self._keep(commands))
            self._live_if_whole()
            await self._failed
        finally:
            for task in self._tasks:
                task.cancel()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error and not self._failed.done():
            self._failed.set_exception(error)

    async def _connect(self, within: float) -> tuple[Commands, Connection]:
        """Both connections, every channel known and its position saved, and every subscription confirmed."""
        commands = await Commands.open(self._settings, within)
        connection = None
        try:
            self._history = History(commands)
            if self.what.history:
                check_eviction(commands.info)
                self._channels.connected = False
                await self._channels.prepare(commands)
            connection = await Connection.open(self._settings, within)
            await self._subscribe(connection)
            if self.what.history:
                await self._channels.find(commands)
        except BaseException:
            commands.close()
            if connection:
                connection.close()
            raise
        return commands, connection

    async def _subscribe(self, connection: Connection) -> None:
        for (
            progress
        ) in self._channels.progress.values():  # what the last connection brought is in the history, or never was
            progress.catching_up = True
            progress.release()
        subscriptions = (("SUBSCRIBE", self.what.channels), ("PSUBSCRIBE", self.what.patterns))
        connection.write([pack((command, *names)) for command, names in subscriptions if names])
        self.live.unconfirmed = len(self.what.channels) + len(self.what.patterns)
        while self.live.unconfirmed:
            self.live.take(await connection.read())

    async def _read(self, connection: Connection) -> None:
        dropped = self.live.dropped
        while True:
            self._heartbeat.beat()
            self.live.take(await connection.read())
            if self.live.dropped != dropped and self.inbox.space > 0:
                self._log.warning("messages_dropped", count=self.live.dropped - dropped)
                dropped = self.live.dropped

    def _begin(self, progress: Progress, why: str, trigger: Message | None) -> None:
        progress.catching_up = True
        self._behind += 1
        self._spawn(self._catch_up(progress, why, trigger))

    async def _catch_up(self, progress: Progress, why: str, trigger: Message | None) -> None:
        async with self._slots:
            began = time.monotonic()
            while True:
                progress.let_go = False
                outcome = Outcome()
                try:
                    await CatchUp(progress, self._history, self.inbox, outcome).run()
                finally:  # also when the connection was lost on the way: what was found by then counts
                    self._report(progress, why, outcome, began)
                if not progress.let_go:
                    break
                progress.release()
        brought = not trigger or progress.duplicates.seen(trigger.source, trigger.id)
        if not (brought or outcome.lost or outcome.server_changed):
            raise ConnectionLost("the two connections reach different servers: history lacks what was published")
        if why == "idle" and outcome.recovered:
            self._spawn(self._expect(progress, began))
        progress.catching_up = False
        for message in progress.release():
            if progress.catching_up:
                progress.hold_back(message)
            else:
                self.live.follow(progress, message)
        self.live.flush()
        self._behind -= 1
        self._live_if_whole()

    def _live_if_whole(self) -> None:
        if not self._behind and self.state != "live":
            self.state = "live"
            self.whole.set()
            took = round((time.monotonic() - self._connected_at) * 1000, 1)
            self._log.info("live", channels=len(self._channels.progress), took_ms=took)

    def _report(self, progress: Progress, why: str, outcome: Outcome, began: float) -> None:
        self.recovered += outcome.recovered
        self.live.duplicates += outcome.duplicates
        self.lost += outcome.lost
        if outcome.lost:
            self._log.error(
                "messages_lost",
                channel=progress.channel,
                count=outcome.lost,
                exact=outcome.exact,
                first_streamseq=outcome.lost_from,
                last_streamseq=outcome.lost_from + outcome.lost - 1,
            )
            self.on_lost(outcome)
        if outcome.recovered or outcome.lost or outcome.duplicates:
            self._log.info(
                "caught_up",
                channel=progress.channel,
                cause=why,
                outcome=outcome.name,
                recovered=outcome.recovered,
                lost=outcome.lost,
                duplicates=outcome.duplicates,
                took_ms=round((time.monotonic() - began) * 1000, 1),
            )

    async def _keep(self, commands: Commands) -> None:
        """Once a second: saves where we are, and looks after channels on which nothing was heard."""
        while True:
            await asyncio.sleep(TICK)
            commands.check()
            try:
                await self._channels.save(commands)
            except RedisError as error:
                if refusal(error):
                    raise
                self._log.warning("position_not_saved", cause=cause(error))
            if not self.what.history:
                continue
            now = time.monotonic()
            for progress in list(self._channels.progress.values()):
                if progress.heard > progress.asked:
                    progress.idle_wait = FIRST_IDLE
                if not progress.catching_up and now - max(progress.heard, progress.asked) > progress.idle_wait:
                    progress.asked = now
                    progress.saved = None  # renews the record, or writes it again where somebody deleted it
                    progress.idle_wait = min(LONGEST_IDLE, progress.idle_wait * 2)
                    self._spawn(self._look(progress))

    async def _look(self, progress: Progress) -> None:
        """The idle tick: a message that was lost at the end of traffic leaves nothing that does not follow."""
        at = progress.position
        async with self._slots:
            page = entries(await self._history.page(progress.channel, at.streamid, 2))
        nothing_new = [entry.streamid for entry in page] == ([at.streamid] if at != ORIGIN else [])
        if not nothing_new and not progress.catching_up and progress.position == at:
            self._begin(progress, "idle", None)

    async def _expect(self, progress: Progress, since: float) -> None:
        """What the history brought on an idle channel must come by Pub/Sub too, if only a moment later."""
        await asyncio.sleep(PATIENCE)
        if progress.heard < since:
            raise ConnectionLost("the two connections reach different servers: what is in the history was not heard")
