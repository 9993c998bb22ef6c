"""An honest client of the API during the attacks, and what became of its messages and the publisher's own."""

import itertools
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from chaos.ledger import Accepted, Ledger, Received
from logs.lines import mend, moment, parse
from report.result import summary

CHANNEL = "notifications"
RATE, COUNT = 20, 1_000_000
LATEST = 0.250
"""Seconds within which 99 of 100 messages must have arrived."""
_ID = re.compile(r"\d{1,12}", re.ASCII).fullmatch


class Bystander:
    """Publishes over the API, from a separate process, until it is closed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.accepted: list[Accepted] = []
        self._answered: list[float] = []
        self._trouble: list[tuple[float, str]] = []
        self._lives = 0
        self.start()

    def start(self) -> None:
        """Start publishing, or start again after it gave up."""
        self._lives += 1
        options = {"url": f"http://127.0.0.1:{self._port}", "run": f"abuse{self._lives}", "count": COUNT, "rate": RATE}
        words = [f"--{name}={value}" for name, value in (options | {"channel": CHANNEL, "within": 60}).items()]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "fanout.cli", "probe", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # so that Ctrl-C reaches it only through us
        )
        threading.Thread(target=self._read, args=(self._process,), daemon=True).start()

    @property
    def given_up(self) -> bool:
        """Whether it has ended by itself."""
        return self._process.poll() is not None

    def _read(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout
        for line in process.stdout:
            try:
                row = json.loads(line)
                if "id" in row:
                    self.accepted.append(Accepted(row["sent"], (row["source"], int(row["id"]))))
                    self._answered.append(time.time())
                else:
                    self._trouble.append((time.time(), row.get("waits") or row.get("failed") or line))
            except ValueError:
                self._trouble.append((time.time(), line.strip()))

    def longest_wait(self, since: float) -> float:
        """Return the longest time in seconds from one accepted message to the next, since then."""
        times = [since, *(at for at in list(self._answered) if at > since), time.time()]
        return max(later - earlier for earlier, later in itertools.pairwise(times))

    def trouble(self, since: float) -> list[str]:
        """Return the reasons why the API did not accept messages since then."""
        return [why for at, why in list(self._trouble) if at > since]

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        self._process.kill()
        self._process.wait()


class Window(NamedTuple):
    """A span of time, in seconds since 1970."""

    began: float
    over: float


@dataclass
class Heard:
    """What a container logged about the channel: `accepted`, or `received` with latencies (when, seconds)."""

    accepted: list[Accepted] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    latencies: list[tuple[float, float]] = field(default_factory=list)

    def p99(self, window: Window) -> float | None:
        """Return the 99th percentile of the latencies in a window, in seconds."""
        return summary(late for at, late in self.latencies if window.began <= at <= window.over)["p99"]

    @classmethod
    def read(cls, lines: Iterable[str]) -> "Heard":
        """Read a log; events that attackers published, even on this channel, are left out by their ids."""
        heard, life = cls(), 0
        for entry in (parse(part) for line in lines for part in mend(line)):
            if entry is None:
                continue
            life += entry["event"] == "started"
            source, number = entry.get("source"), str(entry.get("id"))
            if entry.get("channel") != CHANNEL or not isinstance(source, str) or not _ID(number):
                continue
            key = (source, int(number))
            if entry["event"] == "message_published":
                heard.accepted.append(Accepted(moment(entry), key))
            elif entry["event"] == "message_received":
                at = moment(entry)
                heard.received.append(Received(at, key, life, entry.get("catch_up") is True))
                if isinstance(latency := entry.get("latency_ms"), int | float):
                    heard.latencies.append((at, latency / 1000))
        return heard


class Verdict(NamedTuple):
    """What became of the published messages: findings by kind, and each subscriber's p99 in seconds."""

    accepted: int
    lost: int
    duplicates: int
    disorder: int
    p99: dict[str, float | None]

    @property
    def well(self) -> bool:
        late = [p99 for p99 in self.p99.values() if p99 is None or p99 >= LATEST]
        return not (self.lost or self.duplicates or self.disorder or late) and self.accepted > 0


def judge(api: Sequence[Accepted], heard: Mapping[str, Heard], outages: Sequence[Window], since: float) -> Verdict:
    """Compare what was accepted since then, by the API and in publishers' logs, with what each subscriber logged.

    Messages may be late in `outages`.
    """
    received = {name: one for name, one in heard.items() if name.startswith("subscriber")}
    accepted = {"api": list(api)} | {
        name: [event for event in one.accepted if event.at > since]
        for name, one in heard.items()
        if name not in received
    }
    ours = {event.key[0] for events in accepted.values() for event in events}
    arrivals = {name: [one for one in heard.received if one.key[0] in ours] for name, heard in received.items()}
    ledger = Ledger(accepted, arrivals)
    return Verdict(
        len(ledger.accepted),
        len(ledger.lost),
        len(ledger.duplicates),
        len(ledger.disorder),
        {
            name: summary(late for at, late in heard.latencies if not any(w.began <= at <= w.over for w in outages))[
                "p99"
            ]
            for name, heard in received.items()
        },
    )
