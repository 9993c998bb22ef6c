"""What a subscriber costs, how soon it is there, and whether both stay the same however long it runs."""

from functools import partial

from bench import programs
from bench.items import receive
from bench.modes import Mode
from bench.rounds import interleaved
from bench.table import OURS, Column, Table

NOTE = """From the runs of `receive`: resident memory at their end, processor time of the process, and the time from its
start until Redis counts it as a subscriber."""
FLAT_NOTE = """One Fanout subscriber that logs: a long run should take as long a message as a short one, and no more
memory."""


def measure(mode: Mode) -> list[Table]:
    """The costs of all subscribers of `receive`, then a short and a long run of Fanout's."""
    columns = [
        Column("MB", "resident, MB", more=False),
        Column("CPU s/million", "CPU s a million messages", more=False),
        Column("ready s", "start to subscribed, s", more=False),
    ]
    results = {name: found for name, found in receive.results(mode).items() if name != receive.SINK}
    costs = Table("footprint", "What a subscriber costs", columns, NOTE).fill(results)
    runs = {
        OURS if count == mode.flat[0] else f"{OURS}, {count / mode.flat[0]:g} times as many": partial(
            receive.run, programs.subscriber(), count
        )
        for count in mode.flat
    }
    columns = [Column("µs", "µs a message", more=False), Column("MB", "resident, MB", more=False)]
    flat = Table("flat", f"{mode.flat[0]:,} and {mode.flat[1]:,} messages", columns, FLAT_NOTE)
    return [costs, flat.fill(interleaved("flat", runs, mode.repetitions))]
