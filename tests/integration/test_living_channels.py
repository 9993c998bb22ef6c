"""Channels that are added to a running subscription and leave it again."""

import asyncio
from typing import Any

import pytest

from fanout import ChannelRefused, FanoutError, Publisher, SettingError, Subscription
from support.redis_server import RedisServer
from support.waiting import eventually, eventually_async

MANY = 3000


def commands(server: RedisServer, *names: str) -> int:
    """How often Redis has been given these commands."""
    stats = server.client().info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in names)


async def following(messages: Subscription, got: list[tuple[str, Any]]) -> None:
    async for message in messages:
        got += [(message.channel, message.data)]


async def test_what_is_published_once_subscribe_returned_arrives(server: RedisServer) -> None:
    got: list[tuple[str, Any]] = []
    async with Publisher(server.url) as publisher, Subscription(server.url) as messages:
        reading = asyncio.create_task(following(messages, got))
        for n in range(50):
            await publisher.publish(f"user:{n}", "before")
            await messages.subscribe(f"user:{n}")
            await publisher.publish(f"user:{n}", "after")
        await eventually_async(lambda: len(got) == 50)
        assert got == [(f"user:{n}", "after") for n in range(50)]
        reading.cancel()


@pytest.mark.parametrize(("start_from", "first"), [("now", 3), ("earliest", 0), ("1h", 0)])
async def test_an_added_channel_starts_where_it_is_told(server: RedisServer, start_from: str, first: int) -> None:
    async with Publisher(server.url) as publisher, Subscription(server.url, "other") as messages:
        for n in range(3):
            await publisher.publish("news", n)
        await messages.subscribe("news", start_from)
        await publisher.publish("news", 3)
        assert [(await anext(messages)).data for _ in range(4 - first)] == list(range(first, 4))


async def test_an_added_channel_is_whole_after_a_crash_of_redis_as_the_others_are(server: RedisServer) -> None:
    got: list[tuple[str, Any]] = []
    async with Publisher(server.url) as publisher, Subscription(server.url, "fixed") as messages:
        reading = asyncio.create_task(following(messages, got))
        await asyncio.gather(*(messages.subscribe(f"c{n}") for n in range(20)))
        names = ["fixed", *(f"c{n}" for n in range(20))]
        for n in range(3):
            for name in names:
                await publisher.publish(name, n)
            if n == 0:
                server.kill()
                server.start()
        await messages.live()
        await eventually_async(lambda: len(got) >= 3 * len(names))
        assert sorted(got) == sorted((name, n) for name in names for n in range(3))
        assert messages.statistics().lost == 0
        reading.cancel()


async def test_a_channel_that_is_added_while_redis_is_away_is_live_when_it_is_back(server: RedisServer) -> None:
    async with Subscription(server.url) as messages:
        await messages.live()
        server.kill()
        adding = asyncio.create_task(messages.subscribe("news"))
        await eventually_async(lambda: messages.state == "connecting")
        assert not adding.done()
        server.start()
        await asyncio.wait_for(adding, 20)
        async with Publisher(server.url) as publisher:
            await publisher.publish("news", "here")
        assert (await anext(messages)).data == "here"


async def test_a_channel_that_was_left_leaves_nothing(server: RedisServer) -> None:
    client = server.client()
    async with Publisher(server.url) as publisher, Subscription(server.url, "fixed", name="s") as messages:
        for n in range(20):
            await messages.subscribe(f"c{n}")
        await eventually_async(lambda: len(client.keys("*:position:s")) == 21)
        for n in range(20):
            await messages.unsubscribe(f"c{n}")
        await messages.unsubscribe("fixed")
        await messages.unsubscribe("never there")
        await eventually_async(lambda: client.pubsub_channels("c*") + client.pubsub_channels("fixed") == [])
        sessions = messages._sessions
        assert (sessions.channels.cursors, sessions.channels.added) == ({}, {})
        assert client.keys("*:position:s") == []
        await publisher.publish("c1", "nobody listens")
        await publisher.publish("fixed", "nobody listens")
        await messages.subscribe("c2", "earliest")
        await publisher.publish("c2", "again")
        assert (await anext(messages)).data == "again"


async def test_who_waits_for_a_channel_that_is_left_meanwhile_is_told(server: RedisServer) -> None:
    async with Subscription(server.url) as messages:
        await messages.live()
        server.kill()
        adding = asyncio.create_task(messages.subscribe("news"))
        await eventually_async(lambda: messages.state == "connecting")
        await messages.unsubscribe("news")
        with pytest.raises(FanoutError, match="news was unsubscribed"):
            await adding


async def test_channels_that_come_and_go_at_once_end_as_they_were_last_told(server: RedisServer) -> None:
    client = server.client()
    async with Subscription(server.url) as messages:
        await messages.live()
        for _ in range(5):
            adding = [asyncio.create_task(messages.subscribe(f"c{n}")) for n in range(100)]
            await asyncio.sleep(0)
            for n in range(0, 100, 2):
                await messages.unsubscribe(f"c{n}")
            await messages.subscribe("c0")
            await asyncio.wait(adding)
        await eventually_async(lambda: len(client.pubsub_channels("c*")) == 51)
        async with Publisher(server.url) as publisher:
            await publisher.publish("c2", "left")
            await publisher.publish("c0", "there")
        assert (await anext(messages)).channel == "c0"


@pytest.mark.parametrize("rights", ["~fanout:* &fanout:* &c*", "~fanout:{c* ~fanout:format &*"])
async def test_a_channel_that_redis_refuses_is_refused_alone(server: RedisServer, rights: str) -> None:
    server.client().execute_command("ACL", "SETUSER", "reader", "on", ">right", "+@all", *rights.split())
    url = server.url.replace("//", "//reader:right@")
    async with Publisher(server.url) as publisher, Subscription(url, "c") as messages:
        names = [f"c{n}" for n in range(30)] + ["secret"] + [f"c{n}" for n in range(30, 60)]
        results = await asyncio.gather(*(messages.subscribe(name) for name in names), return_exceptions=True)
        refused = [name for name, result in zip(names, results, strict=True) if isinstance(result, ChannelRefused)]
        assert refused == ["secret"]
        assert "secret" in str(results[30])
        await publisher.publish("c59", "here")
        assert (await anext(messages)).data == "here"
        assert messages.reconnects == 0


async def test_a_channel_that_redis_refuses_later_ends_alone(server: RedisServer) -> None:
    client = server.client()
    client.execute_command("ACL", "SETUSER", "reader", "on", ">right", "+@all", "~*", "&*")
    url, refused = server.url.replace("//", "//reader:right@"), []
    async with Publisher(server.url) as publisher, Subscription(url) as messages:
        messages.on_refused(lambda channel, _: refused.append(channel))
        for name in ("a", "b"):
            await messages.subscribe(name)
        client.execute_command("ACL", "SETUSER", "reader", "resetchannels", "&fanout:*", "&b")
        await eventually_async(lambda: refused == ["a"])
        await messages.live_on("b")
        await publisher.publish("b", "here")
        assert (await anext(messages)).data == "here"


@pytest.mark.parametrize(("channel", "start_from"), [("a,b", None), ("", None), ("a", "yesterday")])
async def test_what_cannot_be_added_is_said_at_once(server: RedisServer, channel: str, start_from: str | None) -> None:
    async with Subscription(server.url) as messages:
        with pytest.raises(SettingError):
            await messages.subscribe(channel, start_from)


async def test_a_subscription_that_has_ended_says_so_to_who_adds_a_channel(server: RedisServer) -> None:
    messages = Subscription(server.url)
    with pytest.raises(RuntimeError, match="within its block"):
        await messages.subscribe("news")
    refused = Subscription(server.url.replace("//", "//:wrong@"))
    with pytest.raises(FanoutError, match="refuses"):
        async with refused:
            await refused.subscribe("news")


async def test_many_idle_channels_cost_few_commands_to_add_to_bring_back_and_to_look_at(server: RedisServer) -> None:
    client = server.client()
    async with Publisher(server.url) as publisher, Subscription(server.url) as messages:
        for n in range(0, MANY, 10):
            publisher.put(f"c{n}", "old")
        await publisher.flush()
        await messages.live()
        client.config_resetstat()
        await asyncio.gather(*(messages.subscribe(f"c{n}") for n in range(MANY)))
        assert commands(server, "subscribe", "mget", "exists", "info", "get", "time") < 200
        assert len(client.pubsub_channels("c*")) == MANY
        client.config_resetstat()
        client.client_kill_filter(_type="pubsub")
        await eventually_async(lambda: messages.reconnects == 1)
        await messages.live()
        assert len(client.pubsub_channels("c*")) == MANY
        assert commands(server, "subscribe", "mget", "exists", "info", "xrange", "xrevrange", "xinfo|stream") < 200
        client.config_resetstat()
        await eventually_async(lambda: commands(server, "mget") > MANY / 500)
        assert commands(server, "xrange", "xrevrange", "xinfo|stream", "get") == 0


async def test_the_end_of_traffic_that_was_lost_on_an_idle_channel_is_found(server: RedisServer) -> None:
    """Publishing without PUBLISH: as if the live message had been lost."""
    async with Publisher(server.url) as publisher, Subscription(server.url) as messages:
        await publisher.publish("news", "one")
        await messages.subscribe("news")
        await messages.subscribe("sport")
        client = server.client()
        first = client.get("fanout:{news}:head").split()
        text = client.xrange("fanout:{news}:history")[0][1][b"events"].replace(b'"id":"1"', b'"id":"2"')
        streamid = client.xadd("fanout:{news}:history", {b"events": text, b"streamseq": b"2"}).decode()
        client.set("fanout:{news}:head", b" ".join([streamid.encode(), b"2", b"2", first[3]]))
        assert (await asyncio.wait_for(anext(messages), 15)).id == "2"


def test_ten_thousand_channels_of_the_settings_are_live_soon(server: RedisServer, start: Any) -> None:
    names = ",".join(f"c{n}" for n in range(10_000))
    subscriber = start("subscriber", CHANNELS=names, INSTANCE="s", LOG_MESSAGES="none")
    [live] = subscriber.wait_for("live")
    assert live["channels"] == 10_000
    eventually(lambda: len(server.client().pubsub_channels("c*")) == 10_000)
    print(f"\nlive after {live['took_ms']} ms")
