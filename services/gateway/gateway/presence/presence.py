"""Shares with all gateways which clients are on which channels, and publishes who has come and who has gone.

Each gateway tells Redis of its own members, and every RENEW that it is alive. Whoever finds a gateway that is not
removes the members that it had. A member that is on a channel at two gateways comes and goes once.
"""

import asyncio
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from redis.exceptions import RedisError

from fanout import Publisher, Subscription
from fanout._redis.retry import cause, of_channel
from fanout.errors import ConnectionLost, FanoutError
from fanout.keys import MAX_CHANNEL
from fanout.service.http_body import Refused
from fanout.service.login.grant import PRESENCE
from gateway.presence.local import LocalMembers
from gateway.presence.store import Change, Store, Update

ANONYMOUS = "anonymous"
"""The member that clients without a token are."""
SHOWN = 1000
"""Of a channel with more members, only their number is told."""
RENEW, DEAD_AFTER = 5.0, 15.0
LEAVE_AFTER = 2.0
"""Seconds for which a client may be gone before it counts as gone: a page that is loaded again comes back."""
GATHER = 0.1
"""Seconds for which changes are gathered, so that many at once make few events."""
AT_ONCE = 200
AGAIN_AFTER = 0.5


class Presence:
    """The presence of clients on channels, as this gateway sees and shares it."""

    def __init__(self, publisher: Publisher, subscription: Subscription, instance: str) -> None:
        self._publisher, self._subscription = publisher, subscription
        self._store = Store(f"{instance}:{secrets.token_hex(4)}")
        self._local = LocalMembers()
        self._wake = asyncio.Event()
        self._shared_at = -1
        self._log = structlog.get_logger()

    @contextmanager
    def on(self, channels: Iterable[str], member: str) -> Iterator[None]:
        """Count a connection of a member on some channels while the block runs."""
        joined = list(channels)
        for channel in joined:
            self.join(channel, member)
        try:
            yield
        finally:
            for channel in joined:
                self.leave(channel, member)

    def join(self, channel: str, member: str) -> None:
        """Count one more connection of a member on a channel."""
        self._local.add(channel, member, 1)
        self._wake.set()

    def leave(self, channel: str, member: str) -> None:
        """Count one less, unless it comes back within LEAVE_AFTER."""
        asyncio.get_running_loop().call_later(LEAVE_AFTER, self._leave, channel, member)

    async def members(self, channel: str) -> dict[str, Any]:
        """Return who is on a channel.

        Raises:
            Refused: 503 Redis is away, or refuses.
        """
        try:
            found = await self._store.members(self._redis(), channel, SHOWN)
        except (ConnectionLost, RedisError) as error:
            raise Refused(503, f"who is on the channel is not known: {cause(error)}") from None
        members = [{"sub": name, "connections": number} for name, number in sorted(found.connections.items())]
        answer = {"channel": channel, "count": found.number, "version": found.version}
        return answer | ({"members": members} if found.number <= SHOWN else {})

    async def run(self) -> None:
        """Share what changes here, and clean up after gateways that have died; never return."""
        now = asyncio.get_running_loop().time
        renew_at = 0.0
        while True:
            try:
                async with asyncio.timeout_at(renew_at):
                    await self._wake.wait()
                await asyncio.sleep(GATHER)
            except TimeoutError:
                pass
            redis = self._subscription.redis
            try:
                if now() >= renew_at:
                    await self._renew()
                    renew_at = now() + RENEW
                self._wake.clear()
                await self._share()
            except (ConnectionLost, RedisError) as error:
                if redis:
                    self._log.warning("presence_not_shared", cause=cause(error))
                self._wake.set()
                await asyncio.sleep(AGAIN_AFTER)

    async def close(self) -> None:
        """Have the other gateways clean up soon, but not before clients have come back to one of them."""
        if redis := self._subscription.redis:
            try:
                async with asyncio.timeout(1):
                    await self._store.renew(redis, int(LEAVE_AFTER * 1000))
            except (TimeoutError, ConnectionLost, RedisError) as error:
                self._log.warning("presence_not_shared", cause=cause(error))

    async def _renew(self) -> None:
        redis = self._redis()
        dead = await self._store.renew(redis, int(DEAD_AFTER * 1000))
        for gateway in dead:
            while changes := await self._store.clean_up(redis, gateway, AT_ONCE):
                for channel, change in changes.items():
                    self._tell(channel, change)

    async def _share(self) -> None:
        if self._shared_at != (
            reconnects := self._subscription.reconnects
        ):  # the server may have lost what it was told
            known = await self._store.channels(self._redis())
            channels = [*self._local, *(channel for channel in known if channel not in self._local)]
            for at in range(0, len(channels), AT_ONCE):
                await self._update(
                    [Update(name, self._local.counts(name), replace=True) for name in channels[at : at + AT_ONCE]]
                )
            self._shared_at = reconnects  # only now: what failed is tried again
        while self._local.changed:
            changed = self._local.take_changed(AT_ONCE)
            await self._update([Update(name, counts, replace=False) for name, counts in changed.items()])

    async def _update(self, updates: list[Update]) -> None:
        try:
            changes = await self._store.update(self._redis(), updates)
        except (ConnectionLost, RedisError):
            for update in updates:
                self._local.give_back(update.channel, set(update.counts))
            raise
        refused: RedisError | None = None
        for update, change in zip(updates, changes, strict=True):
            if isinstance(change, Change):
                self._tell(update.channel, change)
            elif of_channel(change):
                self._log.error("presence_not_shared", channel=update.channel, cause=cause(change))
            else:  # the server accepts no writes at present
                self._local.give_back(update.channel, set(update.counts))
                refused = change
        if refused:
            raise refused
        await self._store.forget(self._redis(), [one.channel for one in updates if one.channel not in self._local])

    def _tell(self, channel: str, change: Change) -> None:
        """Publish what has changed on a channel."""
        state = {"count": change.after, "version": change.version}
        few = max(change.before, change.after) <= SHOWN
        for kind, members in (("joined", change.come), ("left", change.gone)):
            if members:
                self._publish(channel, kind, state | ({"members": members} if few else {}))
        if bool(change.before) != bool(change.after):
            self._publish(channel, "occupied" if change.after else "vacated", state)

    def _publish(self, channel: str, kind: str, data: dict[str, Any]) -> None:
        try:
            told = self._publisher.enqueue(channel + PRESENCE, data, type=kind)
            told.add_done_callback(lambda done: done.cancelled() or done.exception())
        except (FanoutError, ValueError) as error:
            self._log.error("presence_not_published", channel=channel, cause=cause(error))

    def _redis(self) -> Any:
        if (redis := self._subscription.redis) is None:
            raise ConnectionLost("Redis is away")
        return redis

    def _leave(self, channel: str, member: str) -> None:
        self._local.add(channel, member, -1)
        self._wake.set()


def check_presence(channel: str) -> None:
    """Check that a channel has presence.

    Raises:
        ValueError: it is itself the presence of a channel, or its name is too long.
    """
    if channel.endswith(PRESENCE):
        raise ValueError(f"{channel} is the presence of a channel, and has none itself")
    if len((channel + PRESENCE).encode()) > MAX_CHANNEL:
        raise ValueError(f"a channel with presence has a name of at most {MAX_CHANNEL - len(PRESENCE)} bytes")
