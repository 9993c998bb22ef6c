"""What the gateway owes to browsers, proxies and clients that are gone without a word."""

import asyncio
import ctypes
import json
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from fanout.environment import Environment
from fanout.service.login.gate import OPEN
from fanout.service.login.grant import EVERYTHING
from fanout.settings import read_settings
from gateway import client, clients, sse, websocket
from gateway.clients import Clients
from gateway.frames import sse as sse_form
from gateway.system import System
from support.event_source import EventSource
from support.gateways import handshake, post, url
from support.redis_server import RedisServer
from support.service import Service

Start = Callable[..., Service]
Connect = Callable[..., EventSource]

FOREIGN = [
    "42",
    "1760000000",
    str(2**70),
    f"{2**64}-0:1",
    f"1-{2**64}:1",
    "1-1:x",
    "1-1",
    "now",
    "earliest",
    "\xe9",
    "9" * 300,
]


def test_an_id_of_somebody_elses_is_answered_with_gone_and_what_comes_from_now_on(
    server: RedisServer, unharmed: Start, connect: Connect
) -> None:
    gateway = unharmed("gateway")
    post(gateway, "before")
    clients = [connect(gateway, Last_Event_ID=ident) for ident in FOREIGN]
    assert [one.status for one in clients] == [200] * len(FOREIGN)
    post(gateway, "after")
    for ident, one in zip(FOREIGN, clients, strict=True):
        assert [message["data"] for message in one.wait_for(1)] == ["after"], ident
        assert one.of("gone") == [{"channel": "n", "count": 0, "exact": False}], ident


def test_no_proxy_may_hold_a_stream_back_or_end_its_lines(
    server: RedisServer, unharmed: Start, connect: Connect
) -> None:
    gateway = unharmed("gateway")
    stream = connect(gateway)
    assert stream.headers["Cache-Control"] == "no-store, no-transform"
    text = "a\u2028b\u2029c\x85d\u2027e\x00"
    post(gateway, text)
    server.client().publish("n", text)
    assert [message["data"] for message in stream.wait_for(2)] == [text, text]
    assert not set("\u2028\u2029\x85") & set(b"".join(stream.lines).decode())


async def test_a_command_that_is_none_is_answered_with_what_is_allowed(server: RedisServer, unharmed: Start) -> None:
    gateway = unharmed("gateway")
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{url(gateway)}/ws") as ws:
        for wrong in (
            '{"foo":1}',
            "{}",
            "[]",
            "",
            "[" * 5000,
            '{"subscribe":5}',
            '{"subscribe":"a","unsubscribe":"a"}',
        ):
            await ws.send_str(wrong)
            assert websocket.ALLOWED in (await ws.receive_json(timeout=5))["error"], wrong


@asynccontextmanager
async def serving(clients: Clients, handler: Any) -> AsyncIterator[int]:
    app = web.Application()
    app.router.add_get("/", handler)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    alive = asyncio.create_task(clients.keep_alive())
    try:
        yield runner.addresses[0][1]
    finally:
        alive.cancel()
        clients.close()
        await runner.cleanup()


class Nothing:
    """A channel on which nothing comes."""

    def join(self, _client: client.Client) -> None:
        pass

    async def follow(self, _client: client.Client) -> None:
        await asyncio.get_running_loop().create_future()

    def leave(self, _client: client.Client) -> None:
        pass


def go_deaf(peer: socket.socket) -> None:
    """From now on its system drops all that arrives for it, as if the cable were cut."""
    drop = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))  # BPF: return 0
    program = struct.pack("HL", 1, ctypes.addressof(drop))
    peer.setsockopt(socket.SOL_SOCKET, 26, program)  # SO_ATTACH_FILTER


@pytest.mark.parametrize("kind", ["sse", "websocket"])
async def test_a_client_whose_cable_is_cut_is_not_counted_for_long(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    assert clients.HEARTBEAT + clients.UNACKNOWLEDGED <= 30
    for name in ("gateway.clients.HEARTBEAT", "gateway.websocket.HEARTBEAT"):
        monkeypatch.setattr(name, 0.2)
    monkeypatch.setattr("gateway.clients.UNACKNOWLEDGED", 0.5)
    known = Clients(10, 1 << 20, 0)

    async def handler(request: web.Request) -> web.StreamResponse:
        if kind == "sse":
            return await sse.respond(request, known, Nothing())
        return await websocket.respond(
            request, known, SimpleNamespace(channels_per_client=1), SimpleNamespace(), gate=OPEN, grant=EVERYTHING
        )

    async with serving(known, handler) as port:
        peers = [await asyncio.to_thread(socket.create_connection, ("127.0.0.1", port)) for _ in range(2)]
        for peer in peers:
            peer.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" if kind == "sse" else handshake("/"))
        async with asyncio.timeout(5):
            while len(known) < 2:
                await asyncio.sleep(0.01)
        go_deaf(peers[0])
        async with asyncio.timeout(8):
            while len(known) == 2:
                await asyncio.sleep(0.05)
                if kind == "websocket":  # the other answers pings
                    peers[1].sendall(bytes([0x8A, 0x80, 0, 0, 0, 0]))
        if kind == "sse":
            await asyncio.sleep(1)
            assert len(known) == 1
        for peer in peers:
            peer.close()


async def test_a_first_attempt_that_is_given_too_little_time_is_no_outage_for_the_dashboard(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, attempts = client_open(), 0

    async def slow(*arguments: Any) -> Any:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise TimeoutError
        return await opened(*arguments)

    monkeypatch.setattr("gateway.system.Commands.open", slow)
    view, watcher = System(read_settings(Environment({"REDIS_URL": server.url}))), Watcher()
    view.join(watcher)  # type: ignore[arg-type]
    async with asyncio.timeout(5):
        while not watcher.seen:
            await asyncio.sleep(0.01)
    assert watcher.seen[0] == "connected"
    server.kill()
    async with asyncio.timeout(5):
        while watcher.seen[-1] != "away":
            await asyncio.sleep(0.01)
    view.leave(watcher)  # type: ignore[arg-type]
    await asyncio.sleep(0)


def client_open() -> Any:
    from fanout._redis.commands import Commands

    return Commands.open


class Watcher:
    """What it was told of Redis."""

    form = staticmethod(sse_form)

    def __init__(self) -> None:
        self.seen: list[str] = []

    def write(self, data: bytes) -> None:
        self.seen.append(json.loads(data.partition(b"data: ")[2])["redis"])
