"""One client, or one restart of Redis, does not take the gateway from the others."""

import asyncio
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.websocket import ABUSE, COMMANDS_PER_SECOND, LEAST_BURST
from support.gateway_here import gateway_here
from support.gateways import url
from support.redis_server import RedisServer
from support.service import Service

Start = Callable[..., Service]
BACK_WITHIN = 30.0  # of a busy machine; alone it takes six


async def answers(ws: Any, count: int, timeout: float = 60) -> list[dict[str, Any]]:
    return [await ws.receive_json(timeout=timeout) for _ in range(count)]


async def test_a_websocket_has_as_many_channels_as_it_may_and_the_rest_stays_for_others(
    server: RedisServer, unharmed: Start
) -> None:
    gateway = unharmed("gateway", CLIENT_CHANNELS=10, MAX_CHANNELS=15)
    async with aiohttp.ClientSession() as session:
        greedy, other = [await session.ws_connect(f"{url(gateway)}/ws") for _ in range(2)]
        for n in range(20):
            await greedy.send_json({"subscribe": f"c{n}"})
        said = await answers(greedy, 20)
        assert sorted(one["subscribed"] for one in said if "subscribed" in one) == sorted(f"c{n}" for n in range(10))
        refused = [one["error"] for one in said if "error" in one]
        assert refused == ["at most 10 channels a connection (CLIENT_CHANNELS)"] * 10
        await other.send_json({"subscribe": "mine"})
        assert "subscribed" in (await answers(other, 1))[0]
        await greedy.send_json({"unsubscribe": "c0"})
        await greedy.send_json({"subscribe": "c10"})
        said = await answers(greedy, 2)
        assert [list(one) for one in said] == [["unsubscribed"], ["subscribed", "event_id"]], said
        for ws in (greedy, other):
            await ws.close()


async def test_who_gives_commands_without_end_is_told_and_then_cut_off(server: RedisServer, unharmed: Start) -> None:
    gateway = unharmed("gateway", CLIENT_CHANNELS=1)
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{url(gateway)}/ws") as ws:
        for _ in range(LEAST_BURST):
            await ws.send_json({"unsubscribe": "x"})
        assert {one["error"] for one in await answers(ws, LEAST_BURST)} == {"x is not subscribed"}
        limit = f"at most {COMMANDS_PER_SECOND} commands a second: this one was ignored"
        for _ in range(2 * ABUSE):
            await ws.send_json({"unsubscribe": "x"})
        message = await ws.receive(timeout=5)
        errors = set()
        while message.type == aiohttp.WSMsgType.TEXT:
            errors.add(message.json()["error"])
            message = await ws.receive(timeout=5)
        assert limit in errors
        assert message.data == aiohttp.WSCloseCode.POLICY_VIOLATION


async def test_a_thousand_channels_are_back_soon_after_redis(server: RedisServer, unharmed: Start) -> None:
    gateway = unharmed("gateway", REDIS_URL=server.url.replace("127.0.0.1", "localhost"), LOG_MESSAGES="none")
    threads = threads_of(gateway)
    async with aiohttp.ClientSession() as session:
        sockets = [await session.ws_connect(f"{url(gateway)}/ws") for _ in range(10)]

        heard: list[list[dict[str, Any]]] = [[] for _ in sockets]

        async def listen(number: int, ws: Any) -> None:
            async for message in ws:  # also answers pings
                heard[number].append(message.json())

        listening = [asyncio.create_task(listen(number, ws)) for number, ws in enumerate(sockets)]

        async def all_have(count: int, word: str, within: float) -> None:
            async with asyncio.timeout(within):
                while any(len([one for one in mine if word in one]) < count for mine in heard):
                    await asyncio.sleep(0.05)

        for number, ws in enumerate(sockets):
            for n in range(100):
                await ws.send_json({"subscribe": f"c{number}-{n}"})
        await all_have(100, "subscribed", 60)
        redis = server.client()
        server.kill()
        server.start()
        began = time.monotonic()
        most = 0
        while len(live := gateway.events("live")) < 2 and time.monotonic() - began < BACK_WITHIN:
            most = max(most, threads_of(gateway))
            await asyncio.sleep(0.05)
        print(f"\n1000 channels were back after {time.monotonic() - began:.1f} s")
        assert [line["channels"] for line in live] == [0, 1000]
        assert len(redis.pubsub_channels("c*")) == 1000
        assert most <= threads + 10
        for number in range(len(sockets)):
            redis.publish(f"c{number}-99", "here again")
        await all_have(1, "message", 10)
        for ws in sockets:
            await ws.close()
        await asyncio.gather(*listening)


async def test_what_is_kept_for_slow_clients_of_all_channels_is_bounded(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.hubs.KEPT_BYTES", 2 * 2**20)
    async with gateway_here(server) as (here, clients, hubs), aiohttp.ClientSession() as session:
        deaf = []
        for n in range(4):
            deaf.append(socket.socket())
            deaf[-1].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            host, port = here.removeprefix("http://").split(":")
            await asyncio.to_thread(deaf[-1].connect, (host, int(port)))
            deaf[-1].sendall(f"GET /channels/c{n}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        async with session.get(f"{here}/channels/c0/events") as reader:
            async with asyncio.timeout(10):
                while sum(len(hub.clients) for hub in hubs) < 5:
                    await asyncio.sleep(0.01)
            redis = server.client()
            for number in range(80):
                for n in range(4):
                    await asyncio.to_thread(redis.publish, f"c{n}", f"{number} ".encode() + b"x" * 50_000)
                got = b""
                while not got.endswith(b"\n\n") or f'"{number} x'.encode() not in got:
                    got += await reader.content.readany()
                assert sum(hub.behind for hub in hubs) <= 2 * 2**20
            async with asyncio.timeout(10):
                while len(clients) > 1:
                    await asyncio.sleep(0.01)
        for one in deaf:
            one.close()


async def test_what_rings_hold_of_all_channels_is_bounded_also_when_more_are_opened(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.hubs.ALL_RINGS_BYTES", 4 * 2**20)
    async with (
        gateway_here(server) as (here, _, hubs),
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{here}/ws") as ws,
    ):
        redis = server.client()
        for n in range(16):
            await ws.send_json({"subscribe": f"c{n}"})
            while "subscribed" not in await ws.receive_json(timeout=5):
                pass
            for _ in range(80 if n < 4 else 1):
                await asyncio.to_thread(redis.publish, f"c{n}", b"x" * 50_000)
            await ws.receive_json(timeout=5)
            held = sum(len(frame.data) for hub in hubs for frame in hub.ring.frames(hub.ring.start, hub.ring.end))
            assert held <= 4 * 2**20


def threads_of(service: Service) -> int:
    return len(list(Path(f"/proc/{service.process.pid}/task").iterdir()))
