"""The whole kit at once: a publisher as fast as it goes, Redis with its AOF, and three subscribers that log."""

from collections.abc import Mapping
from functools import partial

from bench import programs
from bench.modes import Mode
from bench.programs import Program
from bench.rounds import Groups, Results, Run
from bench.stage import Stage
from bench.table import OURS, Column, Table

SUBSCRIBERS = 3
WITHIN = 90.0
FASTEST = 10_000_000
BATCH = 1000
NOTE = """A message counts when all three subscribers have logged it; from the start of publishing to the last line.
Fanout is `python -m publisher` and three `python -m subscriber`, with history (AOF everysec) and without it; the peers
have no history and publish the same 200 bytes in pipelines of 1,000."""


def run(publisher: Program, subscribers: list[Program], count: int) -> Mapping[str, float]:
    """One load from its start to the last line of all subscribers."""
    with Stage(aof=True) as stage:
        children = [stage.start(subscriber) for subscriber in subscribers]
        stage.subscribed(len(children), *children)
        source = stage.start(publisher)
        began = source.wait_mark(WITHIN)
        ended = max(child.wait_count(count, WITHIN) for child in children)
        return {"messages/s": count / (ended - began)}


def fanout(count: int, **settings: object) -> Run:
    """Fanout's services as their users run them; the queue takes the whole load, which nothing holds back here."""
    load = {"PUBLISH_RATE": FASTEST, "PUBLISH_COUNT": count, **settings}
    subscribers = [programs.subscriber(n).having(QUEUE_SIZE=count) for n in range(1, SUBSCRIBERS + 1)]
    return partial(run, programs.publisher().having(**load), subscribers, count)


def runs(mode: Mode) -> Groups:
    """The pairs of a publisher and its subscribers."""
    peer, count = programs.peer, mode.kit
    found: dict[str, Run] = {
        OURS: fanout(count),
        f"{OURS}, HISTORY_SIZE=0": fanout(count, HISTORY_SIZE=0),
        "redis-py, no history": partial(
            run, peer("redis_py", "flood", count, BATCH), [peer("redis_py", "log")] * SUBSCRIBERS, count
        ),
    }
    if programs.have_node():
        pair = programs.node("flood", count, BATCH), [programs.node("log")] * SUBSCRIBERS
        found["node-redis, no history"] = partial(run, *pair, count)
    return {"kit": found}


def tables(_mode: Mode, results: Results) -> list[Table]:
    """Messages a second through everything."""
    columns = [Column("messages/s", "messages/s", more=True)]
    return [Table("kit", "The whole kit, three subscribers", columns, NOTE, ("messages/s",)).fill(results["kit"])]
