"""Who received what: the probe messages that were accepted, against what each replica logged."""

import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from ledger import Accepted, Key, Ledger, Received
from log_lines import Entry, mend, moment, parse
from log_sources import ENDED

PERCENTILES = (50, 95, 99)
DATA = re.compile(r"report (?P<run>\S+) (?P<n>\d+) of \d+")


@dataclass(frozen=True)
class Order:
    """What is to be published: `run` tells it from other reports; `rate` is messages a second, `within` seconds."""

    run: str
    channel: str
    count: int
    rate: float
    within: float


class Came(NamedTuple):
    received: Received
    latency_ms: float | None


@dataclass
class Heard:
    """What one replica logged: the probe messages, by key, as often as they came.

    `subscribed`: when it first did, if that was meanwhile; `starting`: its process has begun and not yet subscribed.
    `trouble`: why it has no connection to Redis just now.
    `ended`: how its process did, where the log says so.
    """

    came: dict[Key, list[Came]] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)
    lives: int = 1
    subscribed: float | None = None
    starting: bool = False
    trouble: str = ""
    ended: str = ""


def hear(lines: Iterable[str], run: str, keys: Mapping[int, Key]) -> Heard:
    """Reads a replica's log. `keys`: what names the n-th message, `source` and `id` as the API answered.

    A plain message has neither, and is known by its data.
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
                heard.came.setdefault(key, []).append(Came(received, entry.get("latency_ms")))
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
    if entry.get("plain"):
        return keys.get(n, ("", n))
    return entry["source"], int(entry["id"])


@dataclass(frozen=True)
class Cell:
    """One message at one replica. `times`: how often it came; 0 is missing, None: it need not have come."""

    times: int | None
    latency_ms: float | None = None
    caught_up: bool = False
    out_of_order: bool = False


@dataclass(frozen=True)
class Row:
    """One replica. `missing`, `duplicated` and `out_of_order` are numbers of messages; `repeated` are those that came
    again after the replica itself had been killed, which is allowed. `latency_ms`: p50, p95, p99 and max.
    """

    replica: str
    received: int
    missing: list[int]
    duplicated: list[int]
    out_of_order: list[int]
    repeated: list[int]
    caught_up: int
    latency_ms: dict[str, float | None]
    note: str
    messages: dict[int, Cell]

    @property
    def well(self) -> bool:
        return not (self.missing or self.duplicated or self.out_of_order)


@dataclass(frozen=True)
class Result:
    """The whole report. `failed`: why not all messages were accepted. `unanswered`: how many were received although
    the publisher never answered that they are accepted. `absent`: replicas that did not run, and why.
    """

    order: Order
    accepted: Mapping[int, Accepted]
    failed: str
    rows: list[Row]
    unanswered: int
    absent: Mapping[str, str]

    @property
    def well(self) -> bool:
        return len(self.accepted) == self.order.count and all(row.well for row in self.rows)


def compare(
    accepted: Mapping[int, Accepted], heard: Mapping[str, Heard], later: Collection[str], notes: Mapping[str, str]
) -> tuple[list[Row], int]:
    """A row for each replica in `heard`, and how many messages were received that are not in `accepted`."""
    ledger = Ledger({"": list(accepted.values())}, {name: one.received for name, one in heard.items()})
    numbers = {event.key: n for n, event in accepted.items()}
    rows: list[Row] = []
    for name, one in heard.items():
        duplicated, disorder, repeated = (
            sorted(numbers[key] for _, key, replica in findings if replica == name and key in numbers)
            for findings in (ledger.duplicates, ledger.disorder, ledger.repeated)
        )
        lost = missing(accepted, one, later=name in later)
        gone, late = set(lost), set(disorder)
        messages = {n: _cell(one.came.get(event.key), n in gone, n in late) for n, event in accepted.items()}
        rows.append(
            Row(
                replica=name,
                received=sum(1 for cell in messages.values() if cell.times),
                missing=lost,
                duplicated=duplicated,
                out_of_order=disorder,
                repeated=repeated,
                caught_up=sum(cell.caught_up for cell in messages.values()),
                latency_ms=summary([cell.latency_ms for cell in messages.values()]),
                note=notes.get(name, ""),
                messages=messages,
            )
        )
    return rows, ledger.unconfirmed


def missing(accepted: Mapping[int, Accepted], heard: Heard, *, later: bool) -> list[int]:
    """What a replica has not received. Who came later must have what was sent after it had subscribed; what was sent
    before, it may have or not.
    """
    since = (heard.subscribed or math.inf) if later else 0.0
    return [n for n, event in accepted.items() if event.key not in heard.came and event.at >= since]


def _cell(came: list[Came] | None, lost: bool, out_of_order: bool) -> Cell:
    if not came:
        return Cell(0 if lost else None)
    return Cell(len(came), came[0].latency_ms, came[0].received.catch_up, out_of_order)


def summary(latencies: Iterable[float | None]) -> dict[str, float | None]:
    """p50, p95 and p99, each the smallest that so many percent do not exceed, and the largest; None without any."""
    ordered = sorted(latency for latency in latencies if latency is not None)
    found = {f"p{p}": ordered[math.ceil(len(ordered) * p / 100) - 1] if ordered else None for p in PERCENTILES}
    return {**found, "max": ordered[-1] if ordered else None}
