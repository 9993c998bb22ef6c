"""The channels of a subscription: where each begins, how far it has come, and saving that."""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence

from redis.exceptions import NoPermissionError, ReadOnlyError, RedisError

from fanout import keys
from fanout._redis.commands import Commands
from fanout._redis.connection import pack
from fanout._redis.retry import cause, refusal
from fanout._subscribe.cursor import ORIGIN, Cursor, HeldBack, Position
from fanout._subscribe.history import History
from fanout._subscribe.inbox import Inbox, Place
from fanout._subscribe.patterns import matches
from fanout._subscribe.position_store import PositionStore, Unreadable
from fanout._subscribe.record import Record
from fanout._subscribe.start import start_all
from fanout.errors import ConnectionLost
from fanout.log import get_logger
from fanout.settings import EARLIEST, StartFrom, SubscriptionSettings

RENEW_EVERY = 60.0
SAY_EVERY = 60.0
SHOWN = 20


class Channels:
    """The channels of a subscription. Those that match a pattern are added as they are found.

    Attributes:
        fixed: the channels that the settings name.
        added: those that were added since, and where each starts.
        connected: whether the subscription is connected; until then, new channels have to catch up first.
        cursors: the cursor of every channel, by the channel's name.
        left: the channels that were left and whose records are still to be deleted.
    """

    def __init__(self, instance: str, what: SubscriptionSettings, inbox: Inbox) -> None:
        self._instance, self._what, self._inbox = instance, what, inbox
        self._log = get_logger()
        self._begun: set[str] = set()
        self._saved = PositionStore(instance)
        self._held_back = HeldBack()
        self.fixed = set(what.channels)
        self.added: dict[str, StartFrom] = {}
        self._patterns_saved = -RENEW_EVERY
        self._said_at = -SAY_EVERY
        self.connected = False
        self.cursors: dict[str, Cursor] = {}
        self.left: set[str] = set()

    async def prepare(self, redis: Commands) -> None:
        """Prepare the channels of the settings, and those that match a pattern; see `begin`.

        Raises:
            NameTaken: another process has begun under this name.
        """
        history = History(redis)
        channels = fixed = sorted(self.fixed)
        for pattern in self._what.patterns:
            if pattern not in self._begun:
                [begun] = await self._load(redis, [keys.pattern(pattern, self._instance)])
                if begun is None:
                    channels = channels + await history.channels(pattern)
        start_from = self._what.start_from
        await self.begin(redis, {channel: start_from for channel in channels if channel not in self.cursors})
        for channel in fixed:  # some may have left meanwhile
            if channel in self.cursors and self.of_pattern(self.cursors[channel]) and not self.covered(channel):
                self.forget(self.cursors[channel])
        self._begun.update(self._what.patterns)
        self._patterns_saved = -RENEW_EVERY
        await self.save(redis)

    async def begin(self, redis: Commands, new: Mapping[str, StartFrom]) -> None:
        """Make the cursors of channels: from the saved positions, or else where they are to start.

        Callers save the positions before anything is heard. A server that accepts no writes at present cannot keep
        them, but messages and history still arrive.
        """
        await self.delete_left(redis, new)
        records = await self._load(redis, [keys.position(channel, self._instance) for channel in new])
        cursors: dict[str, Cursor] = {}
        starts: list[tuple[Cursor, StartFrom]] = []
        for (channel, start_from), record in zip(new.items(), records, strict=True):
            cursor = cursors[channel] = self._cursor(
                channel, record if isinstance(record, Record) else Record(position=ORIGIN)
            )
            if isinstance(record, Unreadable):
                self._unreadable(channel, record)
                starts.append((cursor, EARLIEST))
            elif record is None:
                starts.append((cursor, start_from))
        await start_all(starts, History(redis))
        for channel, cursor in cursors.items():
            self.cursors.setdefault(channel, cursor)  # a pattern may have found it meanwhile
        first = [channel for channel, record in zip(new, records, strict=True) if record is None]
        if first and self._what.save:
            begin = str(new[first[0]])
            self._log.info("first_start", count=len(first), channels=first[:SHOWN], start_from=begin)

    async def find(self, redis: Commands) -> list[Cursor]:
        """Add the channels that match a pattern and are not known yet, from their beginning; return their cursors."""
        channels = [await History(redis).channels(pattern) for pattern in self._what.patterns]
        new = {channel for found in channels for channel in found if channel not in self.cursors}
        return [self.cursor_of(channel) for channel in sorted(new)]

    def cursor_of(self, channel: str) -> Cursor:
        """Return a channel's cursor. If the channel is unknown, it is at the origin until its record is read."""
        cursor = self.cursors.get(channel)
        if cursor is None:
            cursor = self._cursor(channel, Record(position=ORIGIN))
            cursor.record_read = not self.saves
            cursor.catching_up = not self.connected
            self.cursors[channel] = cursor
        return cursor

    async def resume(self, redis: Commands, cursor: Cursor) -> None:
        """Read the record of a channel if it has not been read yet."""
        if not cursor.record_read:
            [record] = await self._load(redis, [keys.position(cursor.channel, self._instance)])
            if cursor.record_read:  # another catch-up has read it meanwhile
                return
            if isinstance(record, Unreadable):
                self._unreadable(cursor.channel, record)
            elif record:
                cursor.resume(record)
                cursor.saved = cursor.position
            cursor.record_read = True

    @property
    def saves(self) -> bool:
        """Whether positions are kept in Redis."""
        return self._what.history and self._what.save

    def named(self, channel: str) -> bool:
        """Return whether the channel is subscribed to by its name."""
        return channel in self.fixed or channel in self.added

    def of_pattern(self, cursor: Cursor) -> bool:
        """Return whether the channel is known only because a pattern matches it."""
        return not self.named(cursor.channel)

    def covered(self, channel: str) -> bool:
        """Return whether a pattern matches the channel."""
        return any(matches(pattern, channel) for pattern in self._what.patterns)

    def forget(self, cursor: Cursor) -> None:
        """Forget a channel; its record in Redis stays."""
        cursor.left = True
        cursor.release()  # else its bytes would count for ever
        self.cursors.pop(cursor.channel, None)
        self._saved.forget(keys.position(cursor.channel, self._instance))

    async def save(self, redis: Commands, only: Iterable[str] | None = None) -> RedisError | None:
        """Save every position that has changed, as of the last handler that returned, and which patterns have begun.

        Args:
            redis: the connection.
            only: the channels whose positions are saved; by default all.

        Returns:
            The error, if the server accepts no writes at present; the next call tries again.

        Raises:
            ConnectionLost, RedisError: nothing can be saved on this connection.
            NameTaken: another process has begun under this name since.
        """
        if not self.saves:
            return None
        try:
            await self._save(redis, only)
        except RedisError as error:
            if refusal(error):
                raise
            if isinstance(error, ReadOnlyError) and redis.info.get("role") == "master":
                raise ConnectionLost("the server has become a replica of another") from None
            now = time.monotonic()
            if now - self._said_at >= SAY_EVERY:
                self._said_at = now
                self._log.warning("position_not_saved", cause=cause(error))
            return error
        self._said_at = -SAY_EVERY
        return None

    async def delete_left(self, redis: Commands, channels: Iterable[str] = ()) -> None:
        """Delete the records of channels that were left, and of these channels if they had been left before.

        Raises:
            ConnectionLost: some may be there still; the next call tries again.
        """
        due = [channel for channel in self.left if channel not in self.cursors or channel in channels]
        self.left.difference_update(due)
        commands = [pack(("DEL", keys.position(channel, self._instance))) for channel in due]
        for channel, reply in zip(
            due, await asyncio.gather(*redis.send(*commands), return_exceptions=True), strict=True
        ):
            if isinstance(reply, ConnectionLost):
                self.left.update(due)
                raise reply
            if isinstance(reply, RedisError) and not isinstance(reply, NoPermissionError):
                self.left.add(channel)

    async def _save(self, redis: Commands, only: Iterable[str] | None) -> None:
        if self.left:
            await self.delete_left(redis)
        cursors = self.cursors.values() if only is None else [self.cursors[channel] for channel in only]
        if records := self._records(cursors):
            saving = {keys.position(cursor.channel, self._instance): record for cursor, record, _ in records}
            await self._saved.save(redis, saving)
            for cursor, record, handled in records:  # only now: what failed is tried again
                cursor.saved = Position(*record.position)
                cursor.kept = handled
        now = time.monotonic()
        if self._what.patterns and now - self._patterns_saved >= RENEW_EVERY:
            begun = (keys.pattern(pattern, self._instance) for pattern in self._what.patterns)
            await self._saved.save(redis, {key: Record(position=ORIGIN) for key in begun})
            self._patterns_saved = now

    def unsaved(self) -> int:
        """Return how many events have been handled since their positions were last saved."""
        if not self.saves:
            return 0
        return sum(max(0, handled - cursor.kept) for cursor, _, handled in self._records(self.cursors.values()))

    def _records(self, cursors: Iterable[Cursor]) -> list[tuple[Cursor, Record, int]]:
        """Return the records worth saving as of the last handler that returned, each with the handled count."""
        changed = [cursor for cursor in cursors if self.worth_saving(cursor)]
        unhandled: dict[str, list[Place]] = {}
        for place in self._inbox.unhandled() if changed else ():
            unhandled.setdefault(place.channel, []).append(place)
        left = [(cursor, unhandled.get(cursor.channel, ())) for cursor in changed]
        return [(cursor, cursor.record(places), cursor.handled(places)) for cursor, places in left]

    def worth_saving(self, cursor: Cursor) -> bool:
        """Return whether the channel's position is to be saved, and differs from the saved one."""
        if cursor.position == cursor.saved or not cursor.record_read or cursor.refused:
            return False
        return cursor.position != ORIGIN or not self.of_pattern(cursor)

    async def _load(self, redis: Commands, names: Sequence[str]) -> list[Record | Unreadable | None]:
        return await self._saved.load(redis, names) if self._what.save and names else [None] * len(names)

    def _unreadable(self, channel: str, why: Unreadable) -> None:
        """Log an unreadable record. The channel begins at the earliest entry: repeating is better than skipping."""
        self._log.error("position_unreadable", channel=channel, cause=str(why), start_from="earliest")

    def _cursor(self, channel: str, record: Record) -> Cursor:
        return Cursor(channel, record, self._what.producers, self._held_back)
