"""The ledger: compares the events that publishers logged as accepted with those that each subscriber logged.

An event is identified by its `source`, new for every publisher process, and its `id`, which counts 1, 2, 3 ... there.
A life of a subscriber begins with its `started` line. An event that arrives twice in one life is a duplicate; one that
arrives again in a later life is only repeated (delivery is at least once across a crash of the subscriber itself).
"""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from logs.lines import Entry, mend, moment, parse

Key = tuple[str, int]


class Accepted(NamedTuple):
    at: float
    key: Key


class Received(NamedTuple):
    at: float
    key: Key
    life: int
    catch_up: bool


class Finding(NamedTuple):
    """An event that was lost (`at` is when it was accepted) or arrived wrongly (`at` is when it arrived)."""

    at: float
    key: Key
    subscriber: str


@dataclass(frozen=True)
class Window:
    """The time of a fault, in seconds since 1970. `over` is None if it was not undone, or not all recovered in time.

    `publisher` is set if a publisher was hit: then only its messages count as a sign of recovery.
    """

    name: str
    kind: str
    began: float
    over: float | None
    publisher: str = ""


class Row(NamedTuple):
    """The result of one fault. `seconds` is the time from `over` until the last subscriber had a new message."""

    fault: str
    seconds: float | None
    caught_up: int
    lost: int
    duplicates: int
    repeated: int
    disorder: int


class Log:
    """The events in a container's log; `notes` counts lines above `info`, by cause, and messages reported as lost."""

    def __init__(self, lines: Iterable[str]) -> None:
        """Read the lines. Raises ValueError if messages precede the first start: then the log was rotated."""
        self.accepted: list[Accepted] = []
        self.received: list[Received] = []
        self.notes: Counter[str] = Counter()
        life = 0
        for entry in (parse(part) for line in lines for part in mend(line)):
            if entry is None:
                self.notes["unreadable"] += 1
                continue
            name = entry["event"]
            if name == "message_received" and entry.get("source"):
                if not life:
                    raise ValueError("a log begins after the start of its process; was it rotated?")
                self.received.append(Received(moment(entry), _key(entry), life, entry.get("catch_up") is True))
            elif name == "message_published":
                self.accepted.append(Accepted(moment(entry), _key(entry)))
            elif name == "started":
                life += 1
            elif name == "messages_lost":
                self.notes["messages reported lost"] += entry.get("count", 0)
            if entry["level"] != "info":
                self.notes[f"{name} ({cause})" if (cause := entry.get("cause")) else name] += 1


def _key(entry: Entry) -> Key:
    return entry["source"], int(entry["id"])


class Ledger:
    """The comparison of all publishers' accepted events with what each subscriber received.

    `unconfirmed` counts events that were received although no publisher was told that they were accepted (the reply
    was lost with the connection): nothing is promised for them.
    """

    def __init__(self, accepted: Mapping[str, Sequence[Accepted]], received: Mapping[str, Sequence[Received]]) -> None:
        self.accepted: dict[Key, tuple[float, str]] = {}
        for publisher, events in accepted.items():
            for event in events:
                self.accepted.setdefault(event.key, (event.at, publisher))
        self.received = received
        self.lost: list[Finding] = []
        self.duplicates: list[Finding] = []
        self.repeated: list[Finding] = []
        self.disorder: list[Finding] = []
        for name, arrivals in received.items():
            had = self._follow(name, arrivals)
            self.lost += [Finding(at, key, name) for key, (at, _) in self.accepted.items() if key not in had]
        self.unconfirmed = len({event.key for events in received.values() for event in events} - self.accepted.keys())

    def _follow(self, name: str, events: Sequence[Received]) -> set[Key]:
        """Note what one subscriber received twice or out of order; return the keys of all that it received."""
        had: set[Key] = set()
        in_life: set[Key] = set()
        highest: dict[str, int] = {}
        life = 0
        for event in events:
            if event.life != life:
                life, in_life, highest = event.life, set(), {}
            source, number = event.key
            if event.key in in_life:
                self.duplicates.append(Finding(event.at, event.key, name))
            elif number < highest.get(source, 0):
                self.disorder.append(Finding(event.at, event.key, name))
            elif event.key in had:
                self.repeated.append(Finding(event.at, event.key, name))
            highest[source] = max(number, highest.get(source, 0))
            in_life.add(event.key)
            had.add(event.key)
        return had

    def recovered(self, window: Window) -> float | None:
        """Return the seconds from a fault's end until each subscriber had an event accepted after it, if each had."""
        if window.over is None:
            return None
        firsts = [self._first_new(events, window.over, window.publisher) for events in self.received.values()]
        return max((first - window.over for first in firsts if first), default=None) if all(firsts) else None

    def _first_new(self, events: Sequence[Received], over: float, publisher: str) -> float | None:
        for event in events[bisect_left(events, over, key=lambda event: event.at) :]:
            at, name = self.accepted.get(event.key, (0.0, ""))
            if at >= over and publisher in ("", name):
                return event.at
        return None

    def rows(self, windows: Sequence[Window], margin: float) -> list[Row]:
        """Return a row for the time before the first window, and one for each window.

        A window begins `margin` seconds before its fault, which also hits messages under way, and lasts until the next.
        """
        names = ["(before the first fault)", *(window.name for window in windows)]
        recovered = [None, *(self.recovered(window) for window in windows)]
        begins = [window.began - margin for window in windows]

        def counted(times: Iterable[float]) -> Counter[int]:
            return Counter(bisect_right(begins, at) for at in times)

        caught_up = counted(event.at for events in self.received.values() for event in events if event.catch_up)
        kinds = (self.lost, self.duplicates, self.repeated, self.disorder)
        counts = [caught_up, *(counted(finding.at for finding in kind) for kind in kinds)]
        return [Row(names[n], recovered[n], *(count[n] for count in counts)) for n in range(len(names))]
