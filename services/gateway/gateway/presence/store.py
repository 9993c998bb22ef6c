"""The members of channels as Redis keeps them, for all gateways."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from redis.exceptions import RedisError

from fanout import keys
from fanout._redis.commands import Commands
from fanout._redis.connection import pack
from fanout.errors import ConnectionLost

_MEMBERS = (Path(__file__).parent / "members.lua").read_bytes()
_LOOK = (Path(__file__).parent / "look.lua").read_bytes()
_GATEWAYS = (Path(__file__).parent / "gateways.lua").read_bytes()


class Change(NamedTuple):
    """What an update has changed.

    Attributes:
        before: how many members the channel had.
        after: how many it has.
        version: the server's time in microseconds, by which changes are put in order.
        come: the members that are new.
        gone: those that have no connection any more, at any gateway.
    """

    before: int
    after: int
    version: int
    come: list[str]
    gone: list[str]


class Members(NamedTuple):
    """Who is on a channel.

    Attributes:
        number: how many members it has.
        version: the server's time in microseconds: changes of a higher version came later.
        connections: how many each member has.
    """

    number: int
    version: int
    connections: dict[str, int]


class Update(NamedTuple):
    """How many connections members of a channel have at a gateway; `replace`: all others have none there."""

    channel: str
    counts: Mapping[str, int]
    replace: bool


class Store:
    """The members at one gateway, within what Redis keeps of all of them."""

    def __init__(self, gateway: str) -> None:
        self.gateway = gateway

    async def update(self, redis: Commands, updates: Sequence[Update]) -> list[Change | RedisError]:
        """Note updates; return for each what it has changed, or Redis's error.

        Raises:
            ConnectionLost: it is not known of all of them whether they were noted.
        """
        there = [update.channel for update in updates if any(update.counts.values())]
        if there:  # before the members are: whoever cleans up after this gateway must find the channels of all of them
            await redis.call("SADD", keys.gateway_channels(self.gateway), *there)
        return await self._run(redis, self.gateway, updates)

    async def channels(self, redis: Commands) -> list[str]:
        """Return the channels on which Redis has members of the gateway."""
        found = await redis.call("SMEMBERS", keys.gateway_channels(self.gateway))
        return [name.decode(errors="replace") for name in found]

    async def forget(self, redis: Commands, channels: Sequence[str]) -> None:
        """Forget that the gateway has members on some channels."""
        if channels:
            await redis.call("SREM", keys.gateway_channels(self.gateway), *channels)

    async def renew(self, redis: Commands, within_ms: int) -> list[str]:
        """Note that the gateway is alive for the next `within_ms`; return the gateways that are not any more."""
        found = await redis.call("EVAL", _GATEWAYS, 1, keys.GATEWAYS, self.gateway, within_ms)
        return [name.decode(errors="replace") for name in found]

    async def clean_up(self, redis: Commands, dead: str, most: int) -> dict[str, Change]:
        """Remove the members of a dead gateway from at most `most` channels, or itself if it has no more.

        Several gateways may do so at once: each change is told to one of them.
        """
        found = await redis.call("SRANDMEMBER", keys.gateway_channels(dead), most)
        channels = [name.decode(errors="replace") for name in found]
        if not channels:
            await redis.call("ZREM", keys.GATEWAYS, dead)
            return {}
        changes = await self._run(redis, dead, [Update(channel, {}, replace=True) for channel in channels])
        await redis.call("SREM", keys.gateway_channels(dead), *found)
        pairs = zip(channels, changes, strict=True)
        return {channel: change for channel, change in pairs if isinstance(change, Change)}

    async def members(self, redis: Commands, channel: str, most: int) -> Members:
        """Return who is on a channel; of more than `most` only the number."""
        count, version, flat = await redis.call("EVAL", _LOOK, 1, keys.presence(channel), most)
        found = {name.decode(errors="replace"): int(n) for name, n in zip(flat[::2], flat[1::2], strict=True)}
        return Members(count, version, found)

    async def _run(self, redis: Commands, gateway: str, updates: Sequence[Update]) -> list[Change | RedisError]:
        commands = []
        for channel, counts, replace in updates:
            words: list[Any] = [word for pair in counts.items() for word in pair]
            names = keys.presence(channel), keys.presence_at(channel, gateway)
            commands.append(pack(("EVAL", _MEMBERS, 2, *names, int(replace), keys.CHANNEL_TTL, *words)))
        found: list[Change | RedisError] = []
        for reply in await redis.send_all(commands):
            if isinstance(reply, ConnectionLost):
                raise reply
            found.append(reply if isinstance(reply, RedisError) else _change(*reply))
        return found


def _change(before: int, after: int, version: int, come: list[bytes], gone: list[bytes]) -> Change:
    return Change(before, after, version, [name.decode() for name in come], [name.decode() for name in gone])
