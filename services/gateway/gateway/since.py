"""Where a client wants to begin: after the event that it had last, now, with what is retained, or some time ago."""

import re

from fanout.environment import Environment
from fanout.errors import SettingError
from fanout.position import Position
from fanout.settings import StartFrom, read_start_from

Since = Position | StartFrom
NOW = StartFrom(earliest=False, age=0.0)

_EVENT_ID = re.compile(r"(\d{1,20}-\d{1,20}):(\d{1,18})", re.ASCII).fullmatch


def parse(text: str) -> Since:
    """`<streamid>:<streamseq>`, `now`, `earliest` or an age; nothing is `now`.

    Raises:
        ValueError: it is none of these.
    """
    if match := _EVENT_ID(text.strip()):
        return Position(match[1], int(match[2]))
    try:
        return read_start_from(Environment({"START_FROM": text}))
    except SettingError:
        shown = text if len(text) < 100 else f"{text[:100]}..."
        allowed = "an event's id (streamid:streamseq), now, earliest, or an age such as 10m"
        raise ValueError(f"since is {shown!r}, but must be {allowed}") from None
