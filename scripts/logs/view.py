"""Filters the lines of the stack's log, and formats them for people."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

from fanout.service.visible import escape
from logs.lines import Entry
from logs.sources import ENDED
from run.replicas import service_of

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
ALWAYS = ("timestamp", "level", "event", "service", "instance")
IDENTITY = ("source", "id", "streamid", "streamseq")
MESSAGE = ("channel", "latency_ms", "catch_up", "plain", "data")
COUNTS = ("duplicates", "gaps", "lost", "dropped", "handler_failures", "reconnects", "caught_up", "replayed")
"""Fields that are not shown when they are 0."""
COLOURS = (
    *("36", "33", "32", "35", "34", "96", "93", "92", "95", "94"),
    *(f"38;5;{number}" for number in (208, 141, 79, 174, 110, 185, 167, 73)),
)
LEVEL_COLOURS = {"debug": "2", "warning": "33", "error": "1;31", "critical": "1;31"}
REDIS = re.compile(
    r"\d+:(?:[A-Z] (?P<date>\d\d \w{3} \d{4} [\d:]{8}\.\d{3}) (?P<mark>[.\-*#])|signal-handler \((?P<time>\d{10})\)) "
)
COLOUR = re.compile(r"\x1b\[[\d;]*m")


def matches(name: str | None, patterns: Iterable[str]) -> bool:
    """Return whether one of the patterns equals the name or is a glob that matches it."""
    return name is not None and any(name == pattern or fnmatchcase(name, pattern) for pattern in patterns)


@dataclass(frozen=True)
class Filter:
    """Which lines are shown: `services` (or replicas), `events` and `channels` may hold globs; empty means all."""

    services: tuple[str, ...] = ()
    level: str = "debug"
    events: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()

    def of(self, name: str) -> bool:
        """Return whether a replica's lines are shown."""
        return not self.services or matches(name, self.services) or matches(service_of(name), self.services)

    def shows(self, name: str, entry: Entry | None, line: str) -> bool:
        """Return whether a line is shown; `entry` holds its fields if it is a line of Fanout's log."""
        if not self.of(name):
            return False
        if entry is None:
            return not (self.events or self.channels) and LEVELS[self.level] <= _severity(line)
        if self.events and not matches(entry["event"], self.events):
            return False
        if self.channels and not any(matches(channel, self.channels) for channel in _channels(entry)):
            return False
        return LEVELS.get(entry["level"], LEVELS["critical"]) >= LEVELS[self.level]


def _severity(line: str) -> int:
    """Return the level of a foreign line. A traceback or a torn line may be anything, so it counts as critical."""
    if match := REDIS.match(line):
        return LEVELS["warning" if match["mark"] == "#" else "info"]
    return LEVELS["info" if line == f"{ENDED}0" else "critical"]


def _channels(entry: Entry) -> list[str]:
    named = [entry.get("channel")]
    if isinstance(several := entry.get("channels"), list):
        named += several
    return [name for name in named if isinstance(name, str)]


def redis_moment(line: str) -> float | None:
    """Return when Redis wrote a line, in seconds since 1970, assuming that its clock is UTC, as in a container."""
    if not (match := REDIS.match(line)):
        return None
    if match["time"]:
        return float(match["time"])
    return datetime.strptime(f"{match['date']}000 +0000", "%d %b %Y %H:%M:%S.%f %z").timestamp()


class Format:
    """Formats lines for people, a traceback as several; each replica has its own colour."""

    def __init__(self, *, colour: bool, names: Iterable[str] = ()) -> None:
        """Make a format; `names` are the replicas that already run, which fixes their colours and the column width."""
        self._colour = colour
        self._colours: dict[str, str] = {}
        self._width = 0
        self._date = datetime.now(UTC).strftime("%Y-%m-%d")
        for name in names:
            self._prefix(name)

    def line(self, name: str, entry: Entry | None, line: str) -> str:
        """Return a formatted line, without a line break at its end."""
        prefix = self._prefix(name)
        if entry is None:
            return f"{'':12} {prefix}{self._unparsed(line)}"
        date, _, time = entry["timestamp"].partition("T")
        level, event = entry["level"], entry["event"]
        painted = self._paint(f"{escape(level):<8}", LEVEL_COLOURS.get(level, ""))
        said = f"{escape(time[:12]):<12} {prefix}{painted} {escape(event):<18} {fields(entry)}".rstrip()
        more = "".join(f"\n{'':12} {prefix}    {escape(row)}" for row in _traceback(entry))
        return self._day(date) + said + more

    def _day(self, date: str) -> str:
        """Return a separate line if a new day has begun, else nothing."""
        if date == self._date:
            return ""
        self._date = date
        return f"--- {escape(date)} (UTC)\n"

    def _prefix(self, name: str) -> str:
        if not name:
            return ""
        if name not in self._colours:
            self._colours[name] = COLOURS[len(self._colours) % len(COLOURS)]
            self._width = max(self._width, len(name))
        return self._paint(f"{name:<{self._width}} |", self._colours[name]) + " "

    def _paint(self, text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colour and colour else text

    def _unparsed(self, line: str) -> str:
        """Return a foreign line with its colours, if colours are on, and with other control characters escaped."""
        line = line.removesuffix("\r")
        if not self._colour:
            return escape(COLOUR.sub("", line))
        parts = COLOUR.split(line)
        painted = [code + escape(part) for code, part in zip(["", *COLOUR.findall(line)], parts, strict=True)]
        return "".join(painted) + "\x1b[0m" * (len(parts) > 1)


def fields(entry: Entry) -> str:
    """Return the fields that not every line has: of a message its data, of any other event name=value pairs."""
    rest = {name: value for name, value in entry.items() if name not in ALWAYS and value not in (None, "", [], {})}
    if "data" not in entry or "channel" not in entry:
        rest.pop("exception", None)
        return _pairs(rest)
    latency = entry.get("latency_ms")
    words = [str(entry["channel"]), f"{latency:8.1f} ms" if isinstance(latency, int | float) else " " * 11]
    words += [word for name, word in (("catch_up", "caught up"), ("plain", "plain")) if entry.get(name)]
    more = _pairs({name: value for name, value in rest.items() if name not in (*MESSAGE, *IDENTITY, "exception")})
    said = "  ".join([*map(escape, words), _text(entry["data"], quoted=False)])
    return f"{said}  {more}" if more else said


def _pairs(rest: Entry) -> str:
    pairs: list[str] = []
    for name, value in rest.items():
        if name in IDENTITY or (name in COUNTS and value == 0):
            continue
        unit = next((unit for unit in ("ms", "s") if name.endswith(f"_{unit}") and isinstance(value, int | float)), "")
        pairs.append(f"{escape(name.removesuffix(f'_{unit}'))}={_text(value)}{unit}")
    return "  ".join(pairs)


def _text(value: Any, *, quoted: bool = True) -> str:
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        value = ",".join(value)
    if not isinstance(value, str):
        return escape(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    return escape(json.dumps(value, ensure_ascii=False) if quoted and (" " in value or not value) else value)


def _traceback(entry: Entry) -> list[str]:
    text = entry.get("exception")
    return text.rstrip().split("\n") if isinstance(text, str) else []
