"""The whole kit at once: a publisher as fast as it goes, Redis with its AOF, and three subscribers that log."""

from collections.abc import Mapping
from functools import partial

from bench import programs
from bench.modes import Mode
from bench.names import MULTI, NO_HISTORY, NODE, OURS, REDIS_PY, SOCKET, STREAMS, XREAD
from bench.programs import Program
from bench.rounds import Groups, Results, Run
from bench.stage import Stage
from bench.table import Column, Table

SUBSCRIBERS = 3
WITHIN = 90.0
FASTEST = 10_000_000
BATCH = 1000
STREAMS_PART = 40
"""FastStream gets one in so many of the messages: it is slower by far."""
NOTE = """A message counts when all three subscribers have logged it; from the start of publishing to the last line.
Fanout is `python -m publisher` and three `python -m subscriber`, with history (AOF everysec) and without it; the peers
publish the same 200 bytes in pipelines of 1,000. Those with a history keep it in a stream of 100,000 entries; where
subscribers read the stream itself, it keeps the whole load, so that they may fall behind."""


def run(publisher: Program, subscribers: list[Program], count: int, *, streams: bool = False) -> Mapping[str, float]:
    """One load from its start to the last line of all subscribers; with `streams` they wait for a stream's entries."""
    with Stage(aof=True) as stage:
        children = [stage.start(subscriber) for subscriber in subscribers]
        stage.subscribed(len(children), *children, streams=streams)
        source = stage.start(publisher)
        began = source.wait_mark(WITHIN)
        ended = max(child.wait_count(count, WITHIN) for child in children)
        return {"messages/s": count / (ended - began)}


def fanout(count: int, *, socket: bool = False, **settings: object) -> Run:
    """Fanout's services as their users run them; the queue takes the whole load, which nothing holds back here."""
    load = {"PUBLISH_RATE": FASTEST, "PUBLISH_COUNT": count, **settings}
    publisher = programs.publisher().having(**load)
    subscribers = [programs.subscriber(n).having(QUEUE_SIZE=count) for n in range(1, SUBSCRIBERS + 1)]
    if socket:
        publisher, subscribers = publisher.by_socket(), [subscriber.by_socket() for subscriber in subscribers]
    return partial(run, publisher, subscribers, count)


def histories(count: int) -> dict[str, Run]:
    """The peers that keep a history."""
    peer = partial(programs.peer, "redis_py_history")
    few = max(BATCH, count // STREAMS_PART)
    multi = peer("multi", count, BATCH), [programs.peer("redis_py", "log")] * SUBSCRIBERS
    xread = peer("xadd", count, BATCH, KEPT=count), [peer("log")] * SUBSCRIBERS
    streams = programs.peer("faststream_streams", "flood", few, BATCH), [programs.peer("faststream_streams", "log")]
    return {
        MULTI: partial(run, *multi, count),
        XREAD: partial(run, *xread, count, streams=True),
        STREAMS: partial(run, streams[0], streams[1] * SUBSCRIBERS, few, streams=True),
    }


def runs(mode: Mode) -> Groups:
    """The pairs of a publisher and its subscribers."""
    count = mode.kit
    forgetful = {REDIS_PY: (programs.peer("redis_py", "flood", count, BATCH), programs.peer("redis_py", "log"))}
    fastest = REDIS_PY
    if programs.have_node():
        fastest = NODE
        forgetful[NODE] = programs.node("flood", count, BATCH), programs.node("log")
    publisher, subscriber = (program.by_socket() for program in forgetful[fastest])
    return {
        "kit": {
            OURS: fanout(count),
            NO_HISTORY: fanout(count, HISTORY_SIZE=0),
            f"{OURS}{SOCKET}": fanout(count, socket=True),
            **{name: partial(run, source, [one] * SUBSCRIBERS, count) for name, (source, one) in forgetful.items()},
            f"{fastest}{SOCKET}": partial(run, publisher, [subscriber] * SUBSCRIBERS, count),
            **histories(count),
        }
    }


def tables(_mode: Mode, results: Results) -> list[Table]:
    """Messages a second through everything."""
    columns = [Column("messages/s", "messages/s", more=True)]
    return [Table("kit", "The whole kit, three subscribers", columns, NOTE, ("messages/s",)).fill(results["kit"])]
