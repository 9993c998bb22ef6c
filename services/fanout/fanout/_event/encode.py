"""Encodes events as CloudEvents 1.0 in structured JSON."""

import functools
import re
from datetime import UTC, datetime
from typing import Any

import msgspec

from fanout._event.cloudevent import TYPE, CloudEvent
from fanout._event.data import json_of
from fanout.errors import EventTooLarge

JSON = "application/json"
TEXT = "text/plain"
BYTES = "application/octet-stream"
_json_type = re.compile(r"application/json|[^;\s]+\+json", re.IGNORECASE).match
_encode = msgspec.json.Encoder().encode


class Event(msgspec.Struct, omit_defaults=True, gc=False):
    """The attributes that a publisher writes, in the order in which they are encoded."""

    specversion: str
    type: str
    source: str
    id: str
    time: str
    datacontenttype: str | None = None
    data: Any = msgspec.UNSET
    traceparent: str | None = None
    data_base64: bytes | None = None


def timestamp(now: float) -> str:
    """Return seconds since 1970 as RFC 3339 in UTC with microseconds."""
    second, micros = divmod(round(now * 1e6), 1_000_000)
    return f"{_second(second)}.{micros:06}Z"


@functools.lru_cache(maxsize=4)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat().removesuffix("+00:00")


def encode(event: Event, max_event: int) -> bytes:
    """Encode an event as JSON of at most `max_event` bytes. The default of datacontenttype depends on the data.

    Raises:
        EventTooLarge: it would be longer.
        ValueError: the data is not a JSON value, is not valid Unicode, or does not fit its datacontenttype.
    """
    if type(event.data) is not str:
        _prepare(event)
    elif event.datacontenttype is None:
        event.datacontenttype = TEXT
    return _write(event, max_event)


def _write(event: Any, max_event: int) -> bytes:
    try:
        wire = _encode(event)
    except ValueError as error:
        raise ValueError(f"the data cannot be written as JSON: {error}") from None
    if len(wire) > max_event:
        raise _too_large(wire, max_event)
    return wire


def encode_text(source: str, seq: int, time: str, text: str, max_event: int) -> bytes:
    """Encode an event whose data is text. Does what `encode` does, in half the time."""
    try:
        wire = b'%b%d","time":"%b","datacontenttype":"text/plain","data":%b}' % (
            _begin(source),
            seq,
            time.encode(),
            _encode(text),
        )
    except ValueError as error:
        raise ValueError(f"the data cannot be written as JSON: {error}") from None
    if len(wire) > max_event:
        raise _too_large(wire, max_event)
    return wire


@functools.lru_cache(maxsize=128)
def _begin(source: str) -> bytes:
    return _encode({"specversion": "1.0", "type": TYPE, "source": source})[:-1] + b',"id":"'


def encode_whole(event: CloudEvent, producer: str, source: str, *, seq: int, time: str, max_event: int) -> bytes:
    """Encode an event that has attributes of its own. Raises what `encode` does.

    Args:
        event: the event.
        producer: the name of our producer that publishes it.
        source: the source of that producer's events; used if the event has none.
        seq: its number among that producer's events; used as its id if it has none.
        time: used as its time if it has none.
        max_event: how many bytes it may have.
    """
    carrier = Event("1.0", event.type, source, "", time, event.datacontenttype, event.data)
    if event.data is not None:
        _prepare(carrier)
    fields = {
        "specversion": "1.0",
        "type": event.type,
        "source": event.source or source,
        "id": event.id or str(seq),
        "time": event.time or time,
        "subject": event.subject,
        "datacontenttype": carrier.datacontenttype,
        "dataschema": event.dataschema,
        "traceparent": event.traceparent,
        **event.extensions,
        "data_base64": carrier.data_base64,
    }
    if event.id is not None:
        fields |= {"fanoutproducer": producer, "fanoutseq": str(seq)}
    fields = {name: value for name, value in fields.items() if value is not None}
    if event.data is not None and carrier.data is not msgspec.UNSET:
        fields["data"] = carrier.data
    return _write(fields, max_event)


def _prepare(event: Event) -> None:
    data, kind = event.data, event.datacontenttype
    if isinstance(data, str):  # a subclass of str
        event.data, event.datacontenttype = str(data), kind or TEXT
    elif isinstance(data, bytes | bytearray | memoryview):
        event.data, event.data_base64 = msgspec.UNSET, bytes(data)
        event.datacontenttype = kind or BYTES
    elif kind and not _json_type(kind):
        raise ValueError(f"data of type {type(data).__name__} is published as {JSON}, and not as {kind}")
    else:
        event.data = data if isinstance(data, msgspec.Raw) else json_of(data)
        event.datacontenttype = kind or JSON


def encode_plain(data: Any, max_event: int) -> bytes:
    """Encode data without an envelope: text and bytes as they are, the rest as JSON. Raises what `encode` raises."""
    if isinstance(data, str):
        wire = data.encode()
    else:
        wire = bytes(data if isinstance(data, bytes | bytearray | memoryview | msgspec.Raw) else json_of(data))
    if len(wire) > max_event:
        raise _too_large(wire, max_event)
    return wire


def _too_large(wire: bytes, max_event: int) -> EventTooLarge:
    return EventTooLarge(f"the event has {len(wire)} bytes, and MAX_EVENT is {max_event}")
