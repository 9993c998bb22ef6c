"""What the publish script leaves in Redis and on the channel."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from fanout import Accepted, Publisher
from fanout.errors import ExitCode
from fanout.service.event_loop import EventLoop
from fanout.settings import HistorySettings
from support.entries import events_of, retained, streamname, streamseq
from support.in_process import settings
from support.redis_server import RedisServer
from support.service import Service
from support.waiting import eventually

HEAD = "fanout:{news}:head"


def with_writer(server: RedisServer, work: Callable[[Publisher], Awaitable[Any]], **more: Any) -> Any:
    async def run() -> Any:
        history = HistorySettings(size=1000, ttl=3600.0, fsync=False, plain=False, **more)
        async with Publisher(settings(server.port, "publisher"), history=history) as publisher:
            return await work(publisher)

    with asyncio.Runner(loop_factory=EventLoop) as runner:
        return runner.run(run())


def publish(server: RedisServer, *data: str) -> None:
    async def work(publisher: Publisher) -> None:
        for one in data:
            await publisher.publish("news", one)

    with_writer(server, work)


def test_every_event_says_which_history_it_belongs_to(server: RedisServer) -> None:
    listener = server.client().pubsub(ignore_subscribe_messages=True)
    listener.subscribe("news")

    def heard() -> dict[str, Any]:
        event = json.loads(eventually(lambda: (m := listener.get_message(timeout=1)) and m["data"]))
        assert list(event)[-4:] == ["streamid", "streamseq", "streamprev", "streamname"]
        return event

    publish(server, "one", "two")
    name = heard()["streamname"]
    assert re.fullmatch("[0-9a-f]{16}", name)
    assert heard()["streamname"] == name == streamname(server.client(), "news")
    assert server.client().ttl(HEAD) > 86400
    publish(server, "another process")
    assert heard()["streamname"] == name
    server.client().flushall()
    publish(server, "another history")
    assert heard()["streamname"] not in (name, "")
    listener.close()


WRONG_HEADS = (
    '","data":"x',
    "",
    "5-5 9 9 0123456789abcdeg",
    "5-5 9 0123456789abcdef",
    f"5-5 {'9' * 16} 9 {'0' * 16}",
    f"99999999999999999999-5 5 5 {'0' * 16}",
    None,
)


def test_a_head_that_is_none_is_made_again_from_the_stream(server: RedisServer) -> None:
    client = server.client()
    publish(server, "one")
    for count, wrong in enumerate(WRONG_HEADS, 2):
        client.delete(HEAD)
        client.sadd(HEAD, "x") if wrong is None else client.set(HEAD, wrong)
        publish(server, "next")
        last = client.xrevrange("fanout:{news}:history", count=1)[0][0]
        assert re.fullmatch(b"%b %d %d [0-9a-f]{16}" % (last, count, count), client.get(HEAD))


@pytest.mark.parametrize("streamid", ["*", "99999999999999-7"])
def test_an_entry_that_somebody_adds_counts_as_no_event_and_the_ids_go_on_after_it(
    server: RedisServer, streamid: str
) -> None:
    client = server.client()
    publish(server, "one")
    by_hand = client.xadd("fanout:{news}:history", {"x": "y"}, id=streamid)
    publish(server, "two")
    (_, first), _, (after, second) = client.xrange("fanout:{news}:history")
    assert (first[b"streamseq"], second[b"streamseq"], streamseq(client, "news")) == (b"1", b"2", 2)
    assert tuple(map(int, after.split(b"-"))) > tuple(map(int, by_hand.split(b"-")))


def test_what_waits_together_is_one_message_and_one_entry(server: RedisServer) -> None:
    listener = server.client().pubsub(ignore_subscribe_messages=True)
    listener.subscribe("news")

    async def work(publisher: Publisher) -> list[Accepted]:
        return await asyncio.gather(*(publisher.enqueue("news", data) for data in "abcde"))

    accepted = with_writer(server, work)
    events = json.loads(eventually(lambda: (m := listener.get_message(timeout=1)) and m["data"]))
    assert [event["data"] for event in events] == list("abcde")
    assert ["streamid" in event for event in events] == [False] * 4 + [True]
    assert (events[-1]["streamseq"], events[-1]["streamprev"]) == ("5", "0-0")
    [(streamid, fields)] = server.client().xrange("fanout:{news}:history")
    assert (fields[b"streamseq"], [event["data"] for event in events_of(fields)]) == (b"5", list("abcde"))
    assert {one.streamid for one in accepted} == {events[-1]["streamid"], streamid.decode()}
    listener.close()


def test_batches_are_no_longer_than_batch_events_says(server: RedisServer) -> None:
    async def work(publisher: Publisher) -> list[Accepted]:
        return await asyncio.gather(*(publisher.enqueue("news", data) for data in "abcde"))

    accepted = with_writer(server, work, batch_events=2)
    history = server.client().xrange("fanout:{news}:history")
    assert [fields[b"streamseq"] for _, fields in history] == [b"2", b"4", b"5"]
    first, second, third = [streamid.decode() for streamid, _ in history]
    assert [one.streamid for one in accepted] == [first, first, second, second, third]


def test_a_history_is_trimmed_by_events_not_by_entries(server: RedisServer) -> None:
    async def work(publisher: Publisher) -> None:
        for _ in range(60):
            await publisher.publish_all("news", ["x" * 2000] * 100)

    with_writer(server, work)
    assert 1000 <= len(retained(server.client(), "news")) <= 1300
    assert streamseq(server.client(), "news") == 6000
    assert server.client().llen("fanout:{news}:marks") < 120


def test_marks_that_are_none_stop_nothing(server: RedisServer) -> None:
    client = server.client()
    client.set("fanout:{news}:marks", "x")
    with_writer(server, lambda publisher: publisher.publish_all("news", ["x"] * 500))
    client.lpush("fanout:{news}:marks", "evil", "9-9", "9-9 999999999")
    with_writer(server, lambda publisher: publisher.publish_all("news", ["x" * 500] * 5000))
    assert 1000 <= len(retained(client, "news")) <= 1600


def test_marks_of_a_history_that_is_gone_are_none_of_the_next_one(server: RedisServer) -> None:
    client = server.client()
    with_writer(server, lambda publisher: publisher.publish_all("news", ["x" * 500] * 5000))
    client.delete("fanout:{news}:history", "fanout:{news}:head")
    with_writer(server, lambda publisher: publisher.publish_all("news", ["x" * 500] * 3000))
    assert 1000 <= len(retained(client, "news")) <= 1600
    assert client.llen("fanout:{news}:marks") < 120


def test_an_old_versions_history_goes_on(server: RedisServer, start: Callable[..., Service]) -> None:
    event = {"specversion": "1.0", "type": "t", "source": f"/news/{'a' * 16}", "id": "1", "data": "old"}
    server.client().xadd("fanout:{news}:history", {"event": json.dumps(event), "streamseq": "1"})
    subscriber = start("subscriber", CHANNELS="news", START_FROM="earliest")
    eventually(lambda: subscriber.data() == ["old"])
    publish(server, "new")
    eventually(lambda: subscriber.data() == ["old", "new"])
    assert subscriber.events("message_received")[-1]["streamseq"] == "2"


@pytest.mark.parametrize("service", ["publisher", "subscriber", "gateway"])
def test_a_newer_format_is_refused_with_what_to_do(
    server: RedisServer, start: Callable[..., Service], service: str
) -> None:
    server.client().set("fanout:format", "2")
    assert start(service).ended() == ExitCode.REFUSED_BY_REDIS
    assert "upgrade it" in start(service).wait_for("failed")[0]["reason"]
