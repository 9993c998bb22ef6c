"""Where a client wants to start: after the last event that it had, now, at the earliest event, or some time ago."""

import re
from typing import NamedTuple

from fanout._subscribe.cursor import Position
from fanout.environment import Environment
from fanout.errors import SettingError
from fanout.settings import StartFrom, read_start_from

NOW = StartFrom(earliest=False, age=0.0)
LONGEST_ID = 200

_EVENT_ID = re.compile(r"(\d{1,20})-(\d{1,20}):(\d{1,18})(?::([0-9a-f]{8}))?", re.ASCII).fullmatch
_HIGHEST = 2**64 - 1


class EventId(NamedTuple):
    """The ID that a client was sent with an event: it has everything up to that event.

    That is in the order of the history, or, with a `mark`, in the order of the ring that the mark names.
    """

    position: Position
    mark: str = ""


Since = EventId | StartFrom | None
"""None: a client came back with an ID that no gateway made, so what it has is unknown."""


def parse(text: str) -> EventId | StartFrom:
    """Parse an event's ID, `now`, `earliest` or an age; empty text is `now`.

    Raises:
        ValueError: it is none of these.
    """
    if found := parse_id(text):
        return found
    try:
        return read_start_from(Environment({"START_FROM": text}))
    except SettingError:
        shown = text if len(text) < 100 else f"{text[:100]}..."
        allowed = "an event's id (streamid:streamseq), now, earliest, or an age such as 10m"
        raise ValueError(f"since is {shown!r}, but must be {allowed}") from None


def parse_id(text: str) -> EventId | None:
    """Parse an event's ID; return None if no gateway can have made it."""
    match = _EVENT_ID(text.strip()) if len(text) <= LONGEST_ID else None
    if not match or max(int(match[1]), int(match[2])) > _HIGHEST:
        return None
    return EventId(Position(f"{match[1]}-{match[2]}", int(match[3])), match[4] or "")
