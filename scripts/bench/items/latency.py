"""From the publisher's call to each of three subscribers, under an even load."""

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from bench import programs
from bench.child import Child
from bench.modes import Mode
from bench.names import MULTI, NO_HISTORY, NO_LINES, NODE, OURS, REDIS_ASYNCIO, REDIS_PY, STREAMS, XREAD
from bench.programs import Program
from bench.rounds import Groups, Results, Run
from bench.stage import Stage
from bench.table import Column, Table
from bench.wire import RunError

SUBSCRIBERS = 3
WITHIN = 30.0
WARM_UP = 0.3
"""Seconds at the beginning that do not count."""
POINTS = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
STREAMS_RATE = 1000
"""No more than that for FastStream, which cannot keep up with ten times as many."""
NOTE = """Microseconds on the clock of one machine, from the call that publishes to the code that has the message;
{seconds:g} s a run, what is due sent every millisecond, the first {warm_up:g} s left out, AOF everysec.
Each subscriber writes a log line a message with its age, but for those with `no lines`, which keep the ages and print
them at the end; there Fanout's HANDLER is a plain function in its thread.
MULTI and the streams are the peers that keep a history, as Fanout does; FastStream's are only measured at 1,000/s."""


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
    publisher: Program,
    subscribers: list[Program],
    load: tuple[int, int],
    ages: Callable[[Child, int], list[float]] = logged,
    *,
    streams: bool = False,
) -> Mapping[str, float]:
    """One load of so many messages, of which the first do not count; the percentiles of all subscribers together."""
    count, warm = load
    with Stage(aof=True) as stage:
        children = [stage.start(subscriber, keep=True) for subscriber in subscribers]
        stage.subscribed(len(children), *children, streams=streams)
        source = stage.start(publisher, keep=True)
        seconds = float(source.result(WITHIN)["seconds"])
        found = sorted(age for child in children for age in ages(child, count)[warm:])
        return {name: found[int(len(found) * point)] for name, point in POINTS.items()} | {"sent/s": count / seconds}


def fanout(rate: int, load: tuple[int, int]) -> dict[str, Run]:
    """Fanout with its history and without, and with a HANDLER in place of the lines."""
    count, _ = load
    ours = [programs.subscriber(n) for n in range(1, SUBSCRIBERS + 1)]
    plain = [one.having(HISTORY_SIZE=0) for one in ours]
    handler: dict[str, Any] = {"HANDLER": "bench.fanout_handler:handle", "COUNT": count, "LOG_MESSAGES": "none"}
    writer = programs.writer("pace", rate, count)
    return {
        OURS: partial(run, writer, ours, load),
        NO_HISTORY: partial(run, writer.having(HISTORY_SIZE=0), plain, load),
        f"{OURS}, HANDLER{NO_LINES}": partial(run, writer, [one.having(**handler) for one in ours], load, recorded),
    }


def histories(rate: int, load: tuple[int, int]) -> dict[str, Run]:
    """The peers that keep a history."""
    count, _ = load
    peer = partial(programs.peer, "redis_py_history")
    found: dict[str, Run] = {
        MULTI: partial(run, peer("multi_pace", rate, count), [programs.peer("redis_py", "trace")] * SUBSCRIBERS, load),
        XREAD: partial(run, peer("xadd_pace", rate, count), [peer("trace")] * SUBSCRIBERS, load, streams=True),
    }
    if rate <= STREAMS_RATE:
        peer = partial(programs.peer, "faststream_streams")
        pair = peer("pace", rate, count), [peer("trace")] * SUBSCRIBERS
        found[STREAMS] = partial(run, *pair, load, streams=True)
    return found


def contenders(rate: int, seconds: float) -> dict[str, Run]:
    """The pairs of publisher and subscribers."""
    warm = int(rate * WARM_UP)
    load = count, _ = warm + int(rate * seconds), warm
    peers: dict[str, Callable[..., Program]] = {
        REDIS_PY: partial(programs.peer, "redis_py"),
        REDIS_ASYNCIO: partial(programs.peer, "redis_asyncio"),
    }
    if programs.have_node():
        peers[NODE] = programs.node
    lines: dict[str, Run] = {}
    no_lines: dict[str, Run] = {}
    for name, peer in peers.items():
        source = peer("pace", rate, count)
        lines[name] = partial(run, source, [peer("trace")] * SUBSCRIBERS, load)
        no_lines[f"{name}{NO_LINES}"] = partial(run, source, [peer("record", count)] * SUBSCRIBERS, load, recorded)
    return fanout(rate, load) | lines | histories(rate, load) | no_lines


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
