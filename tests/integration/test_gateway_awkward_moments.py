"""Channels of the gateway that end at awkward moments."""

import asyncio
from collections.abc import Callable, Sequence

import aiohttp
import pytest

from fanout import Publisher
from fanout._subscribe.joining import Joining
from fanout.errors import ChannelRefused
from gateway import catch_up
from gateway.hub import Hub
from run.loopback import free_port
from support.event_source import EventSource
from support.gateway_here import gateway_here
from support.gateways import address, handshake, masked, post, request, url
from support.proxy import Proxy
from support.redis_server import RedisServer
from support.service import Service
from support.waiting import eventually, eventually_async

Start = Callable[..., Service]


async def test_a_channel_that_ends_while_a_client_waits_for_its_others_ends_the_client(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready, waits, goes_on = Hub.ready, asyncio.Event(), asyncio.Event()

    async def slowly(hub: Hub) -> None:
        await ready(hub)
        if hub.channel == "b":
            waits.set()
            await goes_on.wait()

    monkeypatch.setattr(Hub, "ready", slowly)
    async with gateway_here(server) as (at, _, hubs), aiohttp.ClientSession() as session:
        asked = asyncio.create_task(session.get(f"{at}/events?channel=a&channel=b"))
        await waits.wait()
        await eventually_async(lambda: hubs._open["a"].begun)
        hubs._refused("a", ChannelRefused("Redis refuses the channel a"))
        goes_on.set()
        with pytest.raises(aiohttp.ClientError):
            async with asyncio.timeout(5), await asked as answer:
                answer.raise_for_status()
                await answer.read()


async def test_a_client_that_leaves_while_it_unsubscribes_lets_go_of_the_channel(server: RedisServer) -> None:
    async with gateway_here(server) as (at, _, hubs), Publisher(server.url) as publisher:
        for _n in range(100):
            publisher.put("n", "x" * 1000)
        await publisher.flush()
        host, _, port = at.removeprefix("http://").rpartition(":")
        for _ in range(50):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(handshake("/ws"))
            await reader.readuntil(b"\r\n\r\n")
            writer.write(masked(b'{"subscribe": "n", "since": "earliest"}'))
            await reader.readuntil(b"subscribed")
            writer.write(masked(b'{"unsubscribe": "n"}'))
            await asyncio.sleep(0)
            writer.transport.abort()
        await asyncio.sleep(1)
        hub = hubs._open["n"]
        assert (hub.users, len(hub.clients)) == (0, 0)


def test_a_client_of_many_channels_can_come_back_with_the_id_that_it_was_given(
    server: RedisServer, unharmed: Start, connect: Callable[..., EventSource]
) -> None:
    gateway = unharmed("gateway", LOG_MESSAGES="none", CLIENT_CHANNELS=600)
    names = [f"c{n:03}" for n in range(200)]
    for name in names:
        post(gateway, "x", name)
    path = "/events?" + "&".join(f"channel={name}" for name in names)
    client = connect(gateway, path)
    assert client.status == 200
    eventually(lambda: client.last_id.count(":") == 200)
    again = connect(gateway, path, Last_Event_ID=client.last_id)
    assert again.status == 200
    refused = request(f"{url(gateway)}{path}&channel=another")
    assert (refused[0], refused[1]["detail"][:23]) == (400, "name 1 to 200 channels ")


async def test_who_came_while_redis_was_away_is_given_an_id_to_come_back_with(
    server: RedisServer, unharmed: Start
) -> None:
    proxy = Proxy(free_port(0))  # where nothing listens
    gateway = unharmed("gateway", REDIS_URL=f"redis://127.0.0.1:{await proxy.start()}/0")
    host, port = await asyncio.to_thread(address, gateway)
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"GET /channels/n/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    proxy.target = server.port
    async with asyncio.timeout(20):
        await reader.readuntil(b"id: ")
    writer.transport.abort()
    await asyncio.to_thread(gateway.stop)
    await proxy.stop()


async def test_a_client_that_comes_while_the_channel_has_still_to_catch_up_waits_for_it(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a reconnect with very many channels."""
    monkeypatch.setattr(catch_up, "JOIN_WITHIN", 0.3)
    join, slow = Joining._join_all, asyncio.Event()

    async def slowly(joining: Joining, names: Sequence[str]) -> None:
        if slow.is_set():
            await asyncio.sleep(1)
        await join(joining, names)

    monkeypatch.setattr(Joining, "_join_all", slowly)
    async with (
        gateway_here(server) as (at, clients, hubs),
        Publisher(server.url) as publisher,
        aiohttp.ClientSession() as session,
        session.get(f"{at}/channels/n/events"),
    ):
        slow.set()
        server.client().client_kill_filter(_type="pubsub")
        await eventually_async(lambda: hubs.subscription.reconnects == 1)
        await publisher.publish("n", "new")
        async with session.get(f"{at}/channels/n/events?since=earliest") as answer:
            assert b"new" in await answer.content.readuntil(b'"new"')
            await eventually_async(lambda: len(hubs._open["n"].clients) == 2 or clients.cut)
            assert clients.cut == 0
