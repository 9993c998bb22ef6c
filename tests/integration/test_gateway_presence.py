"""Who is on a channel, over all gateways."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from fanout import Publisher, Subscription, Undelivered
from gateway.presence import presence as presence_module
from gateway.presence.presence import Presence
from support.event_source import EventSource
from support.gateways import request, url
from support.proxy import Proxy
from support.redis_server import RedisServer
from support.service import Service
from support.waiting import eventually, eventually_async

Start = Callable[..., Service]
Told = list[tuple[str, Any, int]]


def unversioned(answer: dict[str, Any]) -> dict[str, Any]:
    """Who is there, apart from when that was."""
    assert answer["version"] > 1.7e15
    return {name: value for name, value in answer.items() if name != "version"}


@asynccontextmanager
async def gateway(server: RedisServer, name: str, address: str | None = None) -> AsyncIterator[Presence]:
    """What a gateway has of presence, in this process."""
    async with Publisher(address or server.url) as publisher, Subscription(address or server.url) as subscription:
        presence = Presence(publisher, subscription, name)
        running = asyncio.create_task(presence.run())
        yield presence
        running.cancel()


@asynccontextmanager
async def listening(server: RedisServer, channel: str) -> AsyncIterator[Told]:
    """The events of a channel's presence, as they come: type, members and count."""
    told: Told = []

    async def listen(messages: Subscription) -> None:
        async for message in messages:
            told.append((message.type, message.data.get("members"), message.data["count"]))

    async with Subscription(server.url, f"{channel}.presence") as messages:
        await messages.live()
        task = asyncio.create_task(listen(messages))
        yield told
        task.cancel()


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence_module, "LEAVE_AFTER", 0.2)
    monkeypatch.setattr(presence_module, "RENEW", 0.3)
    monkeypatch.setattr(presence_module, "DEAD_AFTER", 1.5)


async def test_who_comes_and_goes_is_told_once_however_many_connections_it_has(server: RedisServer) -> None:
    async with gateway(server, "g") as one, listening(server, "room") as told:
        one.join("room", "ann")
        await eventually_async(lambda: told == [("joined", ["ann"], 1), ("occupied", None, 1)])
        one.join("room", "ann")
        one.join("room", "bob")
        await eventually_async(lambda: told[2:] == [("joined", ["bob"], 2)])
        assert unversioned(await one.members("room")) == {
            "channel": "room",
            "count": 2,
            "members": [{"sub": "ann", "connections": 2}, {"sub": "bob", "connections": 1}],
        }
        one.leave("room", "ann")
        one.leave("room", "bob")
        await eventually_async(lambda: told[3:] == [("left", ["bob"], 1)])
        one.leave("room", "ann")
        await eventually_async(lambda: told[4:] == [("left", ["ann"], 0), ("vacated", None, 0)])
        assert unversioned(await one.members("room")) == {"channel": "room", "count": 0, "members": []}
        await eventually_async(lambda: not server.client().keys("fanout:gateway:*"))
    assert not server.client().keys("fanout:{room}:presence*")


async def test_a_member_at_two_gateways_comes_and_goes_once(server: RedisServer) -> None:
    async with gateway(server, "g") as one, gateway(server, "h") as other, listening(server, "room") as told:
        one.join("room", "ann")
        await eventually_async(lambda: len(told) == 2)
        other.join("room", "ann")
        await eventually_async(lambda: server.client().hget("fanout:{room}:presence", "ann") == b"2")
        one.leave("room", "ann")
        await eventually_async(lambda: server.client().hget("fanout:{room}:presence", "ann") == b"1")
        other.leave("room", "ann")
        await eventually_async(lambda: told[2:] == [("left", ["ann"], 0), ("vacated", None, 0)])


async def test_an_answer_has_what_happened_up_to_its_version(server: RedisServer) -> None:
    versions: list[int] = []
    async with gateway(server, "g") as one, Subscription(server.url, "room.presence") as messages:
        await messages.live()
        for name in ("ann", "bob"):
            one.join("room", name)
            async for message in messages:
                if message.type == "joined":
                    break
            versions += message.data["version"], (await one.members("room"))["version"]
    assert versions == sorted(versions)


async def test_a_page_that_is_loaded_again_was_never_gone(server: RedisServer) -> None:
    async with gateway(server, "g") as one, listening(server, "room") as told:
        one.join("room", "ann")
        await eventually_async(lambda: len(told) == 2)
        one.leave("room", "ann")
        one.join("room", "ann")
        one.join("room", "bob")
        await eventually_async(lambda: told[2:] == [("joined", ["bob"], 2)])


async def test_a_gateway_that_dies_lets_go_of_its_members(server: RedisServer) -> None:
    proxy = Proxy(server.port)
    port = await proxy.start()
    async with gateway(server, "g") as one, listening(server, "room") as told:
        one.join("room", "ann")
        with contextlib.suppress(Undelivered):
            async with gateway(server, "h", f"redis://127.0.0.1:{port}/0") as dead:
                for n in range(500):
                    dead.join(f"room:{n}", "bob")
                dead.join("room", "ann")
                dead.join("room", "bob")
                await eventually_async(
                    lambda: server.client().hgetall("fanout:{room}:presence") == {b"ann": b"2", b"bob": b"1"}
                )
                await eventually_async(lambda: server.client().exists("fanout:{room:499}:presence"))
                proxy.target = 1  # whatever it still sends is lost
                proxy.cut()
                await eventually_async(lambda: ("left", ["bob"], 1) in told)
                await eventually_async(lambda: not server.client().keys("fanout:{room:*}:presence*"))
        assert [kind for kind, *_ in told].count("left") == 1
        assert (await one.members("room"))["members"] == [{"sub": "ann", "connections": 1}]
    await proxy.stop()


@pytest.mark.parametrize("loss", ["flushed", "killed"])
async def test_members_that_redis_forgot_are_there_again(server: RedisServer, loss: str) -> None:
    async with gateway(server, "g") as one:
        one.join("room", "ann")
        await eventually_async(lambda: server.client().exists("fanout:{room}:presence"))
        if loss == "flushed":
            server.client().flushall()
            server.client().client_kill_filter(_type="normal", skipme=True)
        else:
            server.kill()
            server.start()
        one.join("room", "bob")
        await eventually_async(
            lambda: server.client().hgetall("fanout:{room}:presence") == {b"ann": b"1", b"bob": b"1"}
        )


async def test_who_goes_while_redis_accepts_no_writes_is_gone_afterwards(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence_module, "RENEW", 60.0)
    client = server.client()
    async with gateway(server, "g") as one:
        one.join("room", "ann")
        one.join("room", "bob")
        await eventually_async(lambda: client.hlen("fanout:{room}:presence") == 2)
        client.config_resetstat()
        client.config_set("min-replicas-to-write", 1)
        one.leave("room", "ann")
        await eventually_async(lambda: client.info("errorstats"))
        client.config_set("min-replicas-to-write", 0)
        await eventually_async(lambda: client.hgetall("fanout:{room}:presence") == {b"bob": b"1"})


async def test_a_storm_is_told_in_few_events_and_of_a_crowd_only_the_number(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence_module, "SHOWN", 300)
    async with gateway(server, "g") as one, listening(server, "room") as told:
        for n in range(300):
            one.join("room", f"m{n}")
        await eventually_async(lambda: told and told[-1][2] == 300)
        assert len(told) <= 4
        assert sorted(name for kind, names, _ in told if kind == "joined" for name in names) == sorted(
            f"m{n}" for n in range(300)
        )
        one.join("room", "one more")
        await eventually_async(lambda: told[-1] == ("joined", None, 301))
        assert unversioned(await one.members("room")) == {"channel": "room", "count": 301}


@pytest.mark.parametrize("key", ["fanout:{room}:presence", "fanout:{room}:presence:g"])
async def test_strange_data_at_a_channels_keys_harms_no_other_channel(server: RedisServer, key: str) -> None:
    server.client().set("fanout:{room}:presence", "somebody else's")
    async with gateway(server, "g") as one:
        one.join("room", "ann")
        one.join("other", "ann")
        await eventually_async(lambda: server.client().hgetall("fanout:{other}:presence") == {b"ann": b"1"})


async def test_clients_are_members_of_what_they_subscribe_to_with_presence(
    server: RedisServer, unharmed: Start, connect: Callable[..., EventSource]
) -> None:
    gateways = [unharmed("gateway", INSTANCE=f"g{n}") for n in range(2)]
    for one in gateways:
        one.wait_for("live")

    def present(where: Service = gateways[0], channel: str = "room") -> Any:
        return request(f"{url(where)}/channels/{channel}/presence")[1]

    assert unversioned(present()) == {"channel": "room", "count": 0, "members": []}
    seen = connect(gateways[1], "/channels/room.presence/events")
    stream = connect(gateways[0], "/events?channel=room&presence=true&channel=none&channel=other&presence=true")
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{url(gateways[1])}/ws") as ws:
        await ws.send_json({"subscribe": "room", "presence": True})
        assert "subscribed" in await ws.receive_json(timeout=5)
        await eventually_async(lambda: present()["members"] == [{"sub": "anonymous", "connections": 2}])
        assert present(gateways[1], "other")["count"] == 1
        assert present(channel="none")["count"] == 0
        await ws.send_json({"subscribe": "quiet"})
        await ws.receive_json(timeout=5)
        assert present(channel="quiet")["count"] == 0
        await ws.send_json({"unsubscribe": "room"})
        await eventually_async(lambda: present()["members"] == [{"sub": "anonymous", "connections": 1}])
        await ws.send_json({"subscribe": "room.presence", "presence": True})
        refused = [await ws.receive_json(timeout=5) for _ in range(2)][1]
        assert refused["channel"] == "room.presence"
        assert "has none itself" in refused["error"]
    stream.close()
    eventually(lambda: present()["count"] == 0)
    eventually(lambda: [m["type"] for m in seen.of("message")] == ["joined", "occupied", "left", "vacated"])
    assert request(f"{url(gateways[0])}/channels/room.presence/messages", b"x")[0] == 403
    assert request(f"{url(gateways[0])}/events?channel={'x' * 250}&presence=true")[0] == 400
    for wrong in ("events?channel=x&presence=maybe", "channels/x/events?presence=1", "events?presence=true&channel=x"):
        assert request(f"{url(gateways[0])}/{wrong}")[0] == 400


def test_a_gateway_that_is_killed_lets_go_of_its_clients(
    server: RedisServer, unharmed: Start, connect: Callable[..., EventSource]
) -> None:
    one, other = unharmed("gateway", INSTANCE="g1"), unharmed("gateway", INSTANCE="g2")
    connect(other, "/events?channel=room&presence=true")
    # it is 503 until the gateway has Redis
    eventually(lambda: request(f"{url(one)}/channels/room/presence")[1].get("count") == 1)
    seen = connect(one, "/channels/room.presence/events")
    other.process.kill()
    eventually(lambda: [m["type"] for m in seen.of("message")] == ["left", "vacated"], 40)
    assert seen.of("message")[0]["data"]["members"] == ["anonymous"]
