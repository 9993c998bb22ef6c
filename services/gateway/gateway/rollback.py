"""Handles a rollback: after a crash Redis may have lost its last second, which clients were already sent.

Publishers send those events again when they are back, and the subscription drops them as duplicates. Until then only
the ring holds them. Afterwards they are at another place in the history, among new events. So "everything up to this
entry" means one thing in the ring and another in the history.

Therefore IDs of that time carry a mark, the name of the ring. A client that comes back with the mark continues in the
ring. One that comes without it, or with another gateway's mark, continues in the history after its entry. What follows
there is everything that it can lack: whoever was sent that entry from a ring also has all that the history has before.
"""

import asyncio
import contextlib
import re
import secrets
from collections.abc import Iterable

from redis.exceptions import RedisError

from fanout import Subscription, keys
from fanout._redis.commands import Commands
from fanout._redis.connection import pack
from fanout._subscribe.cursor import Position
from fanout._subscribe.history import entries
from fanout.errors import ConnectionLost
from fanout.message import source_of
from gateway.frames import Frame
from gateway.ring import Ring

PRODUCERS = 10_000
REPLAYED_WITHIN = 60.0
"""Seconds after an outage for which clients wait for publishers to send again what neither Redis nor the ring has."""
GIVEN_UP_AFTER = 3600.0
"""Seconds after an outage during which publishers are expected to come back and send again."""
FIRST_ASKED, SELDOM_ASKED = 0.5, 60.0

_seq = re.compile(r"\d{1,18}", re.ASCII).fullmatch


class Rollback:
    """The last outage of a channel's subscription. `notice` must be called before a batch is added to the ring.

    Attributes:
        mark: the ring's random name, which IDs carry while the rollback is open.
        open: whether events lost in the outage may still have to be sent again.
    """

    def __init__(self, channel: str, subscription: Subscription, ring: Ring) -> None:
        self._channel, self._subscription, self._ring = channel, subscription, ring
        self.mark = secrets.token_hex(4)
        self.open = False
        self._opened_at = self._ask_at = 0.0
        self._wait = FIRST_ASKED
        self._reconnects = subscription.reconnects
        self._from = self._to = 0  # between these places the ring and the history may have different orders
        self._until = 0.0
        self._settled_with: int | None = None
        self._latest: dict[str, tuple[str, str]] = {}

    def notice(self) -> bool:
        """Note where in the ring the last outage was; return whether it was noted just now."""
        if self._subscription.reconnects == self._reconnects:
            return False
        self._reconnects = self._subscription.reconnects
        if not self._ring.end:
            return False
        if not self.open and self._to <= self._ring.start:
            self._from = self._ring.end
        now = asyncio.get_running_loop().time()
        self._until, self._opened_at = now + REPLAYED_WITHIN, now
        self._ask_at, self._wait = now + FIRST_ASKED, FIRST_ASKED
        self._settled_with = None
        self.open = True
        return True

    def settle(self, at: Position | None) -> None:
        """Note that clients have been sent everything up to `at`, which may end the rollback."""
        if self.open and at and self._settled_with is not None and at.streamseq >= self._settled_with:
            self._close()

    def unsure(self, place: int) -> bool:
        """Return whether a client that has the history up to the frame before `place` may lack frames of the ring."""
        return self._from < place and (self.open or place <= self._to)

    def given(self, batch: Iterable[Frame]) -> None:
        """Note that clients are sent these frames; the last one of each source is remembered."""
        latest = self._latest
        for frame in batch:
            if frame.position:
                latest.pop(frame.source, None)
                latest[frame.source] = (frame.position.streamid, frame.id)
        while len(latest) > PRODUCERS:
            del latest[next(iter(latest))]

    async def missing(self) -> list[tuple[int, Frame]] | None:
        """Find the frames that clients were sent, Redis lost, and publishers have not sent again yet.

        Returns:
            Each frame with its place in the ring; None if the ring does not hold all of them, so that clients must wait
            for the publishers.

        Raises:
            ConnectionLost, RedisError: Redis did not answer.
        """
        self.notice()
        redis = self._subscription.redis
        if not self.open or self._settled_with is not None or redis is None:
            return []
        if asyncio.get_running_loop().time() > self._until:
            return []
        held = await self._ask(redis)
        ring = enumerate(self._ring.frames(self._ring.start, self._ring.end), self._ring.start)
        found = [
            (place, frame)
            for place, frame in ring
            if frame.source in held and _seq(frame.id) and int(frame.id) > held[frame.source][0]
        ]
        return found if len(found) >= sum(last - accepted for accepted, last in held.values()) else None

    async def look(self) -> bool:
        """Find out whether all events have been sent again, if it is time; return whether to look again later."""
        now = asyncio.get_running_loop().time()
        if self.open and now >= self._ask_at:
            self._wait = min(SELDOM_ASKED, self._wait * 2)
            self._ask_at = now + self._wait
            redis = self._subscription.redis
            if redis and self._settled_with is None:
                with contextlib.suppress(ConnectionLost, RedisError):
                    await self._ask(redis)
            if now - self._opened_at > GIVEN_UP_AFTER:
                self._close()
        return self.open

    async def _ask(self, redis: Commands) -> dict[str, tuple[int, int]]:
        """Find the sources whose events Redis lost; return for each the last seq that Redis has and that it had."""
        reconnects = self._reconnects
        latest = {source: last for source, last in self._latest.items() if _of_fanout(self._channel, source, last[1])}
        asked = redis.send(*(pack(("GET", self._producer_key(source))) for source in latest), self._ask_end())
        *accepted, end = await asyncio.gather(*asked)
        held: dict[str, tuple[int, int]] = {}
        for (source, (_, last)), reply in zip(latest.items(), accepted, strict=True):
            known = _seq((reply or b"").decode(errors="replace"))
            if int(known[0] if known else 0) < int(last):
                held[source] = (int(known[0] if known else 0), int(last))
        history = keys.history(self._channel)
        ids = [latest[source][0] for source in held]
        there = await asyncio.gather(*redis.send(*(pack(("XRANGE", history, one, one)) for one in ids)))
        held = {source: held[source] for source, entry in zip(list(held), there, strict=True) if not entry}
        if not held and reconnects == self._subscription.reconnects:
            self._settled_with = max((entry.streamseq for entry in entries(end)), default=0)
        return held

    def _close(self) -> None:
        self.open = False
        self._to = self._ring.end

    def _ask_end(self) -> bytes:
        """Return the query for the history's end. It is sent last, so that what the others found is before that end."""
        return pack(("XREVRANGE", keys.history(self._channel), "+", "-", "COUNT", 1))

    def _producer_key(self, source: str) -> str:
        return keys.producer(self._channel, source.rpartition("/")[2])


def _of_fanout(channel: str, source: str, seq: str) -> bool:
    """Return whether an event is from a Fanout publisher, which sends again what Redis loses."""
    return bool(_seq(seq)) and source == source_of(channel, source.rpartition("/")[2])
