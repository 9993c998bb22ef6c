"""Watches the replicas while the messages of a report are under way: which run, and what each has logged."""

import sys
import time
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.text import Text

from chaos.ledger import Accepted
from fanout.service.visible import escape
from report.logs import ComposeLogs, LocalLogs
from report.probes import Probes
from report.result import Heard, Order, hear, missing
from run.replicas import Replica, containers, processes

PAUSE, SETTLED, TELL_EVERY = 0.25, 0.7, 5.0
PAUSE_MEANWHILE = 0.5  # reading the logs takes processor time, which would delay messages under way
READY_WITHIN = 10.0
NAMED = 4


def some(names: Sequence[str]) -> str:
    """Return the first few names, and how many more there are."""
    return ", ".join(names[:NAMED]) + f" and {len(names) - NAMED} more" * (len(names) > NAMED)


class Progress:
    """The progress, on standard error: a line that is overwritten or, without a terminal, a line every few seconds."""

    def __init__(self) -> None:
        self._status = Console(stderr=True, highlight=False).status("", refresh_per_second=2)
        self._status.start()
        self._printed_at = time.monotonic()

    def __call__(self, text: str) -> None:
        self._status.update(Text(escape(text)))
        if not sys.stderr.isatty() and time.monotonic() - self._printed_at > TELL_EVERY:
            self._printed_at = time.monotonic()
            print(f"report: {escape(text)}", file=sys.stderr)

    def end(self) -> None:
        self._status.stop()


class Watch:
    """The subscribers while the messages are under way, and what each has logged."""

    def __init__(self, there: Sequence[Replica], order: Order) -> None:
        """Start watching; `there` are the replicas before anything is published.

        Raises:
            Trouble: the logs cannot be read.
        """
        self.order = order
        local = not any(one.ident for one in there)
        self._logs: ComposeLogs | LocalLogs
        self._list, self._logs = (processes, LocalLogs()) if local else (containers, ComposeLogs())
        self._began = [one for one in there if one.service == "subscriber" and one.running]
        self.first = {one.name for one in self._began}
        self.there: dict[str, Replica] = {}
        self.heard = {one.name: Heard() for one in self._began}

    def wait_until_ready(self) -> None:
        """Wait for subscribers that were just started; one that takes too long counts as joined later."""
        deadline = time.monotonic() + READY_WITHIN
        while starting := {one.name for one in self._began if self._logs.starting(one)}:
            if time.monotonic() > deadline:
                self.first -= starting
                break
            time.sleep(PAUSE)
        self._logs.begin()

    def look(self, accepted: Mapping[int, Accepted]) -> None:
        """List the subscribers, and read their logs and those of subscribers that are gone."""
        keys = {n: event.key for n, event in accepted.items()}
        self.there = {one.name: one for one in self._list() if one.service == "subscriber"}
        lines = self._logs.read(list(self.there.values()))
        for name in self.heard.keys() | {one.name for one in self.there.values() if one.running}:
            self.heard[name] = hear(lines.get(name, ()), self.order.run, keys)

    @property
    def later(self) -> set[str]:
        return self.heard.keys() - self.first

    def behind(self, accepted: Mapping[int, Accepted]) -> dict[str, int]:
        """Return how many messages each replica still lacks; replicas that are gone are not waited for."""
        waited = {name: one for name, one in self.heard.items() if name in self.there}
        counts = {name: len(missing(accepted, one, later=name in self.later)) for name, one in waited.items()}
        return {name: count for name, count in counts.items() if count}

    def notes(self) -> dict[str, str]:
        """Return a note on each replica."""
        return {name: "; ".join(self._note(name, one)) for name, one in self.heard.items()}

    def _note(self, name: str, heard: Heard) -> list[str]:
        later, there = name in self.later, self.there.get(name)
        restarts = heard.lives - 1 - later
        notes = ["joined later"] * later
        if restarts > 0:
            notes.append(f"restarted {restarts} times" if restarts > 1 else "restarted")
        if there is None:
            return [*notes, heard.ended or "gone: stopped or scaled down"]
        if not there.running:
            return [*notes, there.state]
        return [*notes, *[f"no connection to Redis: {heard.trouble}"] * bool(heard.trouble)]

    def absent(self) -> dict[str, str]:
        """Return the subscribers that never ran, and why."""
        return {name: one.state for name, one in self.there.items() if name not in self.heard}


def follow(watch: Watch, probes: Probes) -> None:
    """Watch until every replica has every message, and a moment longer for duplicates, or until time is up."""
    progress = Progress()
    complete: float | None = None
    try:
        while True:
            began = time.monotonic()
            over = probes.ended
            watch.look(probes.accepted)
            behind, now = watch.behind(probes.accepted), time.monotonic()
            complete = None if behind or over is None else complete or now
            if over is not None and (now - over > watch.order.within or (complete and now - complete > SETTLED)):
                return
            progress(_summary(watch, probes, behind))
            time.sleep(max(PAUSE_MEANWHILE if over is None else PAUSE, 3 * (now - began)))
    finally:
        progress.end()


def _summary(watch: Watch, probes: Probes, behind: dict[str, int]) -> str:
    parts = [f"{len(probes.accepted)} of {watch.order.count} accepted"]
    if probes.waits:
        parts.append(probes.waits)
    if behind:
        waited = [f"{name} lacks {count}" for name, count in sorted(behind.items(), key=lambda one: -one[1])]
        parts.append(some(waited))
    elif probes.accepted:
        parts.append(f"{len(watch.heard)} replicas have all of them")
    return "; ".join(parts)
