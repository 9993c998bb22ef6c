"""A client's way from where it was to what comes now: out of the ring where that knows its place, else by the history.

As everywhere, nothing is concluded from the order of IDs: a history that has the client's entry agrees with what the
client has up to there; one that has it no more was trimmed or rolled back, and is read from its first entry on.
"""

import asyncio

from redis.exceptions import RedisError

from fanout.backoff import refusal
from fanout.connection import parse_info
from fanout.errors import ConnectionLost, RefusedByRedis
from fanout.history import Entry, History, entries
from fanout.position import ORIGIN, Position
from fanout.start import at_age
from gateway import frames
from gateway.client import PIECE, Client
from gateway.hub import Hub
from gateway.since import NOW, Since

FIRST_PAGE = 16
LARGEST_PAGE = 500
RING_PAGE = 100
READ_AT_ONCE = 16
JOIN_WITHIN = 5.0
LOOK_EVERY = 0.05
AGAIN_AFTER = 0.2

_reading = asyncio.Semaphore(READ_AT_ONCE)


async def follow(client: Client, hub: Hub, since: Since) -> None:
    """Gives a client what came on a channel since then, and what comes; never returns.

    Raises:
        RefusedByRedis: the channel may not be read.
    """
    try:
        await hub.ready()
        if since != NOW and hub.subscription.what.history:
            await _CatchUp(client, hub).run(since)
        elif since != NOW:  # without a history nobody can tell what there was
            await client.give([frames.gone(hub.channel, 0, exact=False)])
        if since == NOW and hub.position:  # so that it misses nothing if it is cut off before its first message
            client.write(client.form([frames.Frame("", b"", hub.position)]))
        hub.clients.add(client)
        await asyncio.shield(hub.ended)
    finally:
        hub.clients.discard(client)


class _CatchUp:
    """`at` is the position up to which the client has been given everything."""

    def __init__(self, client: Client, hub: Hub) -> None:
        self._client, self._hub, self._channel = client, hub, hub.channel
        self._count = FIRST_PAGE
        self.at = ORIGIN

    @property
    def _history(self) -> History:
        if self._hub.subscription.redis is None:
            raise ConnectionLost("Redis is away")
        return History(self._hub.subscription.redis)

    async def run(self, since: Since) -> None:
        """Returns when the client has all that the hub has given to others, in the same turn of the loop."""
        at = since if isinstance(since, Position) else None
        while True:
            try:
                if at is None:
                    assert not isinstance(since, Position)
                    at = await at_age(self._channel, since, self._history)
                self.at = at
                place = self._hub.known(at)
                if place is None:
                    place = await self._by_history()
                if await self._by_ring(place):
                    return
            except (ConnectionLost, RedisError) as error:
                if refusal(error):
                    raise RefusedByRedis(f"Redis refuses: {error}") from None
                await asyncio.sleep(AGAIN_AFTER)
                await self._hub.ready()
            at = self.at if at else None

    async def _by_ring(self, place: int) -> bool:
        """Gives what the ring has from that place on; False if it no longer has what comes next."""
        ring = self._hub.ring
        while place < ring.end:
            if place < ring.start:
                return False
            page = ring.frames(place, place + RING_PAGE)
            await self._client.give([frame.caught_up() for frame in page])
            self.at = next((frame.position for frame in reversed(page) if frame.position), self.at)
            place += len(page)
        return True

    async def _by_history(self) -> int:
        """Gives what follows in the history, to its end; returns the place in the ring where it goes on."""
        waited_since: float | None = None
        now = asyncio.get_running_loop().time
        while True:
            missing = await self._hub.rollback.missing()  # before the page: what is sent again between stands in that
            await self._client.room()
            async with _reading:
                page = entries(await self._history.page(self._channel, self.at.streamid, self._count))
            more = len(page) == self._count
            following = self._following(page)
            if following is None:
                if (place := self._hub.known(self.at)) is not None:  # an outage came between
                    return place
                if await self._begin_again():
                    continue
                following, more = [], False
            given = await self._give(following, end=not more)
            if more:
                continue
            if missing is not None and (place := self._hub.reached(self.at)) is not None:
                known = {(frame.source, frame.id) for frame in given}
                late = [frame for at, frame in missing if at < place and (frame.source, frame.id) not in known]
                await self._client.give([frame.late() for frame in late])
                return place
            if following or waited_since is None or missing is None:
                waited_since = now()
            elif now() - waited_since > JOIN_WITHIN:
                self._client.abort("the history has what did not arrive by Pub/Sub")
            await asyncio.sleep(LOOK_EVERY)

    def _following(self, page: list[Entry]) -> list[Entry] | None:
        """What follows our position, in a page that was read from there on; None if the history does not have that."""
        at = self.at
        if page and page[0].streamid == at.streamid:
            return page[1:]
        if page and at.streamid == ORIGIN.streamid and page[0].streamseq == at.streamseq + 1:
            return page
        return None

    async def _begin_again(self) -> bool:
        """Goes to the first entry that is retained, and tells the client what is gone; False if nothing follows."""
        at = self.at
        end = (await self._history.end(self._channel)).last  # before the first entry: one that comes between is found
        if at.streamid == end.streamid:  # its entry is trimmed, but it is the last
            return False
        first = entries(await self._history.page(self._channel, "-", 1))
        self.at = Position(ORIGIN.streamid, first[0].streamseq - 1) if first else end
        count = self.at.streamseq - at.streamseq
        exact = count >= 0 and await self._one_server_since(at)
        if count or not exact:
            await self._client.give([frames.gone(self._channel, max(0, count), exact=exact)])
        return True

    async def _one_server_since(self, at: Position) -> bool:
        """Whether the same server has kept the history since that entry came: then nothing was rolled back."""
        info = parse_info(await self._history.redis.call("INFO"))
        started = int(info["server_time_usec"]) // 1000 - (int(info["uptime_in_seconds"]) + 1) * 1000
        promoted = info.get("master_replid2", "").strip("0") or info.get("role") != "master"
        return not promoted and int(at.streamid.partition("-")[0]) > started

    async def _give(self, page: list[Entry], *, end: bool) -> list[frames.Frame]:
        found = [frame for entry in page if (frame := frames.of_entry(self._channel, entry))]
        self._hub.rollback.read((frame.position for frame in found if frame.position), end=end)
        await self._client.give(found)
        for streamid, streamseq, _ in page:
            self.at = Position(streamid, streamseq or self.at.streamseq + 1)
        if page:
            size = sum(len(frame.data) for frame in found)
            self._count = max(FIRST_PAGE, min(LARGEST_PAGE, PIECE * len(page) // max(1, size)))
        return found
