"""What an outage does where Redis forgets its last second: what clients were given is in the history no more.

Publishers bring it again as soon as they are back, which the subscription knows and lets go. Until then only the ring
has it; and afterwards it stands elsewhere in the history, between events that are new. So who has the history up to
some entry of that time has not the same as who was given that entry here.
"""

import asyncio
from collections.abc import Iterable

from fanout import keys
from fanout.connection import pack
from fanout.message import source_of
from fanout.position import Position
from fanout.subscription import Subscription
from gateway.frames import Frame
from gateway.ring import RING_FRAMES, Ring

REPLAYED_WITHIN = 60.0
"""Seconds after an outage in which publishers send again what Redis has lost."""


class Rollback:
    """The last outage of a channel's subscription. To be told of each batch before it goes into the ring."""

    def __init__(self, channel: str, subscription: Subscription, ring: Ring) -> None:
        self._channel, self._subscription, self._ring = channel, subscription, ring
        self._reconnects = -1
        self._place = 0
        self._until = 0.0
        self._whole = True
        self._unsure: dict[str, None] = {}

    def notice(self) -> None:
        """Notes where in the ring the last outage was."""
        if self._subscription.reconnects != self._reconnects:
            self._reconnects = self._subscription.reconnects
            self._place = self._ring.end
            self._until = asyncio.get_running_loop().time() + REPLAYED_WITHIN if self._ring.end else 0.0
            self._whole = False

    def unsure(self, at: Position) -> bool:
        """Whether a client that comes with that position may have it out of the history, not in the ring's order."""
        return at.streamid in self._unsure

    def read(self, found: Iterable[Position], *, end: bool) -> None:
        """Notes that a client was given these out of the history; `end`: it has no more.

        Only what others are given in another order matters: what came since an outage, or is about to come.
        """
        self.notice()
        if asyncio.get_running_loop().time() > self._until:
            return
        for at in found:
            place = self._ring.after(at.streamid)
            if (place or 0) > self._place or (place is None and end):
                self._unsure[at.streamid] = None
        while len(self._unsure) > RING_FRAMES:
            del self._unsure[next(iter(self._unsure))]

    async def missing(self) -> list[tuple[int, Frame]]:
        """What clients were given before the outage, Redis lost in it, and publishers have not sent again yet.

        Each with its place in the ring.

        Raises:
            ConnectionLost, RedisError: Redis cannot be asked.
        """
        self.notice()
        redis = self._subscription.redis
        if self._whole or redis is None or asyncio.get_running_loop().time() > self._until:
            return []
        reconnects = self._reconnects
        given = list(enumerate(self._ring.frames(self._ring.start, self._place), self._ring.start))
        latest = {
            frame.source: (frame.position.streamid, int(frame.id))
            for _, frame in given
            if frame.position and self._ours(frame)
        }
        asked = [
            redis.send(
                pack(("GET", keys.producer(self._channel, source.rpartition("/")[2]))),
                pack(("XRANGE", keys.history(self._channel), streamid, streamid)),
            )
            for source, (streamid, _) in latest.items()
        ]
        held: dict[str, int] = {}
        for (source, (_, seq)), (last, entry) in zip(latest.items(), asked, strict=True):
            accepted = int(await last or 0)
            if accepted < seq and not await entry:
                held[source] = accepted
        self._whole = not held and reconnects == self._subscription.reconnects
        return [one for one in given if one[1].source in held and int(one[1].id) > held[one[1].source]]

    def _ours(self, frame: Frame) -> bool:
        """Whether a Fanout publisher made it, who sends again what Redis loses."""
        producer = frame.source.rpartition("/")[2]
        return frame.id.isdecimal() and frame.source == source_of(self._channel, producer)
