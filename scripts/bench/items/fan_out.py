"""One message to many: deliveries a second, and what a delivery costs the server."""

from collections.abc import Mapping
from functools import partial

from bench import programs
from bench.modes import Mode
from bench.programs import Program
from bench.rounds import Run, Samples, interleaved
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


def measure(mode: Mode) -> list[Table]:
    """Both figures for each number of subscribers."""
    results: dict[str, Samples] = {}
    for subscribers in mode.subscribers:
        count = max(1000, min(MESSAGES, mode.deliveries // subscribers))
        found = interleaved(f"fanout 1:{subscribers}", contenders(count, subscribers), mode.repetitions)
        for name, samples in found.items():
            merged = results.setdefault(name, Samples())
            merged.failure = merged.failure or samples.failure
            merged.values |= {f"{figure} {subscribers}": values for figure, values in samples.values.items()}
    tables = []
    for figure, title, more in (
        ("deliveries/s", "Fan-out: deliveries/s", True),
        ("CPU µs", "Fan-out: server CPU a delivery, µs", False),
    ):
        columns = [Column(f"{figure} {n}", f"{n} subscriber{'s' * (n > 1)}", more=more) for n in mode.subscribers]
        headline = () if more else (f"{figure} {mode.subscribers[-1]}",)
        key = "fanout-rate" if more else "fanout-cpu"
        tables.append(Table(key, title, columns, NOTE, headline).fill(results))
    return tables
