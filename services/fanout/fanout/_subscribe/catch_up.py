"""Catch-up: reads history from the last delivered position, or from the newest checkpoint that the history still has.

As in Raft's log matching (Ongaro and Ousterhout, 2014): if the history has the entry at our position, it agrees with
what we have delivered up to there, and we missed what follows. If it does not have the entry, it was rolled back or
trimmed, and we read from the newest checkpoint that it has. Nothing is concluded from the order of IDs.

A restarted server may bring back entries before our position that it had lost: its AOF ended within a transaction, and
later writes completed that. Then it has had more entries than its publishers know of, or the count of events does not
continue from ours. We read from the oldest checkpoint then. (In a simulation of such restarts, 16 % of the runs fail
without this.)
"""

import asyncio
from dataclasses import dataclass
from typing import Any

from fanout._event.decode import give_places
from fanout._subscribe.cursor import ORIGIN, Cursor, Position
from fanout._subscribe.history import Entry, History, read
from fanout._subscribe.inbox import Inbox
from fanout._subscribe.pages import Pages
from fanout.message import Message

PAGE_BYTES = 256 * 1024


@dataclass
class Outcome:
    """What a catch-up found.

    Attributes:
        recovered: how many missed events were delivered.
        duplicates: how many events had been delivered before.
        lost: how many events are gone.
        lost_from: the streamseq of the first event that is gone.
        exact: whether the count of lost events is certain.
        server_changed: whether the server has restarted or failed over since the last catch-up.
        complete: how many of the batches that are held back came before the history's end was read.
    """

    recovered: int = 0
    duplicates: int = 0
    lost: int = 0
    lost_from: int = 0
    exact: bool = True
    server_changed: bool = False
    complete: int = 0

    @property
    def name(self) -> str:
        """`recovered`, `partial` or `lost`; `nothing` if nothing was missing."""
        if self.lost:
            return "partial" if self.recovered else "lost"
        return "recovered" if self.recovered else "nothing"


class CatchUp:
    """Reads one channel to the end of its history, page by page, as the inbox has room."""

    def __init__(self, cursor: Cursor, history: History, inbox: Inbox, pages: Pages, outcome: Outcome) -> None:
        self._cursor, self._history, self._inbox, self._outcome = cursor, history, inbox, outcome
        self._pages = pages
        self._count = pages.smallest
        self._went_back = self._looked = False
        self._taken = 0

    async def run(self) -> None:
        """Read to the end of the history, and note in the outcome what was found.

        Raises:
            ConnectionLost, RedisError: it could not be read.
        """
        cursor = self._cursor
        identity = await self._history.identity(cursor.channel)
        while True:
            self._replid = identity.replid
            cursor.named(identity.streamname)
            self._went_back = self._looked = False
            if cursor.replid != self._replid:  # what was heard meanwhile may belong to a history that is gone
                cursor.release()
                self._outcome.server_changed = True
            try:
                await self._read_to_the_end()
            finally:
                self._pages.give_back(self._taken)
                self._taken = 0
            identity = await self._history.identity(cursor.channel)
            if cursor.left or identity == (self._replid, cursor.streamname):
                cursor.replid = self._replid
                return

    async def _read_to_the_end(self) -> None:
        cursor = self._cursor
        asked, count = await self._ask(cursor.position.streamid)
        while True:
            page = await read(asked)
            at = cursor.position
            full = count
            if page and page[0].streamid == at.streamid:
                page, full = page[1:], count - 1
            elif not (page and at.streamid == ORIGIN.streamid and self._begins_after(page, at)):
                self._give_back(count)
                start = await self._find_common(page)
                if start is None:
                    return
                asked, count = await self._ask(start)
                continue
            if not self._went_back and not (self._counts_on(page) and await self._nothing_came_back(at)):
                self._give_back(count)
                await self._go_back()
                asked, count = await self._ask(cursor.position.streamid)
                continue
            last = len(page) < full
            delivered, ahead = count, not last and self._pages.take(self._count)
            if ahead:  # the server reads the next page while we deliver this one
                asked, count = self._send(page[-1].streamid)
            await self._deliver(page)
            self._give_back(delivered)
            if last or cursor.left:
                return
            if not ahead:
                asked, count = await self._ask(cursor.position.streamid)

    async def _ask(self, start: str) -> tuple[asyncio.Future[list[Any]], int]:
        """Ask for a page as soon as there is room; return it, and how many entries it may have."""
        await self._pages.wait(self._count)
        return self._send(start)

    def _send(self, start: str) -> tuple[asyncio.Future[list[Any]], int]:
        self._taken += self._count
        self._outcome.complete = self._cursor.held_back
        return self._history.page(self._cursor.channel, start, self._count), self._count

    def _give_back(self, count: int) -> None:
        self._taken -= count
        self._pages.give_back(count)

    def _begins_after(self, page: list[Entry], at: Position) -> bool:
        ours = next((entry for entry in page if entry.wire is not None), None)
        return not ours or ours.before(self._cursor.channel) == at.streamseq

    async def _nothing_came_back(self, at: Position) -> bool:
        """Return whether a changed server has only entries that its publishers know of."""
        if self._looked or at.streamid == ORIGIN.streamid or not self._outcome.server_changed:
            return True
        self._looked = True
        return not (await self._history.has_others([self._cursor.channel]))[0]

    def _counts_on(self, page: list[Entry]) -> bool:
        """Return whether the count of events continues from our position to the end of the page that follows it."""
        streamseq = self._cursor.position.streamseq
        for entry in page:
            if entry.wire is not None:
                if entry.before(self._cursor.channel) != streamseq:
                    return False
                streamseq = entry.streamseq
        return True

    async def _go_back(self) -> None:
        """Move the position to the oldest checkpoint that the history holds, or before its first entry."""
        cursor = self._cursor
        held = await self._history.held(cursor.channel, list(cursor.checkpoints))
        self._went_back = cursor.fell_back = True
        if held and held[0] != cursor.position:
            cursor.position = held[0]
            return
        cursor.position = await self._history.first(cursor.channel) or cursor.position

    async def _find_common(self, page: list[Entry]) -> str | None:
        """Move the position to the last place where we agree with the history.

        Returns:
            The ID to read from; None if nothing follows.
        """
        channel, cursor = self._cursor.channel, self._cursor
        at = cursor.position
        self._outcome.complete = cursor.held_back
        held = await self._history.held(channel, [*cursor.checkpoints, at])
        common = held[-1] if held else None
        if common == at:  # its entry is trimmed, but was the history's last: the page has what came meanwhile
            return at.streamid if page else None
        if common:
            cursor.fell_back = True
            cursor.position = common
            return common.streamid
        end = await self._history.end(channel)  # asked before the entries, so that one that comes in between is found
        first = await self._history.first(channel)
        self._lose((first or end).streamseq)
        cursor.position = first or end
        return first and first.streamid

    def _lose(self, trimmed: int) -> None:
        """Count what is gone from a history that has none of our places and has lost its first `trimmed` events."""
        cursor = self._cursor
        behind = trimmed - cursor.position.streamseq
        if trimmed and (behind < 0 or (not behind and cursor.replid != self._replid)):
            # Another history, shorter than ours. Nobody can tell where they part, but it is after our oldest place.
            cursor.fell_back = True
            oldest = cursor.checkpoints[0] if cursor.checkpoints else ORIGIN
            lost, lost_from = max(1, trimmed - oldest.streamseq), max(1, min(trimmed, oldest.streamseq + 1))
        else:
            lost, lost_from = behind - cursor.ahead, cursor.position.streamseq + cursor.ahead + 1
            cursor.fell_back |= behind < 0
        self._outcome.exact = self._outcome.exact and not cursor.fell_back and cursor.replid == self._replid
        if lost > 0:
            self._outcome.lost_from = self._outcome.lost_from or lost_from
            self._outcome.lost += lost

    async def _deliver(self, page: list[Entry]) -> None:
        cursor, outcome = self._cursor, self._outcome
        await self._inbox.room()
        if cursor.left:
            return
        fresh: list[Message] = []
        size = 0
        channel, streamname, duplicates = cursor.channel, cursor.streamname, cursor.duplicates
        before, streamseq = cursor.position
        for entry in page:
            previous, before = before, entry.streamid
            if entry.wire is None:
                continue
            size += len(entry.wire)
            messages = entry.messages(channel)
            new = duplicates.new(messages)
            outcome.duplicates += len(messages) - len(new)
            streamseq = entry.streamseq
            give_places(messages, before, streamseq, previous, streamname)
            for message in new:
                message.catch_up = True
            fresh += new
        cursor.position = Position(before, streamseq)
        self._inbox.extend(fresh, size)
        outcome.recovered += len(fresh)
        if size:
            fitting = PAGE_BYTES * len(page) // size
            self._count = max(self._pages.smallest, min(self._pages.largest, self._count * 2, fitting))
