"""Channels that come and go at awkward moments."""

import asyncio
from typing import Any

import pytest

from fanout import ChannelRefused, FanoutError, Publisher, Subscription
from fanout._subscribe.catch_up import CatchUp
from fanout._subscribe.channels import Channels
from fanout._subscribe.idle import IdleWatch
from fanout._subscribe.live_connection import LiveConnection
from support.redis_server import RedisServer
from support.waiting import eventually_async


class Gate:
    """Has calls of a method wait before or after their work, as if Redis were slow, until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, of: type, method: str, *, after: bool = False) -> None:
        self.closed, self.reached, self.opened = False, asyncio.Event(), asyncio.Event()
        original = getattr(of, method)

        async def slowly(*args: Any, **named: Any) -> Any:
            if not after:
                await self._wait()
            result = await original(*args, **named)
            if after:
                await self._wait()
            return result

        monkeypatch.setattr(of, method, slowly)

    async def _wait(self) -> None:
        if self.closed:
            self.reached.set()
            await self.opened.wait()

    def open(self) -> None:
        self.closed = False
        self.opened.set()


async def following(messages: Subscription, got: list[tuple[str, Any]]) -> None:
    async for message in messages:
        got += [(message.channel, message.data)]


def reader(server: RedisServer, *rights: str) -> str:
    server.client().execute_command("ACL", "SETUSER", "reader", "reset", "on", ">right", "+@all", *rights)
    return server.url.replace("//", "//reader:right@")


async def test_leaving_a_channel_while_another_is_found_to_be_refused_harms_nobody(server: RedisServer) -> None:
    url = reader(server, "~fanout:{c*", "~fanout:format", "&*")
    async with Publisher(server.url) as publisher, Subscription(url, "c") as messages:
        await messages.live()
        names = [*(f"c{n}" for n in range(30)), "secret"]
        adding = [asyncio.create_task(messages.subscribe(name)) for name in names]
        await eventually_async(lambda: messages._sessions.session and messages._sessions.session.joining._batch, 5, 0)
        await messages.unsubscribe("c3")
        await asyncio.wait(adding, timeout=10)
        await publisher.publish("c", "here")
        assert (await asyncio.wait_for(anext(messages), 5)).data == "here"


async def test_what_was_held_back_for_a_channel_that_was_left_is_not_counted_any_more(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch, CatchUp, "run")
    async with Publisher(server.url) as publisher, Subscription(server.url) as messages:
        await messages.live()
        await publisher.publish("news", "old")
        gate.closed = True
        adding = asyncio.create_task(messages.subscribe("news", "earliest"))
        await gate.reached.wait()
        await publisher.publish("news", "x" * 1000)
        held = messages._sessions.channels._held_back
        await eventually_async(lambda: held.bytes > 1000)
        await messages.unsubscribe("news")
        gate.open()
        with pytest.raises(FanoutError):
            await adding
        assert held.bytes == 0


async def test_who_waits_for_a_channel_without_history_is_told_when_it_is_live(server: RedisServer) -> None:
    async with Subscription(server.url, "news", history_size=0) as messages:
        await asyncio.wait_for(messages.live_on("news"), 10)


async def test_without_history_nothing_is_read_from_it_after_a_reconnect(server: RedisServer) -> None:
    got: list[tuple[str, Any]] = []
    async with Publisher(server.url) as publisher, Subscription(server.url, "news", history_size=0) as messages:
        reading = asyncio.create_task(following(messages, got))
        await messages.live()
        await publisher.publish("news", "one")
        await eventually_async(lambda: got)
        server.client().client_kill_filter(_type="pubsub")
        await eventually_async(lambda: messages.reconnects == 1)
        await messages.live()
        await publisher.publish("news", "two")
        await eventually_async(lambda: ("news", "two") in got)
        assert got == [("news", "one"), ("news", "two")]
        reading.cancel()


async def test_a_channel_whose_keys_are_refused_later_ends_alone(server: RedisServer) -> None:
    url, refused = reader(server, "~*", "&*"), []
    async with Publisher(server.url) as publisher, Subscription(url) as messages:
        messages.on_refused(lambda channel, _: refused.append(channel))
        for name in ("a", "b"):
            await messages.subscribe(name)
        reader(server, "~fanout:{b*", "~fanout:format", "&*")
        await publisher.publish("a", "the first one ever")
        await eventually_async(lambda: refused or messages.task.done())
        assert (refused, messages.task.done()) == (["a"], False)
        await publisher.publish("b", "here")
        assert (await asyncio.wait_for(anext(messages), 5)).channel == "b"


async def test_a_channel_whose_position_may_not_be_saved_is_refused_alone(server: RedisServer) -> None:
    url = reader(server, "%R~*", "~fanout:{c*", "~fanout:format", "&*")
    async with Publisher(server.url) as publisher, Subscription(url, "c", name="s") as messages:
        await messages.live()
        names = ["c1", "secret", "c2"]
        for name in names:
            await publisher.publish(name, "old")
        results = await asyncio.gather(*map(messages.subscribe, names), return_exceptions=True)
        assert [type(result) for result in results] == [type(None), ChannelRefused, type(None)]
        for name in ("c1", "c2", "c"):
            await publisher.publish(name, "here")
            assert (await asyncio.wait_for(anext(messages), 5)).channel == name
        assert messages.reconnects == 0


async def test_a_channel_whose_position_may_not_be_saved_any_more_is_refused_alone(server: RedisServer) -> None:
    url, refused = reader(server, "~*", "&*"), []
    async with Publisher(server.url) as publisher, Subscription(url, name="s") as messages:
        messages.on_refused(lambda channel, _: refused.append(channel))
        for name in ("c1", "secret", "c2"):
            await messages.subscribe(name)
        reader(server, "%R~*", "~fanout:{c*", "~fanout:format", "&*")
        for name in ("c1", "secret", "c2"):
            await publisher.publish(name, "here")
            assert (await asyncio.wait_for(anext(messages), 5)).channel == name
        await eventually_async(lambda: refused == ["secret"])
        await publisher.publish("c1", "here")
        assert (await asyncio.wait_for(anext(messages), 5)).channel == "c1"


async def test_a_channel_that_a_pattern_covers_goes_on_when_it_is_left(server: RedisServer) -> None:
    got: list[tuple[str, Any]] = []
    async with Publisher(server.url) as publisher, Subscription(server.url, patterns="c*") as messages:
        reading = asyncio.create_task(following(messages, got))
        await messages.live()
        await messages.subscribe("c1")
        for n in range(3):
            await publisher.publish("c1", n)
        await eventually_async(lambda: len(got) == 3)
        await messages.unsubscribe("c1")
        await publisher.publish("c1", 3)
        await eventually_async(lambda: ("c1", 3) in got)
        assert [data for _, data in got] == [0, 1, 2, 3]
        reading.cancel()


async def test_a_channel_that_a_pattern_finds_while_it_is_added_is_delivered_once(
    server: RedisServer,
) -> None:
    got: list[tuple[str, Any]] = []
    async with Publisher(server.url) as publisher, Subscription(server.url, patterns="c*") as messages:
        reading = asyncio.create_task(following(messages, got))
        await messages.live()

        async def one(n: int) -> None:
            adding = asyncio.create_task(messages.subscribe(f"c{n}"))
            for i in range(5):
                await publisher.publish(f"c{n}", i)
            await adding
            await publisher.publish(f"c{n}", 5)

        for n in range(50):
            await one(n)
        await eventually_async(lambda: len(got) >= 300)
        await asyncio.sleep(8)
        twice = sorted({one for one in got if got.count(one) > 1})
        assert twice == []
        reading.cancel()


async def test_a_channel_that_is_left_while_it_is_being_added_leaves_no_record(server: RedisServer) -> None:
    client = server.client()
    async with Publisher(server.url) as publisher, Subscription(server.url, "fixed", name="s") as messages:
        await messages.live()
        for n in range(20):
            await publisher.publish(f"c{n}", "old")
            adding = asyncio.create_task(messages.subscribe(f"c{n}"))
            await eventually_async(lambda n=n: f"c{n}" in messages._sessions.session.joining._batch, 5, 0)
            await messages.unsubscribe(f"c{n}")
            await asyncio.wait([adding])
        await messages.subscribe("last")
        await messages.unsubscribe("last")
        await asyncio.sleep(1.5)
        assert [key for key in client.keys("*:position:s") if b"fixed" not in key] == []


async def test_a_channel_that_is_left_while_redis_is_away_leaves_no_record(server: RedisServer) -> None:
    client = server.client()
    async with Publisher(server.url) as publisher, Subscription(server.url, name="s") as messages:
        await publisher.publish("news", "old")
        await messages.subscribe("news")
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await eventually_async(lambda: messages.state == "connecting", 5, 0)
        await messages.unsubscribe("news")
        await messages.live()
        await messages.subscribe("other")
        await messages.subscribe("news", "earliest")
        assert (await asyncio.wait_for(anext(messages), 5)).data == "old"


async def test_a_channel_of_the_settings_that_is_left_while_it_is_prepared_is_left(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch, Channels, "begin")
    gate.closed = True
    got: list[tuple[str, Any]] = []
    async with Publisher(server.url) as publisher:
        await publisher.publish("a", "one")
        async with Subscription(server.url, "a,b", start_from="earliest") as messages:
            reading = asyncio.create_task(following(messages, got))
            await gate.reached.wait()
            await messages.unsubscribe("a")
            gate.open()
            await messages.live()
            await publisher.publish("b", "two")
            await eventually_async(lambda: ("b", "two") in got)
            assert (got, list(messages._sessions.channels.cursors)) == ([("b", "two")], ["b"])
            reading.cancel()


async def test_a_channel_of_the_settings_that_is_left_while_it_is_subscribed_to_is_unsubscribed(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch, LiveConnection, "subscribe", after=True)
    gate.closed = True
    async with Subscription(server.url, "a,b") as messages:
        await gate.reached.wait()
        await messages.unsubscribe("a")
        gate.open()
        await messages.live()
        await eventually_async(lambda: server.client().pubsub_channels("[ab]") == [b"b"], 3)


async def test_leaving_a_channel_whose_catch_up_ended_before_it_was_subscribed_harms_nobody(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscribing, catching_up = Gate(monkeypatch, LiveConnection, "subscribe"), Gate(monkeypatch, CatchUp, "run")
    async with Publisher(server.url) as publisher, Subscription(server.url, "b", patterns="c*") as messages:
        await messages.live()
        await publisher.publish("c1", "one")
        await eventually_async(lambda: messages.inbox.waiting == 1)
        server.client().delete("fanout:{c1}:head", "fanout:{c1}:history")
        subscribing.closed = catching_up.closed = True
        await publisher.publish("c1", "two")
        await catching_up.reached.wait()
        adding = asyncio.create_task(messages.subscribe("c1"))
        await subscribing.reached.wait()
        catching_up.open()
        await eventually_async(lambda: not messages._sessions.channels.cursors["c1"].catching_up)
        await messages.unsubscribe("c1")
        subscribing.open()
        await asyncio.wait([adding])
        await asyncio.wait_for(messages.subscribe("another"), 5)


async def test_who_adds_a_channel_after_the_block_is_told(server: RedisServer) -> None:
    async with Subscription(server.url, "a") as messages:
        await messages.live()
    with pytest.raises(FanoutError):
        await messages.subscribe("b")


async def test_a_look_at_a_channel_that_was_left_meanwhile_and_is_refused_harms_nobody(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch, IdleWatch, "_ends")
    url = reader(server, "~*", "&*")
    async with Publisher(server.url), Subscription(url) as messages:
        await messages.subscribe("a")
        gate.closed = True
        await asyncio.wait_for(gate.reached.wait(), 20)
        reader(server, "~fanout:{b*", "~fanout:format", "&*")
        await messages.unsubscribe("a")
        gate.open()
        await asyncio.sleep(0.5)
        assert not messages.task.done(), messages.task


async def test_without_history_a_pattern_brings_a_channel_until_it_is_subscribed(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch, LiveConnection, "subscribe")
    async with Subscription(server.url, patterns="c*", history_size=0) as messages:
        await messages.live()
        gate.closed = True
        adding = asyncio.create_task(messages.subscribe("c1"))
        await gate.reached.wait()
        server.client().publish("c1", "here")
        assert (await asyncio.wait_for(anext(messages), 5)).data == "here"
        gate.open()
        await adding
        server.client().publish("c1", "again")
        assert (await asyncio.wait_for(anext(messages), 5)).data == "again"


async def test_the_first_event_of_a_channel_whose_history_a_pattern_may_not_read_harms_no_other(
    server: RedisServer,
) -> None:
    url = reader(server, "~fanout:{c*", "~fanout:format", "&*")
    async with Publisher(server.url) as publisher, Subscription(url, patterns="*") as messages:
        await messages.live()
        await publisher.publish("secret", "live only")
        await publisher.publish("c1", "here")
        got = {(await asyncio.wait_for(anext(messages), 5)).channel for _ in range(2)}
        assert got == {"secret", "c1"}
