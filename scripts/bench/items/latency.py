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
NOTE = """Microseconds on the clock of one machine, from the call that publishes to the code that has the message;
{seconds:g} s a run, what is due sent every millisecond, the first {warm_up:g} s left out, AOF everysec.
Fanout keeps its history. `Fanout` is what its log says as latency_ms while it writes a line a message; `HANDLER` is a
plain function in its thread without such lines. The peers only note the time: they write nothing, keep no history."""


def recorded(child: Child, count: int) -> list[float]:
    """Ages that the process prints as a list by itself; microseconds."""
    lines: list[bytes] = child.wait("its ages", lambda: _lists(child.output), WITHIN)
    ages: list[float] = json.loads(lines[-1])
    if len(ages) != count:
        raise RunError(f"{len(ages)} ages, but {count} messages")
    return ages


def logged(child: Child, count: int) -> list[float]:
    """Ages from the log of Fanout's subscriber; microseconds."""
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
    numbers = range(1, SUBSCRIBERS + 1)
    ours = [programs.subscriber(n) for n in numbers]
    handler: dict[str, Any] = {"HANDLER": "bench.fanout_handler:handle", "COUNT": count, "LOG_MESSAGES": "none"}
    writer = programs.writer("pace", rate, count)
    runs: dict[str, Run] = {
        OURS: partial(run, writer, ours, count, warm, logged),
        f"{OURS}, HANDLER": partial(run, writer, [one.having(**handler) for one in ours], count, warm, recorded),
    }
    for name, module in (("redis-py", "redis_py"), ("redis.asyncio", "redis_asyncio")):
        pair = programs.peer(module, "pace", rate, count), [programs.peer(module, "record", count)] * SUBSCRIBERS
        runs[name] = partial(run, *pair, count, warm, recorded)
    if programs.have_node():
        nodes = [programs.node("record", count)] * SUBSCRIBERS
        runs["node-redis"] = partial(run, programs.node("pace", rate, count), nodes, count, warm, recorded)
    return runs


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
