"""Parses log lines: Fanout's are JSON objects with a timestamp, a level and an event; others may be anything."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

Entry = Mapping[str, Any]
START = '{"timestamp":"'


def parse(line: str) -> dict[str, Any] | None:
    """Return the fields of a line of Fanout's log; None for any other line (a torn one, a traceback)."""
    if not line.startswith("{"):
        return None
    try:
        entry = json.loads(line)
        datetime.fromisoformat(entry["timestamp"])
        return entry if isinstance(entry["event"], str) and isinstance(entry["level"], str) else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def moment(entry: Entry) -> float:
    """Return when a line was written, in seconds since 1970."""
    return datetime.fromisoformat(entry["timestamp"]).timestamp()


def mend(line: str) -> list[str]:
    """Split a line of Docker's log if it holds two: a process that ended within a line leaves the first half of it, and
    the first line of the container's next process directly follows.
    """
    at = line.find(START, 1)
    if at > 0 and parse(line[at:]):  # inside a JSON string, the quotes of START would be escaped
        return [line[:at], line[at:]]
    return [line]
