"""Compares the accepted probe messages with what each replica logged."""

import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from chaos.ledger import Accepted, Key, Ledger, Received
from logs.lines import Entry, mend, moment, parse
from logs.sources import ENDED

PERCENTILES = (50, 95, 99)
ID = re.compile(r"\d{1,18}", re.ASCII)
DATA = re.compile(r"report (?P<run>\S+) (?P<n>\d+) of \d+")


@dataclass(frozen=True)
class Order:
    """What to publish: `run` identifies this report, `rate` is in messages a second, `within` in seconds."""

    run: str
    channel: str
    count: int
    rate: float
    within: float


class Arrival(NamedTuple):
    received: Received
    latency_ms: float | None


@dataclass
class Heard:
    """What one replica logged.

    Attributes:
        arrivals: each arrival of each probe message.
        received: all arrivals, in order.
        failed: messages on which its handler raised.
        lives: how many processes it has had, the first one included.
        subscribed: when it first subscribed, if that was meanwhile.
        starting: whether its process has started and not subscribed yet.
        trouble: why it has no connection to Redis at the moment.
        ended: how its process ended, if it did.
    """

    arrivals: dict[Key, list[Arrival]] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)
    failed: set[Key] = field(default_factory=set)
    lives: int = 1
    subscribed: float | None = None
    starting: bool = False
    trouble: str = ""
    ended: str = ""


def hear(lines: Iterable[str], run: str, keys: Mapping[int, Key]) -> Heard:
    """Read a replica's log. `keys` holds `source` and `id` of the n-th message, as the API answered.

    A plain message has neither, and is recognised by its data.
    """
    heard = Heard()
    for line in (part for whole in lines for part in mend(whole)):
        if (entry := parse(line)) is None:
            heard.ended = line if line.startswith(ENDED) else heard.ended
            continue
        event = entry["event"]
        if event == "message_received":
            if key := _key(entry, run, keys):
                received = Received(moment(entry), key, heard.lives, entry.get("catch_up") is True)
                heard.received.append(received)
                heard.arrivals.setdefault(key, []).append(Arrival(received, entry.get("latency_ms")))
        elif event == "handler_failed":
            if key := _named(entry) or _key(entry, run, keys):
                heard.failed.add(key)
        elif event == "started":
            heard.lives += 1
            heard.starting, heard.ended = True, ""
        elif event == "subscribed":
            heard.subscribed = heard.subscribed or moment(entry)
            heard.starting, heard.trouble = False, ""
        elif event in ("connection_lost", "connect_failed"):
            heard.trouble = str(entry.get("cause", event))
    return heard


def _key(entry: Entry, run: str, keys: Mapping[int, Key]) -> Key | None:
    data = entry.get("data")
    match = DATA.match(data) if isinstance(data, str) else None
    if not match or match["run"] != run:
        return None
    n = int(match["n"])
    return _named(entry) if entry.get("source") else keys.get(n, ("", n))


def _named(entry: Entry) -> Key | None:
    source, number = entry.get("source"), str(entry.get("id"))
    return (source, int(number)) if source and ID.fullmatch(number) else None


@dataclass(frozen=True)
class Cell:
    """One message at one replica. `times` is how often it arrived: 0 if it is missing, None if it was not required."""

    times: int | None
    latency_ms: float | None = None
    caught_up: bool = False
    out_of_order: bool = False
    failed: bool = False


@dataclass(frozen=True)
class Row:
    """One replica, with the numbers of the messages that are `missing`, `duplicated` and so on.

    `failed` are those on which its handler raised, `repeated` those that arrived again after the replica itself had
    been killed, which is allowed. `latency_ms` holds p50, p95, p99 and max.
    """

    replica: str
    received: int
    missing: list[int]
    duplicated: list[int]
    out_of_order: list[int]
    failed: list[int]
    repeated: list[int]
    caught_up: int
    latency_ms: dict[str, float | None]
    note: str
    messages: dict[int, Cell]

    @property
    def ok(self) -> bool:
        return not self.wrong

    @property
    def wrong(self) -> set[int]:
        """The messages with any problem."""
        return {*self.missing, *self.duplicated, *self.out_of_order, *self.failed}


@dataclass(frozen=True)
class Result:
    """The whole report.

    Attributes:
        order: what was to be published.
        accepted: the accepted messages by number.
        failed: why not all messages were accepted.
        rows: a row for each replica.
        unanswered: how many messages were received although the API never answered that they were accepted.
        absent: replicas that did not run, and why.
    """

    order: Order
    accepted: Mapping[int, Accepted]
    failed: str
    rows: list[Row]
    unanswered: int
    absent: Mapping[str, str]

    @property
    def ok(self) -> bool:
        return len(self.accepted) == self.order.count and all(row.ok for row in self.rows)


def compare(
    accepted: Mapping[int, Accepted], heard: Mapping[str, Heard], later: Collection[str], notes: Mapping[str, str]
) -> tuple[list[Row], int]:
    """Return a row for each replica in `heard`, and how many messages were received that are not in `accepted`."""
    ledger = Ledger({"": list(accepted.values())}, {name: one.received for name, one in heard.items()})
    numbers = {event.key: n for n, event in accepted.items()}
    rows: list[Row] = []
    for name, one in heard.items():
        duplicated, disorder, repeated = (
            sorted(numbers[key] for _, key, replica in findings if replica == name and key in numbers)
            for findings in (ledger.duplicates, ledger.disorder, ledger.repeated)
        )
        lost = missing(accepted, one, later=name in later)
        failed = sorted(numbers[key] for key in one.failed & numbers.keys())
        gone, late, bad = set(lost), set(disorder), set(failed)
        messages = {
            n: _cell(one.arrivals.get(event.key), lost=n in gone, out_of_order=n in late, failed=n in bad)
            for n, event in accepted.items()
        }
        rows.append(
            Row(
                replica=name,
                received=sum(1 for cell in messages.values() if cell.times),
                missing=lost,
                duplicated=duplicated,
                out_of_order=disorder,
                failed=failed,
                repeated=repeated,
                caught_up=sum(cell.caught_up for cell in messages.values()),
                latency_ms=summary([cell.latency_ms for cell in messages.values()]),
                note=notes.get(name, ""),
                messages=messages,
            )
        )
    return rows, ledger.unconfirmed


def missing(accepted: Mapping[int, Accepted], heard: Heard, *, later: bool) -> list[int]:
    """Return what a replica lacks; one that joined later must have only what was sent after it had subscribed."""
    since = (heard.subscribed or math.inf) if later else 0.0
    return [n for n, event in accepted.items() if event.key not in heard.arrivals and event.at >= since]


def _cell(arrivals: list[Arrival] | None, *, lost: bool, out_of_order: bool, failed: bool) -> Cell:
    if not arrivals:
        return Cell(0 if lost else None)
    return Cell(len(arrivals), arrivals[0].latency_ms, arrivals[0].received.catch_up, out_of_order, failed)


def summary(latencies: Iterable[float | None]) -> dict[str, float | None]:
    """Return p50, p95 and p99, each the smallest latency that so many percent do not exceed, and max."""
    ordered = sorted(latency for latency in latencies if latency is not None)
    found = {f"p{p}": ordered[math.ceil(len(ordered) * p / 100) - 1] if ordered else None for p in PERCENTILES}
    return {**found, "max": ordered[-1] if ordered else None}
