"""An Idempotency-Key publishes once: whatever is sent again, lost on the way, or rolled back."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from fanout import Publisher
from fanout._publish import settlement
from fanout.errors import ExitCode, KeyReused
from fanout.service.http_ingest import ANSWER_WITHIN
from fanout.settings import HistorySettings
from support.entries import retained
from support.in_process import settings
from support.posting import post
from support.proxy import Proxy
from support.redis_server import RedisServer
from support.service import Service
from support.waiting import eventually

Start = Callable[..., Service]
HISTORY = HistorySettings(size=1000, ttl=3600.0, fsync=False, plain=False)
STREAM = "fanout:{news}:history"


def publisher(port: int, name: str = "publisher") -> Publisher:
    return Publisher(settings(port, name), history=HISTORY)


def stored(server: RedisServer) -> list[tuple[str, str]]:
    """The source and id of what is in the history."""
    return [(event["source"], event["id"]) for event in retained(server.client(), "news")]


def test_a_key_that_is_used_for_other_data_is_refused_with_422(server: RedisServer, start: Start) -> None:
    urls = [f"{start('publisher').wait_for('started')[0]['http']}/channels/news/messages" for _ in range(2)]
    first = post(urls[0], "order 42", **{"Idempotency-Key": "k"})
    assert first[0] == 202
    for url in urls:
        status, answer, _ = post(url, "order 43", **{"Idempotency-Key": "k"})
        assert (status, "used for other data" in answer["detail"]) == (422, True), answer
        status, _, _ = post(url, '"order 42"', **{"Idempotency-Key": "k", "Content-Type": "application/json"})
        assert status == 422
        assert post(url, "order 42", **{"Idempotency-Key": "k"})[:2] == first[:2]
    assert server.client().xlen(STREAM) == 1


async def test_what_was_refused_for_its_key_is_never_published_also_not_after_a_rollback(server: RedisServer) -> None:
    async with publisher(server.port) as one:
        await one.publish("news", "right", key="k")
        with pytest.raises(KeyReused):
            await one.publish("news", "wrong", key="k")
        await one.publish("news", "next")
        server.client().flushall()
        await one.flush()
        assert [seq for _, seq in stored(server)] == ["1", "3"]
        assert one.statistics().gone == 0


async def test_a_repetition_whose_reply_is_lost_names_the_event_that_exists(server: RedisServer) -> None:
    proxy = Proxy(server.port)
    async with publisher(await proxy.start()) as one:
        first = await one.publish("news", "order 42", key="k")
        proxy.fault = "reply lost"
        assert await one.publish("news", "order 42", key="k") == first
        proxy.fault = "reply lost"
        with pytest.raises(KeyReused):
            await one.publish("news", "order 43", key="k")
        assert proxy.fault is None
        await one.flush()
        assert stored(server) == [(first.source, first.id)]
    await proxy.stop()


@pytest.mark.parametrize("first", [0, 1])
async def test_after_a_rollback_that_takes_both_uses_only_the_event_itself_is_published_again(
    server: RedisServer, first: int
) -> None:
    proxies = [Proxy(server.port), Proxy(server.port)]
    async with AsyncExitStack() as stack:
        ports = [await proxy.start() for proxy in proxies]
        writers = [await stack.enter_async_context(publisher(port, f"w{port}")) for port in ports]
        accepted = [await one.publish("news", "order 42", key="k") for one in writers]
        assert accepted[0] == accepted[1]
        for proxy in proxies:
            proxy.target = 1
            proxy.cut()
        server.client().flushall()
        for n in (first, 1 - first):
            proxies[n].target = server.port
            while not writers[n].redis:
                await asyncio.sleep(0.01)
        await asyncio.gather(*(one.flush() for one in writers))
        assert stored(server) == [(accepted[0].source, accepted[0].id)]
    for proxy in proxies:
        await proxy.stop()


async def test_who_repeated_an_event_publishes_it_when_its_publisher_is_gone(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settlement, "REPEAT_AFTER", 0.2)
    async with publisher(server.port, "one") as one:
        await one.publish("news", {"order": 42.0}, key="k")
    async with publisher(server.port, "two") as two:
        await two.publish("news", {"order": 42.0}, key="k")
        server.client().flushall()
        await two.flush()
        [(source, seq)] = stored(server)
        assert (source.endswith(two.statistics().producer), seq) == (True, "2")
        assert b'{"order":42.0}' in server.client().xrange(STREAM)[0][1][b"events"]
        assert (await two.publish("news", {"order": 42.0}, key="k")).id == "2"


@pytest.mark.parametrize("key", ["}:history", "x" * 255, "ä ☃\n*?[", "a:b"])
async def test_a_key_cannot_look_like_another_key_of_ours(server: RedisServer, key: str) -> None:
    async with publisher(server.port) as one:
        first = await one.publish("news", "x", key=key)
        assert await one.publish("news", "x", key=key) == first
    assert list(server.client().scan_iter("fanout:{*}:history")) == [STREAM.encode()]
    [name] = server.client().scan_iter("fanout:{news}:request:*")
    assert len(name) == len("fanout:{news}:request:") + 32


async def test_what_somebody_else_put_in_a_keys_place_counts_as_nothing(server: RedisServer) -> None:
    async with publisher(server.port) as one:
        await one.publish("news", "x", key="k")
        [name] = server.client().scan_iter("fanout:{news}:request:*")
        for wrong in (b"", b"a\nb\nc", b"\xff\n1\n1", b"a\n1\n1-1\nxyz\nmore"):
            server.client().set(name, wrong)
            assert await one.publish("news", "x", key="k")
        server.client().delete(name)
        server.client().sadd(name, "x")
        assert (await one.publish("news", "x", key="k")).id == "6"
    assert server.client().xlen(STREAM) == 6


def test_a_request_that_gave_up_is_not_published_later(server: RedisServer, start: Start) -> None:
    publisher = start("publisher")
    publisher.wait_for("connected")
    url = f"{publisher.wait_for('started')[0]['http']}/channels/news/messages"
    server.kill()
    publisher.wait_for("connect_failed")
    status, answer, headers = post(url, "late")
    assert (status, headers["retry-after"]) == (503, "1")
    assert f"within {ANSWER_WITHIN:g} s: it will not be sent" in answer["detail"]
    server.start()
    publisher.wait_for("connected", 2)
    assert post(url, "again")[1]["id"] == "2"
    assert publisher.stop() == ExitCode.OK
    assert [seq for _, seq in stored(server)] == ["2"]
    assert not publisher.events("events_gone")


def test_a_request_that_was_under_way_says_that_it_may_be_published(server: RedisServer, start: Start) -> None:
    publisher = start("publisher", DEAD_AFTER="60")
    publisher.wait_for("connected")
    url = f"{publisher.wait_for('started')[0]['http']}/channels/news/messages"
    client: Any = server.client()
    client.execute_command("CLIENT", "PAUSE", "11000", "WRITE")
    status, answer, _ = post(url, "late")
    assert status == 503
    assert "may be published or not" in answer["detail"]
    assert "Idempotency-Key" in answer["detail"]
    eventually(lambda: stored(server), 5)
