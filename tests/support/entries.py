"""A history as it stands in Redis, read by nothing of Fanout's."""

import json
from typing import Any


def events_of(fields: dict[bytes, bytes]) -> list[dict[str, Any]]:
    """The events of an entry; none where somebody else wrote it."""
    text = fields.get(b"events")
    if text is None:
        return []
    return json.loads(text + b"}]") if text.startswith(b"[") else [json.loads(text + b"}")]


def retained(client: Any, channel: str) -> list[dict[str, Any]]:
    """All events that a channel's history has."""
    return [event for _, fields in client.xrange(f"fanout:{{{channel}}}:history") for event in events_of(fields)]


def streamname(client: Any, channel: str) -> str:
    """The name of a channel's history; empty where it has none."""
    return (client.get(f"fanout:{{{channel}}}:head") or b"").decode().rpartition(" ")[2]


def streamseq(client: Any, channel: str) -> int:
    """How many events a channel's history has ever had."""
    return int((client.get(f"fanout:{{{channel}}}:head") or b"0-0 0 0 0").split()[1])
