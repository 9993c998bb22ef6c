"""Patterns and many channels: no state for what has no history, and none for ever."""

from collections.abc import Callable

import pytest

from fanout import Publisher, Subscription
from fanout._subscribe import idle
from fanout.environment import Environment
from fanout.errors import ExitCode
from fanout.settings import HistorySettings, read_subscription
from support.in_process import HURRY, settings
from support.redis_server import RedisServer
from support.service import Service
from support.waiting import eventually, eventually_async

Start = Callable[..., Service]


def test_saved_positions_that_the_server_announces_make_no_channels(server: RedisServer, start: Start) -> None:
    server.client().config_set("notify-keyspace-events", "K$")
    subscriber = start("subscriber", PATTERNS="*", INSTANCE="s")
    subscriber.wait_for("live")
    publisher = start("publisher", PUBLISH_INTERVAL="0.2")
    subscriber.wait_for("message_received", 10)
    assert {line["channel"] for line in subscriber.events("message_received")} == {"notifications"}
    assert sorted(key.decode().rpartition(":")[0] for key in server.client().scan_iter("fanout:{*}:position:*")) == [
        "fanout:{notifications}:position"
    ]
    assert publisher.stop() == ExitCode.OK


def test_bare_messages_on_channels_used_once_leave_nothing(server: RedisServer, start: Start) -> None:
    subscriber = start("subscriber", PATTERNS="reply.*", INSTANCE="s")
    subscriber.wait_for("live")
    pipeline = server.client().pipeline()
    for n in range(5000):
        pipeline.publish(f"reply.{n}", f"m{n}")
    pipeline.execute()
    eventually(lambda: len(subscriber.data()) == 5000)
    commands = server.client().info("commandstats")
    assert subscriber.stop() == ExitCode.OK
    assert server.client().keys("fanout:{reply.*}:position:*") == []
    assert commands.get("cmdstat_xrange", {"calls": 0})["calls"] < 50


async def test_a_pattern_channel_that_is_idle_for_long_is_let_go_and_taken_up_again(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idle, "LET_GO_AFTER", 0.5)
    what = read_subscription(Environment({"PATTERNS": "user:*"}))
    history = HistorySettings(size=1000, ttl=3600, fsync=False, plain=False)
    got: list[tuple[str, str]] = []

    async def publish(publisher: Publisher, text: str) -> None:
        for n in range(100):
            await publisher.publish(f"user:{n}", text)

    async with (
        Publisher(settings(server.port, "p"), history=history) as publisher,
        Subscription(settings(server.port, "s", HURRY), what=what) as subscription,
    ):
        subscription.inbox.direct = lambda messages: got.extend((m.channel, m.data) for m in messages)
        await subscription.live()
        for text in ("one", "two", "three"):
            await publish(publisher, text)
            await eventually_async(lambda: not subscription._sessions.channels.cursors)
    assert sorted(got) == sorted((f"user:{n}", text) for n in range(100) for text in ("one", "two", "three"))
    assert (subscription.statistics().lost, subscription.statistics().duplicates) == (0, 0)


async def test_a_pattern_channel_whose_history_was_deleted_is_let_go(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idle, "LET_GO_AFTER", 1.0)
    what = read_subscription(Environment({"PATTERNS": "user:*"}))
    history = HistorySettings(size=1000, ttl=3600, fsync=False, plain=False)
    client = server.client()
    async with Subscription(settings(server.port, "s", HURRY), what=what) as subscription:
        subscription.inbox.direct = lambda _: None
        await subscription.live()
        async with Publisher(settings(server.port, "p"), history=history) as publisher:
            for n in range(100):
                await publisher.publish(f"user:{n}", "one")
        await eventually_async(lambda: client.exists(*(f"fanout:{{user:{n}}}:position:s" for n in range(100))) == 100)
        client.delete(*client.keys("fanout:{user:*"))
        await eventually_async(lambda: not subscription._sessions.channels.cursors)
    assert client.keys("fanout:{user:*") == []
