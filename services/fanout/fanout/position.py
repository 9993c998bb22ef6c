"""Where a subscriber is in a channel's history, what it has delivered, and the record of both that Redis keeps."""

import re
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import quote

import msgspec

from fanout.message import Message

CHECKPOINTS = 60
FIRST_IDLE = 3.0
HELD_BACK = 10_000
HELD_BYTES = 16 * 2**20
SAVED_PRODUCERS = 10_000


class Position(NamedTuple):
    """An entry of a history: its ID, and how many the history had had with it."""

    streamid: str
    streamseq: int


ORIGIN = Position("0-0", 0)
"""Before the first entry that a history ever had."""


class Record(msgspec.Struct, kw_only=True):
    """What is saved: enough for another process to go on as this one would."""

    position: tuple[str, int]
    checkpoints: list[tuple[str, int]] = []
    producers: dict[str, int] = {}
    replid: str = ""
    fell_back: bool = False


class Duplicates:
    """The highest seq delivered from each producer of a channel. Forgets by count, whoever was heard of least recently.

    Two generations: what is heard of moves to the young one; when that is full, the old one goes.
    """

    def __init__(self, channel: str, limit: int) -> None:
        self._ours = re.compile(re.escape(f"/{quote(channel, safe='')}/") + "[0-9a-f]{16}").fullmatch
        self._limit = limit
        self.young: dict[str, int] = {}
        self._old: dict[str, int] = {}

    def first(self, source: str, seq: str) -> bool | None:
        """Whether this event is new, which is noted; None if no Fanout producer made it, so that nobody can tell."""
        highest = self.young.get(source)
        if highest is None:
            highest = self._old.get(source)
            if highest is None:
                if not self._ours(source):
                    return None
                highest = 0
        try:
            number = int(seq)
        except ValueError:
            return None
        if number <= highest:
            return False
        self.note(source, number)
        return True

    def new(self, messages: list[Message], *, chained: bool) -> list[Message]:
        """Those of them that are new, which is noted, or of which nobody can tell.

        `chained`: they follow one another in a history, where a producer's events stand once and in their order.
        """
        source = messages[0].source
        highest = self.young.get(source)
        if highest is not None and [message.source for message in messages].count(source) == len(messages):
            seqs = [messages[0].id, messages[-1].id] if chained else [message.id for message in messages]
            try:
                numbers = list(map(int, seqs))
            except ValueError:
                numbers = [0]
            if numbers[0] > highest and (chained or numbers == list(range(numbers[0], numbers[-1] + 1))):
                self.young[source] = numbers[-1]
                return messages
        return [message for message in messages if self.first(message.source, message.id) is not False]

    def seen(self, source: str, seq: str) -> bool:
        """Whether this event, or a later one of its producer, was noted."""
        highest = self.young.get(source) or self._old.get(source)
        return highest is not None and seq.isdecimal() and int(seq) <= highest

    def ours(self, source: str, seq: str) -> bool:
        """Whether a Fanout producer made this event for this channel."""
        return bool(self._ours(source)) and seq.isdecimal()

    def note(self, source: str, seq: int) -> None:
        """The highest seq of a producer."""
        if len(self.young) >= self._limit and source not in self.young:
            self._old, self.young = self.young, {}
        self.young[source] = seq

    def latest(self) -> dict[str, int]:
        """The producers heard of most recently, for the record."""
        both = self._old | self.young
        return dict(list(both.items())[-SAVED_PRODUCERS:])


class Progress:
    """One channel of one subscriber: the position up to which it has delivered, and how to find back to it.

    While it is catching up, live messages are held back; `let_go` says that there were too many. `heard` is when the
    last live event came (monotonic), `idle_wait` after how many seconds of silence the history is asked again. `saved`
    is the position that Redis keeps; None: save it, changed or not.
    """

    def __init__(self, channel: str, record: Record, limit: int) -> None:
        self.channel = channel
        self.streamid: str | None
        self.streamseq: str | int | None
        self.streamid, self.streamseq = record.position
        self.checkpoints = deque((Position(*item) for item in record.checkpoints), CHECKPOINTS)
        self.duplicates = Duplicates(channel, limit)
        for source, seq in record.producers.items():
            self.duplicates.note(source, seq)
        self.replid = record.replid
        self.fell_back = record.fell_back
        self.saved: Position | None = None
        self.catching_up = False
        self._held_back: list[tuple[Message, int]] = []
        self._held_bytes = 0
        self.let_go = False
        self.heard = self.asked = 0.0
        self.idle_wait = FIRST_IDLE

    @property
    def position(self) -> Position:
        """The last entry that was delivered, or is a duplicate of one that was."""
        return Position(self.streamid or ORIGIN.streamid, int(self.streamseq or 0))

    @position.setter
    def position(self, position: Position) -> None:
        self.streamid, self.streamseq = position

    def hold_back(self, message: Message, size: int) -> None:
        """Keeps an event of that many bytes until the channel has caught up.

        When there are too many, the history brings them instead.
        """
        if len(self._held_back) < HELD_BACK and self._held_bytes < HELD_BYTES:
            self._held_back.append((message, size))
            self._held_bytes += size
        else:
            self.let_go = True

    def release(self) -> list[tuple[Message, int]]:
        """What was held back, which is forgotten here."""
        held, self._held_back, self._held_bytes = self._held_back, [], 0
        return held

    def record(self, unhandled: Iterable[Message]) -> Record:
        """The state as of the last handler that returned; that position becomes a checkpoint.

        `unhandled` are this channel's messages that are still to come.
        """
        done = self.position
        producers = self.duplicates.latest()
        first = True
        for message in unhandled:
            if first and message.streamprev and message.streamseq:
                done = Position(message.streamprev, int(message.streamseq) - 1)
                first = False
            if message.source in producers:
                producers[message.source] = min(producers[message.source], int(message.id) - 1)
        if not self.checkpoints or self.checkpoints[-1] != done:
            self.checkpoints.append(done)
        return Record(
            position=done,
            checkpoints=list(self.checkpoints),
            producers=producers,
            replid=self.replid,
            fell_back=self.fell_back,
        )


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Record).decode


def dump(record: Record) -> bytes:
    """A record as it is kept in Redis, after its owner."""
    return _encode(record)


def load(saved: bytes) -> Record:
    """A record from Redis.

    Raises:
        ValueError: it is none.
    """
    return _decode(saved)
