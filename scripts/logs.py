"""Follows the log of the stack that runs: a readable line for each that a process writes, whatever comes and goes.

logs.py     SERVICE=subscriber  LEVEL=warning  EVENT=caught_up,connect*  CHANNEL=orders  RAW=1  TAIL=100  FOLLOW=1

SERVICE, EVENT and CHANNEL take several, separated by commas, and globs; SERVICE also takes a replica, subscriber-2.
LEVEL is that level and above. TAIL is how many lines of the past are shown of each replica, of those that the filters
let through; `all` is all. FOLLOW=0 ends after them. RAW=1 prints the JSON as it is, and what is no JSON to standard
error. Needs nothing but Python and, for containers, Docker.
"""

import argparse
import json
import os
import select
import signal
import stat
import sys
import time
from collections import defaultdict, deque
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TextIO

sys.path.append(str(Path(__file__).resolve().parent.parent / "services/fanout"))

import local
from fanout.environment import Environment
from fanout.errors import SettingError
from log_lines import Entry, moment, parse
from log_sources import ComposeLog, Line, LocalLog
from log_view import LEVELS, Filter, Format, redis_moment
from replicas import Replica, Trouble, containers, processes

SETTLED, SETTLED_WITHIN = 0.3, 2.0
POLL_EVERY = 0.1
AN_EVENT = "names of events, or globs, separated by commas"


class Options(NamedTuple):
    """`tail`: lines of the past of each replica, None is all."""

    filter: Filter
    raw: bool
    tail: int | None
    follow: bool


class Shown(NamedTuple):
    at: float
    name: str
    entry: Entry | None
    line: str


def read_options(env: Environment, replicas: list[Replica]) -> Options:
    """`replicas`: those that there are, none if nobody knows.

    Raises:
        SettingError: a value is not allowed, or a service is not there.
    """
    services = _names(env, "SERVICE", "services or replicas, separated by commas")
    known = sorted({one.service for one in replicas})
    for service in services if replicas else ():
        if not any(Filter(services=(service,)).of(one.name) for one in replicas):
            raise SettingError("SERVICE", service, f"one of {', '.join(known)}, or a replica such as {known[0]}-1")
    level = env.text("LEVEL", "debug").lower()
    if level not in LEVELS:
        raise SettingError("LEVEL", env.text("LEVEL"), "one of " + ", ".join(LEVELS))
    everything = env.text("TAIL") == "all"
    return Options(
        Filter(services, level, _names(env, "EVENT", AN_EVENT), env.channels("CHANNEL")),
        raw=env.choice("RAW", "0", "0", "1") == "1",
        tail=None if everything else env.integer("TAIL", 100, 0, 10**9),
        follow=env.choice("FOLLOW", "1", "0", "1") == "1",
    )


def _names(env: Environment, name: str, allowed: str) -> tuple[str, ...]:
    value = env.text(name)
    names = tuple(part.strip() for part in value.split(",") if part.strip())
    if value and not names:
        raise SettingError(name, value, allowed)
    return names


class View:
    """Takes the log's lines as they come and prints those that are to be shown; first the past, in order of time."""

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


def follow(source: ComposeLog | LocalLog, view: View, output: TextIO) -> bool:
    """Until the log ends, or nobody reads the output any more; returns whether it was the log."""
    poll = select.poll()
    if stat.S_ISFIFO(mode := os.fstat(output.fileno()).st_mode) or stat.S_ISSOCK(mode):
        poll.register(output.fileno(), 0)  # tells when the reader is gone, also while there is nothing to write
    if source.fileno is not None:
        poll.register(source.fileno, select.POLLIN)
    while not source.ended:
        ready = [number for number, _ in poll.poll(POLL_EVERY * 1000)]
        if output.fileno() in ready:
            return False
        if source.fileno is None or source.fileno in ready:
            view.take(source.read())
        view.settle()
    view.finish()
    return True


def say(text: str) -> None:
    print(f"logs: {text}", file=sys.stderr)


def run(options: Options, replicas: list[Replica], *, local_log: bool) -> int:
    """Prints the log; returns the exit code."""
    output = sys.stdout
    colour = output.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    form = Format(colour=colour, names=[one.name for one in replicas if options.filter.of(one.name)])

    def write(text: str) -> None:
        output.buffer.write(text.encode(errors="backslashreplace"))
        output.buffer.flush()

    filters = options.filter
    names = {one.name for one in replicas if one.running and filters.of(one.name)}
    view = View(options, write, form, set() if local_log else names, in_order=local_log)
    filtered = filters.events or filters.channels or LEVELS[filters.level] > LEVELS["debug"]
    if local_log:
        source: ComposeLog | LocalLog = LocalLog(at_end=options.tail == 0, follow=options.follow and bool(replicas))
    else:
        services = sorted({one.service for one in replicas if filters.of(one.name)}) if filters.services else []
        tail = "all" if options.tail is None or (filtered and options.tail) else str(options.tail)
        source = ComposeLog(services, replicas, tail, follow=options.follow)
    try:
        if not follow(source, view, output):
            raise BrokenPipeError
    finally:
        code = source.close()
    if options.follow and replicas and not code:
        say("nothing runs any more")
    return code


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.default_int_handler)
    try:
        runs = processes()
        replicas = runs or containers()
        ended = not replicas and local.LOG.exists()
        if not replicas and not ended:
            raise Trouble("nothing runs; make up starts the stack")
        options = read_options(Environment(os.environ), replicas)
        if ended:
            say("the stack does not run; this is its last log")
        return run(options, replicas, local_log=bool(runs) or ended)
    except (SettingError, Trouble) as error:
        say(str(error))
        return 2 if isinstance(error, SettingError) else 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing is left to be flushed into it
        return 0
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
