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

PRODUCERS = 10_000
REPLAYED_WITHIN = 60.0
"""Seconds after an outage in which publishers send again what Redis has lost."""


class Rollback:
    """The last outage of a channel's subscription. `notice` is called before a batch goes into the ring."""

    def __init__(self, channel: str, subscription: Subscription, ring: Ring) -> None:
        self._channel, self._subscription, self._ring = channel, subscription, ring
        self._reconnects = -1
        self._place = 0
        self._until = 0.0
        self._whole = True
        self._unsure: dict[str, None] = {}
        self._latest: dict[str, Frame] = {}

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

    def given(self, batch: Iterable[Frame]) -> None:
        """Notes what clients are given."""
        latest = self._latest
        for frame in batch:
            if frame.position:
                latest.pop(frame.source, None)
                latest[frame.source] = frame
        while len(latest) > PRODUCERS:
            del latest[next(iter(latest))]

    async def missing(self) -> list[tuple[int, Frame]] | None:
        """What clients were given, Redis lost in the outage, and publishers have not sent again yet.

        Each with its place in the ring; None if that has not all of it, so that only the publishers have.

        Raises:
            ConnectionLost, RedisError: Redis cannot be asked.
        """
        self.notice()
        redis = self._subscription.redis
        if self._whole or redis is None or asyncio.get_running_loop().time() > self._until:
            return []
        reconnects = self._reconnects
        latest = [(frame, frame.position.streamid) for frame in self._latest.values() if frame.position]
        latest = [(frame, streamid) for frame, streamid in latest if self._ours(frame)]
        asked = [
            redis.send(
                pack(("GET", keys.producer(self._channel, frame.source.rpartition("/")[2]))),
                pack(("XRANGE", keys.history(self._channel), streamid, streamid)),
            )
            for frame, streamid in latest
        ]
        held: dict[str, int] = {}
        lost = 0
        for (frame, _), (last, entry) in zip(latest, asked, strict=True):
            accepted = int(await last or 0)
            if accepted < int(frame.id) and not await entry:
                held[frame.source] = accepted
                lost += int(frame.id) - accepted
        self._whole = not held and reconnects == self._subscription.reconnects
        ring = enumerate(self._ring.frames(self._ring.start, self._ring.end), self._ring.start)
        found = [one for one in ring if one[1].source in held and int(one[1].id) > held[one[1].source]] if held else []
        return found if len(found) >= lost else None

    def _ours(self, frame: Frame) -> bool:
        """Whether a Fanout publisher made it, who sends again what Redis loses."""
        producer = frame.source.rpartition("/")[2]
        return frame.id.isdecimal() and frame.source == source_of(self._channel, producer)
