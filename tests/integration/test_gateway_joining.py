"""What is published once a client has its headers, or its answer, reaches it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest

from fanout._redis.connection import pack
from gateway.hubs import BEFORE as RING_BEGINS_BEFORE
from run.loopback import free_port
from support.gateways import address, post, url
from support.proxy import Proxy
from support.redis_server import RedisServer
from support.service import Service

Start = Callable[..., Service]
ROUNDS = 30
ARRIVES_WITHIN = 3.0


@asynccontextmanager
async def publishing(server: RedisServer) -> AsyncIterator[Callable[[str, str], None]]:
    """Publishes bare messages without waiting for anything."""
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    yield lambda channel, text: writer.write(pack(("PUBLISH", channel, text)))
    writer.transport.abort()


async def until(reader: asyncio.StreamReader, end: bytes) -> bytes:
    async with asyncio.timeout(ARRIVES_WITHIN):
        return await reader.readuntil(end)


@pytest.mark.parametrize("channel", ["same", "new-{}"])
@pytest.mark.parametrize("history", [100_000, 0])
async def test_who_has_the_headers_of_a_stream_misses_nothing(
    server: RedisServer, unharmed: Start, channel: str, history: int
) -> None:
    gateway = unharmed("gateway", HISTORY_SIZE=history)
    host, port = address(gateway)
    missed = []
    async with publishing(server) as publish:
        for number in range(ROUNDS):
            name = channel.format(number)
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(f"GET /channels/{name}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            assert (await until(reader, b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
            publish(name, f"round {number}")
            try:
                await until(reader, f"round {number}".encode())
            except TimeoutError:
                missed.append(number)
            writer.transport.abort()
    assert missed == []


@pytest.mark.parametrize("channel", ["same", "new-{}"])
@pytest.mark.parametrize("since", ["now", "earliest"])
async def test_who_was_told_that_it_is_subscribed_misses_nothing(
    server: RedisServer, unharmed: Start, channel: str, since: str
) -> None:
    gateway = unharmed("gateway", HISTORY_SIZE=0 if since == "earliest" else 100)
    missed = []
    async with publishing(server) as publish, aiohttp.ClientSession() as session:
        for number in range(ROUNDS):
            name = channel.format(number)
            async with session.ws_connect(f"{url(gateway)}/ws") as ws:
                await ws.send_json({"subscribe": name, "since": since})
                assert (await ws.receive_json(timeout=ARRIVES_WITHIN))["subscribed"] == name
                publish(name, f"round {number}")
                try:
                    while f"round {number}" not in await ws.receive_str(timeout=ARRIVES_WITHIN):
                        pass
                except TimeoutError:
                    missed.append(number)
    assert missed == []


async def test_the_first_id_of_a_stream_is_not_that_of_an_event_it_has_not_had(
    server: RedisServer, unharmed: Start
) -> None:
    """Events come as fast as they can: wherever a client comes in, the first event it gets follows its first id."""
    gateway = unharmed("gateway", LOG_MESSAGES="none")
    post(gateway, "begin", "notifications")
    unharmed("publisher", PUBLISH_RATE=2000, LOG_MESSAGES="none").wait_for("connected")
    host, port = address(gateway)
    for _ in range(ROUNDS):
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"GET /channels/notifications/events HTTP/1.0\r\nHost: localhost\r\n\r\n")
        first = (await until(reader, b"\nid: ")) and (await until(reader, b"\n\n")).split(b"\n")[0]
        await until(reader, b"event: message\ndata: ")
        event = json.loads(await until(reader, b"\n\n"))
        assert int(event["streamseq"]) == int(first.split(b":")[1]) + 1, (first, event)
        writer.transport.abort()


async def test_who_has_headers_while_redis_is_away_is_given_what_came_since(
    server: RedisServer, unharmed: Start
) -> None:
    """The gateway comes to Redis long after a publisher: what it begins with by itself is not enough."""
    publisher = unharmed("publisher")
    await asyncio.to_thread(post, publisher, "before")
    proxy = Proxy(free_port(0))  # where nothing listens
    gateway = unharmed("gateway", REDIS_URL=f"redis://127.0.0.1:{await proxy.start()}/0")
    host, port = await asyncio.to_thread(address, gateway)
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"GET /channels/n/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert (await until(reader, b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    await asyncio.to_thread(post, publisher, "after the headers")
    await asyncio.sleep(RING_BEGINS_BEFORE + 2)
    proxy.target = server.port
    async with asyncio.timeout(20):
        got = await reader.readuntil(b"after the headers")
    assert b'"before"' not in got
    writer.transport.abort()
    await asyncio.to_thread(gateway.stop)
    await proxy.stop()
