"""Catching up: a subscriber comes back after an outage and reads what it missed, with a log line each."""

from collections.abc import Mapping
from functools import partial

from bench import programs
from bench.modes import Mode
from bench.names import OURS
from bench.rounds import Groups, Results
from bench.stage import Stage
from bench.table import Column, Table
from bench.wire import CHANNEL, RunError

WITHIN = 60.0
NOTE = """{count:,} events were published in batches while the subscriber was stopped; from its line `connected` to its
last line. No peer brings a way to catch up."""


def run(count: int) -> Mapping[str, float]:
    """Subscribes, goes away, comes back."""
    with Stage(aof=True) as stage:
        room = {"HISTORY_SIZE": 2 * count, "HISTORY_BYTES": 2**40}
        subscriber = programs.subscriber().having(START_FROM="now", **room)
        writer = programs.writer("flood", count).having(**room)
        first = stage.start(subscriber)
        stage.subscribed(1, first)
        stage.start(programs.writer("flood", 1).having(**room), keep=True).result(WITHIN)
        first.wait_count(1, WITHIN)
        if first.stop():
            raise RunError("the subscriber did not stop cleanly")
        stage.start(writer, keep=True).result(WITHIN)
        if not stage.redis.exists(f"fanout:{{{CHANNEL}}}:history"):
            raise RunError("there is no history to catch up from")
        second = stage.start(subscriber)
        began = second.wait_mark(WITHIN)
        return {"events/s": count / (second.wait_count(count, WITHIN) - began)}


def runs(mode: Mode) -> Groups:
    """Fanout alone."""
    return {"catchup": {OURS: partial(run, mode.catch_up)}}


def tables(mode: Mode, results: Results) -> list[Table]:
    """Events a second."""
    columns = [Column("events/s", "events/s", more=True)]
    note = NOTE.format(count=mode.catch_up)
    return [Table("catchup", "Catching up after an outage", columns, note).fill(results["catchup"])]
