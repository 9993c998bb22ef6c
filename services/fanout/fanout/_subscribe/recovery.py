"""Runs catch-ups: why each is begun, and what follows from its outcome."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, NamedTuple

from redis.exceptions import NoPermissionError, RedisError

from fanout._redis.commands import Commands
from fanout._redis.retry import cause, refusal
from fanout._subscribe.catch_up import CatchUp, Outcome
from fanout._subscribe.channels import Channels
from fanout._subscribe.cursor import ORIGIN, Cursor
from fanout._subscribe.history import History
from fanout._subscribe.inbox import Inbox
from fanout._subscribe.live_connection import LiveConnection
from fanout._subscribe.outcomes import Outcomes
from fanout._subscribe.pages import Pages
from fanout._subscribe.receiver import Receiver
from fanout._subscribe.waiters import Waiters
from fanout.errors import ConnectionLost
from fanout.log import get_logger
from fanout.message import Message
from fanout.settings import Settings, SubscriptionSettings


@dataclass(frozen=True)
class Parts:
    """The parts of a subscription that outlive a connection.

    Attributes:
        settings: how to reach Redis.
        what: what to subscribe to.
        inbox: where messages wait for the handler.
        channels: the channels and their cursors.
        receiver: classifies live messages.
        pages: bounds how much history is read at once.
        outcomes: counts what catch-ups found.
        waiters: the callers that wait until a channel is live.
        probe: a channel that only this subscription uses, to find out whether two connections reach the same server.
    """

    settings: Settings
    what: SubscriptionSettings
    inbox: Inbox
    channels: Channels
    receiver: Receiver
    pages: Pages
    outcomes: Outcomes
    waiters: Waiters
    probe: str


class Begun(NamedTuple):
    """A catch-up that is to run.

    Attributes:
        cursor: the channel's cursor.
        why: the reason: subscribed, new, gap, overflow, idle or found.
        trigger: the live message that did not follow, if that is the reason.
    """

    cursor: Cursor
    why: str
    trigger: Message | None


class Recovery:
    """Catches up with channels.

    `spawn` starts a task that ends with the connections. `refuse` is called with a channel that was added since and may
    not be read, and Redis's error.
    """

    def __init__(
        self,
        parts: Parts,
        commands: Commands,
        connection: LiveConnection,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        refuse: Callable[[str, Exception], None],
    ) -> None:
        self._parts, self._commands, self._connection, self._spawn = parts, commands, connection, spawn
        self._refuse = refuse
        self._channels, self._receiver = parts.channels, parts.receiver
        self._timings = parts.settings.timings
        self._history = History(commands)
        self._log = get_logger()

    async def run(self, begun: Begun) -> None:
        """Catch up with a channel, and deliver what was held back meanwhile.

        Raises:
            ConnectionLost, RedisError: it could not be done on these connections.
        """
        cursor, why, trigger = begun
        if cursor.left:
            return
        began = time.monotonic()
        await self._channels.resume(self._commands, cursor)
        follows = False
        if why == "new" and trigger:
            with contextlib.suppress(NoPermissionError):  # reading will say so, too
                follows = await self._follows(cursor, trigger)
        if follows:
            outcome, trigger = Outcome(), None
        else:
            outcome = await self._read(cursor, why, began)
        complete = 0
        brought = not trigger or cursor.duplicates.seen(*trigger.origin)
        if trigger and not (brought or outcome.lost or outcome.server_changed):
            if not await self._one_server():
                raise ConnectionLost("the two connections reach different servers: history lacks what was published")
            complete = outcome.complete
            if trigger.streamname and trigger.streamname != cursor.streamname:
                cursor.add_foreign(trigger.streamname)
        if cursor.left:
            return
        if why == "idle" and outcome.recovered:
            cursor.look_soon()
            self._spawn(self._expect(cursor, began))
        self.deliver(cursor, complete)

    def deliver(self, cursor: Cursor, complete: int = 0) -> None:
        """Continue with what was held back; the first `complete` batches came before the history was read."""
        cursor.catching_up = False
        held = cursor.release()
        for place, (batch, size) in enumerate(held):
            if cursor.catching_up:
                cursor.hold_back(batch, size)
            else:
                self._receiver.follow(cursor, batch, size, complete=place < complete)
        self._receiver.flush(sum(size for _, size in held))
        if cursor.position == ORIGIN and not cursor.catching_up and self._channels.of_pattern(cursor):
            if cursor.duplicates.empty:  # it has no history
                self._channels.forget(cursor)
                self._receiver.forget(cursor.channel)
            else:  # its history is gone, but a publisher may send again what was in it
                cursor.opened = time.monotonic()

    async def _follows(self, cursor: Cursor, message: Message) -> bool:
        """Return whether the first event heard on a channel follows our position, so that nothing is missing."""
        identity = await self._history.identity(cursor.channel)
        cursor.named(identity.streamname)
        known = message.streamname == identity.streamname and cursor.replid in {"", identity.replid}
        return known and message.streamprev == cursor.streamid

    async def _read(self, cursor: Cursor, why: str, began: float) -> Outcome:
        """Read a history to its end, and again if more arrived meanwhile than could be held back."""
        while True:
            cursor.overflowed = False
            outcome = Outcome()
            try:
                await CatchUp(cursor, self._history, self._parts.inbox, self._parts.pages, outcome).run()
            except NoPermissionError as error:
                if cursor.channel in self._channels.added:
                    self._refuse(cursor.channel, error)
                    return outcome
                if not self._channels.of_pattern(cursor):
                    raise
                cursor.refused = True
                self._log.error("channel_refused", channel=cursor.channel, reason=str(error))
            except RedisError as error:
                if refusal(error):
                    raise
                cursor.overflowed = True
                self._log.warning("history_not_read", channel=cursor.channel, cause=cause(error))
                await asyncio.sleep(self._timings.patience)
            finally:  # even if the connection was lost: what was found until then counts
                self._parts.outcomes.report(cursor.channel, why, outcome, time.monotonic() - began)
            if not cursor.overflowed or cursor.refused:
                return outcome
            cursor.release()

    async def _expect(self, cursor: Cursor, since: float) -> None:
        """Check that what was found in the history of an idle channel also arrives by Pub/Sub within a moment."""
        await asyncio.sleep(self._timings.patience)
        if cursor.heard < since and not await self._one_server():
            raise ConnectionLost("the two connections reach different servers: what is in the history was not heard")

    async def _one_server(self) -> bool:
        """Return whether both connections reach the same server."""
        if self._connection.probed:
            with contextlib.suppress(NoPermissionError):
                return bool((await self._commands.call("PUBSUB", "NUMSUB", self._parts.probe))[1])
        return self._commands.info.get("run_id") == self._connection.info.get("run_id")
