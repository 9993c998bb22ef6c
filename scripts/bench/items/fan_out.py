"""One message to many: deliveries a second, and what a delivery costs the server."""

from collections.abc import Mapping
from functools import partial

from bench import programs
from bench.modes import Mode
from bench.names import FORGETS, OURS, PIPELINE
from bench.programs import Program
from bench.rounds import Groups, Results, Run, joined
from bench.stage import Stage
from bench.table import Column, Table

WITHIN = 60.0
EVENTS = 20_000
"""No more than that, however few the subscribers."""
FASTER = 5
"""What a delivery of Fanout's costs is little: so many times as many, so that the server's start does not count."""
A_MESSAGE, AN_EVENT = "\r\nmessage\r\n", '"specversion":"1.0"'
"""What the subscribers count."""
NOTE = """The subscribers are raw sockets of one process that only counts events. AOF everysec; the processor time is
the server's own (INFO cpu), history included for Fanout, which sends arrays; the peers send one event a message, and
`one by one` waits for each answer, as a plain publish() does."""


def run(publisher: Program, subscribers: int, count: int, word: str = A_MESSAGE) -> Mapping[str, float]:
    """One load to that many subscribers, from its start to the last delivery."""
    with Stage(aof=True) as stage:
        sink = stage.start(programs.peer("sink", "count", subscribers, count, WORD=word), keep=True)
        stage.subscribed(subscribers, sink)
        used = stage.server_cpu()
        began = float(stage.start(publisher, keep=True).result(WITHIN)["began"])
        ended = float(sink.result(WITHIN)["ended"])
        deliveries = count * subscribers
        return {"deliveries/s": deliveries / (ended - began), "CPU µs": (stage.server_cpu() - used) / deliveries * 1e6}


def contenders(count: int, subscribers: int) -> dict[str, Run]:
    """Who publishes."""
    few, many = max(250, count // 4), count * FASTER
    return {
        OURS: partial(run, programs.writer("flood", many), subscribers, many, AN_EVENT),
        f"redis-py publish(), one by one{FORGETS}": partial(
            run, programs.peer("redis_py", "single", few), subscribers, few
        ),
        PIPELINE: partial(run, programs.peer("redis_py", "flood", count, 64), subscribers, count),
    }


def runs(mode: Mode) -> Groups:
    """All of them for each number of subscribers."""
    return {f"fanout 1:{n}": contenders(max(1000, min(EVENTS, mode.deliveries // n)), n) for n in mode.subscribers}


def tables(mode: Mode, results: Results) -> list[Table]:
    """Both figures for each number of subscribers."""
    found = joined({str(n): results[f"fanout 1:{n}"] for n in mode.subscribers})

    def columns(figure: str, *, more: bool) -> list[Column]:
        return [Column(f"{figure} {n}", f"{n} subscriber{'s' * (n > 1)}", more=more) for n in mode.subscribers]

    headline = (f"CPU µs {mode.subscribers[-1]}",)
    return [
        Table("fanout-rate", "Fan-out: deliveries/s", columns("deliveries/s", more=True), NOTE).fill(found),
        Table("fanout-cpu", "Fan-out: server CPU a delivery, µs", columns("CPU µs", more=False), NOTE, headline).fill(
            found
        ),
    ]
