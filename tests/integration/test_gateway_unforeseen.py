"""What nobody foresaw ends nothing unseen: who is concerned is told, the log says it, and the rest goes on."""

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from gateway import catch_up
from gateway.sse import UNEXPECTED
from support.event_source import EventSource
from support.gateway_here import gateway_here
from support.gateways import post
from support.redis_server import RedisServer
from support.service import Service
from support.waiting import eventually

Start = Callable[..., Service]
Connect = Callable[..., EventSource]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """The next catch-up fails; what was logged of it."""
    logged: list[Any] = []
    run = catch_up.CatchUp.run

    async def fail(*_: Any) -> None:
        monkeypatch.setattr(catch_up.CatchUp, "run", run)
        raise ZeroDivisionError("nobody foresaw this")

    monkeypatch.setattr(catch_up.CatchUp, "run", fail)
    for module in ("websocket", "sse"):
        monkeypatch.setattr(f"gateway.{module}.log_crash", logged.append)
    return logged


async def test_a_websocket_is_told_of_a_channel_that_failed_and_can_subscribe_it_again(
    server: RedisServer, failing: list[BaseException]
) -> None:
    async with (
        gateway_here(server) as (here, _, _),
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{here}/ws") as ws,
    ):
        await ws.send_json({"subscribe": "n", "since": "earliest"})
        assert await ws.receive_json(timeout=5) == {"subscribed": "n"}
        assert await ws.receive_json(timeout=5) == {"error": UNEXPECTED, "channel": "n"}
        assert [type(error) for error in failing] == [ZeroDivisionError]
        await ws.send_json({"subscribe": "n"})
        assert (await ws.receive_json(timeout=5))["subscribed"] == "n"
        server.client().publish("n", "goes on")
        assert (await ws.receive_json(timeout=5))["message"]["data"] == "goes on"


async def test_a_stream_that_failed_is_cut_off_so_that_the_browser_comes_back(
    server: RedisServer, failing: list[BaseException]
) -> None:
    async with gateway_here(server) as (here, clients, _), aiohttp.ClientSession() as session:
        path = f"{here}/channels/n/events"
        async with session.get(f"{path}?since=earliest") as stream:
            with pytest.raises(aiohttp.ClientError):
                await stream.content.read()
        assert [type(error) for error in failing] == [ZeroDivisionError]
        assert len(clients) == 0
        async with session.get(path) as stream, asyncio.timeout(5):
            server.client().publish("n", "goes on")
            await stream.content.readuntil(b"goes on")


def test_the_dashboards_view_outlives_what_somebody_puts_among_the_presence_records(
    server: RedisServer, start: Start, connect: Connect
) -> None:
    gateway = start("gateway")
    page = connect(gateway, "/system/events")
    page.wait_for(1, "view")
    server.client().sadd("fanout:presence", b"\xff")
    server.client().set("fanout:presence:\udcff".encode("utf-8", "surrogateescape"), b"x")
    post(gateway, "meanwhile", "m")
    server.client().srem("fanout:presence", b"\xff")
    stream = connect(gateway, "/channels/m/events")
    post(gateway, "x", "m")
    stream.wait_for(1)
    eventually(lambda: page.of("view")[-1]["channels"] == {"m": 2})
    assert not page.ended
    assert len(gateway.events("crashed")) <= 1
