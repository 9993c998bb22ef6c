"""Where a subscriber is in a channel's history, and how it finds its way back there."""

import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from fanout._subscribe.dedup import Duplicates, seq_of
from fanout._subscribe.inbox import Place
from fanout._subscribe.record import Record
from fanout.message import Message
from fanout.settings import Timings

CHECKPOINTS = 60
HELD_BACK = 10_000
HELD_BYTES = 16 * 2**20
FOREIGN = 16
"""How many names of other histories are remembered, so that their events need not be looked for in ours."""


class Position(NamedTuple):
    """A place in a history: an entry's ID, and the count of events up to and including that entry."""

    streamid: str
    streamseq: int


ORIGIN = Position("0-0", 0)
"""The place before the first entry that a history ever had."""


class HeldBack:
    """How many bytes of live messages all channels of a subscription hold back while they catch up."""

    def __init__(self) -> None:
        self.bytes = 0


class Cursor:
    """One channel of one subscriber: the position up to which it has delivered, and how to find the way back there.

    A subscription to patterns has a cursor for every channel that exists, so what most cursors never need is created
    only when needed.

    Attributes:
        channel: the channel's name.
        streamid: the ID of the last entry that was delivered; with `streamseq` it is the position.
        streamseq: the count of events up to and including that entry.
        streamname: the name of the history, if known.
        foreign: names of other histories whose events arrive on the same channel.
        replid: which data set the server had when the channel last caught up.
        checkpoints: earlier positions, oldest first.
        duplicates: the duplicate check of events that are in the history.
        fell_back: whether it ever had to continue from another place than its position.
        catching_up: whether it is catching up; meanwhile live messages are held back.
        overflowed: whether there were too many messages to hold back.
        heard: when the last live event came (monotonic).
        asked: when the history was last looked at because of silence (monotonic).
        opened: when this cursor was created (monotonic).
        idle_wait: after how many seconds of silence the history is looked at again.
        saved: the position that Redis keeps; if None, the position is saved whether or not it has changed.
        kept: the count of the last event whose handling was saved.
        record_read: whether the channel's record in Redis has been read.
        refused: whether Redis refuses to let us read the history, so that there is only live traffic.
        left: whether the subscription has left the channel, so that nothing more of it is delivered.
    """

    __slots__ = (
        "_ahead",
        "_held_back",
        "_held_bytes",
        "_held_in_all",
        "_limit",
        "_loose",
        "_resumed",
        "asked",
        "catching_up",
        "channel",
        "checkpoints",
        "duplicates",
        "fell_back",
        "foreign",
        "heard",
        "idle_wait",
        "kept",
        "left",
        "opened",
        "overflowed",
        "record_read",
        "refused",
        "replid",
        "saved",
        "streamid",
        "streamname",
        "streamseq",
    )

    def __init__(self, channel: str, record: Record, limit: int, held_back: HeldBack | None = None) -> None:
        self.channel = channel
        self._limit = limit
        self.streamid: str | None
        self.streamseq: str | int | None
        self._held_in_all = held_back or HeldBack()
        self._held_back: list[tuple[list[Message], int]] | tuple[()] = ()
        self._held_bytes = 0
        self.streamname: str | None = None
        self.foreign: tuple[str, ...] = ()
        self._loose: Duplicates | None = None
        self.record_read = True
        self.refused = self.left = False
        self.saved: Position | None = None
        self.catching_up = False
        self.overflowed = False
        self.heard = self.asked = 0.0
        self.opened = time.monotonic()
        self.idle_wait = 0.0
        self.resume(record)

    def resume(self, record: Record) -> None:
        """Continue from what an earlier process has saved."""
        self.streamid, self.streamseq = record.position
        self.kept = record.position[1] + record.ahead
        self._resumed, self._ahead = Position(*record.position), record.ahead
        self.checkpoints = tuple(Position(*item) for item in record.checkpoints[-CHECKPOINTS:])
        self.duplicates = Duplicates(self.channel, self._limit)
        for source, seq in record.producers.items():
            self.duplicates.note(source, seq)
        self.replid = record.replid
        self.fell_back = record.fell_back

    @property
    def ahead(self) -> int:
        """How many events after the position an earlier process has handled, of an entry that it did not finish."""
        return self._ahead if self.position == self._resumed else 0

    def silent(self, now: float, timings: Timings) -> bool:
        """Return whether it was silent for so long that the history must be looked at."""
        if self.heard > self.asked:
            self.idle_wait = 0.0
        silent_for = now - max(self.heard, self.asked)
        return not (self.catching_up or self.refused) and silent_for > max(timings.first_idle, self.idle_wait)

    def looked(self, now: float, timings: Timings) -> None:
        """Note that the history was looked at. The wait until the next look doubles."""
        self.idle_wait = min(timings.longest_idle, 2 * max(timings.first_idle, self.idle_wait))
        self.asked = now

    def look_soon(self) -> None:
        """Make the next look come as soon as the first one."""
        self.idle_wait = 0.0

    @property
    def position(self) -> Position:
        """The last entry that was delivered, or that held only duplicates."""
        return Position(self.streamid or ORIGIN.streamid, int(self.streamseq or 0))

    @position.setter
    def position(self, position: Position) -> None:
        self.streamid, self.streamseq = position

    @property
    def loose(self) -> Duplicates:
        """The duplicate check of events that are in no history. Separate, since anybody can publish such events."""
        if self._loose is None:
            self._loose = Duplicates(self.channel, self._limit)
        return self._loose

    @property
    def held_back(self) -> int:
        """How many batches are held back."""
        return len(self._held_back)

    def hold_back(self, batch: list[Message], size: int) -> None:
        """Keep a batch of `size` bytes until the channel has caught up.

        If there are too many, they are read from the history instead.
        """
        if len(self._held_back) < HELD_BACK and self._held_in_all.bytes < HELD_BYTES:
            if not self._held_back:
                self._held_back = []
            self._held_back.append((batch, size))
            self._held_bytes += size
            self._held_in_all.bytes += size
        else:
            self.overflowed = True

    def release(self) -> Sequence[tuple[list[Message], int]]:
        """Return the batches that were held back, each with its size, and forget them."""
        held, self._held_back = self._held_back, ()
        self._held_in_all.bytes -= self._held_bytes
        self._held_bytes = 0
        return held

    def named(self, streamname: str | None) -> None:
        """Note the history's present name. If it has changed, the names of other histories are forgotten."""
        if streamname != self.streamname:
            self.streamname = streamname
            self.foreign = ()

    def add_foreign(self, streamname: str) -> None:
        """Note the name of another history."""
        self.foreign = (*self.foreign, streamname)[-FOREIGN:]

    def handled(self, unhandled: Iterable[Place]) -> int:
        """Return the count of the last event whose handler has returned; see `record`."""
        counts = (int(place.streamseq) - 1 for place in unhandled if place.streamprev and place.streamseq)
        return next(counts, self.position.streamseq)

    def record(self, unhandled: Iterable[Place]) -> Record:
        """Return the state as of the last handler that returned; its position becomes a checkpoint.

        Args:
            unhandled: the places of this channel's messages that are not handled yet.
        """
        done, ahead = self.position, self.ahead
        producers = self.duplicates.latest()
        first = True
        for place in unhandled:
            if not (place.streamprev and place.streamseq):
                continue
            if first:
                done, ahead = Position(place.streamprev, int(place.streamseq) - place.nth - 1), place.nth
                first = False
            seq = seq_of(place.id)
            if place.source in producers and seq is not None:
                producers[place.source] = min(producers[place.source], seq - 1)
        if not self.checkpoints or self.checkpoints[-1] != done:
            self.checkpoints = (*self.checkpoints[1 - CHECKPOINTS :], done)
        return Record(
            position=done,
            ahead=ahead,
            checkpoints=list(self.checkpoints),
            producers=producers,
            replid=self.replid,
            fell_back=self.fell_back,
        )
