"""What clients are given, as bytes: each message is encoded once for all clients."""

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from fanout._subscribe.cursor import Position
from fanout._subscribe.history import Entry
from fanout.message import Message

_encode = msgspec.json.Encoder().encode


class Frame(msgspec.Struct, frozen=True, gc=False):
    """A message, or the news that messages are gone, or only a position up to which a client has been given everything.

    Attributes:
        name: `message` or `gone`.
        data: JSON in one line; empty if the frame only tells a position.
        position: its place in the history.
        source: the source by which duplicates are recognized; see Message.origin.
        id: likewise the seq.
        mark: the mark of its ID; see EventId.
        channel: the channel's name.
    """

    name: str
    data: bytes
    position: Position | None = None
    source: str = ""
    id: str = ""
    mark: str = ""
    channel: str = ""

    @property
    def event_id(self) -> bytes:
        """The ID with which a client that was cut off comes back."""
        return event_id(self.position, self.mark).encode() if self.position else b""

    def caught_up(self) -> "Frame":
        """Return the same frame, marked as read from the history."""
        if self.name != "message" or self.data.endswith(_CAUGHT_UP):
            return self
        return msgspec.structs.replace(self, data=self.data[:-1] + _CAUGHT_UP)

    def late(self) -> "Frame":
        """Return the same frame for sending out of order: clients cannot come back to it."""
        return msgspec.structs.replace(self.caught_up(), position=None)

    def marked(self, mark: str) -> "Frame":
        """Return the same frame with this mark in its ID."""
        return msgspec.structs.replace(self, mark=mark)


_CAUGHT_UP = b',"catch_up":true}'


def event_id(position: Position, mark: str = "") -> str:
    """Return a position as an ID for clients."""
    return f"{position.streamid}:{position.streamseq}" + (f":{mark}" if mark else "")


Form = Callable[[Sequence[Frame]], bytes]
"""How frames are written on a connection."""


class _Data(msgspec.Struct, omit_defaults=True, gc=False):
    channel: str
    plain: bool = False
    specversion: str = ""
    source: str = ""
    id: str = ""
    type: str = ""
    subject: str | None = None
    time: str | None = None
    datacontenttype: str | None = None
    dataschema: str | None = None
    data: Any = msgspec.UNSET
    data_base64: Any = msgspec.UNSET
    traceparent: str | None = None
    streamid: str | None = None
    streamseq: str | None = None


_TAKEN = {*_Data.__struct_fields__, "catch_up", "event_id"}


def of_message(message: Message) -> Frame:
    """Return a message's frame. Its extension attributes are beside the others, and bytes are in base64."""
    binary = isinstance(message.data, bytes)
    data = _encode(
        _Data(
            message.channel,
            message.plain,
            message.specversion,
            message.source,
            message.id,
            message.type,
            message.subject,
            message.time,
            message.datacontenttype,
            message.dataschema,
            msgspec.UNSET if binary else message.data,
            message.data if binary else msgspec.UNSET,
            message.traceparent,
            message.streamid,
            message.streamseq,
        )
    )
    if message.others:
        extensions = _encode({name: value for name, value in message.others.items() if name not in _TAKEN})
        data = data[:-1] + b"," + extensions[1:] if extensions != b"{}" else data
    if message.catch_up:
        data = data[:-1] + _CAUGHT_UP
    position = Position(message.streamid, int(message.streamseq or 0)) if message.streamid else None
    return Frame("message", in_one_line(data), position, *message.origin, channel=message.channel)


def in_one_line(text: bytes) -> bytes:
    """Escape characters that some readers take for the end of a line, although in Server-Sent Events they are not."""
    if b"\xe2\x80" in text or b"\xc2\x85" in text:
        text = text.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")
        text = text.replace(b"\xc2\x85", b"\\u0085")
    return text


def of_entry(channel: str, entry: Entry, after: int = 0) -> list[Frame]:
    """Return the frames of an entry's events whose streamseq is above `after`."""
    found = []
    for streamseq, message in enumerate(entry.messages(channel), entry.before(channel) + 1):
        if streamseq > after:
            message.streamid, message.streamseq, message.catch_up = entry.streamid, str(streamseq), True
            found.append(of_message(message))
    return found


def gone(channel: str, count: int, *, exact: bool) -> Frame:
    """Return the frame that says how many messages the history no longer has."""
    return Frame("gone", in_one_line(_encode({"channel": channel, "count": count, "exact": exact})), channel=channel)


def pieces(frames: Iterable[Frame], size: int) -> Iterator[list[Frame]]:
    """Yield the frames in lists of at most `size` bytes of data, or of one larger frame; takes them when needed."""
    piece: list[Frame] = []
    held = 0
    for frame in frames:
        if piece and held + len(frame.data) > size:
            yield piece
            piece, held = [], 0
        piece.append(frame)
        held += len(frame.data)
    if piece:
        yield piece


def sse(frames: Sequence[Frame], event_id: Callable[[Frame], bytes] = lambda frame: frame.event_id) -> bytes:
    """Encode frames as Server-Sent Events; `event_id` returns the ID of a frame that has a position."""
    return b"".join(
        [
            b"%b%b\n"
            % (
                b"id: %b\n" % event_id(frame) if frame.position else b"",
                b"event: %b\ndata: %b\n" % (frame.name.encode(), frame.data) if frame.data else b"",
            )
            for frame in frames
        ]
    )


def chunk(body: bytes) -> bytes:
    """Encode a chunk of a chunked HTTP response."""
    return b"%x\r\n%b\r\n" % (len(body), body)


def in_chunks(form: Form) -> Form:
    """Return the form that writes the same in chunks of a chunked HTTP response; one for all clients of a form."""
    return sse_chunk if form is sse else lambda frames: chunk(form(frames))


def sse_chunk(frames: Sequence[Frame]) -> bytes:
    """Encode frames as Server-Sent Events in a chunk of a chunked HTTP response."""
    return chunk(sse(frames))


def websocket(frames: Sequence[Frame]) -> bytes:
    """Encode frames as WebSocket text frames, each a JSON object."""
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


TIMELESS: frozenset[Form] = frozenset({sse, sse_chunk, websocket})
"""Forms that write a frame in the same way for all clients, at any time."""


def websocket_text(payload: bytes) -> bytes:
    """Encode a text frame as a server sends it (RFC 6455, section 5.2)."""
    size = len(payload)
    if size < 126:
        return b"\x81%c%b" % (size, payload)
    if size < 65536:
        return b"\x81\x7e" + struct.pack(">H", size) + payload
    return b"\x81\x7f" + struct.pack(">Q", size) + payload
