"""Classifies live messages: next in order, a duplicate, a sign that something is missing, or somebody else's."""

import time
from collections.abc import Callable, Iterable
from typing import Any

from fanout import keys
from fanout._event.decode import DecodeError, decode, received
from fanout._subscribe.cursor import Cursor
from fanout._subscribe.inbox import Inbox
from fanout.keys import check_channel
from fanout.message import Message

RUN = 128
"""How many single events are classified together if possible: each then costs less than half as much."""
REMEMBERED = 100_000
MESSAGES = (b"message", b"pmessage")
RESERVED = keys.RESERVED.encode()


class Receiver:
    """Takes replies of the live connection and puts messages into the inbox.

    Attributes:
        missing: called with the cursor of a channel where something is missing, why, and the event that shows it. From
            then on the channel's messages are held back.
        answer: called with each reply that is no message.
        duplicates: how many events had been delivered before.
        gaps: how often something was missing.
        dropped: how many events without a place in our history were dropped because the inbox was full.
    """

    def __init__(
        self,
        channels: tuple[str, ...],
        inbox: Inbox,
        *,
        history: bool,
        cursor_of: Callable[[str], Cursor],
        patterns: int = 2,
    ) -> None:
        """Make a receiver.

        Args:
            channels: the names of the channels that are subscribed to by name.
            inbox: where messages are put.
            history: whether the channels have histories.
            cursor_of: returns the cursor of a channel; it makes one for a channel that is not known yet.
            patterns: how many patterns are subscribed to. If several match a channel, only one delivers it.
        """
        self._inbox, self._history, self._cursor_of = inbox, history, cursor_of
        self.missing: Callable[[Cursor, str, Message | None], None] = lambda *_: None
        self._channels = {channel.encode() for channel in channels}
        self._known: dict[bytes, Cursor] = {}
        self._via: dict[bytes, bytes] | None = {} if patterns > 1 else None
        self._fresh: list[Message] = []
        self._space = inbox.space
        self.answer: Callable[[Any], None] = lambda _: None
        self.duplicates = self.gaps = self.dropped = 0

    def take(self, replies: list[Any], size: int) -> None:
        """Classify a chunk of replies, which has `size` bytes."""
        now = time.monotonic()
        for start in range(0, len(replies), RUN):
            run = replies[start : start + RUN]
            if not self._take_run(run, now):
                for reply in run:
                    self._take_one(reply, now)
        self.flush(size)

    def listen(self, channels: Iterable[str]) -> None:
        """Take what arrives on these channels, which are about to be subscribed to by name."""
        self._channels.update(channel.encode() for channel in channels)

    def leave(self, channel: str, *, covered: bool = False) -> None:
        """Drop what arrives on a channel by its name, which is not subscribed to any more.

        If it is `covered`, what arrives by a pattern goes on.
        """
        self._channels.discard(channel.encode())
        if not covered:
            self.forget(channel)

    def forget(self, channel: str) -> None:
        """Forget the cursor of a channel."""
        name = channel.encode(errors="replace")
        self._known.pop(name, None)
        if self._via is not None:
            self._via.pop(name, None)

    def _take_run(self, replies: list[Any], now: float) -> bool:
        """Take the replies if they are single events of one channel, each following the one before, as most are.

        Returns:
            Whether they were taken; if not, none of them was.
        """
        try:
            kinds, *vias, names, wires = zip(*replies, strict=True)
        except (TypeError, ValueError):
            return False
        count, name, cursor = len(wires), names[0], self._known.get(names[0])
        if cursor is None or cursor.catching_up or self._space < len(self._fresh) + count:
            return False
        if kinds[0] not in MESSAGES or kinds.count(kinds[0]) != count or names.count(name) != count:
            return False
        if wires[0].startswith(b"["):  # an array of events is quick to take alone
            return False
        if vias:
            [via, *others] = vias[0]
            if others.count(via) != len(others) or name in self._channels or self._taken_by_another(name, via):
                return False
        try:
            messages = decode(wires)
        except DecodeError:
            return False
        streamids = [message.streamid for message in messages]
        chained = self._history and streamids.count(None) != count
        if chained:
            before = [message.streamprev for message in messages]
            if None in streamids or before != [cursor.streamid, *streamids[:-1]]:
                return False
            if [message.streamname for message in messages].count(cursor.streamname) != count:
                return False
            if int(messages[-1].streamseq or 0) - int(cursor.streamseq or 0) != count:
                return False
            cursor.heard = now
            cursor.streamid, cursor.streamseq = streamids[-1], messages[-1].streamseq
        channel = cursor.channel
        for message in messages:
            message.channel = channel
        new = (cursor.duplicates if chained else cursor.loose).new(messages)
        self.duplicates += count - len(new)
        if vias:
            pattern = via.decode()
            for message in new:
                message.pattern = pattern
        self._fresh += new
        return True

    def _take_one(self, reply: Any, now: float) -> None:
        pattern = None
        match reply:
            case [b"message", name, wire]:
                if name not in self._channels:  # sent before Redis had our UNSUBSCRIBE
                    return
            case [b"pmessage", via, name, wire]:
                if name.startswith(RESERVED) and not via.startswith(RESERVED):
                    return
                if name in self._channels or self._taken_by_another(name, via):
                    return
                pattern = via.decode()
            case _:
                self.answer(reply)
                return
        cursor = self._known.get(name)
        batch = received(cursor.channel if cursor else name.decode(errors="replace"), wire)
        if pattern:
            for message in batch:
                message.pattern = pattern
        last = batch[-1]
        chained = self._history and last.streamid is not None
        if cursor is None:
            if name not in self._channels and not (chained if self._history else last.source):
                self._without_place(None, batch)  # a channel without a history needs no state
                return
            try:
                check_channel(last.channel)
            except ValueError:  # no Fanout publisher can have published there
                self._without_place(None, batch)
                return
            cursor = self._open(name, last.channel)
        if not chained:
            self._without_place(cursor, batch)
            return
        cursor.heard = now
        if cursor.catching_up:
            cursor.hold_back(batch, len(wire))
        else:
            self.follow(cursor, batch, len(wire))

    def flush(self, size: int) -> None:
        """Put what was classified into the inbox, as `size` bytes."""
        if self._fresh:
            self._inbox.extend(self._fresh, size)
            self._fresh = []
        self._space = self._inbox.space

    def follow(self, cursor: Cursor, batch: list[Message], size: int, *, complete: bool = False) -> None:
        """Deliver a live batch that follows our position, or find out what else it is.

        Args:
            cursor: the channel's cursor.
            batch: the messages.
            size: their bytes.
            complete: whether the history was read after the batch came. If so, a batch that does not follow is in
                another history or in none.
        """
        last = batch[-1]
        if cursor.record_read and self._follows(cursor, batch):
            if len(self._fresh) >= self._space and self._inbox.space <= len(self._fresh):
                self.missing(cursor, "overflow", None)
                return
            cursor.streamid, cursor.streamseq = last.streamid, last.streamseq
            new = cursor.duplicates.new(batch)
            self.duplicates += len(batch) - len(new)
            self._fresh += new
        elif cursor.duplicates.seen(*last.origin):
            self.duplicates += len(batch)
        elif complete or cursor.refused or self._foreign(cursor, last):
            self._without_place(cursor, batch)
        else:
            known = cursor.record_read and cursor.streamname is not None
            self.gaps += known
            self.missing(cursor, "gap" if known else "new", last)
            cursor.hold_back(batch, size)

    @staticmethod
    def _follows(cursor: Cursor, batch: list[Message]) -> bool:
        """Return whether the batch is the next in the history, by ID and by count; catch_up explains both."""
        last = batch[-1]
        if last.streamprev != cursor.streamid or last.streamname != cursor.streamname:
            return False
        return int(last.streamseq or 0) == int(cursor.streamseq or 0) + len(batch)

    def _foreign(self, cursor: Cursor, message: Message) -> bool:
        """Return whether the message is known not to be in the history that we read."""
        if message.streamname is None:
            return not cursor.duplicates.ours(*message.origin)
        return message.streamname in cursor.foreign

    def _without_place(self, cursor: Cursor | None, batch: list[Message]) -> None:
        """Deliver events that are not in our history. The position stays; known duplicates are dropped."""
        new = cursor.loose.new(batch) if cursor and batch[-1].source else batch
        self.duplicates += len(batch) - len(new)
        if new and self._inbox.space <= len(self._fresh):
            self.dropped += len(new)
            return
        for message in new:
            message.streamid = message.streamseq = message.streamprev = message.streamname = None
        self._fresh += new

    def _open(self, name: bytes, channel: str) -> Cursor:
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known[name] = cursor = self._cursor_of(channel)
        return cursor

    def _taken_by_another(self, name: bytes, via: bytes) -> bool:
        """Return whether another pattern already delivers this channel."""
        if self._via is None:
            return False
        if len(self._via) >= REMEMBERED:
            self._via.clear()
        return self._via.setdefault(name, via) != via
