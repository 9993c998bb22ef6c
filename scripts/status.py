"""What Redis keeps: each channel's history and producers, and how far each subscriber is.

status.py [--url redis://...] [--json]     REDIS_URL and REDIS_PASSWORD, or their _FILE, say where Redis is

Only reads. It needs nothing but the redis and fanout packages, so that it can be piped into `python -` in a container.
"""

import argparse
import asyncio
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from redis.exceptions import RedisError, ResponseError

if "__file__" in globals():  # not when it is piped
    sys.path.append(str(Path(__file__).resolve().parent.parent / "services/fanout"))

from fanout import keys, position
from fanout.commands import Commands
from fanout.connection import pack
from fanout.environment import Environment
from fanout.errors import ConnectionLost, FanoutError
from fanout.history import SCAN_COUNT, Entry, entries
from fanout.position import ORIGIN, Position
from fanout.sender import GOODBYE_TTL
from fanout.settings import read_settings

AT_ONCE, SHOWN = 200, 5
WITHIN = 2.0
KEY = re.compile(r"fanout:\{([^{}]+)\}:(history|producer|position|pattern)(?::(.*))?", re.DOTALL)
Row = dict[str, Any]


async def ask(redis: Commands, commands: list[tuple[str | int, ...]]) -> list[Any]:
    """The replies, some commands at a time; None where the key is gone by now, or is none of ours."""
    replies: list[Any] = []
    for at in range(0, len(commands), AT_ONCE):
        sent = redis.send(*map(pack, commands[at : at + AT_ONCE]))
        replies += await asyncio.gather(*sent, return_exceptions=True)
    for at, reply in enumerate(replies):
        if isinstance(reply, ResponseError) and re.search("no such key|WRONGTYPE", str(reply)):
            replies[at] = None
        elif isinstance(reply, BaseException):
            raise reply
    return replies


async def find(redis: Commands) -> dict[str, dict[str, list[str]]]:
    """The names of producers and subscribers, and whether there is a history, by channel."""
    found: dict[str, dict[str, set[str]]] = {}
    cursor: Any = 0
    while cursor != b"0":
        cursor, names = await redis.call("SCAN", cursor, "MATCH", "fanout:{*}:*", "COUNT", SCAN_COUNT)
        for match in (KEY.fullmatch(name.decode(errors="replace")) for name in names):
            if match:
                kinds = found.setdefault(
                    match[1], {kind: set() for kind in ("history", "producer", "position", "pattern")}
                )
                kinds[match[2]].add(match[3] or "")
    return {channel: {kind: sorted(names) for kind, names in found[channel].items()} for channel in sorted(found)}


async def look(redis: Commands, channel: str, names: dict[str, list[str]], connected: set[str]) -> Row:
    """One channel. Positions are read before the history, which only grows: else they could be ahead of it."""
    key, some = keys.history(channel), len(names["position"])
    wanted = [keys.position(channel, name) for name in names["position"]]
    wanted += [keys.producer(channel, name) for name in names["producer"]]
    values = await ask(redis, [("GET", name) for name in wanted])
    left = [ttl / 1000 for ttl in await ask(redis, [("PTTL", name) for name in wanted])]
    flat, size, time = await ask(redis, [("XINFO", "STREAM", key), ("MEMORY", "USAGE", key, "SAMPLES", 5), ("TIME",)])
    info = dict(zip(flat[::2], flat[1::2], strict=True)) if flat else None
    first, last = (entries([info[end]])[0] if info and info[end] else None for end in (b"first-entry", b"last-entry"))
    added, now = info[b"entries-added"] if info else 0, int(time[0]) + int(time[1]) / 1e6
    row: Row = {"channel": channel, "history": bool(info), "length": info[b"length"] if info else 0, "streamseq": added}
    row |= {"bytes": size, "oldest_s": age(first, now), "newest_s": age(last, now), "producers": [], "subscribers": []}
    for name, value, ttl in zip(names["producer"], values[some:], left[some:], strict=True):
        if value is not None and value.isdigit():
            ended = ttl <= GOODBYE_TTL
            active = round((GOODBYE_TTL if ended else keys.CHANNEL_TTL) - ttl, 1)
            row["producers"].append({"name": name, "seq": int(value), "active_s": active, "ended": ended})
    row["producers"].sort(key=lambda producer: (producer["active_s"], producer["name"]))
    places = [read(value) for value in values[:some]]
    held = await ask(redis, [("XRANGE", key, *([at.streamid] * 2 if at else "--")) for at in places])
    for name, at, ttl, found in zip(names["position"], places, left, held, strict=False):
        one: Row = {"name": name, "position": at and at.streamid, "streamseq": at and at.streamseq}
        one |= {"lag": at and added - at.streamseq, "saved_s": round(keys.CHANNEL_TTL - ttl, 1)}
        one["flags"] = flags(at, info, first, held=bool(found))
        if connected and re.sub(r"[^!-~]", "_", name) not in connected:
            one["flags"].append("not connected")
        row["subscribers"].append(one)
    return row


def read(value: bytes | None) -> Position | None:
    """The position in what a subscriber saved; None where it is no record."""
    try:
        return Position(*position.load((value or b"").partition(b"\n")[2]).position)
    except ValueError:
        return None


def flags(at: Position | None, info: dict[bytes, Any] | None, first: Entry | None, *, held: bool) -> list[str]:
    """What is not as it should be with a position; `first` is the oldest entry, `held`: its own is in the history."""
    if at is None:
        return ["no record that can be read"]
    if not info:
        return [] if at == ORIGIN else ["there is no history any more"]
    if at.streamseq > info[b"entries-added"]:
        return ["ahead of the history, which was rolled back or deleted"]
    gone = (first.streamseq - 1 if first else info[b"entries-added"]) - at.streamseq
    if held or at.streamid == info[b"last-generated-id"].decode() or (at.streamid == ORIGIN.streamid and not gone):
        return []
    return ["position no longer in history" + (f", nor {gone:,} after it" if gone > 0 else "")]


def age(entry: Entry | None, now: float) -> float | None:
    """Seconds since an entry was added."""
    return max(0.0, round(now - int(entry.streamid.partition("-")[0]) / 1000, 1)) if entry else None


async def status(redis: Commands) -> Row:
    """Everything, as --json prints it."""
    try:
        clients = (await redis.call("CLIENT", "LIST")).decode(errors="replace")
    except ResponseError:  # not permitted
        clients = ""
    connected = set(re.findall(r" name=(\S+) ", clients))
    found = await find(redis)
    return {
        "channels": [
            await look(redis, channel, names, connected)
            for channel, names in found.items()
            if names["history"] or names["producer"] or names["position"]
        ],
        "patterns": [
            {"pattern": name, "subscribers": names["pattern"]} for name, names in found.items() if names["pattern"]
        ],
    }


def ago(seconds: float | None) -> str:
    """A duration as people say it: 3 s, 5 min, 2 h, 4 d."""
    units = (("d", 86400), ("h", 3600), ("min", 60))
    unit, size = next((one for one in units if (seconds or 0) >= one[1]), ("s", 1))
    return "-" if seconds is None else f"{abs(seconds) / size:.0f} {unit}"


def printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)


def table(lines: list[list[str]], right: str) -> str:
    """Lines in columns; the letters of `right` say which are aligned to the right (>), and which are not (<)."""
    lines = [[printable(cell) for cell in line] for line in lines]
    forms = [f"{side}{max(map(len, column))}" for side, column in zip(right, zip(*lines, strict=True), strict=True)]
    return "\n".join("  ".join(map(format, line, forms)).rstrip() for line in lines) + "\n"


def show(found: Row) -> str:
    """Everything, for people."""
    parts: list[str] = []
    for row in found["channels"]:
        kept = f"{row['length']:,} of {row['streamseq']:,} entries, {(row['bytes'] or 0) / 1e3:,.0f} kB"
        ages = f"oldest {ago(row['oldest_s'])}, newest {ago(row['newest_s'])}"
        parts.append(printable(f"{row['channel']}: " + (f"{kept}, {ages}" if row["history"] else "no history")))
        made = [f"{p['name']} at {p['seq']:,} ({ago(p['active_s'])}{', ended' * p['ended']})" for p in row["producers"]]
        more = [f"and {len(made) - SHOWN:,} more"] * (len(made) > SHOWN)
        parts.append(printable(f"  {len(made):,} producer{'s' * (len(made) != 1)}: {', '.join(made[:SHOWN] + more)}"))
        lines = [["  subscriber", "lag", "streamseq", "position", "saved", ""]]
        for one in row["subscribers"]:
            known = [f"{one['lag']:,}", f"{one['streamseq']:,}", one["position"]] if one["position"] else ["-"] * 3
            lines.append([f"  {one['name']}", *known, ago(one["saved_s"]), "; ".join(one["flags"])])
        parts.append(table(lines, "<>><><") if len(lines) > 1 else "  no subscribers\n")
    begun = [[f"  {row['pattern']}", ", ".join(row["subscribers"])] for row in found["patterns"]]
    parts += [table([["patterns", "subscribers that have begun"], *begun], "<<")] if begun else []
    return "\n".join(parts).rstrip() or "Redis has no keys of Fanout"


async def run(url: str | None) -> Row:
    """Connects as the services do, and looks. Their other settings do not matter, and no name is looked up."""
    variables = {name: value for name, value in os.environ.items() if name.startswith("REDIS_")}
    given = {"REDIS_URL": url, "REDIS_URL_FILE": ""} if url else {}
    redis = await Commands.open(
        read_settings(Environment(variables | given | {"INSTANCE": "status"}), "status"), WITHIN
    )
    try:
        return await status(redis)
    finally:
        redis.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="in place of REDIS_URL")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    try:
        found = asyncio.run(run(options.url))
        print(json.dumps(found, indent=2) if options.json else show(found))
    except (FanoutError, ConnectionLost, RedisError, OSError, TimeoutError) as error:
        print(f"status.py: {' '.join(str(error).split()) or type(error).__name__}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
