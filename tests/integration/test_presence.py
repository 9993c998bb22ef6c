"""Who is there, and how they are, as a view reads it."""

import signal
from collections.abc import Callable

from fanout.service import roster
from support.entries import retained
from support.presence_view import look
from support.redis_server import RedisServer
from support.service import Service
from support.waiting import eventually

Start = Callable[..., Service]


def replica(server: RedisServer, instance: str) -> roster.Replica | None:
    return next((one for one in look(server).replicas if one.instance == instance), None)


def test_every_process_says_how_it_is_and_leaves_no_record_behind(server: RedisServer, start: Start) -> None:
    assert look(server) == roster.View([], {})
    subscribers = [start("subscriber", INSTANCE=f"s-{n}") for n in (1, 2, 10)]
    publisher = start("publisher", INSTANCE="p-1", PUBLISH_RATE=100, PUBLISH_COUNT=200)
    publisher.wait_for("load_finished")
    eventually(
        lambda: (
            [
                (one.instance, one.state, one.received, one.channels, one.lag)
                for one in look(server).replicas
                if one.service == "subscriber"
            ]
            == [(f"s-{n}", "live", 200, {"notifications": 200}, 0) for n in (1, 2, 10)]
        )
    )
    one = replica(server, "s-1")
    assert one
    assert one.age_s < 3
    assert one.latency_p50_ms is not None
    assert (one.lost, one.duplicates, one.reconnects, one.waiting) == (0, 0, 0, 0)
    assert eventually(lambda: (p := replica(server, "p-1")) and p.accepted == 200 and p.state == "live")
    maker = replica(server, "p-1")
    event = retained(server.client(), "notifications")[0]
    assert maker and maker.producer
    assert event["source"] == f"/notifications/{maker.producer}"
    for service in (*subscribers, publisher):
        service.stop()
    assert look(server) == roster.View([], {})


def test_who_hangs_or_dies_is_seen_by_the_age_of_its_record(server: RedisServer, start: Start) -> None:
    subscriber = start("subscriber", INSTANCE="s")
    eventually(lambda: replica(server, "s"))
    subscriber.signal(signal.SIGSTOP)
    eventually(lambda: (one := replica(server, "s")) and one.age_s > 2)
    server.client().delete("fanout:presence:s")  # as its expiry does
    assert look(server).replicas == []
    assert not server.client().smembers("fanout:presence")
    subscriber.signal(signal.SIGCONT)
    eventually(lambda: (one := replica(server, "s")) and one.age_s < 2)


def test_a_lag_is_what_the_handler_has_not_got_from_the_history(server: RedisServer, start: Start) -> None:
    subscriber = start("subscriber", INSTANCE="s")
    eventually(lambda: (one := replica(server, "s")) and one.state == "live")
    subscriber.signal(signal.SIGSTOP)
    start("publisher", "send", "notifications", stdin=b"x\n" * 50).ended()
    eventually(lambda: (one := replica(server, "s")) and one.lag == 50)
    subscriber.signal(signal.SIGCONT)
    eventually(lambda: (one := replica(server, "s")) and one.lag == 0 and one.received == 50)


def test_a_subscriber_without_history_keeps_its_record_too(server: RedisServer, start: Start) -> None:
    start("subscriber", INSTANCE="plain", HISTORY_SIZE=0)
    eventually(lambda: (one := replica(server, "plain")) and one.state == "live")
