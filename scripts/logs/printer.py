"""Prints the log's lines as they arrive, after the past ones, which are sorted by time."""

import json
import sys
import time
from collections import defaultdict, deque
from collections.abc import Callable
from typing import NamedTuple

from fanout.service.visible import escape, escape_json
from logs.lines import Entry, moment, parse
from logs.options import Options
from logs.sources import Line
from logs.view import Format, redis_moment

SETTLED, SETTLED_WITHIN = 0.3, 2.0


class Shown(NamedTuple):
    at: float
    name: str
    entry: Entry | None
    line: str


class Printer:
    """Takes all lines, and prints those that pass the filters."""

    def __init__(
        self, options: Options, write: Callable[[str], object], form: Format, names: set[str], *, in_order: bool
    ) -> None:
        """Make a printer; `names` are the replicas that have past lines, `in_order` says that these are sorted."""
        self._options, self._write, self._format = options, write, form
        self._past: dict[str, deque[Shown]] | None = None
        if options.tail != 0:
            self._past = defaultdict(lambda: deque(maxlen=options.tail))
        self._awaited, self._in_order = names, in_order
        self._last: dict[str, float] = {}
        self._began, self._first, self._newest = time.time(), 0.0, 0.0
        self._seen: set[str] = set()

    def take(self, lines: list[Line]) -> None:
        """Take lines; until all past lines have arrived, they wait, and so do new ones."""
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
        """Return when a line was written; a line without a time has that of the line before."""
        if self._in_order:
            name = ""
        at = moment(entry) if entry else None if self._in_order else redis_moment(line)
        at = self._last[name] = max(at or 0.0, self._last.get(name, 0.0))
        return at

    def settle(self) -> None:
        """Print the past lines once all of them have arrived."""
        now = time.monotonic()
        over = self._first and now - self._newest > SETTLED
        if over and (not self._awaited or now - self._first > SETTLED_WITHIN):
            self.finish()

    def finish(self) -> None:
        """Print the lines that wait."""
        if self._past is None:
            return
        past, self._past = self._past, None
        self._print(sorted((one for lines in past.values() for one in lines), key=lambda one: one.at))
        if self._seen and not past:
            say(f"nothing passes the filters so far; these events were seen: {', '.join(sorted(self._seen))}")

    def _print(self, lines: list[Shown]) -> None:
        """Print lines by a single write: a write per line would be slow, and readers would see partial output."""
        text: list[str] = []
        for _, name, entry, line in lines:
            if not self._options.raw:
                text.append(self._format.line(name, entry, line))
            elif entry or is_json(line):
                text.append(escape_json(line.encode(errors="backslashreplace")).decode())
            else:
                print(escape(f"{name} | {line}"), file=sys.stderr)
        if text:
            self._write("\n".join(text) + "\n")


def is_json(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def say(text: str) -> None:
    print(f"logs: {escape(text)}", file=sys.stderr)
