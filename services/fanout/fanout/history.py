"""Reading a channel's history: where it ends, pages of it, and which of the positions we remember it still holds."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
from redis.exceptions import ResponseError

from fanout import keys
from fanout.commands import Commands
from fanout.connection import pack, parse_info
from fanout.position import ORIGIN, Position

SCAN_COUNT = 1000


class Entry(msgspec.Struct, gc=False):
    """An entry of a history; `event` is None where somebody else added something else, and `streamseq` is 0 then."""

    streamid: str
    streamseq: int
    event: bytes | None


class End(NamedTuple):
    """How a history stands: its last entry, also when that is trimmed, and whether it is whole: nothing is trimmed."""

    last: Position
    whole: bool


class History:
    """The histories of a server, read over one connection."""

    def __init__(self, redis: Commands) -> None:
        self.redis = redis

    async def replid(self) -> str:
        """Which history of its data set the server follows: it changes with a restart and a failover."""
        return parse_info(await self.redis.call("INFO", "replication")).get("master_replid", "")

    async def end(self, channel: str) -> End:
        """Where the history ends; the origin where there is none."""
        try:
            flat = await self.redis.call("XINFO", "STREAM", keys.history(channel))
        except ResponseError as error:
            if "no such key" in str(error):
                return End(ORIGIN, whole=True)
            raise
        info = dict(zip(flat[::2], flat[1::2], strict=True))
        last = Position(info[b"last-generated-id"].decode(), info[b"entries-added"])
        first = entries([info[b"first-entry"]]) if info[b"first-entry"] else None
        return End(last, first[0].streamseq == 1 if first else last.streamseq == 0)

    def page(self, channel: str, start: str, count: int) -> asyncio.Future[list[Any]]:
        """Asks for up to `count` entries from `start` on, that one included; see `entries`."""
        return self.redis.send(pack(("XRANGE", keys.history(channel), start, "+", "COUNT", count)))[0]

    async def before(self, channel: str, end: str, count: int, start: str = "-") -> list[Entry]:
        """Up to `count` entries that end with `end`, not below `start`, oldest first."""
        reply = await self.redis.call("XREVRANGE", keys.history(channel), end, start, "COUNT", count)
        return entries(reversed(reply))

    async def newest_held(self, channel: str, positions: Sequence[Position]) -> Position | None:
        """The newest of the positions, given oldest first, whose entry the history holds, or that is its end."""
        end = await self.end(channel)
        key = keys.history(channel)
        found = self.redis.send(*(pack(("XRANGE", key, at.streamid, at.streamid)) for at in positions))
        replies = await asyncio.gather(*found)
        for at, reply in zip(reversed(positions), reversed(replies), strict=True):
            if reply or at.streamid == end.last.streamid or (at == ORIGIN and end.whole):
                return at
        return None

    async def now_ms(self) -> int:
        """The server's clock, in milliseconds since 1970."""
        seconds, micros = await self.redis.call("TIME")
        return int(seconds) * 1000 + int(micros) // 1000

    async def channels(self, pattern: str) -> list[str]:
        """The channels with a history whose names match a glob pattern."""
        cursor: bytes | None = None
        found: set[str] = set()
        while cursor != b"0":
            match = keys.history(pattern)
            cursor, names = await self.redis.call("SCAN", cursor or 0, "MATCH", match, "COUNT", SCAN_COUNT)
            found.update(keys.channel_of(name.decode()) for name in names)
        return sorted(found)


def entries(reply: Iterable[Any]) -> list[Entry]:
    """What XRANGE answers."""
    result = []
    for streamid, fields in reply:
        if len(fields) == 4 and fields[0] == b"event" and fields[2] == b"streamseq":
            result.append(Entry(streamid.decode(), int(fields[3]), fields[1]))
        else:
            result.append(Entry(streamid.decode(), 0, None))
    return result
