"""Where a subscriber begins in a channel that it has no record of."""

import asyncio
from collections.abc import Sequence

from fanout._event.decode import received
from fanout._event.head import Head
from fanout._subscribe.cursor import CHECKPOINTS, ORIGIN, Cursor, Position
from fanout._subscribe.history import NO_HISTORY, Entry, History, read
from fanout._subscribe.record import Record
from fanout.settings import StartFrom

STARTS_AT_ONCE = 32
SEEN_MS = 10_000
SEEN_ENTRIES = 50_000
SEEN_PAGE = 128
SEEN_BYTES = 16 * 2**20


async def start_all(starts: Sequence[tuple[Cursor, StartFrom]], history: History) -> None:
    """Set cursors for their first start. What was published before their positions is not delivered.

    The entries just before a position become checkpoints, and their events count as delivered: after a rollback the
    server or a publisher may bring them again, though they are not new.
    """
    if not starts:
        return
    replid, now_ms = await history.replid(), await history.now_ms()
    heads = await history.heads([cursor.channel for cursor, _ in starts])
    slots = asyncio.Semaphore(STARTS_AT_ONCE)

    async def begin(cursor: Cursor, start_from: StartFrom, head: Head | None) -> None:
        async with slots:
            position = Position(head.streamid, head.streamseq) if head else await history.end(cursor.channel)
            old = int(position.streamid.partition("-")[0]) < now_ms - start_from.age * 1000
            if start_from.earliest or (start_from.age and not old):
                position = await at_age(cursor.channel, start_from, history)
            await _start(cursor, position, replid, history)

    begun = []
    for (cursor, start_from), head in zip(starts, heads, strict=True):
        if head == NO_HISTORY:
            cursor.resume(Record(position=ORIGIN, replid=replid))
        else:
            begun.append(begin(cursor, start_from, head))
    await asyncio.gather(*begun)


async def _start(cursor: Cursor, position: Position, replid: str, history: History) -> None:
    channel = cursor.channel
    seen = await _seen(channel, position, history)
    checkpoints: list[tuple[str, int]] = list(_spread(channel, position, seen))
    cursor.resume(Record(position=position, checkpoints=checkpoints, replid=replid))
    for entry in seen:
        if entry.wire is not None:
            last = received(channel, entry.wire, ours=True)[-1]  # they are one producer's, in order
            cursor.duplicates.first(*last.origin)


async def at_age(channel: str, start_from: StartFrom, history: History) -> Position:
    """Return the position just before the first entry that is no older than `start_from`, which is not `latest`."""
    since = "-" if start_from.earliest else str(max(0, await history.now_ms() - int(start_from.age * 1000)))
    end = await history.end(channel)  # asked before the entries, so that one that comes in between is found
    first = await read(history.page(channel, since, 1))
    if not first:
        return end
    before = await history.before(channel, f"({first[0].streamid}", 1)
    if before:
        return Position(before[0].streamid, before[0].streamseq or first[0].before(channel))
    return await history.first(channel) or end


async def _seen(channel: str, position: Position, history: History) -> list[Entry]:
    """Return the entries of the last SEEN_MS before a position, oldest first; bounded in number and bytes."""
    if position.streamid == ORIGIN.streamid:
        return []
    since = str(max(0, int(position.streamid.partition("-")[0]) - SEEN_MS))
    newest_first: list[Entry] = []
    end, size = position.streamid, 0
    while len(newest_first) < SEEN_ENTRIES and size < SEEN_BYTES:
        page = await history.before(channel, end, SEEN_PAGE, since)
        newest_first += reversed(page)
        size += sum(len(entry.wire or b"") for entry in page)
        if len(page) < SEEN_PAGE:
            break
        end = f"({page[0].streamid}"
    return newest_first[::-1]


def _spread(channel: str, last: Position, seen: list[Entry]) -> list[Position]:
    """Return at most CHECKPOINTS positions: the last, the oldest seen, and others spread evenly between them."""
    ours = [entry for entry in seen if entry.wire is not None]
    known = [ORIGIN] if ours and ours[0].before(channel) == 0 else []
    known += [Position(entry.streamid, entry.streamseq) for entry in ours]
    if not known or known[-1] != last:
        known.append(last)
    step = max(1, -(-len(known) // (CHECKPOINTS - 2)))
    return [known[0], *known[len(known) - 1 :: -step][::-1]] if step > 1 else known
