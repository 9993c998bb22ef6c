"""A line of a process's log: one of ours, a JSON object with a timestamp, a level and an event, or anything else."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

Entry = Mapping[str, Any]
START = '{"timestamp":"'


def parse(line: str) -> dict[str, Any] | None:
    """A log line's fields, or None for what is no line of ours (a torn one, an interpreter's last words)."""
    if not line.startswith("{"):
        return None
    try:
        entry = json.loads(line)
        datetime.fromisoformat(entry["timestamp"])
        return entry if isinstance(entry["event"], str) and isinstance(entry["level"], str) else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def moment(entry: Entry) -> float:
    """When a line was written, in seconds since 1970."""
    return datetime.fromisoformat(entry["timestamp"]).timestamp()


def mend(line: str) -> list[str]:
    """The lines that a line of Docker's is: a process that ends within a line leaves the first half of it, and what the
    container's next process writes stands right behind.
    """
    at = line.find(START, 1)
    if at > 0 and parse(line[at:]):  # in JSON itself its quotes would be escaped
        return [line[:at], line[at:]]
    return [line]
