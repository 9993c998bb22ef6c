"""Presence: each process keeps a small record of itself in Redis, so that a view can show who is there and how it is.

The record says what the process knew when it wrote it, a few times in two seconds, and expires soon after it stops.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable

import msgspec
from redis.exceptions import RedisError, ResponseError

from fanout import keys
from fanout.commands import Commands
from fanout.connection import pack
from fanout.errors import ConnectionLost

EVERY = 0.5
RATE_OVER = 3
"""Records over which the rate is taken."""
TTL_MS = 15_000
LEAVE_WITHIN = 1.0
CHANNELS = 20
"""How many of a subscriber's channels its record names, those of the latest messages."""


class Replica(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One process. `since` is when it started, seconds since 1970; `rate` is messages a second; latencies are of the
    last second with traffic; `waiting` are messages that wait for the handler, or events that wait for Redis;
    `producer` ends the source of the events that it publishes.

    `state`: `connecting`, `catching_up` or `live`. `channels`: the streamseq of the last event taken from each.
    `lag`: entries of those channels' histories that it has not taken. `age_s`: seconds since the record was written.
    `rate`, `lag` and `age_s` are filled in here, the rest is the process's.
    """

    service: str
    instance: str
    state: str
    since: float
    producer: str = ""
    rate: float = 0.0
    waiting: int = 0
    reconnects: int = 0
    accepted: int = 0
    failed: int = 0
    replayed: int = 0
    received: int = 0
    caught_up: int = 0
    duplicates: int = 0
    lost: int = 0
    clients: int = 0
    latency_p50_ms: float | None = None
    latency_p99_ms: float | None = None
    last_message_at: float | None = None
    channels: dict[str, int] = {}
    patterns: list[str] = []
    lag: int | None = None
    age_s: float = 0.0


class View(msgspec.Struct):
    """Everybody who is there, by service and name, and the streamseq of the channels that they name."""

    replicas: list[Replica]
    channels: dict[str, int]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Replica).decode


class Presence:
    """Writes a process's record over the connection that it has, for as long as `keep` runs."""

    def __init__(self, instance: str, replica: Callable[[], Replica], redis: Callable[[], Commands | None]) -> None:
        self._key = keys.presence(instance)
        self._instance, self._replica, self._redis = instance, replica, redis
        self._counts = deque([(time.monotonic(), 0)], maxlen=RATE_OVER)

    async def keep(self) -> None:
        """Never returns. Errors are not its business: who owns the connection notices them too."""
        while True:
            if redis := self._redis():
                await self._send(
                    redis,
                    pack(("SET", self._key, self._record(), "PX", TTL_MS)),
                    pack(("SADD", keys.PRESENT, self._instance)),
                    pack(("EXPIRE", keys.PRESENT, keys.CHANNEL_TTL)),
                )
            await asyncio.sleep(EVERY)

    def _record(self) -> bytes:
        replica, now = self._replica(), time.monotonic()
        count = replica.accepted + replica.received
        since, before = self._counts[0]
        replica.rate = round((count - before) / max(now - since, EVERY), 1)
        self._counts.append((now, count))
        return _encode(replica)

    async def leave(self) -> None:
        """Removes the record, as a process that ends in an orderly way does."""
        if redis := self._redis():
            with contextlib.suppress(TimeoutError):
                gone = self._send(redis, pack(("DEL", self._key)), pack(("SREM", keys.PRESENT, self._instance)))
                await asyncio.wait_for(gone, LEAVE_WITHIN)

    @staticmethod
    async def _send(redis: Commands, *commands: bytes) -> None:
        with contextlib.suppress(ConnectionLost, RedisError):
            await asyncio.gather(*redis.send(*commands))


async def read(redis: Commands) -> View:
    """Who is there.

    Raises:
        ConnectionLost, RedisError: Redis cannot be asked.
    """
    names = sorted(name.decode() for name in await redis.call("SMEMBERS", keys.PRESENT))
    replies = await asyncio.gather(
        *redis.send(
            *(pack(words) for name in names for words in (("GET", keys.presence(name)), ("PTTL", keys.presence(name))))
        )
    )
    replicas: list[Replica] = []
    for name, record, left in zip(names, replies[::2], replies[1::2], strict=True):
        if record is None:
            await redis.call("SREM", keys.PRESENT, name)  # one that is there after all adds itself again
            continue
        with contextlib.suppress(msgspec.DecodeError):
            replica = _decode(record)
            replica.age_s = round((TTL_MS - left) / 1000, 3)
            replicas.append(replica)
    ends = await _ends(redis, sorted({channel for replica in replicas for channel in replica.channels}))
    for replica in replicas:
        if replica.channels:
            replica.lag = sum(max(0, ends.get(channel, at) - at) for channel, at in replica.channels.items())
    replicas.sort(key=lambda replica: (replica.service, len(replica.instance), replica.instance))
    return View(replicas, ends)


async def _ends(redis: Commands, channels: list[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    sent = redis.send(*(pack(("XINFO", "STREAM", keys.history(channel))) for channel in channels))
    for channel, reply in zip(channels, await asyncio.gather(*sent, return_exceptions=True), strict=True):
        if isinstance(reply, BaseException):
            if not isinstance(reply, ResponseError):
                raise reply
            continue  # the history is gone
        found[channel] = dict(zip(reply[::2], reply[1::2], strict=True))[b"entries-added"]
    return found
