"""The publish script from the outside: the command for a batch, and what its reply says."""

import hashlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fanout import keys
from fanout.commands import Commands
from fanout.connection import pack
from fanout.outbox import Accepted, Outbox, Pending

_SOURCE = (Path(__file__).parent / "publish.lua").read_bytes()
_SHA = hashlib.sha1(_SOURCE, usedforsecurity=False).hexdigest()


async def load(redis: Commands) -> None:
    """Makes the script known to the server, which forgets it on SCRIPT FLUSH and when it starts."""
    await redis.call("SCRIPT", "LOAD", _SOURCE)


def command(outbox: Outbox, batch: list[Pending], history_size: int, history_ttl: float) -> bytes:
    """The packed command that publishes a batch; an empty one asks what Redis holds. `history_ttl` in seconds."""
    channel = outbox.channel
    requests = [(str(i), keys.request(channel, event.key)) for i, event in enumerate(batch, 1) if event.key]
    names = [keys.history(channel), keys.producer(channel, outbox.producer), *(key for _, key in requests)]
    return pack(
        (
            "EVALSHA",
            _SHA,
            len(names),
            *names,
            channel,
            outbox.source,
            batch[0].seq if batch else 0,
            history_size,
            int(history_ttl * 1000),
            keys.CHANNEL_TTL,
            int(outbox.force),
            ",".join(index for index, _ in requests),
            random.randint(1, 2**30),
            *[event.wire for event in batch],
        )
    )


def joined(reply: list[Any]) -> bool:
    """Whether the script took the batch; it refuses one that does not join on to what the server holds."""
    return len(reply) > 1


def held(reply: list[Any]) -> int:
    """The last seq that Redis holds of the producer."""
    return int(reply[0])


def became(outbox: Outbox, batch: list[Pending], reply: list[Any]) -> Callable[[Pending], Accepted]:
    """What the events of a batch were accepted as, according to the script's reply."""
    _, streamid, *others = reply
    not_appended: dict[int, bytes] = dict(zip(others[::2], others[1::2], strict=True))
    ms, _, counter = streamid.decode().partition("-")

    def of(event: Pending) -> Accepted:
        index = event.seq - batch[0].seq
        if index not in not_appended:
            appended_before = index - sum(other < index for other in not_appended)
            return Accepted(outbox.source, str(event.seq), f"{ms}-{int(counter) + appended_before}")
        if before := not_appended[index].decode():
            return Accepted(*before.split("\n"))
        return outbox.accepted_as(event)

    return of
