"""Reads a channel's history: where it ends, pages of it, and which of the remembered positions it still holds."""

import asyncio
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
from redis.exceptions import ResponseError

from fanout import keys
from fanout._event import head
from fanout._event.decode import received
from fanout._event.head import Head
from fanout._redis.commands import Commands
from fanout._redis.connection import pack
from fanout._redis.server_checks import parse_info
from fanout._subscribe.cursor import ORIGIN, Position
from fanout.keys import check_channel
from fanout.log import get_logger
from fanout.message import Message

SCAN_COUNT = 1000
HEADS_AT_ONCE = 500
NO_HISTORY = Head(ORIGIN.streamid, ORIGIN.streamseq, 0, "")
FIRST_LOOK = 16
"""Among how many entries the first or last one of ours is looked for, if somebody else has added entries too."""
_STREAMSEQ = re.compile(rb"\d{1,15}").fullmatch


class Entry(msgspec.Struct, gc=False):
    """An entry of a history: a batch of events.

    Attributes:
        streamid: its ID.
        streamseq: the count of events up to and including its last; 0 if the entry is somebody else's.
        wire: the JSON of its event, or an array of its events, as published but without their places; None if the entry
            is somebody else's.
    """

    streamid: str
    streamseq: int
    wire: bytes | None
    _messages: list[Message] | None = None

    def messages(self, channel: str) -> list[Message]:
        """Return its events, the same objects each time; an empty list if the entry is somebody else's."""
        if self._messages is None:
            found = [] if self.wire is None else received(channel, self.wire, ours=True)
            self._messages = found[: self.streamseq]  # more than there can have been: somebody else wrote it
        return self._messages

    def before(self, channel: str) -> int:
        """Return the count of events before its first event."""
        return self.streamseq - len(self.messages(channel))


class Identity(NamedTuple):
    """Which history is read.

    Attributes:
        replid: the server's data set; it changes with a restart or a failover.
        streamname: the history's name, which never changes; None if there is no history.
    """

    replid: str
    streamname: str | None


class History:
    """The histories of a server, read over one connection."""

    def __init__(self, redis: Commands) -> None:
        self.redis = redis

    async def replid(self) -> str:
        """Return which data set the server follows; it changes with a restart and with a failover."""
        return _replid(await self.redis.call("INFO", "replication"))

    async def identity(self, channel: str) -> Identity:
        """Return which history a channel has, on which server."""
        # MGET: a key of another type counts as none
        found, info = self.redis.send(pack(("MGET", keys.head(channel))), pack(("INFO", "replication")))
        at = head.parse((await found)[0])
        return Identity(_replid(await info), at.streamname if at else None)

    async def end(self, channel: str) -> Position:
        """Return where the history ends; the origin if there is none."""
        [found] = await self.redis.call("MGET", keys.head(channel))
        if at := head.parse(found):
            return Position(at.streamid, at.streamseq)
        try:  # somebody deleted the head: the stream itself has to tell, as in the publish script
            flat = await self.redis.call("XINFO", "STREAM", keys.history(channel))
        except ResponseError as error:
            if "no such key" in str(error):
                return ORIGIN
            if _other_type(error):
                get_logger().error("history_unreadable", channel=channel, cause=str(error))
                return ORIGIN
            raise
        info = dict(zip(flat[::2], flat[1::2], strict=True))
        ours = [entry for entry in await self.before(channel, "+", FIRST_LOOK) if entry.wire is not None]
        return Position(info[b"last-generated-id"].decode(), ours[-1].streamseq if ours else 0)

    async def heads(self, channels: Sequence[str]) -> list[Head | None]:
        """Return where the histories end, with few commands for many.

        Returns:
            For each channel its head, or NO_HISTORY; None if somebody deleted the head, so that only `end` can tell.
        """
        found: list[Head | None] = []
        for at in range(0, len(channels), HEADS_AT_ONCE):
            part = channels[at : at + HEADS_AT_ONCE]
            heads = [head.parse(value) for value in await self.redis.call("MGET", *map(keys.head, part))]
            without = [keys.history(name) for name, one in zip(part, heads, strict=True) if one is None]
            none = NO_HISTORY if without and not await self.redis.call("EXISTS", *without) else None
            found += [one or none for one in heads]
        return found

    async def has_others(self, channels: Sequence[str]) -> list[bool]:
        """Return for each channel whether there have been entries that the publish script does not know of.

        A restarted server can bring back such entries: an unfinished transaction at the end of its AOF, which it left
        out at an earlier start, and which later writes have completed.
        """
        pairs = [(("MGET", keys.head(name)), ("XINFO", "STREAM", keys.history(name))) for name in channels]
        replies = await self.redis.ask([words for pair in pairs for words in pair])
        found = []
        for [value], flat in zip(replies[::2], replies[1::2], strict=True):
            at, info = head.parse(value), dict(zip(flat[::2], flat[1::2], strict=True)) if flat else {}
            found.append(bool(at and info and info[b"entries-added"] > at.entries))
        return found

    async def first(self, channel: str) -> Position | None:
        """Return the place just before the first event that the history still has; None if it has no entries."""
        found = await read(self.page(channel, "-", 1))
        if found and found[0].wire is None:
            found = await read(self.page(channel, "-", FIRST_LOOK))
        if not found:
            return None
        ours = next((entry for entry in found if entry.wire is not None), None)
        return Position(ORIGIN.streamid, ours.before(channel) if ours else (await self.end(channel)).streamseq)

    def page(self, channel: str, start: str, count: int) -> asyncio.Future[list[Any]]:
        """Ask for up to `count` entries from `start` on, including that one; `read` returns them."""
        return self.redis.send(pack(("XRANGE", keys.history(channel), start, "+", "COUNT", count)))[0]

    async def before(self, channel: str, end: str, count: int, start: str = "-") -> list[Entry]:
        """Return the last `count` entries up to `end` that are not before `start`, oldest first."""
        command = pack(("XREVRANGE", keys.history(channel), end, start, "COUNT", count))
        return (await read(self.redis.send(command)[0]))[::-1]

    async def held(self, channel: str, positions: Sequence[Position]) -> list[Position]:
        """Return which positions the history holds: its entries, its end and, while nothing is trimmed, its origin."""
        end = await self.end(channel)
        key = keys.history(channel)
        found = self.redis.send(*(pack(("XRANGE", key, at.streamid, at.streamid)) for at in positions))
        replies = [await read(reply) for reply in found]
        whole = ORIGIN in positions and (await self.first(channel) or end) == ORIGIN
        return [
            at
            for at, reply in zip(positions, replies, strict=True)
            if reply or at.streamid == end.streamid or (at == ORIGIN and whole)
        ]

    async def now_ms(self) -> int:
        """Return the server's clock, in milliseconds since 1970."""
        seconds, micros = await self.redis.call("TIME")
        return int(seconds) * 1000 + int(micros) // 1000

    async def channels(self, pattern: str) -> list[str]:
        """Return the channels with a history whose names match a glob pattern."""
        cursor: bytes | None = None
        found: set[str] = set()
        match = keys.history(pattern)
        while cursor != b"0":
            words = ("SCAN", cursor or 0, "MATCH", match, "COUNT", SCAN_COUNT, "TYPE", "stream")
            cursor, names = await self.redis.call(*words)
            found.update(channel for name in names if (channel := _channel(name, pattern)))
        return sorted(found)


async def read(page: asyncio.Future[list[Any]]) -> list[Entry]:
    """Return the entries of a page; none if the key holds something other than a stream."""
    try:
        return entries(await page)
    except ResponseError as error:
        if _other_type(error):
            return []
        raise


def entries(reply: Iterable[Any]) -> list[Entry]:
    """Parse the reply to XRANGE."""
    return [Entry(streamid.decode(), *_of_fields(fields)) for streamid, fields in reply]


def _of_fields(fields: list[bytes]) -> tuple[int, bytes | None]:
    if len(fields) == 4 and fields[2] == b"streamseq" and _STREAMSEQ(fields[3]):
        if fields[0] == b"events":
            return int(fields[3]), fields[1] + (b"}]" if fields[1].startswith(b"[") else b"}")
        if fields[0] == b"event":  # written by a version before 1.0
            return int(fields[3]), fields[1]
    return 0, None


def _channel(key: bytes, pattern: str) -> str | None:
    """Return the channel of a history's key; None if the key is not Fanout's, or reserved and not asked for."""
    try:
        channel = keys.channel_of(key.decode())
        check_channel(channel)
    except ValueError:
        return None
    reserved = channel.startswith(keys.RESERVED) and not pattern.startswith(keys.RESERVED)
    return channel if keys.history(channel).encode() == key and not reserved else None


def _other_type(error: ResponseError) -> bool:
    return str(error).startswith("WRONGTYPE")


def _replid(reply: bytes) -> str:
    return sys.intern(parse_info(reply).get("master_replid", ""))  # one text for all channels
