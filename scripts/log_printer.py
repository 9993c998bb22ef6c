"""Prints the log's lines as they come; first the past, in order of time."""

import json
import sys
import time
from collections import defaultdict, deque
from collections.abc import Callable
from typing import NamedTuple

from log_lines import Entry, moment, parse
from log_options import Options
from log_sources import Line
from log_view import Format, redis_moment

SETTLED, SETTLED_WITHIN = 0.3, 2.0


class Shown(NamedTuple):
    at: float
    name: str
    entry: Entry | None
    line: str


class Printer:
    """Takes all lines, and prints those that are to be shown."""

    def __init__(
        self, options: Options, write: Callable[[str], object], form: Format, names: set[str], *, in_order: bool
    ) -> None:
        """`names`: whose past there will be. `in_order`: it comes in order of time already."""
        self._options, self._write, self._format = options, write, form
        self._past: dict[str, deque[Shown]] | None = None
        if options.tail != 0:
            self._past = defaultdict(lambda: deque(maxlen=options.tail))
        self._awaited, self._in_order = names, in_order
        self._last: dict[str, float] = {}
        self._began, self._first, self._newest = time.time(), 0.0, 0.0
        self._seen: set[str] = set()

    def take(self, lines: list[Line]) -> None:
        """Lines of the past wait until there are no more of them, and what is new meanwhile waits with them."""
        ready: list[Shown] = []
        now = time.monotonic()
        for name, line in lines:
            entry = parse(line)
            at = self._moment(name, entry, line)
            if not self._first or at < self._began:
                self._first, self._newest = self._first or now, now
            self._awaited.discard(name)
            if entry:
                self._seen.add(entry["event"])
            if not self._options.filter.shows(name, entry, line):
                continue
            shown = Shown(at, name, entry, line)
            if self._past is None:
                ready.append(shown)
            else:
                self._past[name].append(shown)
        self._print(ready)

    def _moment(self, name: str, entry: Entry | None, line: str) -> float:
        """When a line was written; what has no time of its own has that of the line before."""
        if self._in_order:
            name = ""
        at = moment(entry) if entry else None if self._in_order else redis_moment(line)
        at = self._last[name] = max(at or 0.0, self._last.get(name, 0.0))
        return at

    def settle(self) -> None:
        """Prints the past once all of it has come."""
        now = time.monotonic()
        over = self._first and now - self._newest > SETTLED
        if over and (not self._awaited or now - self._first > SETTLED_WITHIN):
            self.finish()

    def finish(self) -> None:
        """Prints what waits."""
        if self._past is None:
            return
        past, self._past = self._past, None
        self._print(sorted((one for lines in past.values() for one in lines), key=lambda one: one.at))
        if self._seen and not past:
            say(f"nothing so far passes the filters; there were these events: {', '.join(sorted(self._seen))}")

    def _print(self, lines: list[Shown]) -> None:
        """In one go: a write a line would be slow, and a reader would see halves."""
        text: list[str] = []
        for _, name, entry, line in lines:
            if not self._options.raw:
                text.append(self._format.line(name, entry, line))
            elif entry or is_json(line):
                text.append(line)
            else:
                print(f"{name} | {line}", file=sys.stderr)
        if text:
            self._write("\n".join(text) + "\n")


def is_json(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def say(text: str) -> None:
    print(f"logs: {text}", file=sys.stderr)
