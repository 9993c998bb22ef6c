"""The event on the wire (CloudEvents 1.0, structured JSON) and the message that a handler gets."""

import functools
import secrets
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from urllib.parse import quote

import msgspec

JSON = "application/json"
TEXT = "text/plain"

_Text = Annotated[str, msgspec.Meta(min_length=1)]


class DecodeError(ValueError):
    """The bytes are no CloudEvents 1.0 JSON event."""


class EventTooLarge(ValueError):
    """An event is above MAX_EVENT."""


class Message(msgspec.Struct, kw_only=True, gc=False):
    """What a subscriber hands to its handler.

    `channel` is where the message arrived, `pattern` the subscribed glob that matched, if it was one.
    `data` is what the publisher sent: text, a JSON value, or bytes where they are neither.
    A plain message, one that is no event, has nothing but those: `plain` says so, and `source` and `id` are empty.
    `time` is RFC 3339, as the publisher wrote it. `streamid` is the event's place in its channel's history,
    `streamprev` the one before, `streamseq` how many there have been. `catch_up`: it was read from history.
    """

    specversion: str = ""
    type: str = ""
    source: str = ""
    id: str = ""
    time: str | None = None
    datacontenttype: str | None = None
    data: Any = None
    data_base64: bytes | None = None
    traceparent: str | None = None
    streamid: str | None = None
    streamseq: str | None = None
    streamprev: str | None = None
    # Names that nobody can know, so that nobody sets these from outside.
    channel: str = msgspec.field(default="", name=secrets.token_hex(8))
    pattern: str | None = msgspec.field(default=None, name=secrets.token_hex(8))
    catch_up: bool = msgspec.field(default=False, name=secrets.token_hex(8))

    @property
    def plain(self) -> bool:
        """Whether this is not an event, but bytes that something else published."""
        return not self.source

    def age_ms(self, now: float) -> float | None:
        """Milliseconds from the event's `time` to `now` (seconds since 1970); None where it has no valid time."""
        return ages_ms([self], now)[0]


def ages_ms(messages: Sequence[Message], now: float) -> list[float | None]:
    """The age of each message; see Message.age_ms."""
    micros = round(now * 1e6)
    before: str | None = ""
    age: float | None = None
    ages: list[float | None] = []
    for message in messages:
        time = message.time
        if time != before:  # a burst of one publisher has one time
            before, age = time, _age_ms(time or "", micros)
        ages.append(age)
    return ages


def _age_ms(time: str, now: int) -> float | None:
    try:
        if len(time) == 27 and time[26] == "Z":  # as Fanout's publishers write it
            return (now - _micros(time[:19]) - int(time[20:26])) / 1000
        return (now - round(datetime.fromisoformat(time).timestamp() * 1e6)) / 1000
    except (ValueError, OverflowError):
        return None


@functools.lru_cache(maxsize=64)
def _micros(second: str) -> int:
    return round(datetime.fromisoformat(f"{second}Z").timestamp()) * 1_000_000


class Event(msgspec.Struct, omit_defaults=True, gc=False):
    """The attributes that a publisher writes, in the order in which they stand on the wire."""

    specversion: str
    type: str
    source: str
    id: str
    time: str
    datacontenttype: str
    data: Any
    traceparent: str | None = None


class _Event(Message, kw_only=True, gc=False):
    """What an event must have."""

    specversion: Literal["1.0"]
    type: _Text
    source: _Text
    id: _Text


_parse: Callable[[bytes], Message] = msgspec.json.Decoder(_Event).decode
_PARSE_ERRORS = (TypeError, ValueError, RecursionError)
_encode = msgspec.json.Encoder().encode


def timestamp(now: float) -> str:
    """Seconds since 1970 as RFC 3339 in UTC with microseconds."""
    second, micros = divmod(round(now * 1e6), 1_000_000)
    return f"{_second(second)}.{micros:06}Z"


@functools.lru_cache(maxsize=4)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat().removesuffix("+00:00")


@functools.lru_cache(maxsize=10_000)
def source_of(channel: str, producer: str) -> str:
    """The `source` of a producer's events on a channel; with `id` it names the event for all time."""
    return f"/{quote(channel, safe='')}/{producer}"


def encode(event: Any, max_event: int) -> bytes:
    """An event, or any other value, as JSON of at most `max_event` bytes.

    Raises:
        EventTooLarge: it would be longer.
        ValueError: the data is no JSON value, or text that is not valid Unicode.
    """
    try:
        wire = _encode(event)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"the data cannot be written as JSON: {error}") from None
    if len(wire) > max_event:
        raise EventTooLarge(f"the event has {len(wire)} bytes, and MAX_EVENT is {max_event}")
    return wire


def encode_plain(data: Any, max_event: int) -> bytes:
    """Data without an envelope: text as it is, anything else as JSON. Raises what `encode` does."""
    if not isinstance(data, str):
        return encode(data, max_event)
    wire = data.encode()
    if len(wire) > max_event:
        raise EventTooLarge(f"the text has {len(wire)} bytes, and MAX_EVENT is {max_event}")
    return wire


def decode(wires: Iterable[bytes]) -> list[Message]:
    """Events from their JSON, without what only their receiver knows.

    Raises:
        DecodeError: one of them is no CloudEvents 1.0 event.
    """
    try:
        messages = [_parse(wire) for wire in wires]
    except _PARSE_ERRORS as error:
        raise DecodeError(f"no event: {error}") from None
    for message in [message for message in messages if message.data_base64 is not None]:
        message.data, message.data_base64 = message.data_base64, None
    return messages


def received(channel: str, wire: bytes) -> Message:
    """What arrived on a channel as a message: the event, or a plain message as it came."""
    try:
        [message] = decode([wire])
    except DecodeError:
        message = Message()
        try:
            message.data = wire.decode()
        except UnicodeDecodeError:
            message.data = wire
    message.channel = channel
    return message
