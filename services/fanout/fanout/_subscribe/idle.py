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
from fanout._subscribe.history import HEADS_AT_ONCE, History
from fanout._subscribe.recovery import Parts
from fanout._subscribe.workers import Workers

AT_ONCE = 4
AT_LEAST, SPREAD = 1000, 30
"""How many channels are looked after in a tick, or over how many ticks all of them are if they are more."""
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
        refuse: Callable[[str, Exception], None],
    ) -> None:
        """Make a watch.

        Args:
            parts: what outlives the connections.
            commands: the connection for commands.
            begin: starts the catch-up of a channel, for a reason.
            spawn: starts a task that ends with the connections.
            refuse: called with a channel that was added since and may not be read, and the error.
        """
        self._refuse = refuse
        self._channels, self._receiver, self._commands = parts.channels, parts.receiver, commands
        self._instance, self._timings = parts.settings.instance, parts.settings.timings
        self._history = History(commands)
        self._begin, self._due = begin, Workers(AT_ONCE, self._look, spawn)
        self._round: list[Cursor] = []
        self._replid: str | None = None
        self._replid_at = -self._timings.first_idle

    async def tick(self, *, patterns: bool) -> None:
        """Look at the histories of channels that have been silent, and forget channels that were silent for long."""
        now, there = time.monotonic(), self._channels.cursors
        if not self._round:
            self._round = list(there.values())
        begin = -max(AT_LEAST, len(there) // SPREAD)
        part = self._round[begin:]
        del self._round[begin:]
        if len(there) > len(self._channels.fixed) + len(self._channels.added):
            for cursor in [cursor for cursor in part if self._done_with(cursor, now)]:
                self._channels.forget(cursor)
                self._receiver.forget(cursor.channel)
        due = [cursor for cursor in part if cursor.silent(now, self._timings) and not cursor.left]
        for cursor in due:
            cursor.looked(now, self._timings)
        for at in range(0, len(due), HEADS_AT_ONCE):
            self._due.add(due[at : at + HEADS_AT_ONCE])
        if patterns and now - self._replid_at > self._timings.first_idle:
            self._replid_at = now
            await self._look_for_channels()

    def _done_with(self, cursor: Cursor, now: float) -> bool:
        if now - max(cursor.heard, cursor.opened) <= LET_GO_AFTER or not self._channels.of_pattern(cursor):
            return False
        known = cursor.record_read and not (cursor.catching_up or cursor.refused)
        return known and not self._channels.worth_saving(cursor)

    async def _look(self, cursors: list[Cursor]) -> None:
        """Compare the histories' ends with our positions: no gap shows if the last message of all is lost."""
        before = [cursor.position for cursor in cursors]
        try:
            ends = await self._ends([cursor.channel for cursor in cursors])
        except RedisError as error:
            if not refusal(error):
                return  # it runs a script, or is a replica without its primary: the next look may work
            if len(cursors) > 1:
                for cursor in cursors:
                    await self._look([cursor])
            elif cursors[0].channel in self._channels.added:
                self._refuse(cursors[0].channel, error)
            elif not cursors[0].left:
                raise
            return
        for cursor, at, end in zip(cursors, before, ends, strict=True):
            if end != at.streamid and not (cursor.catching_up or cursor.left) and cursor.position == at:
                self._begin(cursor, "idle")
        same = (cursor for cursor, at, end in zip(cursors, before, ends, strict=True) if end == at.streamid)
        await self._renew([cursor for cursor in same if cursor.saved and not cursor.left])

    async def _ends(self, channels: list[str]) -> list[str]:
        heads = await self._history.heads(channels)
        found = zip(channels, heads, strict=True)
        return [head.streamid if head else (await self._history.end(channel)).streamid for channel, head in found]

    async def _renew(self, cursors: list[Cursor]) -> None:
        names = [keys.position(cursor.channel, self._instance) for cursor in cursors]
        with contextlib.suppress(RedisError):  # the server accepts no writes at present
            renewed = await self._commands.ask([("EXPIRE", name, keys.CHANNEL_TTL) for name in names])
            for cursor, there in zip(cursors, renewed, strict=True):
                if not there:
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
