"""The time of a report while its messages are under way: who is there, what each has logged, and how far it is."""

import os
import sys
import time
from collections.abc import Mapping, Sequence

from ledger import Accepted
from replicas import Replica, containers, processes
from report_probes import Probes
from report_result import Heard, Order, hear, missing
from subscriber_logs import ComposeLogs, LocalLogs

PAUSE, SETTLED, TELL_EVERY = 0.25, 0.7, 5.0
PAUSE_MEANWHILE = 0.5  # to look costs processor time, which the messages under way would feel
READY_WITHIN = 10.0
NAMED = 4


def some(names: Sequence[str]) -> str:
    """The first few of them, and how many more there are."""
    return ", ".join(names[:NAMED]) + f" and {len(names) - NAMED} more" * (len(names) > NAMED)


class Progress:
    """How it goes, on standard error: one line that is written over, or where that is no terminal, one now and then."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._told = time.monotonic()

    def __call__(self, text: str) -> None:
        if self._terminal:
            width = os.get_terminal_size(sys.stderr.fileno()).columns or 80
            print(f"\r\x1b[K{text[: width - 1]}", end="", file=sys.stderr, flush=True)
        elif time.monotonic() - self._told > TELL_EVERY:
            self._told = time.monotonic()
            print(f"report: {text}", file=sys.stderr)

    def end(self) -> None:
        if self._terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


class Watch:
    """Who is there while the messages are under way, and what each has logged."""

    def __init__(self, there: Sequence[Replica], order: Order) -> None:
        """`there`: who runs before anything is published.

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
        """Waits for subscribers that have just been started. Who needs longer counts as one that comes later."""
        deadline = time.monotonic() + READY_WITHIN
        while starting := {one.name for one in self._began if self._logs.starting(one)}:
            if time.monotonic() > deadline:
                self.first -= starting
                break
            time.sleep(PAUSE)
        self._logs.begin()

    def look(self, accepted: Mapping[int, Accepted]) -> None:
        """Sees who is there, and reads the logs of them and of who was."""
        keys = {n: event.key for n, event in accepted.items()}
        self.there = {one.name: one for one in self._list() if one.service == "subscriber"}
        lines = self._logs.read(list(self.there.values()))
        for name in self.heard.keys() | {one.name for one in self.there.values() if one.running}:
            self.heard[name] = hear(lines.get(name, ()), self.order.run, keys)

    @property
    def later(self) -> set[str]:
        return self.heard.keys() - self.first

    def behind(self, accepted: Mapping[int, Accepted]) -> dict[str, int]:
        """How many messages each replica has yet to receive; who is gone for good is not waited for."""
        waited = {name: one for name, one in self.heard.items() if name in self.there}
        counts = {name: len(missing(accepted, one, later=name in self.later)) for name, one in waited.items()}
        return {name: count for name, count in counts.items() if count}

    def notes(self) -> dict[str, str]:
        """What is to be said of each replica."""
        return {name: "; ".join(self._note(name, one)) for name, one in self.heard.items()}

    def _note(self, name: str, heard: Heard) -> list[str]:
        later, there = name in self.later, self.there.get(name)
        restarts = heard.lives - 1 - later
        notes = ["came later"] * later
        if restarts > 0:
            notes.append(f"restarted {restarts} times" if restarts > 1 else "restarted")
        if there is None:
            return [*notes, heard.ended or "gone, it was stopped or scaled away"]
        if not there.running:
            return [*notes, there.state]
        return [*notes, *[f"no connection to Redis: {heard.trouble}"] * bool(heard.trouble)]

    def absent(self) -> dict[str, str]:
        """Subscribers that never ran."""
        return {name: one.state for name, one in self.there.items() if name not in self.heard}


def follow(watch: Watch, probes: Probes) -> None:
    """Until everybody has everything, and a moment more for what comes twice, or the time is over."""
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
            progress(_how_it_goes(watch, probes, behind))
            time.sleep(max(PAUSE_MEANWHILE if over is None else PAUSE, 3 * (now - began)))
    finally:
        progress.end()


def _how_it_goes(watch: Watch, probes: Probes, behind: dict[str, int]) -> str:
    parts = [f"{len(probes.accepted)} of {watch.order.count} accepted"]
    if probes.waits:
        parts.append(probes.waits)
    if behind:
        waited = [f"{name} lacks {count}" for name, count in sorted(behind.items(), key=lambda one: -one[1])]
        parts.append(some(waited))
    elif probes.accepted:
        parts.append(f"{len(watch.heard)} replicas have them all")
    return "; ".join(parts)
