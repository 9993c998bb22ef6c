"""Publish events of 200 bytes, nobody subscribed: Fanout with its history beside PUBLISH alone and beside EVALSHA."""

import re
from collections.abc import Mapping
from functools import partial

from bench import programs
from bench.modes import Mode
from bench.names import C_PUBLISH, EVALSHA, FORGETS, LIMIT, MULTI, OURS, PIPELINE
from bench.programs import Program
from bench.rounds import Groups, Results, Run, joined
from bench.stage import Stage
from bench.table import Column, Table
from bench.wire import CHANNEL, RunError, text

WITHIN = 60.0
AOF = {"everysec": True, "off": False}
SCRIPT = """redis.call('XADD', KEYS[1], 'MAXLEN', '~', 100000, '*', 'event', ARGV[1])
return redis.call('PUBLISH', ARGV[2], ARGV[1])"""
"""The simplest history: an entry and a message an event."""
NOTE = """From the first event to the last answer, in one process and over one connection.
Fanout keeps its history and awaits Redis's word on each event. MULTI sends pipelines of 64 pairs of XADD
(MAXLEN ~ 100000) and PUBLISH, as redis-py's pipeline() does by itself. EVALSHA runs a script that does the same two,
one event a call; redis-benchmark is the C program that comes with the server, -P 64 -c 1."""


def process(program: Program, count: int, *, aof: bool = True) -> Mapping[str, float]:
    """A program that says itself how long it took."""
    with Stage(aof=aof) as stage:
        seconds = float(stage.start(program, keep=True).result(WITHIN)["seconds"])
        return {"events/s": count / seconds}


def native(words: tuple[str, ...], count: int, *, aof: bool) -> Mapping[str, float]:
    """redis-benchmark with a command; SHA stands for the script."""
    with Stage(aof=aof) as stage:
        sha = stage.redis.script_load(SCRIPT)
        options = ("-h", "127.0.0.1", "-p", "PORT", "-c", "1", "-P", "64", "-n", str(count), "-q")
        command = (programs.redis_benchmark() or "", *options, *(sha if word == "SHA" else word for word in words))
        child = stage.start(Program(command), keep=True)
        child.wait("its end", lambda: child.ended, WITHIN)
        if not (found := re.findall(rb"([\d.]+) requests per second", child.output)):
            raise RunError(f"redis-benchmark said {child.output[-300:]!r}")
        return {"events/s": float(found[-1])}


def contenders(count: int, *, aof: bool) -> dict[str, Run]:
    """Who publishes, and how many events each."""
    quarter, twice, more = max(64, count // 4), count * 2, count * 4
    evalsha = programs.peer("redis_py", "evalsha", quarter).having(SCRIPT=SCRIPT)
    runs: dict[str, Run] = {
        OURS: partial(process, programs.writer("flood", twice), twice, aof=aof),
        PIPELINE: partial(process, programs.peer("redis_py", "flood", count, 64), count, aof=aof),
        f"redis-py pipelines of 1,000 PUBLISH{FORGETS}": partial(
            process, programs.peer("redis_py", "flood", count, 1000), count, aof=aof
        ),
        MULTI: partial(process, programs.peer("redis_py_history", "multi", quarter, 64), quarter, aof=aof),
        EVALSHA: partial(process, evalsha, quarter, aof=aof),
    }
    if programs.redis_benchmark():
        publish, script = ("PUBLISH", CHANNEL, text()), ("EVALSHA", "SHA", "1", "history", text(), CHANNEL)
        runs[C_PUBLISH] = partial(native, publish, more, aof=aof)
        runs[f"redis-benchmark EVALSHA {LIMIT}"] = partial(native, script, count, aof=aof)
    return runs


def runs(mode: Mode) -> Groups:
    """All of them with an AOF and without."""
    return {f"publish, AOF {name}": contenders(mode.publish, aof=aof) for name, aof in AOF.items()}


def tables(_mode: Mode, results: Results) -> list[Table]:
    """Events a second."""
    columns = [Column(f"events/s {name}", f"events/s, AOF {name}", more=True) for name in AOF]
    table = Table("publish", "Publish with history", columns, NOTE, ("events/s everysec",))
    return [table.fill(joined({name: results[f"publish, AOF {name}"] for name in AOF}))]
