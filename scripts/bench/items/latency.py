"""From the publisher's call to each of three subscribers, under an even load."""

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from bench import programs
from bench.child import Child
from bench.modes import Mode
from bench.programs import Program
from bench.rounds import Groups, Results, Run
from bench.stage import Stage
from bench.table import OURS, Column, Table
from bench.wire import RunError

SUBSCRIBERS = 3
WITHIN = 30.0
WARM_UP = 0.3
"""Seconds at the beginning that do not count."""
POINTS = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
NO_LOG = "no lines"
NOTE = """Microseconds on the clock of one machine, from the call that publishes to the code that has the message;
{seconds:g} s a run, what is due sent every millisecond, the first {warm_up:g} s left out, AOF everysec.
Each subscriber writes a log line a message with its age, but for those with `no lines`, which keep the ages and print
them at the end; there Fanout's HANDLER is a plain function in its thread. The peers keep no history."""


def recorded(child: Child, count: int) -> list[float]:
    """Ages that the process prints as a list by itself; microseconds."""
    lines: list[bytes] = child.wait("its ages", lambda: _lists(child.output), WITHIN)
    ages: list[float] = json.loads(lines[-1])
    if len(ages) != count:
        raise RunError(f"{len(ages)} ages, but {count} messages")
    return ages


def logged(child: Child, count: int) -> list[float]:
    """Ages from the lines of a subscriber's log; microseconds."""
    child.wait_count(count, WITHIN)
    lines = [json.loads(line) for line in child.output.splitlines() if programs.RECEIVED in line]
    return [line["latency_ms"] * 1000 for line in lines]


def run(
    publisher: Program, subscribers: list[Program], count: int, warm: int, ages: Callable[[Child, int], list[float]]
) -> Mapping[str, float]:
    """One load of `count` messages; the percentiles of all subscribers together."""
    with Stage(aof=True) as stage:
        children = [stage.start(subscriber, keep=True) for subscriber in subscribers]
        stage.subscribed(len(children), *children)
        source = stage.start(publisher, keep=True)
        seconds = float(source.result(WITHIN)["seconds"])
        found = sorted(age for child in children for age in ages(child, count)[warm:])
        return {name: found[int(len(found) * point)] for name, point in POINTS.items()} | {"sent/s": count / seconds}


def contenders(rate: int, seconds: float) -> dict[str, Run]:
    """The pairs of publisher and subscribers."""
    warm = int(rate * WARM_UP)
    count = warm + int(rate * seconds)
    ours = [programs.subscriber(n) for n in range(1, SUBSCRIBERS + 1)]
    plain = [one.having(HISTORY_SIZE=0) for one in ours]
    handler: dict[str, Any] = {"HANDLER": "bench.fanout_handler:handle", "COUNT": count, "LOG_MESSAGES": "none"}
    writer = programs.writer("pace", rate, count)
    peers: dict[str, Callable[..., Program]] = {
        "redis-py": partial(programs.peer, "redis_py"),
        "redis.asyncio": partial(programs.peer, "redis_asyncio"),
    }
    if programs.have_node():
        peers["node-redis"] = programs.node
    lines: dict[str, Run] = {
        OURS: partial(run, writer, ours, count, warm, logged),
        f"{OURS}, HISTORY_SIZE=0": partial(run, writer.having(HISTORY_SIZE=0), plain, count, warm, logged),
    }
    no_lines: dict[str, Run] = {
        f"{OURS}, HANDLER, {NO_LOG}": partial(
            run, writer, [one.having(**handler) for one in ours], count, warm, recorded
        ),
    }
    for name, peer in peers.items():
        source = peer("pace", rate, count)
        lines[name] = partial(run, source, [peer("trace")] * SUBSCRIBERS, count, warm, logged)
        no_lines[f"{name}, {NO_LOG}"] = partial(
            run, source, [peer("record", count)] * SUBSCRIBERS, count, warm, recorded
        )
    return lines | no_lines


def runs(mode: Mode) -> Groups:
    """All of them at each rate."""
    return {f"latency {rate:,}/s": contenders(rate, mode.latency) for rate in mode.rates}


def tables(mode: Mode, results: Results) -> list[Table]:
    """Percentiles at each rate."""
    columns = [Column(name, f"{name}, µs", more=False) for name in POINTS]
    columns.append(Column("sent/s", "sent/s", more=None))
    note = NOTE.format(seconds=mode.latency, warm_up=WARM_UP)
    title = "Latency with three subscribers, {:,} messages/s"
    return [
        Table(f"latency-{rate}", title.format(rate), columns, note, ("p99",)).fill(results[f"latency {rate:,}/s"])
        for rate in mode.rates
    ]


def _lists(output: bytes) -> list[bytes]:
    return [line for line in output.splitlines() if line.startswith(b"[")]
