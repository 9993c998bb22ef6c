"""What clients are given, as bytes: each message is encoded once, whoever gets it."""

import re
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from fanout.history import Entry
from fanout.message import Message, received
from fanout.position import Position

_STREAMID = re.compile(r"\d{1,20}-\d{1,20}", re.ASCII).fullmatch
_STREAMSEQ = re.compile(r"\d{1,19}", re.ASCII).fullmatch
_encode = msgspec.json.Encoder().encode


class Frame(msgspec.Struct, frozen=True, gc=False):
    """A message, or word of messages that are gone. `data` is JSON in one line; `position`: its place in history.

    Without data it says nothing but the position up to which a client has been given everything.
    """

    name: str
    data: bytes
    position: Position | None = None
    source: str = ""
    id: str = ""

    @property
    def event_id(self) -> bytes:
        """What a client that was cut off comes back with."""
        return event_id(self.position).encode() if self.position else b""

    def caught_up(self) -> "Frame":
        """The same, marked as something that comes late."""
        if self.name != "message" or self.data.endswith(_CAUGHT_UP):
            return self
        return msgspec.structs.replace(self, data=self.data[:-1] + _CAUGHT_UP)

    def late(self) -> "Frame":
        """The same, out of its order: no place to come back to."""
        return msgspec.structs.replace(self.caught_up(), position=None)


_CAUGHT_UP = b',"catch_up":true}'


def event_id(position: Position) -> str:
    """A position as clients know it."""
    return f"{position.streamid}:{position.streamseq}"


Form = Callable[[Sequence[Frame]], bytes]
"""How frames are written on a connection."""


class _Data(msgspec.Struct, omit_defaults=True, gc=False):
    channel: str
    plain: bool = False
    specversion: str = ""
    source: str = ""
    id: str = ""
    type: str = ""
    time: str | None = None
    datacontenttype: str | None = None
    data: Any = msgspec.UNSET
    data_base64: Any = msgspec.UNSET
    traceparent: str | None = None
    streamid: str | None = None
    streamseq: str | None = None
    catch_up: bool = False


def of_message(message: Message) -> Frame:
    """A message as every client gets it."""
    binary = isinstance(message.data, bytes)
    data = _Data(
        message.channel,
        message.plain,
        message.specversion,
        message.source,
        message.id,
        message.type,
        message.time,
        message.datacontenttype,
        msgspec.UNSET if binary and not message.plain else repr(message.data) if binary else message.data,
        message.data if binary and not message.plain else msgspec.UNSET,
        message.traceparent,
        message.streamid,
        message.streamseq,
        message.catch_up,
    )
    position = None  # somebody else's event may have anything there, also line breaks
    if message.streamid and _STREAMID(message.streamid) and _STREAMSEQ(message.streamseq or ""):
        position = Position(message.streamid, int(message.streamseq or 0))
    return Frame("message", _encode(data), position, message.source, message.id)


def of_entry(channel: str, entry: Entry) -> Frame | None:
    """An entry of a channel's history; None if it is no event."""
    if entry.event is None:
        return None
    message = received(channel, entry.event)
    message.streamid, message.streamseq, message.catch_up = entry.streamid, str(entry.streamseq), True
    return of_message(message)


def gone(channel: str, count: int, *, exact: bool) -> Frame:
    """That so many messages are gone: the history no longer has them."""
    return Frame("gone", _encode({"channel": channel, "count": count, "exact": exact}))


def pieces(frames: Sequence[Frame], size: int) -> Iterator[Sequence[Frame]]:
    """The frames in parts of at most so many bytes of data, or one frame."""
    begin = held = 0
    for end, frame in enumerate(frames):
        if held + len(frame.data) > size and end > begin:
            yield frames[begin:end]
            begin, held = end, 0
        held += len(frame.data)
    if begin < len(frames):
        yield frames[begin:]


def sse(frames: Sequence[Frame]) -> bytes:
    """Server-Sent Events."""
    return b"".join(
        [
            b"%b%b\n"
            % (
                b"id: %b\n" % frame.event_id if frame.position else b"",
                b"event: %b\ndata: %b\n" % (frame.name.encode(), frame.data) if frame.data else b"",
            )
            for frame in frames
        ]
    )


def chunk(body: bytes) -> bytes:
    """A part of a chunked HTTP response."""
    return b"%x\r\n%b\r\n" % (len(body), body)


def sse_chunk(frames: Sequence[Frame]) -> bytes:
    """Server-Sent Events as part of a chunked HTTP response."""
    return chunk(sse(frames))


def websocket(frames: Sequence[Frame]) -> bytes:
    """WebSocket text frames, each a JSON object."""
    return b"".join(
        [
            websocket_text(
                b'{"%b":%b%b}'
                % (frame.name.encode(), frame.data, b',"event_id":"%b"' % frame.event_id if frame.position else b"")
            )
            for frame in frames
            if frame.data
        ]
    )


def websocket_text(payload: bytes) -> bytes:
    """A text frame from a server (RFC 6455, section 5.2)."""
    size = len(payload)
    if size < 126:
        return b"\x81%c%b" % (size, payload)
    if size < 65536:
        return b"\x81\x7e" + struct.pack(">H", size) + payload
    return b"\x81\x7f" + struct.pack(">Q", size) + payload
