"""The publish script: makes its command for a batch, and reads its reply."""

import hashlib
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from fanout import keys
from fanout._publish.batch import Accepted, Batch, Pending
from fanout._publish.producer import Producer
from fanout._redis.commands import Commands
from fanout._redis.connection import pack
from fanout.settings import BATCH_BYTES, HistorySettings

_SOURCE = (Path(__file__).parent / "publish.lua").read_bytes()
_BEFORE = re.compile(rb"([^\n]+)\n(\d+)\n(\d+-\d+)\n?([0-9a-f]*)")
_SHA = hashlib.sha1(_SOURCE, usedforsecurity=False).hexdigest()


async def load(redis: Commands) -> None:
    """Load the script into the server, which forgets it on SCRIPT FLUSH and when it restarts."""
    await redis.call("SCRIPT", "LOAD", _SOURCE)


def command(producer: Producer, batch: Batch | None, settings: HistorySettings) -> bytes:
    """Return the packed command that publishes a batch, or without a batch asks what Redis holds."""
    channel = producer.channel
    messages = batch.cut(settings.batch_events, BATCH_BYTES) if batch else []
    requests = [(i, event.request) for i, event in enumerate(batch.events if batch else (), 1) if event.request]
    names = [keys.history(channel), keys.marks(channel), keys.head(channel), keys.producer(channel, producer.name)]
    names += [request.name for _, request in requests]
    return pack(
        (
            "EVALSHA",
            _SHA,
            len(names),
            *names,
            channel,
            producer.source,
            batch.first_seq if batch else 0,
            batch.last_seq if batch else 0,
            settings.size,
            int(settings.ttl * 1000),
            keys.CHANNEL_TTL,
            batch.joins if batch else 0,
            ",".join(f"{index}:{request.hash}:{request.ttl}" for index, request in requests),
            random.randint(1, 2**30),
            f"{random.getrandbits(64):016x}",
            *[word for count, text in messages for word in (count, text[: -1 if count == 1 else -2])],
        )
    )


def joined(reply: list[Any]) -> bool:
    """Return whether the script accepted the batch; it refuses one that does not join on to what Redis holds."""
    return len(reply) > 1


def held(reply: list[Any]) -> int:
    """Return the last seq that Redis holds of the producer."""
    return int(reply[0])


class Before(NamedTuple):
    """The event that an Idempotency-Key has already become, and the hash of what was published with it."""

    accepted: Accepted
    hash: str


def before(value: bytes) -> Before | None:
    """Return what a request key holds; None if Fanout did not write it."""
    match = _BEFORE.fullmatch(value)
    if not match:
        return None
    source, seq, streamid, digest = (part.decode(errors="replace") for part in match.groups(b""))
    return Before(Accepted(source, seq, streamid), digest)


def became(batch: Batch, reply: list[Any]) -> Callable[[Pending], Accepted]:
    """Return a function that says what an event of the batch was accepted as, according to the script's reply."""
    _, streamid, *others = reply
    not_appended: dict[int, bytes] = dict(zip(others[::2], others[1::2], strict=True))
    ms, _, counter = streamid.decode().partition("-")
    producer, first = batch.producer, batch.first_seq

    def of(event: Pending) -> Accepted:
        index = batch.message_of(event.seq - first)
        known = before(not_appended[index]) if index in not_appended else None
        if known:
            return known.accepted
        if not counter:  # Redis already had the batch
            return producer.accepted_as(event)
        appended_before = index - sum(other < index for other in not_appended)
        return producer.accepted_as(event)._replace(streamid=f"{ms}-{int(counter) + appended_before}")

    return of


def earlier(batch: Batch, reply: list[Any]) -> dict[int, Before]:
    """Return, by seq, what the Idempotency-Keys of a batch had already become, according to the script's reply."""
    pairs = zip(reply[2::2], reply[3::2], strict=True)
    return {batch.events[index].seq: known for index, value in pairs if (known := before(value))}
