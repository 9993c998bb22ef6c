"""What a subscriber costs, how soon it is there, and whether both stay the same however long it runs."""

from functools import partial

from bench import programs
from bench.items import receive
from bench.modes import Mode
from bench.names import LONG, OURS, SINK
from bench.rounds import Groups, Results
from bench.table import Column, Table
from bench.wire import BATCH_EVENTS

NOTE = """From the runs of `receive`: resident memory at their end, processor time of the process, and the time from its
start until Redis counts it as a subscriber."""
FLAT_NOTE = """One Fanout subscriber that logs, fed in arrays: a long run should take as long a message as a short one,
and no more memory."""


def runs(mode: Mode) -> Groups:
    """Those of `receive`, and a short and a long run of Fanout's subscriber."""
    short, long = mode.flat
    flat = {
        OURS: partial(receive.run, programs.subscriber(), short, batch=BATCH_EVENTS),
        LONG: partial(receive.run, programs.subscriber(), long, batch=BATCH_EVENTS),
    }
    return {**receive.runs(mode), "flat": flat}


def tables(mode: Mode, results: Results) -> list[Table]:
    """The costs, and how they grow."""
    columns = [
        Column("MB", "resident, MB", more=False),
        Column("CPU s/million", "CPU s a million messages", more=False),
        Column("ready s", "start to subscribed, s", more=False),
    ]
    costs = {name: found for name, found in results["receive"].items() if name != SINK}
    growth = [Column("µs", "µs a message", more=False), Column("MB", "resident, MB", more=False)]
    title = "A run of {:,} and one of {:,} messages".format(*mode.flat)
    return [
        Table("footprint", "What a subscriber costs", columns, NOTE).fill(costs),
        Table("flat", title, growth, FLAT_NOTE).fill(results["flat"]),
    ]
