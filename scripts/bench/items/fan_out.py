"""One message to many: deliveries a second, and what a delivery costs the server."""

from collections.abc import Mapping
from functools import partial

from bench import programs
from bench.modes import Mode
from bench.programs import Program
from bench.rounds import Groups, Results, Run, joined
from bench.stage import Stage
from bench.table import OURS, Column, Table

WITHIN = 60.0
MESSAGES = 20_000
"""No more than that, however few the subscribers."""
NOTE = """The subscribers are raw sockets of one process that only counts. AOF everysec; the processor time is the
server's own (INFO cpu), history included for Fanout. `one by one` waits for each answer, as a plain publish() does."""


def run(publisher: Program, subscribers: int, count: int) -> Mapping[str, float]:
    """One load to that many subscribers, from its start to the last delivery."""
    with Stage(aof=True) as stage:
        sink = stage.start(programs.peer("sink", "count", subscribers, count), keep=True)
        stage.subscribed(subscribers, sink)
        used = stage.server_cpu()
        began = float(stage.start(publisher, keep=True).result(WITHIN)["began"])
        ended = float(sink.result(WITHIN)["ended"])
        deliveries = count * subscribers
        return {"deliveries/s": deliveries / (ended - began), "CPU µs": (stage.server_cpu() - used) / deliveries * 1e6}


def contenders(count: int, subscribers: int) -> dict[str, Run]:
    """Who publishes."""
    few = max(250, count // 4)
    return {
        OURS: partial(run, programs.writer("flood", count), subscribers, count),
        "redis-py publish(), one by one, no history": partial(
            run, programs.peer("redis_py", "single", few), subscribers, few
        ),
        "redis-py pipelines of 64 PUBLISH, no history": partial(
            run, programs.peer("redis_py", "flood", count, 64), subscribers, count
        ),
    }


def runs(mode: Mode) -> Groups:
    """All of them for each number of subscribers."""
    return {f"fanout 1:{n}": contenders(max(1000, min(MESSAGES, mode.deliveries // n)), n) for n in mode.subscribers}


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
