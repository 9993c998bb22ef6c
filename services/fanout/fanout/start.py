"""Where a subscriber begins in a channel that its name was never in before."""

from fanout.history import Entry, History, entries
from fanout.message import received
from fanout.position import CHECKPOINTS, ORIGIN, Position, Progress, Record
from fanout.settings import StartFrom

SEEN_MS = 10_000
SEEN_ENTRIES = 10_000


async def start(channel: str, start_from: StartFrom, history: History, limit: int) -> Progress:
    """The progress of a first start. Whatever was published before its position is not delivered."""
    replid = await history.replid()
    if start_from.earliest or start_from.age:
        position = await at_age(channel, start_from, history)
        return Progress(channel, Record(position=position, checkpoints=[position], replid=replid), limit)
    end = await history.end(channel)
    now = int(end.last.streamid.partition("-")[0])
    seen = await history.before(channel, end.last.streamid, SEEN_ENTRIES, str(max(0, now - SEEN_MS)))
    progress = Progress(channel, Record(position=end.last, checkpoints=_spread(end.last, seen), replid=replid), limit)
    for entry in seen:  # a rollback may make the server, or a publisher, bring these again: they are not new
        _note(progress, entry)
    return progress


async def at_age(channel: str, start_from: StartFrom, history: History) -> Position:
    """The position just before the first entry that is no older than `start_from` says: an age, or `earliest`."""
    since = "-" if start_from.earliest else str(max(0, await history.now_ms() - int(start_from.age * 1000)))
    end = await history.end(channel)  # before looking for entries: one that comes between counts as found
    first = entries(await history.page(channel, since, 1))
    if not first:
        return end.last
    before = await history.before(channel, f"({first[0].streamid}", 1)
    if before:
        return Position(before[0].streamid, before[0].streamseq)
    return Position(ORIGIN.streamid, first[0].streamseq - 1)


def _spread(last: Position, seen: list[Entry]) -> list[tuple[str, int]]:
    """The last position and others before it, evenly spread down to the oldest seen, at most CHECKPOINTS."""
    known: list[tuple[str, int]] = [ORIGIN] if seen and seen[0].streamseq == 1 else []
    known += [Position(entry.streamid, entry.streamseq) for entry in seen]
    if not known or known[-1] != last:
        known.append(last)
    step = max(1, -(-len(known) // (CHECKPOINTS - 2)))
    return [known[0], *known[len(known) - 1 :: -step][::-1]] if step > 1 else known


def _note(progress: Progress, entry: Entry) -> None:
    if entry.event is not None:
        message = received(progress.channel, entry.event)
        progress.duplicates.first(message.source, message.id)
