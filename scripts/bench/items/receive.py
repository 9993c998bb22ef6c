"""Receive a message and write one JSON log line: one subscriber, saturated.

Also what that costs (processor, memory) and how long it takes from process start to subscribed, for `footprint`.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from bench import programs
from bench.modes import Mode
from bench.names import BATCH_1, CONSOLE, LISTEN, OURS, SINK
from bench.programs import Program
from bench.rounds import Groups, Results
from bench.stage import Stage
from bench.table import Column, Table
from bench.wire import BATCH_EVENTS, EVENT_BYTES, Events, feed, feeder

WITHIN = 180.0
WARM_UP = 10_000
NOTE = """The same CloudEvents of 200 bytes for everyone, without history, fed by a raw socket that stays at most
20,000 events ahead. `Fanout` gets them as its publisher sends them under load, in JSON arrays of up to 256, everyone
else one event a message. Fanout checks and decodes each event and logs its fields; the peers log the payload as it
came. The raw socket shows what server, feeder and counting allow, one event a message."""


def subscribers() -> dict[str, tuple[Program, float]]:
    """The contenders, each with its part of the messages."""
    peer = programs.peer
    found = {
        OURS: (programs.subscriber(), 2.0),
        BATCH_1: (programs.subscriber(), 1.0),
        LISTEN: (peer("redis_py", "log"), 0.5),
        "redis.asyncio listen() + structlog": (peer("redis_asyncio", "log"), 0.5),
        "encode/broadcaster + structlog": (peer("broadcaster_app"), 0.4),
        "FastStream + structlog": (peer("faststream_app", "log"), 0.05),
        "FastStream, its own log": (replace(peer("faststream_app", "own"), line=b"Received"), 0.03),
        CONSOLE: (programs.node("log"), 1.0),
        SINK: (peer("sink", "log"), 2.0),
    }
    if not programs.have_node():
        print("receive: node-redis is left out: no node on PATH, or no Debian package node-redis", flush=True)
        del found[CONSOLE]
    return found


def run(program: Program, count: int, *, size: int = EVENT_BYTES, batch: int = 1) -> Mapping[str, float]:
    """One subscriber, from its start over a warm-up to its last line; events of `size` bytes, `batch` a message."""
    with Stage(aof=False) as stage:
        child = stage.start(program)
        ready = stage.subscribed(1, child) - child.started_at
        events, warm = Events(size, batch), min(WARM_UP, count)
        with feeder(stage.port) as connection:
            feed(connection, events, warm, lambda: child.count, WITHIN)
            child.wait_count(warm, WITHIN)
            used = child.cpu()
            began = feed(connection, events, count, lambda: child.count, WITHIN)
            ended = child.wait_count(warm + count, WITHIN)
        return {
            "messages/s": count / (ended - began),
            "µs": (ended - began) / count * 1e6,
            "CPU s/million": (child.cpu() - used) / count * 1e6,
            "MB": child.memory() / 1e6,
            "ready s": ready,
        }


def runs(mode: Mode) -> Groups:
    """The contenders, each with as many messages as its speed allows."""
    return {
        "receive": {
            name: partial(run, program, max(500, int(mode.receive * part)), batch=BATCH_EVENTS if name == OURS else 1)
            for name, (program, part) in subscribers().items()
        }
    }


def tables(_mode: Mode, results: Results) -> list[Table]:
    """Messages a second."""
    columns = [Column("messages/s", "messages/s", more=True)]
    return [
        Table("receive", "Receive and log, one subscriber", columns, NOTE, ("messages/s",)).fill(results["receive"])
    ]
