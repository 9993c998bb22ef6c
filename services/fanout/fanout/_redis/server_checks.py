"""Checks that a server is one that Fanout can use."""

import contextlib
import re
from typing import TYPE_CHECKING

from redis.exceptions import NoPermissionError, ResponseError

from fanout import keys
from fanout.errors import RefusedByRedis

if TYPE_CHECKING:
    from fanout._redis.commands import Commands

FORMAT = 1
"""Of events and keys: what this version writes, and the newest that it reads."""

OLDEST_SERVER = (7, 0)


def parse_info(reply: bytes) -> dict[str, str]:
    """Return the fields of a reply to INFO."""
    pairs = (line.partition(":") for line in reply.decode(errors="replace").splitlines())
    return {name: value for name, colon, value in pairs if colon}


def check_version(info: dict[str, str]) -> None:
    """Refuse a server that is too old.

    Raises:
        RefusedByRedis: it is older than Redis 7.0.
    """
    shown = info.get("redis_version", "unknown")
    found = re.match(r"(\d+)\.(\d+)", shown)
    if not found or (int(found[1]), int(found[2])) < OLDEST_SERVER:
        raise RefusedByRedis(f"the Redis server has version {shown}, but must be 7.0 or later")


def check_eviction(info: dict[str, str]) -> None:
    """Refuse a server that may evict keys when it is full.

    Raises:
        RefusedByRedis: its maxmemory-policy is not noeviction.
    """
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        raise RefusedByRedis(f"the server has maxmemory-policy {policy}, but must have noeviction to keep history")


async def check_format(redis: "Commands", *, claim: bool) -> None:
    """Refuse a server whose events this version would misread; `claim` has it remember that ours are written there.

    Raises:
        RefusedByRedis: a newer version writes there.
        ConnectionLost: there is no answer.
    """
    try:
        [found] = await redis.call("MGET", keys.FORMAT)  # a key of another type counts as none
    except NoPermissionError:  # it is there for those who may read it
        return
    if found and found.isdigit() and len(found) < 10 and int(found) > FORMAT:
        raise RefusedByRedis(
            f"a newer version of Fanout writes to this server (format {int(found)}), and this one reads up to"
            f" {FORMAT}: upgrade it"
        )
    if claim and found != b"%d" % FORMAT:
        with contextlib.suppress(ResponseError):  # a server that does not write at present is asked again
            await redis.call("SET", keys.FORMAT, FORMAT)
