"""The one way to become whole: read the history from where we are, or from the newest place that it still knows.

As in Raft's log matching (Ongaro and Ousterhout, 2014): if the history has the entry at our position, it agrees with
what we have delivered up to there, and what follows is what we missed. If it has not, it was rolled back or trimmed,
and the newest checkpoint that it has takes the position's place. Nothing is concluded from the order of IDs.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

from fanout.history import Entry, History, entries
from fanout.inbox import Inbox
from fanout.message import Message, received
from fanout.position import ORIGIN, Position, Progress

PAGE_BYTES = 256 * 1024
FIRST_PAGE = 16
LARGEST_PAGE = 1000


@dataclass
class Outcome:
    """What a catch-up found. `lost` entries are gone, from `lost_from` on; `exact`: that count is certain."""

    recovered: int = 0
    duplicates: int = 0
    lost: int = 0
    lost_from: int = 0
    exact: bool = True
    server_changed: bool = False

    @property
    def name(self) -> str:
        """`recovered`, `partial` or `lost`; `nothing` where nothing was missing."""
        if self.lost:
            return "partial" if self.recovered else "lost"
        return "recovered" if self.recovered else "nothing"


class CatchUp:
    """Brings one channel up to the end of its history, page by page, as the inbox has room."""

    def __init__(self, progress: Progress, history: History, inbox: Inbox, outcome: Outcome) -> None:
        self._progress, self._history, self._inbox, self._outcome = progress, history, inbox, outcome
        self._count = FIRST_PAGE

    async def run(self) -> None:
        """Reads to the end of the history, and notes in the outcome what it finds.

        Raises:
            ConnectionLost, RedisError: it could not be read.
        """
        progress = self._progress
        replid = await self._history.replid()
        while True:
            self._replid = replid
            if progress.replid != replid:  # what was heard meanwhile may belong to a history that is gone
                progress.release()
                self._outcome.server_changed = True
            await self._read_to_the_end()
            replid = await self._history.replid()
            if replid == self._replid:
                progress.replid = replid
                return

    async def _read_to_the_end(self) -> None:
        progress = self._progress
        asked, count = self._ask(progress.position.streamid)
        while True:
            page = entries(await asked)
            at = progress.position
            if page and page[0].streamid == at.streamid:
                page = page[1:]
                count -= 1
            elif not (page and at.streamid == ORIGIN.streamid and page[0].streamseq == at.streamseq + 1):
                start = await self._find_common(page)
                if start is None:
                    return
                asked, count = self._ask(start)
                continue
            last = len(page) < count
            if not last:  # the server reads the next page while we deliver this one
                asked, count = self._ask(page[-1].streamid)
            await self._deliver(page)
            if last:
                return

    def _ask(self, start: str) -> tuple[asyncio.Future[list[Any]], int]:
        """A page and how many entries it may have."""
        return self._history.page(self._progress.channel, start, self._count), self._count

    async def _find_common(self, page: list[Entry]) -> str | None:
        """Moves the position to where history and we agree, and returns from where to read; None if nothing follows."""
        channel, progress = self._progress.channel, self._progress
        at = progress.position
        common = await self._history.newest_held(channel, [*progress.checkpoints, at])
        if common == at:  # its entry is trimmed, but it is the history's last: what the page has came meanwhile
            return at.streamid if page else None
        if common:
            progress.fell_back = True
            progress.position = common
            return common.streamid
        end = await self._history.end(channel)  # before looking for entries: one that comes between counts as found
        first = entries(await self._history.page(channel, "-", 1))
        if first:
            self._lose(first[0].streamseq - 1)
            progress.position = Position(ORIGIN.streamid, first[0].streamseq - 1)
            return ORIGIN.streamid
        self._lose(end.last.streamseq)
        progress.position = end.last
        return None

    def _lose(self, up_to: int) -> None:
        """Counts the entries from our position up to that streamseq as lost."""
        progress = self._progress
        behind = up_to - progress.position.streamseq
        if behind < 0:  # another history: how much of ours was in neither, nobody can tell
            progress.fell_back = True
        self._outcome.exact = self._outcome.exact and not progress.fell_back and progress.replid == self._replid
        if behind > 0:
            self._outcome.lost_from = self._outcome.lost_from or progress.position.streamseq + 1
            self._outcome.lost += behind

    async def _deliver(self, page: list[Entry]) -> None:
        progress, outcome = self._progress, self._outcome
        await self._inbox.room()
        fresh: list[Message] = []
        size = 0
        channel, first = progress.channel, progress.duplicates.first
        before, streamseq = progress.position
        for entry in page:
            previous, before = before, entry.streamid
            streamseq = entry.streamseq or streamseq + 1
            if entry.event is None:
                continue
            size += len(entry.event)
            message = received(channel, entry.event)
            if first(message.source, message.id) is False:
                outcome.duplicates += 1
                continue
            message.streamid, message.streamseq, message.streamprev = before, str(streamseq), previous
            message.catch_up = True
            fresh.append(message)
        progress.position = Position(before, streamseq)
        self._inbox.extend(fresh, size)
        outcome.recovered += len(fresh)
        if size:
            fitting = PAGE_BYTES * len(page) // size
            self._count = max(FIRST_PAGE, min(LARGEST_PAGE, self._count * 2, fitting))
