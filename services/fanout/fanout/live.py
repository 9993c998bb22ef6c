"""What the live connection brings, sorted: in order, a duplicate, or a sign that something is missing."""

import time
from collections.abc import Callable
from typing import Any

from fanout.inbox import Inbox
from fanout.message import DecodeError, Message, decode, received
from fanout.position import Progress

RUN = 128
"""Replies that are sorted together where that is possible: a message then costs less than half of what it does else."""
REMEMBERED = 100_000
MESSAGES = (b"message", b"pmessage")


class Live:
    """Takes replies of the live connection and puts messages into the inbox.

    `progress_of` gives the progress of a channel, a new one for a channel that is not known yet. `missing` is told of a
    channel where something is missing, and of the event that shows it; from then on its messages are held back.
    `confirmed` is called when `unconfirmed` subscriptions have been confirmed.
    """

    def __init__(
        self,
        channels: tuple[str, ...],
        inbox: Inbox,
        *,
        history: bool,
        progress_of: Callable[[str], Progress],
        missing: Callable[[Progress, str, Message | None], None],
    ) -> None:
        self._inbox, self._history, self._progress_of, self._missing = inbox, history, progress_of, missing
        self._channels = {channel.encode() for channel in channels}
        self._known: dict[bytes, Progress] = {}
        self._via: dict[bytes, bytes] = {}
        self._fresh: list[Message] = []
        self._space = inbox.space
        self.unconfirmed = 0
        self.confirmed: Callable[[], None] = lambda: None
        self.duplicates = self.gaps = self.dropped = 0

    def take(self, replies: list[Any], size: int) -> None:
        """Sorts a chunk of replies, of `size` bytes.

        Raises:
            RedisError: one of them is an error.
        """
        now = time.monotonic()
        for start in range(0, len(replies), RUN):
            run = replies[start : start + RUN]
            if not self._take_run(run, now):
                for reply in run:
                    self._take_one(reply, now)
        self.flush(size)

    def _take_run(self, replies: list[Any], now: float) -> bool:
        """Takes replies that are live events of one channel, each of which follows the one before; most are.

        Returns False, and has taken none, if they are not.
        """
        try:
            kinds, *vias, names, wires = zip(*replies, strict=True)
        except (TypeError, ValueError):
            return False
        count, name, progress = len(wires), names[0], self._known.get(names[0])
        if progress is None or progress.catching_up or self._space < len(self._fresh) + count:
            return False
        if kinds[0] not in MESSAGES or kinds.count(kinds[0]) != count or names.count(name) != count:
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
            if None in streamids or before != [progress.streamid, *streamids[:-1]]:
                return False
            progress.heard = now
            progress.streamid, progress.streamseq = streamids[-1], messages[-1].streamseq
        new = progress.duplicates.new(messages, chained=chained)
        self.duplicates += count - len(new)
        channel = progress.channel
        for message in new:
            message.channel = channel
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
                pass
            case [b"pmessage", via, name, wire]:
                if name in self._channels or self._taken_by_another(name, via):
                    return
                pattern = via.decode()
            case [b"subscribe" | b"psubscribe", *_]:
                self.unconfirmed -= 1
                if not self.unconfirmed:
                    self.confirmed()
                return
            case Exception():
                raise reply
            case _:
                return
        progress = self._known.get(name) or self._open(name)
        message = received(progress.channel, wire)
        message.pattern = pattern
        if message.streamid is None or not self._history:
            self._without_history(progress, message)
            return
        progress.heard = now
        if progress.catching_up:
            progress.hold_back(message, len(wire))
        else:
            self.follow(progress, message, len(wire))

    def flush(self, size: int) -> None:
        """Hands what was sorted to the inbox: so many bytes, or fewer."""
        if self._fresh:
            self._inbox.extend(self._fresh, size)
            self._fresh = []
        self._space = self._inbox.space

    def follow(self, progress: Progress, message: Message, size: int) -> None:
        """An event of a live channel: it follows our position, was delivered before, or something is missing."""
        if message.streamprev == progress.streamid:
            if len(self._fresh) >= self._space and self._inbox.space <= len(self._fresh):
                self._missing(progress, "overflow", None)
                return
            progress.streamid, progress.streamseq = message.streamid, message.streamseq
            if progress.duplicates.first(message.source, message.id) is False:
                self.duplicates += 1
            else:
                self._fresh.append(message)
        elif progress.duplicates.seen(message.source, message.id):
            self.duplicates += 1
        elif progress.duplicates.ours(message.source, message.id):
            self.gaps += 1
            self._missing(progress, "gap", message)
            progress.hold_back(message, size)
        else:  # an event of somebody else that only looks like one of a history
            self._without_history(progress, message)

    def _without_history(self, progress: Progress, message: Message) -> None:
        if message.source and progress.duplicates.first(message.source, message.id) is False:
            self.duplicates += 1
        elif self._inbox.space <= len(self._fresh):
            self.dropped += 1
        else:
            self._fresh.append(message)

    def _open(self, name: bytes) -> Progress:
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known[name] = progress = self._progress_of(name.decode(errors="replace"))
        return progress

    def _taken_by_another(self, name: bytes, via: bytes) -> bool:
        """Whether a channel that several patterns match comes by another one of them."""
        if len(self._via) >= REMEMBERED:
            self._via.clear()
        return self._via.setdefault(name, via) != via
