"""Brings a client from where it was to what arrives now: from the ring if that has its place, else from the history.

As everywhere, nothing is concluded from the order of IDs. A history that has the client's entry agrees with what the
client has up to there. If it does not have the entry, it was trimmed or rolled back, and is read from its first entry.
"""

import asyncio

from redis.exceptions import RedisError

from fanout._redis.retry import refusal
from fanout._redis.server_checks import parse_info
from fanout._subscribe.cursor import ORIGIN, Position
from fanout._subscribe.history import Entry, History, entries
from fanout._subscribe.start import at_age
from fanout.errors import ConnectionLost, RefusedByRedis
from fanout.settings import StartFrom
from gateway import frames
from gateway.budget import pages
from gateway.client import PIECE, UNSENT, Client
from gateway.hub import Hub
from gateway.since import EventId

FIRST_PAGE = 16
SMALLEST_PAGE = 4
LARGEST_PAGE = 250
PAGE_BYTES = 4 * PIECE
RING_PAGE = 100
SHARE = PAGE_BYTES + 2 * PIECE + UNSENT
"""Bytes that a client needs while it catches up: what was read for it, and what waits for it here and in the kernel."""
JOIN_WITHIN = 5.0
LOOK_EVERY = 0.05
AGAIN_AFTER = 0.2
CLOCKS_DIFFER = 0.1
"""Seconds that are added to the age that a client asks for, since the server answers a little later than we ask."""


class CatchUp:
    """The catch-up of one client with one channel."""

    def __init__(self, client: Client, hub: Hub) -> None:
        self._client, self._hub, self._channel = client, hub, hub.channel
        self._count = FIRST_PAGE
        self._id = EventId(ORIGIN)
        self._read_to = ORIGIN

    @property
    def at(self) -> Position:
        """The position up to which the client has been given everything."""
        return self._id.position

    @property
    def _history(self) -> History:
        if self._hub.error:
            raise self._hub.error
        redis = self._hub.shared.subscription.redis
        if redis is None:
            raise ConnectionLost("Redis is away")
        return History(redis)

    async def run(self, since: EventId | StartFrom, asked: float) -> None:
        """Return when the client has all that the hub has given to others; the caller goes on before more is given."""
        at = since if isinstance(since, EventId) else None
        while True:
            try:
                self._id = at = at or await self._begin(since, asked)
                place = self._hub.known(self._id)
                if place is None:
                    place = await self._by_history()
                if await self._by_ring(place):
                    return
            except (ConnectionLost, RedisError) as error:
                if refusal(error):
                    raise RefusedByRedis(f"Redis refuses: {error}") from None
                await asyncio.sleep(AGAIN_AFTER)
                await self._hub.live()
            at = self._id if at else None

    async def _begin(self, since: EventId | StartFrom, asked: float) -> EventId:
        """Return where a client begins that wants what was published since some time before it asked."""
        assert isinstance(since, StartFrom)
        if not since.earliest:
            since = StartFrom(earliest=False, age=since.age + asyncio.get_running_loop().time() - asked + CLOCKS_DIFFER)
        return EventId(await at_age(self._channel, since, self._history))

    async def _by_ring(self, place: int) -> bool:
        """Send what the ring has from that place on; return False if it no longer has what comes next."""
        while True:
            await self._client.room(0)
            ring = self._hub.ring
            if place >= ring.end:
                return True
            if place < ring.start:
                return False
            page = next(frames.pieces(ring.frames(place, place + RING_PAGE), PAGE_BYTES))
            last = next((frame.position for frame in reversed(page) if frame.position), self.at)
            place += len(page)
            data = self._client.encode([frame.caught_up() for frame in page])
            del page  # no frame is kept while the client reads: many small objects weigh more than their bytes
            await self._client.give(data)
            self._id = EventId(last, self._hub.ring_name)

    async def _by_history(self) -> int:
        """Send what follows in the history, to its end; return the place in the ring where the client continues."""
        waited_since: float | None = None
        now = asyncio.get_running_loop().time
        while True:
            missing = await self._hub.missing()  # before the page, which has what is sent again in between
            following, more = await self._page()
            if following is None:
                if (place := self._hub.known(self._id)) is not None:  # an outage came between
                    return place
                if await self._begin_again():
                    continue
                following, more = [], False
            nothing = not following
            known = {(frame.source, frame.id) for frame in following} if missing else set()
            data = self._client.encode(following)
            del following
            await self._client.give(data)
            self._id = EventId(self._read_to)
            if more:
                continue
            if missing is not None and (place := self._hub.reached(self.at)) is not None:
                late = [frame for at, frame in missing if at < place and (frame.source, frame.id) not in known]
                await self._client.give(self._client.encode([frame.late() for frame in late]))
                return place
            if not nothing or waited_since is None or missing is None:
                waited_since = now()
            elif (late := now()) - waited_since > JOIN_WITHIN:
                await self._hub.live()  # at once, unless the channel itself has still to catch up after an outage
                if now() - late < LOOK_EVERY:
                    self._client.abort("the history has what did not arrive by Pub/Sub")
                waited_since = now()
            await asyncio.sleep(LOOK_EVERY)

    async def _page(self) -> tuple[list[frames.Frame] | None, bool]:
        """Read what follows our position.

        Returns:
            The frames, or None if the history lacks the position; and whether there may be more.
        """
        await self._client.room(PIECE)
        self._read_to = self.at
        count = self._count
        async with pages.reserve(count * self._hub.shared.largest_message):
            page = entries(await self._history.page(self._channel, self.at.streamid, count))
        more = len(page) == count
        fitting = _fitting(page)
        self._count = max(SMALLEST_PAGE, min(LARGEST_PAGE, count * 2, fitting))
        following = self._following(page[:fitting])
        if following is None:
            return None, False
        for entry in page[:fitting]:
            self._read_to = Position(entry.streamid, entry.streamseq or self._read_to.streamseq)
        return following, more or fitting < len(page)

    def _following(self, page: list[Entry]) -> list[frames.Frame] | None:
        """Return what follows our position in a page that begins there; None if the history lacks the position.

        The position may be within an entry, if the client has only some of its events.
        """
        at, channel = self.at, self._channel
        ours = next((entry for entry in page if entry.wire is not None), None)
        begins = at.streamid == ORIGIN.streamid and (ours is None or ours.before(channel) == at.streamseq)
        if not (page and (page[0].streamid == at.streamid or begins)):
            return None
        has = frames.of_entry(channel, page[0], at.streamseq if page[0].streamid == at.streamid else 0)
        return has + [frame for entry in page[1:] for frame in frames.of_entry(channel, entry)]

    async def _begin_again(self) -> bool:
        """Move to the first entry retained, and tell the client what is gone; return False if nothing follows."""
        at = self.at
        end = await self._history.end(self._channel)  # asked before the entries, so that a new one is found
        if at == end:  # its entry is trimmed, but was the last
            return False
        self._id = EventId(await self._history.first(self._channel) or end)
        count = self.at.streamseq - at.streamseq
        exact = count >= 0 and await self._one_server_since(at)
        if count or not exact:
            await self._client.give(self._client.encode([frames.gone(self._channel, max(0, count), exact=exact)]))
        return True

    async def _one_server_since(self, at: Position) -> bool:
        """Return whether one server has had the history since that entry, without restarts: nothing was rolled back."""
        info = parse_info(await self._history.redis.call("INFO"))
        started = int(info["server_time_usec"]) // 1000 - (int(info["uptime_in_seconds"]) + 1) * 1000
        promoted = info.get("master_replid2", "").strip("0") or info.get("role") != "master"
        return not promoted and int(at.streamid.partition("-")[0]) > started


def _fitting(page: list[Entry]) -> int:
    """Return how many entries fit into PAGE_BYTES, judging by this page; at least 2, since the client has the first."""
    size = 0
    for number, entry in enumerate(page):
        size += len(entry.wire or b"")
        if size > PAGE_BYTES:
            return max(2, number)
    return PAGE_BYTES * len(page) // max(1, size)
