"""What the live connection brings, sorted: in order, a duplicate, or a sign that something is missing."""

import time
from collections.abc import Callable
from typing import Any

from fanout.inbox import Inbox
from fanout.message import PARSE_ERRORS, Message, parse, received
from fanout.position import ORIGIN, Progress, Record

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
        self._before: tuple[bytes, bytes | None, Progress, Message]
        self._before = b"", None, Progress("", Record(position=ORIGIN), 1), Message()
        self.unconfirmed = 0
        self.confirmed: Callable[[], None] = lambda: None
        self.duplicates = self.gaps = self.dropped = 0

    def take(self, replies: list[Any], size: int) -> None:
        """Sorts a chunk of replies, of `size` bytes.

        Most of them are in runs: events of one channel and producer, each of which follows the one before. What a run
        moves is kept at hand, and noted at its end; everything else is sorted one by one.

        Raises:
            RedisError: one of them is an error.
        """
        now = time.monotonic()
        fresh, space = self._fresh, self._space
        name_before, via_before, progress, first = self._before
        producer, highest, at = self._run_after(progress, first)
        channel, pattern = progress.channel, first.pattern
        last: Message | None = None
        for reply in replies:
            via = None
            try:
                if len(reply) == 3:
                    kind, name, wire = reply
                else:
                    kind, via, name, wire = reply
                message = parse(wire)
                if name == name_before and via == via_before and kind in MESSAGES:
                    message.channel, message.pattern = channel, pattern
                    if (
                        message.source == producer
                        and message.streamprev == at
                        and len(fresh) < space
                        and (seq := int(message.id)) > highest
                        and message.data_base64 is None
                    ):
                        fresh.append(message)
                        highest, at, last = seq, message.streamid, message
                        continue
            except PARSE_ERRORS:
                pass  # no event, or no message at all
            if last:
                self._end_run(progress, last, highest, now)
                last = None
            if found := self._take_one(reply, now):
                progress, first = found
                name_before, via_before, channel, pattern = name, via, progress.channel, first.pattern
                self._before = name, via, progress, first
            producer, highest, at = self._run_after(progress, first)
        if last:
            self._end_run(progress, last, highest, now)
        self.flush(size)

    def _run_after(self, progress: Progress, message: Message) -> tuple[str, int, str | None]:
        """What the next event of a run must have: the producer, a higher seq than this, and this streamprev."""
        young, chained = progress.duplicates.young, message.streamid is not None
        if message.source not in young or progress.catching_up or (chained and not self._history):
            return "", 0, None
        return message.source, young[message.source], progress.streamid if chained else None

    def _end_run(self, progress: Progress, last: Message, highest: int, now: float) -> None:
        progress.duplicates.young[last.source] = highest
        if last.streamid is not None:
            progress.heard = now
            progress.streamid, progress.streamseq = last.streamid, last.streamseq

    def _take_one(self, reply: Any, now: float) -> tuple[Progress, Message] | None:
        """Sorts one reply; returns None if it was no message, or not for us."""
        pattern = None
        match reply:
            case [b"message", name, wire]:
                pass
            case [b"pmessage", via, name, wire]:
                if name in self._channels or self._taken_by_another(name, via):
                    return None
                pattern = via.decode()
            case [b"subscribe" | b"psubscribe", *_]:
                self.unconfirmed -= 1
                if not self.unconfirmed:
                    self.confirmed()
                return None
            case Exception():
                raise reply
            case _:
                return None
        progress = self._known.get(name) or self._open(name)
        message = received(progress.channel, wire)
        message.pattern = pattern
        if message.streamid is None or not self._history:
            self._without_history(progress, message)
            return progress, message
        progress.heard = now
        if progress.catching_up:
            progress.hold_back(message, len(wire))
        else:
            self.follow(progress, message, len(wire))
        return progress, message

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
