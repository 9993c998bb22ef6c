"""A rollback of Redis, as the gateway's clients see it: nothing twice, nothing missing."""

import signal
from collections.abc import Callable

from support.event_source import EventSource
from support.gateways import post
from support.redis_server import RedisServer
from support.service import Service
from support.waiting import eventually

Start = Callable[..., Service]

Connect = Callable[..., EventSource]


def test_after_a_rollback_of_redis_each_event_comes_once_and_in_order(
    server: RedisServer, unharmed: Start, connect: Connect
) -> None:
    gateway, publisher = unharmed("gateway"), unharmed("publisher")
    stays, leaves = connect(gateway), connect(gateway)
    for n in range(1, 6):
        post(publisher, str(n))
    leaves.wait_for(5)
    leaves.close()
    for n in range(6, 11):
        post(publisher, str(n))
    stays.wait_for(10)
    server.kill()
    server.start()  # remembers nothing
    publisher.wait_for("replaying")
    for n in range(11, 16):
        post(publisher, str(n))
    assert [m["id"] for m in stays.wait_for(15)] == [str(n) for n in range(1, 16)]
    back = connect(gateway, Last_Event_ID=leaves.last_id)
    assert [m["data"] for m in back.wait_for(10)] == [str(n) for n in range(6, 16)]
    again = connect(gateway, Last_Event_ID=stays.last_id)
    post(publisher, "16")
    for client in (stays, back, again):
        eventually(lambda c=client: c.data()[-1:] == ["16"])
        assert client.of("gone") == []
    assert (len(stays.data()), back.data(), again.data()) == (16, [str(n) for n in range(6, 17)], ["16"])
    # A gateway that was not there cannot know what that ID was: it gives everything, and says so.
    other = connect(unharmed("gateway", INSTANCE="gateway-2"), Last_Event_ID=leaves.last_id)
    assert [m["data"] for m in other.wait_for(16)] == [str(n) for n in range(1, 17)]
    assert other.of("gone") == [{"channel": "n", "count": 0, "exact": False}]


def test_what_redis_lost_and_nobody_has_sent_again_yet_is_not_missed_by_who_comes_meanwhile(
    server: RedisServer, unharmed: Start, connect: Connect
) -> None:
    gateway, slow, quick = (
        unharmed("gateway"),
        unharmed("publisher", INSTANCE="slow"),
        unharmed("publisher", INSTANCE="quick"),
    )
    first = connect(gateway)
    post(slow, "a")
    post(quick, "b")
    first.wait_for(2)
    slow.signal(signal.SIGSTOP)
    server.kill()
    server.start()
    quick.wait_for("replaying")
    post(quick, "c")
    first.wait_for(3)
    meanwhile = connect(gateway, "/channels/n/events?since=earliest")
    assert sorted(m["data"] for m in meanwhile.wait_for(3)) == ["a", "b", "c"]
    slow.signal(signal.SIGCONT)
    slow.wait_for("replaying")
    post(slow, "d")
    assert [m["data"] for m in first.wait_for(4)] == ["a", "b", "c", "d"]
    assert [m["data"] for m in meanwhile.wait_for(4)][3:] == ["d"]
    # Who had c out of the history, or of another gateway, may not have had a, which the history brings again behind it.
    c, mark = first.events[2][0].rsplit(":", 1)
    assert [m["data"] for m in connect(gateway, Last_Event_ID=f"{c}:{mark}").wait_for(1)] == ["d"]
    for ident in (c, f"{c}:00000000", next(i for i, _, m in meanwhile.events if m["data"] == "c")):
        assert [m["data"] for m in connect(gateway, Last_Event_ID=ident).wait_for(2)] == ["a", "d"]
    late = connect(gateway, "/channels/n/events?since=earliest")
    assert [m["data"] for m in late.wait_for(4)] == ["b", "c", "a", "d"]
    for client in (first, meanwhile, late):
        assert len(client.data()) == 4


def test_what_a_rollback_took_from_the_end_of_the_history_comes_once_too(
    server: RedisServer, unharmed: Start, connect: Connect
) -> None:
    gateway, publisher = unharmed("gateway"), unharmed("publisher")
    first = connect(gateway)
    post(publisher, "a")
    server.client().save()
    post(publisher, "b")
    post(publisher, "c")
    first.wait_for(3)
    publisher.signal(signal.SIGSTOP)
    server.kill()
    server.start()  # remembers a
    gateway.wait_for("subscribed", 2)
    meanwhile = connect(gateway, "/channels/n/events?since=earliest")
    assert [m["data"] for m in meanwhile.wait_for(3)] == ["a", "b", "c"]
    publisher.signal(signal.SIGCONT)
    publisher.wait_for("replaying")
    post(publisher, "d")
    for client in (first, meanwhile):
        assert [m["data"] for m in client.wait_for(4)] == ["a", "b", "c", "d"]
        assert len(client.data()) == 4


def test_who_comes_after_a_rollback_of_more_than_the_ring_has_waits_for_the_publisher(
    server: RedisServer, unharmed: Start, connect: Connect
) -> None:
    gateway, publisher = unharmed("gateway"), unharmed("publisher")
    first = connect(gateway)
    large = "x" * 60_000
    for n in range(100):  # six megabytes: more than a ring has
        post(publisher, f"{n} {large}")
    first.wait_for(100)
    publisher.signal(signal.SIGSTOP)
    server.kill()
    server.start()
    gateway.wait_for("live", 2)
    meanwhile = connect(gateway, "/channels/n/events?since=earliest")
    post(gateway, "of another")
    meanwhile.wait_for(1)
    publisher.signal(signal.SIGCONT)
    for client in (meanwhile, connect(gateway, "/channels/n/events?since=earliest")):
        got = [message["data"].removesuffix(f" {large}") for message in client.wait_for(101)]
        assert got == ["of another", *map(str, range(100))]
