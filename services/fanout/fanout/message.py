"""The message that a handler gets."""

import functools
import re
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

import msgspec

from fanout.keys import MAX_CHANNEL

is_producer = re.compile(r"[0-9a-f]{16}").fullmatch


@functools.lru_cache(maxsize=128)
def source_of(channel: str, producer: str) -> str:
    """Return the `source` of a producer's events on a channel. With its `id`, it names an event for all time."""
    return f"/{quote(channel, safe='')}/{producer}"


class Message(msgspec.Struct, kw_only=True, gc=False):
    """A message as a handler gets it: an event, or a plain message.

    A plain message is one that is not an event; it only has a channel, a pattern and data.

    Attributes:
        specversion: the version of CloudEvents; empty in a plain message.
        type: what happened.
        source: where it happened; with `id` it names the event. Empty in a plain message.
        id: what tells it from other events of its source; empty in a plain message.
        time: when it happened, in RFC 3339, as the publisher wrote it.
        datacontenttype: the media type of the data.
        data: what the publisher sent: text, a JSON value or bytes.
        streamid: the ID of the entry of the channel's history that the event is in.
        streamseq: the count of events in the history up to and including this one.
        streamprev: the ID of the entry before.
        streamname: the history's name.
        traceparent: the W3C trace context that the event belongs to.
        subject: what the event is about.
        dataschema: the URI of the data's schema.
        fanoutproducer: which Fanout producer published it, if its sender gave it a source and id.
        fanoutseq: likewise its number among that producer's events.
        channel: the channel on which it arrived.
        pattern: the subscribed pattern that matched the channel, if it was not subscribed to by name.
        catch_up: whether it was read from the history.
        others: the attributes that `extensions` returns.
        nth: its index within its entry.
    """

    # In the order in which publishers write them, which is the fastest to read.
    specversion: str = ""
    type: str = ""
    source: str = ""
    id: str = ""
    time: str | None = None
    datacontenttype: str | None = None
    data: Any = None
    streamid: str | None = None
    streamseq: str | None = None
    streamprev: str | None = None
    streamname: str | None = None
    traceparent: str | None = None
    subject: str | None = None
    dataschema: str | None = None
    fanoutproducer: str | None = None
    fanoutseq: str | None = None
    # Their names in JSON are random, so that no publisher can set them.
    channel: str = msgspec.field(default="", name=secrets.token_hex(8))
    pattern: str | None = msgspec.field(default=None, name=secrets.token_hex(8))
    catch_up: bool = msgspec.field(default=False, name=secrets.token_hex(8))
    others: dict[str, Any] | None = msgspec.field(default=None, name=secrets.token_hex(8))
    nth: int = msgspec.field(default=0, name=secrets.token_hex(8))

    @property
    def extensions(self) -> dict[str, Any]:
        """The event's extension attributes, such as `tenant`, by name."""
        return self.others or {}

    @property
    def origin(self) -> tuple[str, str]:
        """The source and seq by which duplicates are recognized: those that its Fanout producer gave it, if any did."""
        if self.fanoutproducer is None or self.fanoutseq is None:
            return self.source, self.id
        if not is_producer(self.fanoutproducer) or len(self.channel) > MAX_CHANNEL:  # nothing that long is remembered
            return self.source, self.id
        return source_of(self.channel, self.fanoutproducer), self.fanoutseq

    @property
    def plain(self) -> bool:
        """Whether this is a plain message: not an event, but something else that was published."""
        return not self.source

    def age_ms(self, now: float) -> float | None:
        """Return the milliseconds from the event's time to `now` (seconds since 1970); None if it has no valid time."""
        return ages_ms([self], now)[0]


def ages_ms(messages: Sequence[Message], now: float) -> list[float | None]:
    """Return the age of each message; see Message.age_ms."""
    micros = round(now * 1e6)
    before = second = ""
    base: int | None = None
    age: float | None = None
    ages: list[float | None] = []
    for message in messages:
        time = message.time or ""
        if time != before:  # events that are published together have the same time
            before = time
            if time[:20] != second:
                second = time[:20]
                base = _micros(second)
            if base is not None and len(time) == 27 and time[26] == "Z" and time[20:26].isdecimal():
                age = (micros - base - int(time[20:26])) / 1000  # the form that Fanout's publishers write
            else:
                age = _age_ms(time, micros)
        ages.append(age)
    return ages


def _age_ms(time: str, now: int) -> float | None:
    try:
        return (now - round(datetime.fromisoformat(time).timestamp() * 1e6)) / 1000
    except (ValueError, OverflowError):
        return None


@functools.lru_cache(maxsize=64)
def _micros(second: str) -> int | None:
    """Return the microseconds since 1970 of a text such as `2026-01-01T00:00:00.`."""
    try:
        return round(datetime.fromisoformat(f"{second}000000Z").timestamp()) * 1_000_000
    except (ValueError, OverflowError):
        return None
