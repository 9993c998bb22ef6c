"""What Redis keeps: each channel's history and producers, and how far each subscriber is.

REDIS_URL and REDIS_PASSWORD, or their _FILE, say where Redis is. It only reads.
"""

import argparse
import asyncio
import json
import os
import re
import sys
from typing import Any

from redis.exceptions import RedisError, ResponseError

from fanout import keys
from fanout._publish.retention import ENDED_TTL
from fanout._redis.commands import Commands
from fanout._subscribe import record
from fanout._subscribe.cursor import ORIGIN, Position
from fanout._subscribe.history import SCAN_COUNT, History
from fanout.environment import Environment
from fanout.errors import ConnectionLost, FanoutError
from fanout.service import roster, server_memory
from fanout.service.roster import Replica
from fanout.service.visible import escape
from fanout.settings import read_settings

SHOWN = 5
WITHIN = 2.0
KEY = re.compile(r"fanout:\{([^{}]+)\}:(history|producer|position|pattern)(?::(.*))?", re.DOTALL)
SEQ = re.compile(rb"\d{1,18}")
RECORD_BYTES = 16 * 2**20
Row = dict[str, Any]


async def find(redis: Commands) -> dict[str, dict[str, list[str]]]:
    """Return the names of producers and subscribers, and whether there is a history, by channel."""
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


async def look(
    redis: Commands, channel: str, names: dict[str, list[str]], connected: set[str], replicas: dict[str, Replica]
) -> Row:
    """Describe one channel. Positions are read before the history, which only grows, so none is ahead of it."""
    key, some = keys.history(channel), len(names["position"])
    wanted = [keys.position(channel, name) for name in names["position"]]
    wanted += [keys.producer(channel, name) for name in names["producer"]]
    values = await redis.ask([("GETRANGE", name, 0, RECORD_BYTES) for name in wanted])
    left = [ttl / 1000 for ttl in await redis.ask([("PTTL", name) for name in wanted])]
    size, time, kind = await redis.ask([("MEMORY", "USAGE", key, "SAMPLES", 5), ("TIME",), ("TYPE", key)])
    history, now = History(redis), int(time[0]) + int(time[1]) / 1e6
    first, end = await history.first(channel), await history.end(channel)
    oldest = (await redis.ask([("XRANGE", key, "-", "+", "COUNT", 1)]))[0]
    length = end.streamseq - first.streamseq if first else 0
    there = kind == b"stream"
    row: Row = {"channel": channel, "history": there, "length": length, "streamseq": end.streamseq, "bytes": size}
    row |= {"oldest_s": age(oldest[0][0].decode() if oldest else None, now)}
    row |= {"newest_s": age(end.streamid if oldest else None, now), "producers": [], "subscribers": []}
    for name, value, ttl in zip(names["producer"], values[some:], left[some:], strict=True):
        if value and SEQ.fullmatch(value):
            ended = ttl <= ENDED_TTL
            active = round((ENDED_TTL if ended else keys.CHANNEL_TTL) - ttl, 1)
            row["producers"].append({"name": name, "seq": int(value), "active_s": active, "ended": ended})
    row["producers"].sort(key=lambda producer: (producer["active_s"], producer["name"]))
    places = [read(value) for value in values[:some]]
    held = await redis.ask([("XRANGE", key, *([at.streamid] * 2 if at else "--")) for at in places])
    for name, at, ttl, found in zip(names["position"], places, left, held, strict=False):
        one: Row = {"name": name, "position": at and at.streamid, "streamseq": at and at.streamseq}
        one |= {"lag": at and end.streamseq - at.streamseq, "saved_s": round(keys.CHANNEL_TTL - ttl, 1)}
        one["flags"] = flags(at, end if there else None, first, held=bool(found))
        if connected and re.sub(r"[^!-~]", "_", name) not in connected:
            one["flags"].append("not connected")
        if (replica := replicas.get(name)) and replica.failed:
            one["flags"].append(f"its handler failed on {replica.failed:,} of {replica.received:,} messages")
        row["subscribers"].append(one)
    return row


def read(value: bytes | None) -> Position | None:
    """Return the position in what a subscriber saved; None if it is not a record."""
    try:
        return Position(*record.load((value or b"").partition(b"\n")[2]).position)
    except ValueError:
        return None


def flags(at: Position | None, end: Position | None, first: Position | None, *, held: bool) -> list[str]:
    """Return what is wrong with a position.

    Args:
        at: the position; None if its record cannot be read.
        end: the history's last entry; None if there is no history.
        first: the place before its first event; None if it has none any more.
        held: whether the position's entry is in the history.
    """
    if at is None:
        return ["no record that can be read"]
    if not end:
        return [] if at == ORIGIN else ["there is no history any more"]
    if at.streamseq > end.streamseq:
        return ["ahead of the history, which was rolled back or deleted"]
    gone = (first or end).streamseq - at.streamseq
    if held or at.streamid == end.streamid or (at.streamid == ORIGIN.streamid and not gone):
        return []
    return ["position no longer in history" + (f", nor {gone:,} after it" if gone > 0 else "")]


def age(streamid: str | None, now: float) -> float | None:
    """Return the seconds since an entry was added."""
    return max(0.0, round(now - int(streamid.partition("-")[0]) / 1000, 1)) if streamid else None


async def status(redis: Commands) -> Row:
    """Return everything, as --json prints it."""
    try:
        clients = (await redis.call("CLIENT", "LIST")).decode(errors="replace")
    except ResponseError:  # not permitted
        clients = ""
    connected = set(re.findall(r" name=(\S+) ", clients))
    found, view, memory = await find(redis), await roster.read(redis), await server_memory.read(redis)
    there = {one.instance: one for one in view.replicas if one.service == "subscriber"}
    return {
        "memory": memory._asdict(),
        "channels": [
            await look(redis, channel, names, connected, there)
            for channel, names in found.items()
            if names["history"] or names["producer"] or names["position"]
        ],
        "patterns": [
            {"pattern": name, "subscribers": names["pattern"]} for name, names in found.items() if names["pattern"]
        ],
        "strange_records": view.strange,
    }


def ago(seconds: float | None) -> str:
    """Return a duration as people say it: 3 s, 5 min, 2 h, 4 d."""
    units = (("d", 86400), ("h", 3600), ("min", 60))
    unit, size = next((one for one in units if (seconds or 0) >= one[1]), ("s", 1))
    return "-" if seconds is None else f"{abs(seconds) / size:.0f} {unit}"


def table(lines: list[list[str]], right: str) -> str:
    """Return lines in columns; each letter of `right` aligns a column to the right (>) or to the left (<)."""
    lines = [list(map(escape, line)) for line in lines]
    forms = [f"{side}{max(map(len, column))}" for side, column in zip(right, zip(*lines, strict=True), strict=True)]
    return "\n".join("  ".join(map(format, line, forms)).rstrip() for line in lines) + "\n"


def show(found: Row) -> str:
    """Return everything as text for people."""
    used, limit = (found["memory"][name] / 1e6 for name in ("used", "limit"))
    share = f"of {limit:,.0f} MB, {used / limit:.0%}" if limit else "without a limit"
    parts = [f"Redis uses {used:,.1f} MB {share}\n"]
    for row in found["channels"]:
        kept = f"{row['length']:,} of {row['streamseq']:,} events, {(row['bytes'] or 0) / 1e3:,.0f} kB"
        ages = f"oldest {ago(row['oldest_s'])}, newest {ago(row['newest_s'])}"
        parts.append(escape(f"{row['channel']}: " + (f"{kept}, {ages}" if row["history"] else "no history")))
        made = [f"{p['name']} at {p['seq']:,} ({ago(p['active_s'])}{', ended' * p['ended']})" for p in row["producers"]]
        more = [f"and {len(made) - SHOWN:,} more"] * (len(made) > SHOWN)
        parts.append(escape(f"  {len(made):,} producer{'s' * (len(made) != 1)}: {', '.join(made[:SHOWN] + more)}"))
        lines = [["  subscriber", "lag", "streamseq", "position", "saved", ""]]
        for one in row["subscribers"]:
            known = [f"{one['lag']:,}", f"{one['streamseq']:,}", one["position"]] if one["position"] else ["-"] * 3
            lines.append([f"  {one['name']}", *known, ago(one["saved_s"]), "; ".join(one["flags"])])
        parts.append(table(lines, "<>><><") if len(lines) > 1 else "  no subscribers\n")
    begun = [[f"  {row['pattern']}", ", ".join(row["subscribers"])] for row in found["patterns"]]
    parts += [table([["patterns", "subscribers that have begun"], *begun], "<<")] if begun else []
    if strange := found["strange_records"]:
        parts.append(f"{strange:,} records of the roster are none of Fanout's, and left out\n")
    if not (found["channels"] or begun):
        parts.append("Redis has no keys of Fanout")
    return "\n".join(parts).rstrip()


async def run() -> Row:
    """Connect as the services do, and look. Only the settings of the connection matter."""
    variables = {name: value for name, value in os.environ.items() if name.startswith("REDIS_")}
    redis = await Commands.open(read_settings(Environment(variables | {"INSTANCE": "status"})), WITHIN)
    try:
        return await status(redis)
    finally:
        redis.close()


def main(parser: argparse.ArgumentParser) -> int:
    """Print what there is; returns the exit code."""
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    try:
        found = asyncio.run(run())
        print(json.dumps(found, indent=2) if options.json else show(found))
    except (FanoutError, ConnectionLost, RedisError, OSError, TimeoutError) as error:
        print(f"status: {escape(' '.join(str(error).split())) or type(error).__name__}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0
