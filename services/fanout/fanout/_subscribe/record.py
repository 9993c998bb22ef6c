"""The record of a subscriber's state on a channel, as Redis keeps it: with it another process can continue."""

import re

import msgspec

FORMAT = 1
HIGHEST = 2**53

_STREAMID = re.compile(r"\d{1,19}-\d{1,19}", re.ASCII).fullmatch


class Record(msgspec.Struct, kw_only=True):
    """What is saved of a cursor.

    Attributes:
        position: the streamid and streamseq of the last entry that was handled.
        ahead: how many events of the entry after it were handled too.
        checkpoints: the same of earlier positions, oldest first.
        producers: the highest seq of each producer, by source.
        replid: as in Cursor.
        fell_back: as in Cursor.
        format: the version of this format.
    """

    position: tuple[str, int]
    ahead: int = 0
    checkpoints: list[tuple[str, int]] = []
    producers: dict[str, int] = {}
    replid: str = ""
    fell_back: bool = False
    format: int = FORMAT


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Record).decode


def dump(record: Record) -> bytes:
    """Encode a record as Redis keeps it; the owner and the generation are put before it."""
    return _encode(record)


def load(saved: bytes) -> Record:
    """Read a record from Redis.

    Raises:
        ValueError: it is truncated, has a newer format, or is not a record; the text says which.
    """
    try:
        record = _decode(saved)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(str(error)) from None
    if record.format > FORMAT:
        raise ValueError(f"it has format {record.format}, and this version reads up to {FORMAT}")
    places = [record.position, *record.checkpoints]
    if not all(_STREAMID(streamid) and 0 <= streamseq < HIGHEST for streamid, streamseq in places):
        raise ValueError("one of its places is not a stream ID with a count")
    if not 0 <= record.ahead < HIGHEST:
        raise ValueError("it is ahead of its position by a number that cannot be")
    if not all(0 <= seq < HIGHEST for seq in record.producers.values()):
        raise ValueError("one of its producers has a seq that cannot be")
    return record
