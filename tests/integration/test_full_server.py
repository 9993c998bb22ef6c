"""A server that is full comes back by itself; histories stay within their bounds, also where nobody publishes."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from fanout import Publisher
from fanout._publish import replay_ring, retention
from fanout.errors import ExitCode
from fanout.settings import HistorySettings
from support.entries import retained
from support.in_process import settings
from support.posting import post
from support.redis_server import RedisServer
from support.service import Service
from support.waiting import eventually

Start = Callable[..., Service]


def publisher(server: RedisServer, **options: Any) -> Publisher:
    history = HistorySettings(**({"size": 100_000, "ttl": 3600.0, "fsync": False, "plain": False} | options))
    return Publisher(settings(server.port, "publisher"), history=history)


async def until(look: Callable[[], Any], within: float = 20) -> Any:
    """As `eventually`, while the loop goes on."""
    end = time.monotonic() + within
    while not (seen := look()):
        assert time.monotonic() < end, f"last seen: {seen!r}"
        await asyncio.sleep(0.05)
    return seen


def keys(server: RedisServer, kind: str) -> set[str]:
    return {name.decode() for name in server.client().scan_iter(f"fanout:*:{kind}")}


async def test_publishing_goes_on_by_itself_when_a_full_servers_events_are_old_enough(server: RedisServer) -> None:
    client = server.client()
    client.config_set("maxmemory", client.info("memory")["used_memory"] + 4_000_000)
    async with publisher(server, ttl=4.0) as one:
        await one.publish("first", "x")
        began = time.monotonic()
        waiting = [one.enqueue(f"channel {n % 10}", f"{n} {'x' * 2000}") for n in range(3000)]
        await until(lambda: one.statistics().state == "connecting")
        assert 0 < one.statistics().accepted < 3000
        assert time.monotonic() - began < 4.0
        await asyncio.wait_for(asyncio.gather(*waiting), 60)
        assert one.statistics().gone == 0


async def test_publishing_goes_on_on_another_channel_than_the_one_that_filled_the_server(server: RedisServer) -> None:
    client = server.client()
    client.config_set("maxmemory", client.info("memory")["used_memory"] + 2_000_000)
    async with publisher(server, ttl=3.0) as one:
        await one.publish_all("filler", (f"{n} {'x' * 2000}" for n in range(600)))
        client.config_set("maxmemory", client.info("memory")["used_memory"])
        await asyncio.wait_for(one.publish("news", "at last"), 30)


async def test_a_history_takes_no_more_than_its_bytes(server: RedisServer) -> None:
    client = server.client()
    client.config_set("maxmemory", client.info("memory")["used_memory"] + 16_000_000)
    async with publisher(server, bytes=1_000_000, memory=10**9) as one:
        for _ in range(10):  # 5 MB each
            await asyncio.wait_for(one.publish_all("news", (f"{n} {'x' * 2000}" for n in range(2500))), 30)
        await until(lambda: client.memory_usage("fanout:{news}:history") <= 1_000_000)
        last = client.xrevrange("fanout:{news}:history", count=1)[0][1][b"streamseq"]
        assert (int(last), len(retained(client, "news")) > 100) == (25_000, True)


async def test_a_history_that_nobody_publishes_to_is_trimmed_by_age(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "TRIM_EVERY", 1.0)
    async with publisher(server, ttl=1.0) as one:
        await one.publish_all("news", (f"{n}" for n in range(1000)))
        assert len(retained(server.client(), "news")) == 1000
        await until(lambda: server.client().xlen("fanout:{news}:history") < 100)


async def test_channels_that_were_used_once_do_not_come_back_after_a_flush(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay_ring, "RING_AGE", 0.5)
    for name in ("LOOK_EVERY", "RENEW_EVERY", "TRIM_EVERY"):
        monkeypatch.setattr(retention, name, 0.2)
    async with publisher(server) as one:
        await asyncio.gather(*(one.publish(f"{n}", "x") for n in range(500)))
        assert len(keys(server, "history")) == 500
        await until(lambda: not one._queue.ring.events)
        server.client().flushall()
        await one.publish("alive", "x")
        calls = server.client().info("commandstats").get("cmdstat_expire", {"calls": 0})["calls"]
        await until(lambda: server.client().info("commandstats")["cmdstat_expire"]["calls"] > calls + 2000)
        assert keys(server, "*") == {
            "fanout:{alive}:history",
            "fanout:{alive}:head",
            f"fanout:{{alive}}:producer:{one.statistics().producer}",
        }


async def test_the_keys_of_a_channel_that_is_open_are_renewed(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LOOK_EVERY", "RENEW_EVERY"):
        monkeypatch.setattr(retention, name, 0.1)
    async with publisher(server) as one:
        await one.publish("news", "x")
        names = keys(server, "*")
        assert len(names) == 3
        for name in names:
            server.client().expire(name, 1000)
        await until(lambda: all(server.client().ttl(name) > 1000 for name in names))


async def test_the_keys_of_a_channel_that_was_closed_go_when_nothing_in_them_is_young(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fanout._publish.send_queue.CLOSE_AFTER", 0.0)
    async with publisher(server, max_channels=1, ttl=9000.0) as one:
        await one.publish("old", "x")
        await one.flush()
        await one.publish("new", "x")
        ttls = lambda: sorted(server.client().ttl(name) for name in keys(server, "*") if "{old}" in name)  # noqa: E731
        await until(lambda: (found := ttls()) and found[0] <= 3600 < found[1] <= found[2] <= 9000)


@pytest.mark.parametrize("name", ["publisher", "gateway"])
def test_the_apis_refuse_channels_that_are_not_allowed_or_too_many(start: Start, name: str) -> None:
    service = start(name, CHANNELS_ALLOWED="notifications,user.*", MAX_CHANNELS=2)
    url = service.wait_for("started")[0]["http"]

    def status(channel: str) -> tuple[int, str]:
        code, answer, _ = post(f"{url}/channels/{channel}/messages", "x")
        return code, str(answer.get("detail"))

    assert status("secret") == (403, "CHANNELS_ALLOWED does not include the channel secret")
    assert status("user.1")[0] == status("user.2")[0] == 202
    assert status("user.3") == (503, "2 channels are open, and MAX_CHANNELS allows no more")
    assert status("user.1")[0] == 202
    eventually(lambda: status("user.3")[0] == 202, within=15)
    assert service.stop() == ExitCode.OK
