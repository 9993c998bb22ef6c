"""Decodes what arrives: an event, a JSON array of events, or anything else, which is a plain message."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import msgspec

from fanout._event.attributes import DEEPEST, deeper_than, extensions, place_fits, places_fit, too_deep, with_texts
from fanout.message import Message
from fanout.settings import BATCH_BYTES

LARGEST_ARRAY = 2 * BATCH_BYTES
"""No publisher of ours sends a larger array, and decoded it may take many times its bytes."""
_Text = Annotated[str, msgspec.Meta(min_length=1)]


class DecodeError(ValueError):
    """The bytes are not a CloudEvents 1.0 event in JSON."""


class _Event(Message, kw_only=True, gc=False, forbid_unknown_fields=True):
    """An event without unusual attributes, as most are: there is nothing more to look for."""

    specversion: Literal["1.0"]
    type: _Text
    source: _Text
    id: _Text


class _AnyEvent(_Event, kw_only=True, gc=False, forbid_unknown_fields=False):
    data_base64: bytes | None = None


_parse: Callable[[bytes], Message] = msgspec.json.Decoder(_Event).decode
_parse_array: Callable[[bytes], list[Any]] = msgspec.json.Decoder(list[_Event]).decode
_split: Callable[[bytes], list[msgspec.Raw]] = msgspec.json.Decoder(list[msgspec.Raw]).decode
_parse_any: Callable[[bytes], _AnyEvent] = msgspec.json.Decoder(_AnyEvent).decode
_PARSE_ERRORS = (TypeError, ValueError, RecursionError)


def decode(wires: Sequence[bytes]) -> list[Message]:
    """Decode events from their JSON, without what only their receiver knows. Invalid places are removed.

    Raises:
        DecodeError: one of them is not a CloudEvents 1.0 event.
    """
    try:
        messages = [_parse(wire) for wire in wires]
    except _PARSE_ERRORS:
        messages = [_read(wire) for wire in wires]
    if [type(message.data) for message in messages].count(str) != len(messages):
        for message, wire in zip(messages, wires, strict=True):
            _check_depth(message, wire)
    if len(wires) > 1:
        streamids, streamseqs = [message.streamid for message in messages], [message.streamseq for message in messages]
        streamprevs, names = [message.streamprev for message in messages], [message.streamname for message in messages]
        if places_fit(streamids, streamseqs, streamprevs, names):
            return messages
    for message in messages:
        if not place_fits(message.streamid, message.streamseq, message.streamprev, message.streamname):
            _without_place(message)
    return messages


def decode_array(wire: bytes, *, ours: bool = False) -> list[Message]:
    """Decode the events of a JSON array. The last one bears the place of all; each gets its own, or none has one.

    Args:
        wire: the array.
        ours: whether it stands in a history. There, or with a place, what is not an event becomes a plain message, and
            the events beside it stay what they are.

    Raises:
        DecodeError: it is not an array of CloudEvents 1.0 events, is empty, or is larger than any of ours.
    """
    if len(wire) > LARGEST_ARRAY:
        raise DecodeError("no event: the array is too large")
    try:
        messages: list[Message] = _parse_array(wire)
    except _PARSE_ERRORS:
        messages = _read_array(wire, ours=ours)
    else:
        nested = len(wire) > 2 * DEEPEST and [type(message.data) for message in messages].count(str) != len(messages)
        if nested and any(type(message.data) is not str and deeper_than(message.data, DEEPEST) for message in messages):
            messages = _read_array(wire, ours=ours)
    if not messages:
        raise DecodeError("no event: the array is empty")
    last = messages[-1]
    alone = [message.streamid for message in messages].count(None) == len(messages) - 1
    if alone and last.streamid and last.streamprev and _has_place(last, len(messages)):
        give_places(messages, last.streamid, int(last.streamseq or 0), last.streamprev, last.streamname)
    else:
        for message in messages:
            _without_place(message)
    return messages


def _has_place(last: Message, count: int) -> bool:
    """Return whether the place of an array's last event can be that of so many."""
    fits = place_fits(last.streamid, last.streamseq, last.streamprev, last.streamname)
    return fits and last.streamid is not None and int(last.streamseq or 0) >= count


def give_places(
    messages: list[Message], streamid: str, streamseq: int, streamprev: str, streamname: str | None
) -> None:
    """Set the places of a batch; `streamseq` is that of its last event."""
    nth, seq = 0, streamseq - len(messages) + 1
    for message in messages:
        message.streamid, message.streamprev, message.streamname = streamid, streamprev, streamname
        message.streamseq, message.nth = str(seq + nth), nth
        nth += 1  # noqa: SIM113 (a third faster than enumerate)


def _without_place(message: Message) -> None:
    message.streamid = message.streamseq = message.streamprev = message.streamname = None


def _read(wire: bytes) -> Message:
    """Decode an event that may have any attributes."""
    try:
        try:
            message = _parse_any(wire)
        except msgspec.ValidationError:
            message = msgspec.convert(with_texts(wire), _AnyEvent)
        message.others = extensions(wire)
    except _PARSE_ERRORS as error:
        raise DecodeError(f"no event: {error}") from None
    if message.data_base64 is not None:
        message.data, message.data_base64 = message.data_base64, None
    return message


def _read_array(wire: bytes, *, ours: bool) -> list[Message]:
    try:
        parts = [bytes(part) for part in _split(wire)]
    except _PARSE_ERRORS as error:
        raise DecodeError(f"no event: {error}") from None
    if ours or (parts and _has_place(_read_or_plain(parts[-1]), len(parts))):
        return [_read_or_plain(part) for part in parts]
    return [_read_flat(part) for part in parts]


def _read_flat(wire: bytes) -> Message:
    message = _read(wire)
    _check_depth(message, wire)
    return message


def _check_depth(message: Message, wire: bytes) -> None:
    if len(wire) > 2 * DEEPEST and type(message.data) is not str and too_deep(message.data, wire):
        raise DecodeError("no event: its arrays and objects are nested too deeply")


def _read_or_plain(wire: bytes) -> Message:
    try:
        return _read_flat(wire)
    except DecodeError:
        return _plain(wire)


def _plain(wire: bytes) -> Message:
    try:
        return Message(data=wire.decode())
    except UnicodeDecodeError:
        return Message(data=wire)


def received(channel: str, wire: bytes, *, ours: bool = False) -> list[Message]:
    """Return what arrived on a channel: one event, those of an array, or a plain message; `ours`: see decode_array."""
    try:
        messages = decode_array(wire, ours=ours) if wire.startswith(b"[") else decode([wire])
    except DecodeError:
        messages = [_plain(wire)]
    for message in messages:
        message.channel = channel
    return messages
