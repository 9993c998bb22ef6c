"""Who is there, and how they are, as a view reads it."""

import asyncio
import signal
from collections.abc import Callable

from fanout import presence
from fanout.commands import Commands
from fanout.environment import Environment
from fanout.settings import read_settings
from redis_server import RedisServer
from service import Service
from waiting import eventually

Start = Callable[..., Service]


def look(server: RedisServer) -> presence.View:
    async def read() -> presence.View:
        settings = read_settings(Environment({"REDIS_URL": server.url, "INSTANCE": "view"}), "view")
        redis = await Commands.open(settings, 2)
        try:
            return await presence.read(redis)
        finally:
            redis.close()

    return asyncio.run(read())


def replica(server: RedisServer, instance: str) -> presence.Replica | None:
    return next((one for one in look(server).replicas if one.instance == instance), None)


def test_every_process_says_how_it_is_and_leaves_no_record_behind(server: RedisServer, start: Start) -> None:
    assert look(server) == presence.View([], {})
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
    event = server.client().xrange("fanout:{notifications}:history", count=1)[0][1]
    assert maker and maker.producer
    assert f'"source":"/notifications/{maker.producer}"'.encode() in next(iter(event.values()))
    for service in (*subscribers, publisher):
        service.stop()
    assert look(server) == presence.View([], {})


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
