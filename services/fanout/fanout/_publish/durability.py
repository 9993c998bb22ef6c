"""Checks that a server keeps the events that it accepts, and waits until they are on its disk."""

from redis.exceptions import ResponseError

from fanout._redis.commands import Commands
from fanout._redis.retry import refusal
from fanout._redis.server_checks import check_eviction, check_format
from fanout.errors import ConnectionLost, RefusedByRedis
from fanout.settings import HistorySettings

WAITAOF_SINCE = (7, 2)


async def check_server(connection: Commands, history: HistorySettings) -> None:
    """Check that the server keeps the events that it accepts.

    Raises:
        RefusedByRedis: it evicts keys, has data of a newer format, or does not support DURABILITY=fsync.
    """
    check_eviction(connection.info)
    await check_format(connection, claim=True)
    if not history.fsync:
        return
    if connection.info.get("aof_enabled") != "1":
        raise RefusedByRedis("DURABILITY=fsync needs a server with appendonly yes, but this one has no AOF")
    if (await connection.call("CONFIG", "GET", "appendfsync"))[1] == b"no":
        raise RefusedByRedis(
            "DURABILITY=fsync needs appendfsync always or everysec, but this server has appendfsync no"
        )
    if tuple(map(int, connection.info["redis_version"].split(".")[:2])) < WAITAOF_SINCE:
        raise RefusedByRedis("DURABILITY=fsync needs WAITAOF, that is Redis 7.2 or later")


async def on_disk(redis: Commands, dead_after: float) -> None:
    """Wait until everything that this connection wrote is on the server's disk.

    Raises:
        ConnectionLost: it took longer than half of DEAD_AFTER (meanwhile the server answers no PING), or the server has
            become a replica or has turned off its AOF.
    """
    try:
        written = (await redis.call("WAITAOF", 1, 0, int(dead_after * 500)))[0]
    except ResponseError as error:
        if refusal(error):
            raise
        raise ConnectionLost(f"DURABILITY=fsync is not possible at present: {error}") from None
    if written < 1:
        raise ConnectionLost("the server has not written to disk in time")
