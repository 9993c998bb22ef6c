"""What of the stack's log is shown, and how: filters, and a line for people."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

from log_lines import Entry
from log_sources import ENDED
from replicas import service_of

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
ALWAYS = ("timestamp", "level", "event", "service", "instance")
IDENTITY = ("source", "id", "streamid", "streamseq")
MESSAGE = ("channel", "latency_ms", "catch_up", "plain", "data")
COUNTS = ("duplicates", "gaps", "lost", "dropped", "handler_failures", "reconnects", "caught_up", "replayed")
"""Fields that say nothing when they are 0."""
COLOURS = (
    *("36", "33", "32", "35", "34", "96", "93", "92", "95", "94"),
    *(f"38;5;{number}" for number in (208, 141, 79, 174, 110, 185, 167, 73)),
)
LEVEL_COLOURS = {"debug": "2", "warning": "33", "error": "1;31", "critical": "1;31"}
REDIS = re.compile(
    r"\d+:(?:[A-Z] (?P<date>\d\d \w{3} \d{4} [\d:]{8}\.\d{3}) (?P<mark>[.\-*#])|signal-handler \((?P<time>\d{10})\)) "
)
UNPRINTABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
COLOUR = re.compile(r"\x1b\[[\d;]*m")


def matches(name: str | None, patterns: Iterable[str]) -> bool:
    """Whether one of the patterns is that name, or a glob for it."""
    return name is not None and any(name == pattern or fnmatchcase(name, pattern) for pattern in patterns)


@dataclass(frozen=True)
class Filter:
    """What is shown. `services` are services or replicas; they, `events` and `channels` may be globs; empty is all."""

    services: tuple[str, ...] = ()
    level: str = "debug"
    events: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()

    def of(self, name: str) -> bool:
        """Whether a replica's lines are shown."""
        return not self.services or matches(name, self.services) or matches(service_of(name), self.services)

    def shows(self, name: str, entry: Entry | None, line: str) -> bool:
        """Whether a line is shown; `entry` is what it says if it is one of ours."""
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
    """The level of what is none of our lines. A traceback or half a line may be anything, so it counts as the worst."""
    if match := REDIS.match(line):
        return LEVELS["warning" if match["mark"] == "#" else "info"]
    return LEVELS["info" if line == f"{ENDED}0" else "critical"]


def _channels(entry: Entry) -> list[str]:
    named = [entry.get("channel")]
    if isinstance(several := entry.get("channels"), list):
        named += several
    return [name for name in named if isinstance(name, str)]


def redis_moment(line: str) -> float | None:
    """When Redis wrote a line of its own log, seconds since 1970, where its clock is UTC, as in a container."""
    if not (match := REDIS.match(line)):
        return None
    if match["time"]:
        return float(match["time"])
    return datetime.strptime(f"{match['date']}000 +0000", "%d %b %Y %H:%M:%S.%f %z").timestamp()


class Format:
    """A line for people, or several where there is a traceback; every replica has a colour of its own."""

    def __init__(self, *, colour: bool, names: Iterable[str] = ()) -> None:
        """`names`: the replicas that are there already, so that their colours and the columns are settled."""
        self._colour = colour
        self._colours: dict[str, str] = {}
        self._width = 0
        self._date = datetime.now(UTC).strftime("%Y-%m-%d")
        for name in names:
            self._prefix(name)

    def line(self, name: str, entry: Entry | None, line: str) -> str:
        """Without the line break at its end."""
        prefix = self._prefix(name)
        if entry is None:
            return f"{'':12} {prefix}{self._as_it_came(line)}"
        date, _, time = entry["timestamp"].partition("T")
        level, event = entry["level"], entry["event"]
        painted = self._paint(f"{level:<8}", LEVEL_COLOURS.get(level, ""))
        said = f"{printable(time[:12]):<12} {prefix}{painted} {printable(event):<18} {fields(entry)}".rstrip()
        more = "".join(f"\n{'':12} {prefix}    {printable(row)}" for row in _traceback(entry))
        return self._day(date) + said + more

    def _day(self, date: str) -> str:
        """A line of its own when another day begins."""
        if date == self._date:
            return ""
        self._date = date
        return f"--- {printable(date)} (UTC)\n"

    def _prefix(self, name: str) -> str:
        if not name:
            return ""
        if name not in self._colours:
            self._colours[name] = COLOURS[len(self._colours) % len(COLOURS)]
            self._width = max(self._width, len(name))
        return self._paint(f"{name:<{self._width}} |", self._colours[name]) + " "

    def _paint(self, text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colour and colour else text

    def _as_it_came(self, line: str) -> str:
        """Colours stay where there may be some; what else would move the cursor is spelled out."""
        line = line.removesuffix("\r")
        if not self._colour:
            return printable(COLOUR.sub("", line))
        parts = COLOUR.split(line)
        painted = [code + printable(part) for code, part in zip(["", *COLOUR.findall(line)], parts, strict=True)]
        return "".join(painted) + "\x1b[0m" * (len(parts) > 1)


def printable(text: str) -> str:
    """Text on one line, with what a terminal would act upon spelled out."""
    return UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)


def fields(entry: Entry) -> str:
    """What a line says besides what all lines say: of a message its data, of anything else name=value."""
    rest = {name: value for name, value in entry.items() if name not in ALWAYS and value not in (None, "", [], {})}
    if "data" not in entry or "channel" not in entry:
        rest.pop("exception", None)
        return _pairs(rest)
    latency = entry.get("latency_ms")
    words = [str(entry["channel"]), f"{latency:8.1f} ms" if isinstance(latency, int | float) else " " * 11]
    words += [word for name, word in (("catch_up", "caught up"), ("plain", "plain")) if entry.get(name)]
    more = _pairs({name: value for name, value in rest.items() if name not in (*MESSAGE, *IDENTITY, "exception")})
    said = "  ".join([*map(printable, words), _text(entry["data"], quoted=False)])
    return f"{said}  {more}" if more else said


def _pairs(rest: Entry) -> str:
    pairs: list[str] = []
    for name, value in rest.items():
        if name in IDENTITY or (name in COUNTS and value == 0):
            continue
        unit = next((unit for unit in ("ms", "s") if name.endswith(f"_{unit}") and isinstance(value, int | float)), "")
        pairs.append(f"{printable(name.removesuffix(f'_{unit}'))}={_text(value)}{unit}")
    return "  ".join(pairs)


def _text(value: Any, *, quoted: bool = True) -> str:
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        value = ",".join(value)
    if not isinstance(value, str):
        return printable(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    return printable(json.dumps(value, ensure_ascii=False) if quoted and (" " in value or not value) else value)


def _traceback(entry: Entry) -> list[str]:
    text = entry.get("exception")
    return text.rstrip().split("\n") if isinstance(text, str) else []
