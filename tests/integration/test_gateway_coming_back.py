"""A client that comes back goes on where it was, or is told what is gone."""

import asyncio
import json
import random
import signal
import time
from collections.abc import Callable

import aiohttp

from support.event_source import EventSource
from support.gateways import post, url
from support.redis_server import RedisServer
from support.service import Service
from support.waiting import eventually

Start = Callable[..., Service]

Connect = Callable[..., EventSource]


def test_a_client_that_comes_back_gets_what_it_missed_from_the_ring_or_the_history(
    server: RedisServer, unharmed: Start, connect: Connect
) -> None:
    ids = an_hour_ago(server, 300)
    gateway = unharmed("gateway")
    everything = connect(gateway, "/channels/n/events?since=earliest")
    assert everything.wait_for(300)[0]["catch_up"] is True
    post(gateway, "301")
    assert "catch_up" not in everything.wait_for(301)[300]
    post(gateway, "302")
    ids += [ident for ident, _, _ in everything.wait_for(302) and everything.events[300:]]
    assert everything.data() == [str(n) for n in range(1, 303)]
    for known in (1, 150, 299, 300, 301, 302):
        back = connect(gateway, Last_Event_ID=ids[known - 1])
        got = back.wait_for(302 - known)
        assert [message["data"] for message in got] == [str(n) for n in range(known + 1, 303)]
        assert all(message["catch_up"] for message in got)
        assert back.of("gone") == []
    assert connect(gateway, "/channels/n/events?since=2h").wait_for(302)[0]["data"] == "1"
    assert connect(gateway, "/channels/n/events?since=10m").wait_for(2)[0]["data"] == "301"
    post(gateway, "303")
    eventually(lambda: back.data() == everything.data()[302:] == ["303"])


def an_hour_ago(server: RedisServer, count: int) -> list[str]:
    """Puts that many events into a history that no ring has; returns their IDs as clients have them."""
    pipeline = server.client().pipeline()
    for n in range(1, count + 1):
        event = {"specversion": "1.0", "type": "t", "source": f"/n/{'a' * 16}", "id": str(n), "data": str(n)}
        pipeline.xadd(
            "fanout:{n}:history", {"event": json.dumps(event), "streamseq": n}, f"{int(time.time()) - 3600}000-{n}"
        )
    return [f"{streamid.decode()}:{n}" for n, streamid in enumerate(pipeline.execute(), 1)]


def lines(first: int, last: int) -> bytes:
    return "".join(f"{n}\n" for n in range(first, last + 1)).encode()


def test_what_is_trimmed_is_counted(server: RedisServer, unharmed: Start, connect: Connect) -> None:
    time.sleep(1.1)  # an ID within the server's first second does not prove that it was given by this server
    gateway = unharmed("gateway")
    begin = connect(gateway)
    unharmed("publisher", "send", "n", stdin=lines(1, 100), BATCH_EVENTS=1).ended()
    begin.wait_for(100)
    ids = [ident for ident, _, _ in begin.events]
    server.client().xtrim("fanout:{n}:history", maxlen=40, approximate=False)
    back = connect(unharmed("gateway", INSTANCE="gateway-2"), Last_Event_ID=ids[0])
    assert [message["data"] for message in back.wait_for(40)] == [str(n) for n in range(61, 101)]
    assert back.events[0][1:] == ("gone", {"channel": "n", "count": 59, "exact": True})
    assert connect(gateway, Last_Event_ID=ids[0]).wait_for(99)[0]["data"] == "2"  # out of the ring
    server.client().xtrim("fanout:{n}:history", maxlen=0, approximate=False)
    another = unharmed("gateway", INSTANCE="gateway-3")
    nothing, whole = connect(another, Last_Event_ID=ids[79]), connect(another, Last_Event_ID=ids[99])
    assert nothing.wait_for(1, "gone") == [{"channel": "n", "count": 20, "exact": True}]
    post(gateway, "on")
    for client in (nothing, whole):
        assert client.wait_for(1)[0]["data"] == "on"
    assert not whole.of("gone")


def test_clients_are_told_what_the_gateway_itself_has_lost(
    server: RedisServer, unharmed: Start, connect: Connect
) -> None:
    gateway = unharmed("gateway", DEAD_AFTER="60")
    client = connect(gateway)
    post(gateway, "1")
    client.wait_for(1)
    gateway.signal(signal.SIGSTOP)
    unharmed("publisher", "send", "n", stdin=lines(2, 100), BATCH_EVENTS=1).ended()
    server.client().xtrim("fanout:{n}:history", maxlen=40, approximate=False)
    for found in server.client().client_list(_type="pubsub"):
        server.client().client_kill_filter(_id=found["id"])
    gateway.signal(signal.SIGCONT)
    # What had reached the gateway's socket before the cut may be taken or not.
    eventually(lambda: client.data()[-1:] == ["100"])
    gone = sum(one["count"] for one in client.of("gone"))
    assert len(client.data()) + gone == 100


def test_a_client_that_is_cut_off_before_its_first_message_misses_nothing(
    server: RedisServer, unharmed: Start, connect: Connect
) -> None:
    gateway = unharmed("gateway")
    post(gateway, "before")
    client = connect(gateway)
    here = eventually(lambda: client.last_id)
    client.close()
    post(gateway, "between")
    assert connect(gateway, Last_Event_ID=here).wait_for(1)[0]["data"] == "between"
    assert client.events == []


async def test_a_client_that_is_cut_off_fifty_times_has_every_message_once_and_in_order(
    server: RedisServer, unharmed: Start
) -> None:
    gateway = unharmed("gateway")
    address = f"{url(gateway)}/channels/notifications/events?since=earliest"
    publisher = unharmed("publisher", PUBLISH_RATE=1000, PUBLISH_COUNT=5000, LOG_MESSAGES="none")
    chance = random.Random(6)
    got: list[str] = []
    last, cuts = "", 0
    async with aiohttp.ClientSession() as session, asyncio.timeout(60):
        while len(got) < 5000:
            stop_at = len(got) + chance.randint(1, 99) if cuts < 50 else 5001
            async with session.get(address, headers={"Last-Event-ID": last} if last else {}) as stream:
                assert stream.status == 200
                ident = ""
                while len(got) < min(stop_at, 5000):
                    name, _, value = (await stream.content.readline()).decode().rstrip("\n").partition(": ")
                    assert value != "gone"
                    if name == "id":
                        ident = value
                    elif name == "data":
                        last = ident
                        got.append(json.loads(value)["data"])
                stream.connection.transport.abort()
            cuts += 1
    assert cuts == 51
    assert got == [f"Message {n}" for n in range(1, 5001)]
    assert publisher.process.poll() is None
