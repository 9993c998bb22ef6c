"""What `make top` shows: the last view of who is there, how old it is, and as a table that fits the terminal."""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fanout.presence import Replica
from presence_feed import Line
from status import ago, printable

STALE = 3.0
"""Seconds without news after which a row is dimmed; records are written twice a second, and read once."""
RETURN = 3.0
"""Seconds after an outage within which a replica that is not there may not have come back yet."""
COLOURS = {"live": "green", "catching_up": "yellow", "connecting": "red"}
AROUND = 5
"""Lines of the screen that are no rows."""


@dataclass
class Board:
    """What is known. `trouble` is what there is in place of news, `why` its reason, `since` its begin.

    Times are of the monotonic clock.
    """

    replicas: dict[str, Replica] = field(default_factory=dict)
    channels: dict[str, int] = field(default_factory=dict)
    known: bool = False
    trouble: str = ""
    why: str = ""
    since: float = 0.0
    _taken: float = 0.0
    _at: float = 0.0

    def take(self, line: Line) -> None:
        """There is news, or Redis could not be asked for it."""
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
        self.replicas, self.channels = found, line.view.channels
        self.known, self._taken, self._at = True, now, line.at

    def _lag(self, one: Replica, at: float, ends: dict[str, int]) -> int:
        """What a replica had not taken when it wrote its record; until it was read more may have been published."""
        share = 1 - min(1.0, one.age_s / max(one.age_s, at - self._at)) if self.known else 1.0
        behind = 0.0
        for channel, seq in one.channels.items():
            end = ends.get(channel, seq)
            before = self.channels.get(channel, end)
            behind += max(0.0, before + (end - before) * share - seq)
        return round(behind)

    def fail(self, trouble: str, why: str) -> None:
        """There is no news."""
        if not self.trouble:
            self.since = time.monotonic()
        self.trouble, self.why = trouble, why

    def age(self, replica: Replica) -> float:
        """Seconds since the replica wrote its record."""
        return replica.age_s + time.monotonic() - self._taken

    def ago(self, at: float | None) -> str:
        """How long a time of the replicas' clock is past."""
        return ago(max(0.0, self._at + time.monotonic() - self._taken - at)) if at else "-"

    def rows(self) -> list[Replica]:
        """The replicas, by service and name; fan-out-2 before fan-out-10."""
        return sorted(self.replicas.values(), key=lambda one: (one.service, len(one.instance), one.instance))


class Column(NamedTuple):
    """`least`: how wide the terminal must be for it; `style` of what it shows."""

    head: str
    least: int
    cell: Callable[[Board, Replica], str]
    style: Callable[[Replica], str] = lambda _: ""


def number(value: float | None) -> str:
    """A number as short as it makes sense: 0.4, 12.5, 1,234."""
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
    Column("duplicates", 0, lambda _, one: number(one.duplicates)),
    Column("last message", 72, lambda board, one: board.ago(one.last_message_at)),
)
CLIENTS = Column("clients", 0, lambda _, one: number(one.clients) if one.service == "gateway" else "-")


def screen(board: Board, width: int, height: int) -> RenderableType:
    """Everything, for a terminal of that size."""
    parts: list[RenderableType] = [_headline(board)]
    if board.channels:
        parts.append(_channels(board.channels, width))
    if board.replicas:
        parts += ["", *_table(board, width, max(1, height - AROUND))]
    elif board.trouble:
        parts.append(Text("\nThis view waits for it; make up starts it.", "dim"))
    elif board.known:
        parts.append(Text("\nNo replica is there.", "dim"))
    return Group(*parts)


def _headline(board: Board) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    if board.trouble:
        text.append(
            f"{board.trouble} ({ago(time.monotonic() - board.since)}): ", "bold red" if board.known else "yellow"
        )
        return text.append(printable(board.why))
    if not board.known:
        return text.append("Looking for the stack ...", "yellow")
    fresh = [one for one in board.rows() if board.age(one) <= STALE]
    out = sum((one.rate for one in fresh if one.service == "publisher"), 0.0)
    into = sum((one.rate for one in fresh if one.service != "publisher"), 0.0)
    there = Counter(one.service for one in fresh)
    text.append("Redis connected", "green")
    text.append(f"  published {number(out)}/s  received {number(into)}/s  ")
    return text.append(", ".join(f"{count} {service}{'s' * (count != 1)}" for service, count in there.items()), "bold")


def _channels(channels: dict[str, int], width: int) -> Text:
    """The channels and how many entries their histories have ever had, as many as fit."""
    shown = [f"{printable(name)} at {seq:,}" for name, seq in channels.items()]
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
    table = Table(box=None, padding=(0, 2 if width >= 120 else 1, 0, 0), pad_edge=False, header_style="bold underline")
    table.add_column("name", no_wrap=True, overflow="ellipsis", min_width=12)
    table.add_column("state", no_wrap=True)
    for column in columns:
        table.add_column(column.head if width >= 100 else column.head.split()[0], justify="right", no_wrap=True)
    prefix = _prefix(rows)
    for one in rows[:most]:
        table.add_row(*_cells(board, one, prefix, columns))
    yield table
    if len(rows) > most:
        yield Text(f"and {len(rows) - most:,} more, for which the window is too low", "dim")


def _cells(board: Board, one: Replica, prefix: str, columns: list[Column]) -> Iterable[Text]:
    age = board.age(one)
    stale = age > STALE
    name = one.instance.removeprefix(prefix)
    yield Text(printable(name if one.service in name else f"{one.service} {name}"), "dim" if stale else "bold")
    state = one.state.replace("_", " ")
    yield Text(f"{state} {ago(age)} ago" if stale else state, "dim" if stale else COLOURS.get(one.state, ""))
    for column in columns:
        yield Text(column.cell(board, one), "dim" if stale else column.style(one))


def _prefix(rows: list[Replica]) -> str:
    """The project's name with which Compose begins the names of all replicas."""
    found = {one.instance.partition(one.service)[0] if one.service in one.instance else "" for one in rows}
    return found.pop() if len(found) == 1 else ""
