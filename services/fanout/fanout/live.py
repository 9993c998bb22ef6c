"""What the live connection brings, sorted: in order, a duplicate, or a sign that something is missing."""

import time
from collections.abc import Callable
from typing import Any

from fanout.inbox import Inbox
from fanout.message import DecodeError, Message, decode, received
from fanout.position import Progress

REMEMBERED = 100_000


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
        history, fresh, space = self._history, self._fresh, self._space
        before = None
        for reply in replies:
            words = len(reply) if type(reply) is list else 0
            if words == 3 and reply[0] == b"message":
                _, name, wire = reply
                pattern = None
            elif words == 4:
                _, via, name, wire = reply
                if name in self._channels or self._taken_by_another(name, via):
                    continue
                pattern = via.decode()
            else:
                self._take_other(reply)
                continue
            if name != before:
                before, progress = name, self._known.get(name) or self._open(name)
            try:
                message = decode(wire)
            except DecodeError:
                message = received(progress.channel, wire)
            message.channel = progress.channel
            if pattern:
                message.pattern = pattern
            # The usual case, and nothing else: a new event that follows, of a producer heard of lately.
            young, source, seq = progress.duplicates.young, message.source, message.id
            if source in young and seq.isdecimal() and (number := int(seq)) > young[source] and len(fresh) < space:
                if message.streamid is None or not history:
                    young[source] = number
                    fresh.append(message)
                    continue
                if message.streamprev == progress.streamid and not progress.catching_up:
                    progress.heard = now
                    progress.streamid, progress.streamseq = message.streamid, message.streamseq
                    young[source] = number
                    fresh.append(message)
                    continue
            self._sort(progress, message, len(wire), now)
        self.flush(size)

    def flush(self, size: int) -> None:
        """Hands what was sorted to the inbox: so many bytes, or fewer."""
        if self._fresh:
            self._inbox.extend(self._fresh, size)
            self._fresh = []
        self._space = self._inbox.space

    def _take_other(self, reply: Any) -> None:
        if isinstance(reply, Exception):
            raise reply
        if type(reply) is list and reply[0] in {b"subscribe", b"psubscribe"}:
            self.unconfirmed -= 1
            if not self.unconfirmed:
                self.confirmed()

    def _sort(self, progress: Progress, message: Message, size: int, now: float) -> None:
        if message.streamid is None or not self._history:
            self._without_history(progress, message)
            return
        progress.heard = now
        if progress.catching_up:
            progress.hold_back(message, size)
        else:
            self.follow(progress, message, size)

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
