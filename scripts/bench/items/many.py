"""Many channels: one event on each in turn, where nothing can be put together into a batch."""

from functools import partial

from bench import programs
from bench.items.publish import process
from bench.modes import Mode
from bench.names import MULTI, OURS, PIPELINE
from bench.rounds import Groups, Results, Run
from bench.table import Column, Table

NOTE = """One event of 200 bytes on each channel in turn, {rounds} times; nobody subscribed, AOF everysec, one process
and connection. Fanout begins a round when Redis has accepted all of the one before; the peers send pipelines of 64,
MULTI with XADD (MAXLEN ~ 100000) and PUBLISH of each event."""


def runs(mode: Mode) -> Groups:
    """Who publishes."""
    channels, rounds = mode.many
    count = channels * rounds

    def peer(name: str, load: str) -> Run:
        return partial(process, programs.peer(name, load, count, 64, CHANNELS=channels), count)

    return {
        "many": {
            OURS: partial(process, programs.writer("turns", channels, rounds), count),
            MULTI: peer("redis_py_history", "multi"),
            PIPELINE: peer("redis_py", "flood"),
        }
    }


def tables(mode: Mode, results: Results) -> list[Table]:
    """Events a second."""
    channels, rounds = mode.many
    title, columns = f"Publish on {channels:,} channels", [Column("events/s", "events/s", more=True)]
    return [Table("many", title, columns, NOTE.format(rounds=rounds)).fill(results["many"])]
