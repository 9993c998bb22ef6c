"""The roster: each process keeps a small record of its state in Redis, from which views list all processes.

A process writes its record every EVERY seconds; the record expires soon after the process stops.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from fanout import keys
from fanout._event import head
from fanout._redis.commands import Commands
from fanout._redis.connection import pack

EVERY = 0.5
RATE_OVER = 3
"""How many records back the rate is measured from."""
TTL_MS = 15_000
LEAVE_WITHIN = 1.0
CHANNELS = 20
"""How many channels a subscriber's record names, those with the latest messages, and how many patterns."""
MOST_REPLICAS = 1000
MOST_CHANNELS = 500
RECORD_BYTES = 32 * 1024
VIEW_BYTES = 4 * 2**20
NAMES_AT_ONCE = 500

HIGHEST = 2**53
Count = Annotated[int, Meta(ge=0, le=HIGHEST)]
Seconds = Annotated[float, Meta(ge=0, le=1e15)]
Milliseconds = Annotated[float, Meta(ge=-1e15, le=1e15)]  # an event may carry any time
Name = Annotated[str, Meta(max_length=1000)]


class Replica(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The record of one process. `rate`, `lag` and `age_s` are filled in here, the rest by the process.

    Attributes:
        service: publisher, subscriber or gateway.
        instance: the process's name.
        state: connecting, catching_up or live.
        since: when it started, in seconds since 1970.
        producer: the last part of the source of the events that it publishes.
        rate: messages a second.
        waiting: messages that wait for the handler, or events that wait for Redis.
        reconnects: how often it has reconnected; -1 before the first connection.
        accepted: events that Redis has accepted.
        failed: messages on which the handler raised, or events that Redis refused.
        replayed: events that Redis lost and were sent again.
        received: messages received.
        caught_up: messages that were missed and read from history.
        duplicates: messages that arrived again and were dropped.
        lost: messages or events that are gone.
        clients: browsers that are connected to a gateway.
        latency_p50_ms: median latency of the last second with traffic, in milliseconds.
        latency_p99_ms: the 99th percentile of these latencies.
        last_message_at: when the last message was received, in seconds since 1970.
        channels: the streamseq of the last event taken from each channel.
        patterns: glob patterns to which it subscribes.
        lag: events in the histories of its channels that it has not taken.
        age_s: seconds since the record was written.
    """

    service: Annotated[str, Meta(pattern="^[a-z]+$", max_length=32)]
    instance: Name
    state: Annotated[str, Meta(pattern="^(connecting|catching_up|live)$")]
    since: Seconds
    producer: Annotated[str, Meta(max_length=64)] = ""
    rate: Seconds = 0.0
    waiting: Count = 0
    reconnects: Annotated[int, Meta(ge=-1, le=HIGHEST)] = 0
    accepted: Count = 0
    failed: Count = 0
    replayed: Count = 0
    received: Count = 0
    caught_up: Count = 0
    duplicates: Count = 0
    lost: Count = 0
    clients: Count = 0
    latency_p50_ms: Milliseconds | None = None
    latency_p99_ms: Milliseconds | None = None
    last_message_at: Seconds | None = None
    channels: Annotated[dict[Name, Count], Meta(max_length=CHANNELS)] = {}
    patterns: Annotated[list[Name], Meta(max_length=CHANNELS)] = []
    lag: Count | None = None
    age_s: Seconds = 0.0


class View(msgspec.Struct):
    """All processes in the roster.

    Attributes:
        replicas: their records, sorted by service and name.
        channels: the last streamseq of each channel that a record names.
        strange: how many names or records were left out because they are not Fanout's.
    """

    replicas: list[Replica]
    channels: dict[str, int]
    strange: int = 0


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Replica).decode


class RosterEntry:
    """Keeps a process's record up to date, over a connection that the process already has."""

    def __init__(self, instance: str, replica: Callable[[], Replica], redis: Callable[[], Commands | None]) -> None:
        self._key = keys.roster_record(instance)
        self._instance, self._replica, self._redis = instance, replica, redis
        self._counts = deque([(time.monotonic(), 0)], maxlen=RATE_OVER)

    async def keep(self) -> None:
        """Write the record every EVERY seconds; never return. Errors are left to the connection's owner."""
        while True:
            if redis := self._redis():
                replies = await redis.send_all(
                    [
                        pack(("SET", self._key, self._record(), "PX", TTL_MS)),
                        pack(("SADD", keys.ROSTER, self._instance)),
                        pack(("EXPIRE", keys.ROSTER, keys.CHANNEL_TTL)),
                    ]
                )
                if "WRONGTYPE" in str(replies[1]):  # the key is not ours; every process adds itself again later
                    await redis.send_all([pack(("DEL", keys.ROSTER))])
            await asyncio.sleep(EVERY)

    def _record(self) -> bytes:
        replica, now = self._replica(), time.monotonic()
        count = replica.accepted + replica.received
        since, before = self._counts[0]
        replica.rate = round((count - before) / max(now - since, EVERY), 1)
        self._counts.append((now, count))
        return _encode(replica)

    async def leave(self) -> None:
        """Remove the record, at a regular end of the process."""
        if redis := self._redis():
            with contextlib.suppress(TimeoutError):
                gone = redis.send_all([pack(("DEL", self._key)), pack(("SREM", keys.ROSTER, self._instance))])
                await asyncio.wait_for(gone, LEAVE_WITHIN)


async def read(redis: Commands) -> View:
    """Read the roster, up to MOST_REPLICAS records or VIEW_BYTES. Records that are not Fanout's are counted only.

    Raises:
        ConnectionLost, RedisError: Redis did not answer.
    """
    view, found, size = View([], {}), dict[str, Replica](), 0
    cursor: Any = 0
    while cursor != b"0" and len(found) < MOST_REPLICAS and size < VIEW_BYTES:
        (reply,) = await redis.ask([("SSCAN", keys.ROSTER, cursor, "COUNT", NAMES_AT_ONCE)])
        if reply is None:  # not a set
            return View([], {}, strange=1)
        cursor, names = reply
        records = await redis.ask([("GETRANGE", keys.roster_record(name), 0, RECORD_BYTES) for name in names])
        if gone := [name for name, record in zip(names, records, strict=True) if record == b""]:
            # A process that still runs adds itself again. Errors are ignored: readers may lack the permission to write.
            await redis.send_all([pack(("SREM", keys.ROSTER, *gone))])
        there = [(name, record) for name, record in zip(names, records, strict=True) if record != b""]
        left = await redis.ask([("PTTL", keys.roster_record(name)) for name, _ in there])
        for (name, record), ttl in zip(there, left, strict=True):
            size += len(record or b"")
            if replica := _replica(name, record, ttl):
                found[replica.instance] = replica
            else:
                view.strange += 1
    view.replicas = sorted(found.values(), key=lambda one: (one.service, len(one.instance), one.instance))
    view.channels = await _ends(redis, sorted({channel for one in view.replicas for channel in one.channels}))
    for replica in view.replicas:
        if replica.channels:
            behind = (max(0, view.channels.get(channel, at) - at) for channel, at in replica.channels.items())
            replica.lag = min(sum(behind), HIGHEST)
    return view


def _replica(name: bytes, record: bytes | None, ttl: int) -> Replica | None:
    """Return a record; None if the process of that name cannot have written it."""
    if record is None or len(record) > RECORD_BYTES or not 0 <= ttl <= TTL_MS:
        return None
    try:
        replica = _decode(record)
    except (ValueError, RecursionError):
        return None
    if replica.instance.encode() != name:
        return None
    replica.age_s = round((TTL_MS - ttl) / 1000, 3)
    return replica


async def _ends(redis: Commands, channels: list[str]) -> dict[str, int]:
    channels = channels[:MOST_CHANNELS]
    replies = await redis.ask([("GET", keys.head(channel)) for channel in channels])
    ends = zip(channels, map(head.parse, replies), strict=True)
    return {channel: end.streamseq for channel, end in ends if end}
