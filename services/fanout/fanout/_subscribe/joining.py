"""Adds channels to a session and removes them, many at once, and finds out which of them have to catch up."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from redis.exceptions import NoPermissionError

from fanout._event.head import Head
from fanout._redis.commands import Commands
from fanout._subscribe.channels import Channels
from fanout._subscribe.cursor import ORIGIN, Cursor
from fanout._subscribe.history import HEADS_AT_ONCE, History
from fanout._subscribe.live_connection import LiveConnection
from fanout._subscribe.receiver import Receiver
from fanout._subscribe.recovery import Parts

AT_ONCE = 1000
"""How many channels are added together: more would keep live messages waiting."""


class Joining:
    """The channels that are added to one session: those that there were before it, and those that come while it runs.

    Most channels are idle. One that has nothing new costs a share of a few commands: its history ends where it did.
    """

    def __init__(
        self,
        parts: Parts,
        commands: Commands,
        connection: LiveConnection,
        subscribed: Iterable[str],
        *,
        begin: Callable[[Cursor], None],
        settle: Callable[[Cursor], None],
        refuse: Callable[[str, Exception], None],
    ) -> None:
        """Make it for a session.

        Args:
            parts: what outlives the session.
            commands: the connection for commands.
            connection: the connection on which live messages arrive.
            subscribed: the channels that the connection is subscribed to already.
            begin: starts the catch-up of a channel.
            settle: lets a channel that has nothing to catch up with continue.
            refuse: called with a channel that Redis refuses, and the error.
        """
        self._parts, self._commands, self._connection = parts, commands, connection
        self._channels, self._receiver, self._waiters = parts.channels, parts.receiver, parts.waiters
        self._history = History(commands)
        self._begin, self._settle, self._refuse = begin, settle, refuse
        self._waiting: deque[str] = deque()
        self._wake = asyncio.Event()
        self._batch: set[str] = set()
        self._removed: set[str] = set()
        self._subscribed = set(subscribed)

    def tidy(self) -> None:
        """Remove the channels that were left while the session was opened."""
        for channel in self._subscribed - self._channels.fixed:
            self.remove(channel)

    def live(self, channel: str) -> bool:
        """Return whether a channel is subscribed and has caught up."""
        if channel not in self._subscribed or channel in self._batch:
            return False
        cursor = self._channels.cursors.get(channel)
        return not self._parts.what.history or (cursor is not None and not cursor.catching_up)

    def in_hand(self, channel: str) -> bool:
        """Return whether a channel is being added."""
        return channel in self._batch

    def add(self, channels: Iterable[str]) -> None:
        """Add channels as soon as possible."""
        self._waiting.extend(channels)
        self._wake.set()

    def remove(self, channel: str) -> None:
        """Remove a channel, so that nothing of it is left."""
        if channel in self._batch:  # the batch has it in hand, and will remove it
            self._removed.add(channel)
            return
        leave(self._channels, self._receiver, channel)
        if channel in self._subscribed:
            self._subscribed.discard(channel)
            self._connection.unsubscribe([channel])

    def close(self) -> None:
        """Forget the channels that were removed while they were being added."""
        self._batch.clear()
        for channel in self._removed:
            self.remove(channel)

    async def run(self) -> None:
        """Add the channels that are waiting, for as long as the session runs; never return.

        Raises:
            ConnectionLost, RedisError: it could not be done on these connections.
        """
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self.work()

    async def work(self) -> None:
        """Add the channels that are waiting."""
        while self._waiting:
            taken = [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
            self._batch = {channel for channel in taken if channel in self._channels.added}
            await self._join([channel for channel in dict.fromkeys(taken) if channel in self._batch])
            removed, self._batch, self._removed = self._removed, set(), set()
            for channel in removed:
                self.remove(channel)

    async def compare(self, cursors: Sequence[Cursor]) -> None:
        """Let the channels continue whose history ends where they are, and have the others catch up."""
        for at in range(0, len(cursors), HEADS_AT_ONCE):
            part = cursors[at : at + HEADS_AT_ONCE]
            replid = await self._history.replid()
            changed = [cursor for cursor in part if cursor.replid != replid]
            for cursor in changed:  # what was heard meanwhile may belong to a history that is gone
                cursor.release()
            heads = await self._history.heads([cursor.channel for cursor in part])
            whole = {
                cursor.channel: head
                for cursor, head in zip(part, heads, strict=True)
                if head is not None and _ends_at(cursor, head)
            }
            doubtful = [one.channel for one in changed if one.channel in whole and one.position != ORIGIN]
            for channel, others in zip(doubtful, await self._history.has_others(doubtful), strict=True):
                if others:
                    del whole[channel]
            if await self._history.replid() != replid:
                whole = {}
            for cursor in part:
                if cursor.left or not self._joined(cursor.channel):
                    continue
                if (head := whole.get(cursor.channel)) is None or cursor.overflowed:
                    self._begin(cursor)
                else:
                    cursor.replid = replid
                    cursor.named(head.streamname or None)
                    self._settle(cursor)

    async def _join(self, names: Sequence[str]) -> None:
        """Add channels together; if Redis refuses one of them, find out which, so that only that one is refused."""
        try:
            await self._join_all(names)
        except NoPermissionError as error:
            if len(names) == 1:
                self._refuse(names[0], error)
            else:
                half = len(names) // 2
                await self._join(names[:half])
                await self._join(names[half:])

    async def _join_all(self, names: Sequence[str]) -> None:
        channels = self._channels
        names = [name for name in names if name in self._batch and name not in self._removed]  # some may have left
        if self._parts.what.history:
            new = {name: channels.added[name] for name in names if name not in channels.cursors}
            await channels.begin(self._commands, new)
            for name in new:
                channels.cursors[name].catching_up = True
            if new:
                try:
                    await channels.save(self._commands, new)
                except NoPermissionError:  # they begin again when it is known which of them it is
                    for name in new:
                        channels.forget(channels.cursors[name])
                    raise
        # Without history, what a pattern brings goes on until the channel itself is subscribed to.
        later = [] if self._parts.what.history else [name for name in names if channels.covered(name)]
        self._receiver.listen(name for name in names if name not in later)
        self._subscribed.update(names)
        await self._connection.subscribe(names)
        self._receiver.listen(later)
        if self._parts.what.history:
            await self.compare([cursor for name in names if (cursor := channels.cursors.get(name))])
            return
        for name in names:
            if self._joined(name):
                self.settled(name)

    def _joined(self, channel: str) -> bool:
        """Let go of a channel that was in hand; return whether it is still wanted."""
        if channel in self._removed:
            return False
        self._batch.discard(channel)
        return True

    def settled(self, channel: str) -> None:
        """Tell those who wait for a channel that it is live, unless it is still being added."""
        if channel not in self._batch:
            self._waiters.settle(channel)


def leave(channels: Channels, receiver: Receiver, channel: str) -> None:
    """Leave a channel. If a pattern matches it, it goes on from where it is."""
    covered = channels.covered(channel)
    receiver.leave(channel, covered=covered)
    if not covered and (cursor := channels.cursors.get(channel)) is not None:
        channels.forget(cursor)


def _ends_at(cursor: Cursor, head: Head) -> bool:
    if not cursor.record_read or cursor.refused or cursor.position.streamid != head.streamid:
        return False
    return cursor.streamname is None or cursor.streamname == (head.streamname or None)
