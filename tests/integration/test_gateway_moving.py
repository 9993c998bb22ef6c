"""A browser that comes back to another gateway than the one it was cut off from, as a load balancer has it."""

import signal
from collections.abc import Callable

from support.event_source import EventSource
from support.gateways import post
from support.redis_server import RedisServer
from support.service import Service
from support.waiting import eventually

Start = Callable[..., Service]
Connect = Callable[..., EventSource]


def texts(client: EventSource, count: int) -> list[str]:
    return [message["data"] for message in client.wait_for(count)]


def test_after_a_rollback_who_moves_to_another_gateway_misses_nothing(
    server: RedisServer, unharmed: Start, connect: Connect
) -> None:
    one = unharmed("gateway")
    slow, quick = unharmed("publisher", INSTANCE="slow"), unharmed("publisher", INSTANCE="quick")
    here = connect(one)
    post(slow, "a")
    post(quick, "b")
    here.wait_for(2)
    slow.signal(signal.SIGSTOP)
    server.kill()
    server.start()  # remembers nothing
    quick.wait_for("replaying")
    post(quick, "c")
    here.wait_for(3)
    other = unharmed("gateway", INSTANCE="gateway-2")  # has never had a
    there = connect(other, "/channels/n/events?since=earliest")
    assert texts(there, 2) == ["b", "c"]
    slow.signal(signal.SIGCONT)
    slow.wait_for("replaying")
    post(slow, "d")
    assert texts(here, 4) == ["a", "b", "c", "d"]
    assert texts(there, 4) == ["b", "c", "a", "d"]
    moved = connect(one, Last_Event_ID=there.events[1][0])
    assert texts(moved, 2) == ["a", "d"]
    # The other way round it has a already, which it knows by source and id.
    assert texts(connect(other, Last_Event_ID=here.events[2][0]), 2) == ["a", "d"]
    # Back where it was, nothing comes twice.
    assert texts(connect(one, Last_Event_ID=here.events[2][0]), 1) == ["d"]


def test_soon_after_a_rollback_ids_are_the_same_at_every_gateway_again(
    server: RedisServer, unharmed: Start, connect: Connect
) -> None:
    one, other, publisher = unharmed("gateway"), unharmed("gateway", INSTANCE="gateway-2"), unharmed("publisher")
    clients = [connect(one), connect(other)]
    post(publisher, "0")
    for client in clients:
        client.wait_for(1)
    server.kill()
    server.start()
    publisher.wait_for("replaying")
    count = 1

    def alike() -> bool:
        nonlocal count
        post(publisher, str(count))
        count += 1
        return len({tuple(c.wait_for(count)) and c.events[-1][0] for c in clients}) == 1

    eventually(alike)
    ident = clients[0].events[-1][0]
    assert ident.count(":") == 1
    post(publisher, "next")
    for gateway in (one, other):
        assert texts(connect(gateway, Last_Event_ID=ident), 1) == ["next"]


def test_who_moves_with_an_id_that_is_nowhere_any_more_is_told_so(
    server: RedisServer, unharmed: Start, connect: Connect
) -> None:
    one, publisher = unharmed("gateway"), unharmed("publisher")
    client = connect(one)
    post(publisher, "a")
    client.wait_for(1)
    server.kill()
    server.start()
    publisher.wait_for("replaying")
    moved = connect(unharmed("gateway", INSTANCE="gateway-2"), Last_Event_ID=client.last_id)
    assert texts(moved, 1) == ["a"]
    assert moved.of("gone") == [{"channel": "n", "count": 0, "exact": False}]
