"""What the live connection brings, sorted: in order, a duplicate, or a sign that something is missing."""

import time
from collections.abc import Callable
from typing import Any

from fanout.inbox import Inbox
from fanout.message import Message, received
from fanout.position import Progress

REMEMBERED = 100_000


class Live:
    """Takes replies of the live connection and puts messages into the inbox.

    `progress_of` gives the progress of a channel, a new one for a channel that is not known yet. `missing` is told of a
    channel where something is missing, and of the event that shows it; from then on its messages are held back.
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
        self.duplicates = self.gaps = self.dropped = 0

    def take(self, replies: list[Any]) -> None:
        """Sorts a chunk of replies.

        Raises:
            RedisError: one of them is an error.
        """
        now = time.monotonic()
        known, history, fresh = self._known, self._history, self._fresh
        for reply in replies:
            if type(reply) is not list:
                if isinstance(reply, Exception):
                    raise reply
                continue
            kind, pattern = reply[0], None
            if kind == b"message":
                _, name, wire = reply
            elif kind == b"pmessage":
                _, via, name, wire = reply
                if name in self._channels or self._taken_by_another(name, via):
                    continue
                pattern = via.decode()
            else:
                self.unconfirmed -= kind in {b"subscribe", b"psubscribe"}
                continue
            progress = known.get(name) or self._open(name)
            message = received(progress.channel, wire, pattern)
            if message.streamid is None or not history:
                self._without_history(progress, message)
                continue
            progress.heard = now
            if progress.catching_up:
                progress.hold_back(message)
            elif message.streamprev == progress.streamid and len(fresh) < self._space and progress.next(message):
                fresh.append(message)
            else:
                self.follow(progress, message)
        self.flush()

    def flush(self) -> None:
        """Hands what was sorted to the inbox."""
        self._inbox.extend(self._fresh)
        self._fresh.clear()
        self._space = self._inbox.space

    def follow(self, progress: Progress, message: Message) -> None:
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
            progress.hold_back(message)
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
