"""A history's head: its end and its name, as the publish script keeps them in a key of their own."""

import re
from typing import NamedTuple

_HEAD = re.compile(rb"(\d{1,20}-\d{1,20}) (\d{1,15}) (\d{1,15}) ([0-9a-f]{16})").fullmatch


class Head(NamedTuple):
    """The end of a history, even if its last entry is trimmed.

    Attributes:
        streamid: the ID of its last entry.
        streamseq: the count of events up to and including that entry.
        entries: how many entries the publish script has ever appended.
        streamname: the history's name.
    """

    streamid: str
    streamseq: int
    entries: int
    streamname: str


def parse(value: bytes | None) -> Head | None:
    """Parse the value of a head's key; return None if there is none, or Fanout did not write it."""
    match = _HEAD(value or b"")
    return match and Head(match[1].decode(), int(match[2]), int(match[3]), match[4].decode())
