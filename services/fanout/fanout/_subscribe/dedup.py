"""Which events have been delivered: the highest seq of each producer of a channel."""

from fanout.message import Message, is_producer, source_of

SAVED_PRODUCERS = 10_000
_NOBODY: dict[str, int] = {}
"""Stands for an empty table; it is never written to."""
LONGEST_SEQ = 16


def seq_of(text: str) -> int | None:
    """Return the number in an event's id; None if no Fanout producer would write such an id."""
    return int(text) if len(text) <= LONGEST_SEQ and text.isascii() and text.isdigit() else None


class Duplicates:
    """The highest seq delivered from each producer of a channel.

    It keeps a limited number of producers and forgets those heard of least recently. There are two generations: a
    producer that is heard of moves to the young one; when that is full, it becomes the old one, whose place it takes.
    """

    __slots__ = ("_channel", "_limit", "_old", "_young")

    def __init__(self, channel: str, limit: int) -> None:
        self._channel = channel
        self._limit = limit
        self._young = self._old = _NOBODY

    @property
    def empty(self) -> bool:
        """Whether nothing was noted."""
        return not (self._young or self._old)

    def first(self, source: str, seq: str) -> bool | None:
        """Note an event; return whether it is new, or None if nobody can tell since no Fanout producer made it."""
        highest = self._highest(source)
        if highest is None and not self._made_here(source):
            return None
        number = seq_of(seq)
        if number is None:
            return None
        if number <= (highest or 0):
            return False
        self.note(source, number)
        return True

    def new(self, messages: list[Message]) -> list[Message]:
        """Note events; return those for which `first` would not say False. Faster than `first` for each."""
        if len(messages) == 1:
            return messages if self.first(*messages[0].origin) is not False else []
        source, count = messages[0].source, len(messages)
        highest = self._young.get(source)
        own = [message.fanoutproducer for message in messages].count(None) == count
        if highest is not None and own and [message.source for message in messages].count(source) == count:
            begin = seq_of(messages[0].id)
            if begin is not None and begin > highest:
                end = begin + count
                if [message.id for message in messages] == list(map(str, range(begin, end))):
                    self.note(source, end - 1)
                    return messages
        return [message for message in messages if self.first(*message.origin) is not False]

    def seen(self, source: str, seq: str) -> bool:
        """Return whether this event, or a later one of its producer, has been noted."""
        highest, number = self._highest(source), seq_of(seq)
        return highest is not None and number is not None and number <= highest

    def ours(self, source: str, seq: str) -> bool:
        """Return whether a Fanout producer seems to have made this event for this channel."""
        return self._made_here(source) and seq_of(seq) is not None

    def note(self, source: str, seq: int) -> None:
        """Set the highest seq of a producer, which becomes the one heard of most recently."""
        young = self._young
        if not young:
            young = self._young = {}
        elif young.pop(source, None) is None and len(young) >= self._limit:
            self._old, self._young = young, {}
            young = self._young
        young[source] = seq

    def latest(self) -> dict[str, int]:
        """Return the producers heard of most recently, as the record keeps them."""
        latest = list(self._young.items())[-SAVED_PRODUCERS:]
        if len(latest) < SAVED_PRODUCERS:
            older = [item for item in self._old.items() if item[0] not in self._young]
            latest = [*older[len(latest) - SAVED_PRODUCERS :], *latest]
        return dict(latest)

    def _highest(self, source: str) -> int | None:
        highest = self._young.get(source)
        return self._old.get(source) if highest is None else highest

    def _made_here(self, source: str) -> bool:
        prefix = source_of(self._channel, "")
        return source.startswith(prefix) and is_producer(source, len(prefix)) is not None
