"""Large events, of 8 kB: published, and received by one subscriber that logs."""

from functools import partial

from bench import programs
from bench.items import receive
from bench.items.publish import process
from bench.modes import Mode
from bench.names import BATCH_1, CONSOLE, LISTEN, MULTI, NODE, OURS, PIPELINE, SINK
from bench.programs import Program
from bench.rounds import Groups, Results, Run
from bench.table import Column, Table
from bench.wire import BATCH_EVENTS, LARGE_BYTES

SIZE = LARGE_BYTES
NOTE_PUBLISH = f"""Events of {SIZE:,} bytes, nobody subscribed, AOF everysec, otherwise as in `publish`. Fanout puts up
to 64 KiB into a message, and its history holds 64 MiB (HISTORY_BYTES); that of MULTI holds 100,000 entries."""
NOTE_RECEIVE = f"""Events of {SIZE:,} bytes, otherwise as in `receive`: arrays of 8 for `Fanout`, one event a message
for everyone else. All log lines show the first 1,000 characters of the data."""


def publishers(count: int) -> dict[str, Run]:
    """Who publishes."""

    def run(program: Program) -> Run:
        return partial(process, program.having(SIZE=SIZE), count)

    found = {
        OURS: run(programs.writer("flood", count)),
        MULTI: run(programs.peer("redis_py_history", "multi", count, 64)),
        PIPELINE: run(programs.peer("redis_py", "flood", count, 64)),
    }
    if programs.have_node():
        found[NODE] = run(programs.node("flood", count, 64))
    return found


def subscribers(count: int) -> dict[str, Run]:
    """Who receives."""
    run = partial(receive.run, count=count, size=SIZE)
    found: dict[str, Run] = {
        OURS: partial(run, programs.subscriber(), batch=BATCH_EVENTS),
        BATCH_1: partial(run, programs.subscriber()),
        LISTEN: partial(run, programs.peer("redis_py", "log")),
    }
    if programs.have_node():
        found[CONSOLE] = partial(run, programs.node("log"))
    found[SINK] = partial(run, programs.peer("sink", "log"))
    return found


def runs(mode: Mode) -> Groups:
    """Both groups."""
    return {"large, publish": publishers(mode.large), "large, receive": subscribers(mode.large)}


def tables(_mode: Mode, results: Results) -> list[Table]:
    """Events and messages a second."""
    events, messages = (Column(f"{what}/s", f"{what}/s", more=True) for what in ("events", "messages"))
    return [
        Table("large-publish", "Publish events of 8 kB", [events], NOTE_PUBLISH).fill(results["large, publish"]),
        Table("large-receive", "Receive and log events of 8 kB", [messages], NOTE_RECEIVE).fill(
            results["large, receive"]
        ),
    ]
