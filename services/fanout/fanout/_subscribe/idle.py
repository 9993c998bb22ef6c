"""The idle watch: looks after the channels on which nothing is heard, and lets go of those silent for long."""

import contextlib
import time
from collections.abc import Callable, Coroutine
from typing import Any

from redis.exceptions import RedisError

from fanout import keys
from fanout._redis.commands import Commands
from fanout._redis.retry import refusal
from fanout._subscribe.cursor import Cursor
from fanout._subscribe.history import History
from fanout._subscribe.recovery import Parts
from fanout._subscribe.workers import Workers

AT_ONCE = 32
LET_GO_AFTER = 60.0
"""Seconds without an event after which a pattern's channel is forgotten; its record in Redis stays.

A channel whose history is gone has no record. What publishers send again on it comes within this time.
"""


class IdleWatch:
    """Watches the channels for as long as the connections last."""

    def __init__(
        self,
        parts: Parts,
        commands: Commands,
        begin: Callable[[Cursor, str], None],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        """Make a watch.

        Args:
            parts: what outlives the connections.
            commands: the connection for commands.
            begin: starts the catch-up of a channel, for a reason.
            spawn: starts a task that ends with the connections.
        """
        self._channels, self._receiver, self._commands = parts.channels, parts.receiver, commands
        self._instance, self._timings = parts.settings.instance, parts.settings.timings
        self._history = History(commands)
        self._begin, self._due = begin, Workers(AT_ONCE, self._look, spawn)
        self._replid: str | None = None
        self._replid_at = -self._timings.first_idle

    async def tick(self, *, patterns: bool) -> None:
        """Look at the history of every channel that has been silent, and forget channels that were silent for long."""
        now = time.monotonic()
        for cursor in list(self._channels.cursors.values()):
            if self._done_with(cursor, now):
                self._channels.forget(cursor)
                self._receiver.forget(cursor)
            elif cursor.silent(now, self._timings):
                cursor.looked(now, self._timings)
                self._due.add(cursor)
        if patterns and now - self._replid_at > self._timings.first_idle:
            self._replid_at = now
            await self._look_for_channels()

    def _done_with(self, cursor: Cursor, now: float) -> bool:
        if now - max(cursor.heard, cursor.opened) <= LET_GO_AFTER or not self._channels.of_pattern(cursor):
            return False
        known = cursor.record_read and not (cursor.catching_up or cursor.refused)
        return known and not self._channels.worth_saving(cursor)

    async def _look(self, cursor: Cursor) -> None:
        """Compare the history's end with our position: no gap shows if the last message of all is lost."""
        at = cursor.position
        try:
            end = await self._history.end(cursor.channel)
        except RedisError as error:
            if refusal(error):
                raise
            return  # it runs a script, or is a replica without its primary: the next look may work
        if end.streamid == at.streamid and cursor.saved:
            await self._renew(cursor)
        elif end.streamid != at.streamid and not cursor.catching_up and cursor.position == at:
            self._begin(cursor, "idle")

    async def _renew(self, cursor: Cursor) -> None:
        key = keys.position(cursor.channel, self._instance)
        with contextlib.suppress(RedisError):  # the server accepts no writes at present
            if not await self._commands.call("EXPIRE", key, keys.CHANNEL_TTL):
                cursor.saved = None  # somebody deleted the record

    async def _look_for_channels(self) -> None:
        """Find new channels after a failover: a replica may have copied them without getting their messages."""
        try:
            replid = await self._history.replid()
        except RedisError as error:
            if refusal(error):
                raise
            return
        if self._replid not in {None, replid}:
            for cursor in await self._channels.find(self._commands):
                self._begin(cursor, "found")
        self._replid = replid
