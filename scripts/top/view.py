"""The screen of `make top`: the last view of all replicas with its age, as a table that fits the terminal."""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from rich.console import Group, RenderableType
from rich.text import Text

from fanout.cli.roster import Line
from fanout.cli.status import ago
from fanout.service.roster import Replica
from fanout.service.visible import escape
from run.table import table

STALE = 3.0
"""Age of a record in seconds from which its row is dimmed; records are written twice a second and read once."""
RETURN = 3.0
"""Seconds after an outage for which missing replicas stay on the screen, since they may not have reconnected yet."""
COLOURS = {"live": "green", "catching_up": "yellow", "connecting": "red"}
AROUND = 5
"""Lines of the screen that are not rows of the table."""


@dataclass
class Board:
    """The last view. Times are of the monotonic clock.

    Attributes:
        replicas: the replicas by name.
        channels: the last streamseq of each channel.
        strange: how many records of the roster are not Fanout's.
        known: whether there ever was a view.
        trouble: why there is no current view, in a few words.
        why: the cause of that.
        since: when it began or, if it is over, when it ended.
    """

    replicas: dict[str, Replica] = field(default_factory=dict)
    channels: dict[str, int] = field(default_factory=dict)
    strange: int = 0
    known: bool = False
    trouble: str = ""
    why: str = ""
    since: float = 0.0
    _taken: float = 0.0
    _at: float = 0.0

    def take(self, line: Line) -> None:
        """Take a line of the feed: a view, or the reason why Redis did not answer."""
        now = time.monotonic()
        if not line.view:
            self.fail("Redis is away", line.cause)
            return
        found = {one.instance: one for one in line.view.replicas}
        if self.trouble:
            self.trouble, self.since = "", now
        if self.known and now - self.since < RETURN:
            for one in self.replicas.values():
                one.age_s += now - self._taken
            found = self.replicas | found
        for one in line.view.replicas:
            if one.lag is not None and one.age_s <= STALE:
                one.lag = self._lag(one, line.at, line.view.channels)
        self.replicas, self.channels, self.strange = found, line.view.channels, line.view.strange
        self.known, self._taken, self._at = True, now, line.at

    def _lag(self, one: Replica, at: float, ends: dict[str, int]) -> int:
        """Estimate a replica's lag when it wrote its record: more may have been published until the record was read."""
        share = 1 - min(1.0, one.age_s / max(one.age_s, at - self._at)) if self.known else 1.0
        behind = 0.0
        for channel, seq in one.channels.items():
            end = ends.get(channel, seq)
            before = self.channels.get(channel, end)
            behind += max(0.0, before + (end - before) * share - seq)
        return round(behind)

    def fail(self, trouble: str, why: str) -> None:
        """Note that there is no view."""
        if not self.trouble:
            self.since = time.monotonic()
        self.trouble, self.why = trouble, why

    def age(self, replica: Replica) -> float:
        """Return the seconds since the replica wrote its record."""
        return replica.age_s + time.monotonic() - self._taken

    def ago(self, at: float | None) -> str:
        """Return how long ago a time of the replicas' clock was, as text."""
        return ago(max(0.0, self._at + time.monotonic() - self._taken - at)) if at else "-"

    def rows(self) -> list[Replica]:
        """Return the replicas, sorted by service and name; fan-out-2 before fan-out-10."""
        return sorted(self.replicas.values(), key=lambda one: (one.service, len(one.instance), one.instance))


class Column(NamedTuple):
    """A column of the table. `least` is the terminal width from which it is shown."""

    head: str
    least: int
    cell: Callable[[Board, Replica], str]
    style: Callable[[Replica], str] = lambda _: ""


def number(value: float | None) -> str:
    """Format a number with few digits: 0.4, 12.5, 1,234."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if isinstance(value, int) or abs(value) >= 100 else f"{value:.1f}"


COLUMNS = (
    Column("messages", 108, lambda _, one: number(one.received + one.accepted)),
    Column("rate/s", 0, lambda _, one: number(one.rate)),
    Column("lag", 0, lambda _, one: number(one.lag), lambda one: "yellow" if (one.lag or 0) > one.rate else ""),
    Column("p50 ms", 90, lambda _, one: number(one.latency_p50_ms)),
    Column("p99 ms", 0, lambda _, one: number(one.latency_p99_ms)),
    Column("waiting", 0, lambda _, one: number(one.waiting), lambda one: "yellow" if one.waiting > one.rate else ""),
    Column("reconnects", 96, lambda _, one: number(max(0, one.reconnects))),
    Column("lost", 0, lambda _, one: number(one.lost), lambda one: "bold red" if one.lost else ""),
    Column("failed", 0, lambda _, one: number(one.failed), lambda one: "bold red" if one.failed else ""),
    Column("duplicates", 0, lambda _, one: number(one.duplicates)),
    Column("last message", 72, lambda board, one: board.ago(one.last_message_at)),
)
CLIENTS = Column("clients", 0, lambda _, one: number(one.clients) if one.service == "gateway" else "-")


def screen(board: Board, width: int, height: int) -> RenderableType:
    """Return the whole screen for a terminal of that size."""
    parts: list[RenderableType] = [_headline(board)]
    if board.channels:
        parts.append(_channels(board.channels, width))
    if board.replicas:
        parts += ["", *_table(board, width, max(1, height - AROUND))]
    elif board.trouble:
        parts.append(Text("\nThis view waits for it; make up starts it.", "dim"))
    elif board.known:
        parts.append(Text("\nNo replica is running.", "dim"))
    return Group(*parts)


def _headline(board: Board) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    if board.trouble:
        text.append(
            f"{board.trouble} ({ago(time.monotonic() - board.since)}): ", "bold red" if board.known else "yellow"
        )
        return text.append(escape(board.why))
    if not board.known:
        return text.append("Looking for the stack ...", "yellow")
    fresh = [one for one in board.rows() if board.age(one) <= STALE]
    out = sum((one.rate for one in fresh if one.service == "publisher"), 0.0)
    into = sum((one.rate for one in fresh if one.service != "publisher"), 0.0)
    services = Counter(one.service for one in fresh)
    text.append("Redis connected", "green")
    text.append(f"  published {number(out)}/s  received {number(into)}/s  ")
    text.append(", ".join(f"{count} {service}{'s' * (count != 1)}" for service, count in services.items()), "bold")
    if board.strange:
        text.append(f"  {board.strange:,} records of the roster that are not Fanout's", "yellow")
    return text


def _channels(channels: dict[str, int], width: int) -> Text:
    """Return the channels with their last streamseq, as many as fit."""
    shown = [f"{escape(name)} at {seq:,}" for name, seq in channels.items()]
    some = len(shown)
    while some > 1 and len(_listed(shown, some)) > width:
        some -= 1
    return Text(_listed(shown, some), "cyan", no_wrap=True, overflow="ellipsis")


def _listed(shown: list[str], some: int) -> str:
    rest = len(shown) - some
    return "   ".join([*shown[:some], *([f"and {rest:,} more channels"] if rest else [])])


def _table(board: Board, width: int, most: int) -> Iterable[RenderableType]:
    rows = board.rows()
    columns = [column for column in COLUMNS if width >= column.least]
    if any(one.service == "gateway" for one in rows):
        columns.append(CLIENTS)
    prefix = _prefix(rows)
    head = ["name", "state", *(column.head if width >= 100 else column.head.split()[0] for column in columns)]
    cells = (list(_cells(board, one, prefix, columns)) for one in rows[:most])
    made = table(head, cells, left=(0, 1), style="bold underline", gap=2 if width >= 120 else 1)
    made.columns[0].overflow, made.columns[0].min_width = "ellipsis", 12
    yield made
    if len(rows) > most:
        yield Text(f"and {len(rows) - most:,} more; the window is too low for them", "dim")


def _cells(board: Board, one: Replica, prefix: str, columns: list[Column]) -> Iterable[Text]:
    age = board.age(one)
    stale = age > STALE
    name = one.instance.removeprefix(prefix)
    yield Text(escape(name if one.service in name else f"{one.service} {name}"), "dim" if stale else "bold")
    state = one.state.replace("_", " ")
    yield Text(f"{state} {ago(age)} ago" if stale else state, "dim" if stale else COLOURS.get(one.state, ""))
    for column in columns:
        yield Text(column.cell(board, one), "dim" if stale else column.style(one))


def _prefix(rows: list[Replica]) -> str:
    """Return the prefix of all replicas' names, which Compose takes from the project."""
    found = {one.instance.partition(one.service)[0] if one.service in one.instance else "" for one in rows}
    return found.pop() if len(found) == 1 else ""
