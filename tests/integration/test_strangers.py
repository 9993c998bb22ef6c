"""What others do on our channels and keys: it reaches nobody else, ends nothing, and hides nothing."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from fanout.errors import ExitCode
from support.entries import events_of, streamname
from support.redis_server import RedisServer
from support.service import Service
from support.waiting import eventually

Start = Callable[..., Service]
CHANNEL = "notifications"
HISTORY = f"fanout:{{{CHANNEL}}}:history"


def publish(publisher: Service, text: str, channel: str = CHANNEL) -> None:
    import urllib.request

    url = f"{publisher.wait_for('started')[0]['http']}/channels/{channel}/messages"
    urllib.request.urlopen(urllib.request.Request(url, data=text.encode(), method="POST"), timeout=20).close()


def ours(subscriber: Service) -> list[Any]:
    """What the subscriber got from the history of its channel."""
    return [line["data"] for line in subscriber.events("message_received") if "streamid" in line]


def last_event(server: RedisServer) -> dict[str, Any]:
    """The last event as Pub/Sub brought it, but for the ID before it."""
    [(streamid, fields)] = server.client().xrevrange(HISTORY, count=1)
    place = {"streamid": streamid.decode(), "streamseq": fields[b"streamseq"].decode()}
    return events_of(fields)[-1] | place | {"streamname": streamname(server.client(), CHANNEL)}


def replayed(publisher: Service) -> None:
    """Returns when the publisher has found out that Redis does not hold what it should."""
    seen = len(publisher.events("replaying"))
    eventually(lambda: len(publisher.events("replaying")) > seen)


@pytest.fixture
def pair(server: RedisServer, start: Start) -> tuple[Service, Service]:
    subscriber, publisher = start("subscriber", DEAD_AFTER=2), start("publisher")
    subscriber.wait_for("live")
    publish(publisher, "one")
    subscriber.wait_for("message_received")
    return subscriber, publisher


def test_another_database_of_the_same_server_disturbs_nothing(server: RedisServer, start: Start) -> None:
    subscriber = start("subscriber")
    subscriber.wait_for("live")
    for database in (1, 0):
        start("publisher", REDIS_URL=server.url.removesuffix("0") + str(database), PUBLISH_RATE=300, PUBLISH_COUNT=900)
    eventually(lambda: len(subscriber.events("message_received")) >= 1800)
    assert ours(subscriber) == [f"Message {n}" for n in range(1, 901)]
    strangers = [line["data"] for line in subscriber.events("message_received") if "streamid" not in line]
    assert strangers == [f"Message {n}" for n in range(1, 901)]
    assert not subscriber.events("connection_lost")
    traffic = subscriber.wait_for("traffic")[-1]
    assert traffic["lost"] == 0
    assert traffic["gaps"] < 20


def forgeries(event: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Events made from the last one of a history."""
    last = {"streamprev": event["streamid"]}
    high = {"id": "1000000000000000"}
    return {
        "a copy": event,
        "known source, high id, no place": {k: v for k, v in event.items() if not k.startswith("stream")} | high,
        "a streamid that is none": event | last | high | {"streamid": "evil"},
        "a streamseq that is none": event | last | high | {"streamid": "1-1", "streamseq": "abc"},
        "digits without end": event | last | {"id": "9" * 5000, "streamid": f"{'9' * 5000}-1", "streamseq": "9" * 5000},
        "the chain without the name": {k: v for k, v in event.items() if k != "streamname"} | last | high,
        "the chain with another name": event | last | high | {"streamid": "99-1", "streamname": "0123456789abcdef"},
        "our name and another chain": event | high | {"streamid": "99-2", "streamprev": "98-1"},
        "another source": event | {"source": "/elsewhere", "id": "x", "streamprev": "98-1", "streamid": "99-3"},
    }


def test_a_forged_event_ends_nothing_and_hides_nothing(server: RedisServer, pair: tuple[Service, Service]) -> None:
    subscriber, publisher = pair
    expected = ["one"]
    for name in forgeries(last_event(server)):
        server.client().publish(CHANNEL, json.dumps(forgeries(last_event(server))[name]))
        publish(publisher, name)
        expected.append(name)
        eventually(lambda: ours(subscriber)[-1:] == expected[-1:])
    assert ours(subscriber) == expected
    assert not subscriber.events("connection_lost")
    assert subscriber.stop() == ExitCode.OK
    assert subscriber.lines[-1]["lost"] == 0


def test_events_of_many_other_histories_hold_up_nobody(server: RedisServer, pair: tuple[Service, Service]) -> None:
    subscriber, publisher = pair
    event, pipeline = last_event(server), server.client().pipeline()
    for n in range(2000):
        place = {"streamid": f"99-{n}", "streamprev": f"98-{n}", "streamname": f"{n:016x}", "id": f"{n + 100}"}
        pipeline.publish(CHANNEL, json.dumps(event | place))
    pipeline.execute()
    publish(publisher, "two")
    eventually(lambda: ours(subscriber) == ["one", "two"], within=5)
    eventually(lambda: len(subscriber.events("message_received")) == 2002)
    assert not subscriber.events("connection_lost")


@pytest.mark.parametrize(
    "fields",
    [
        {"event": "no event", "streamseq": "abc"},
        {"event": b"\xff", "streamseq": "-1"},
        {"event": "{}", "streamseq": "9" * 50},
        {"something": "else"},
    ],
)
def test_an_entry_added_by_hand_ends_nothing(
    server: RedisServer, pair: tuple[Service, Service], start: Start, fields: dict[Any, Any]
) -> None:
    subscriber, publisher = pair
    server.client().xadd(HISTORY, fields)
    publish(publisher, "two")
    eventually(lambda: ours(subscriber)[-1] == "two")
    assert subscriber.stop() == ExitCode.OK
    server.client().xadd(HISTORY, fields)
    publish(publisher, "three")
    again = start("subscriber")
    eventually(lambda: ours(again)[-1:] == ["three"])
    publish(publisher, "four")
    eventually(lambda: ours(again)[-1] == "four")
    assert "two" not in ours(again)


def test_keys_that_look_like_histories_are_no_channels(server: RedisServer, start: Start) -> None:
    client = server.client()
    client.set("fanout:{news}:request:x}:history", "a key of a user's making")
    client.xadd("fanout:{news}:request:y}:history", {"event": "x", "streamseq": 1})
    client.xadd("fanout:{\xff\x01}:history", {"event": "x", "streamseq": 1})
    client.xadd(b"fanout:{\xff}:history", {"event": "x", "streamseq": 1})
    client.set("fanout:{text}:history", "not a stream")
    client.xadd("fanout:{__reserved}:history", {"event": "x", "streamseq": 1})
    subscriber = start("subscriber", PATTERNS="*", START_FROM="earliest")
    subscriber.wait_for("live")
    publish(start("publisher"), "hello", channel="news")
    eventually(lambda: ours(subscriber) == ["hello"])
    assert subscriber.data() == ["hello"]


def test_a_history_of_another_type_harms_no_other_channel(server: RedisServer, start: Start) -> None:
    server.client().set("fanout:{broken}:history", "not a stream")
    subscriber = start("subscriber", CHANNELS=f"broken,{CHANNEL}")
    subscriber.wait_for("live")
    assert subscriber.wait_for("history_unreadable")[0]["channel"] == "broken"
    publish(start("publisher"), "hello")
    eventually(lambda: ours(subscriber) == ["hello"])
    server.client().publish("broken", "bare")
    eventually(lambda: "bare" in subscriber.data())


def test_a_server_that_runs_a_script_counts_as_alive(server: RedisServer, pair: tuple[Service, Service]) -> None:
    subscriber, publisher = pair
    client = server.client()
    client.config_set("busy-reply-threshold", 50)
    busy = server.client().connection_pool.get_connection()
    busy.send_command("EVAL", "while true do end", 0)
    eventually(lambda: subscriber.events("position_not_saved") or subscriber.events("history_not_read"), within=10)
    client.script_kill()
    busy.disconnect()
    publish(publisher, "two")
    eventually(lambda: ours(subscriber) == ["one", "two"])
    assert not subscriber.events("connection_lost")


def test_a_producers_key_that_is_deleted_brings_nothing_twice(server: RedisServer, start: Start) -> None:
    subscriber, publisher = start("subscriber"), start("publisher", PUBLISH_RATE=500)
    subscriber.wait_for("message_received", 300)
    for _ in range(3):
        for key in server.client().scan_iter("fanout:*:producer:*"):
            server.client().delete(key)
        replayed(publisher)
    last = len(subscriber.data())
    eventually(lambda: len(subscriber.data()) > last + 300)
    ids = [int(line["id"]) for line in subscriber.events("message_received")]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert subscriber.wait_for("traffic")[-1]["duplicates"] > 0


@pytest.mark.parametrize(
    "wire",
    [
        '{"specversion":"1.0","type":"a","source":"a","id":"1","time":"2026-01-01T00:00:00.\u00b2\u00b2\u00b2\u00b2\u00b2\u00b2Z"}',
        "[" + "1," * 2**21 + "1]",
        "[" + '{"specversion":"1.0","type":"a","source":"a","id":"1"},' * 20_000 + "{}]",
    ],
    ids=["a time of superscripts", "an array of numbers", "an array of many events"],
)
def test_what_one_message_says_ends_nothing_and_holds_nobody_up(
    server: RedisServer, pair: tuple[Service, Service], wire: str
) -> None:
    subscriber, publisher = pair
    server.client().publish(CHANNEL, wire)
    publish(publisher, "two")
    eventually(lambda: ours(subscriber) == ["one", "two"], within=5)
    assert not subscriber.events("connection_lost")
    assert subscriber.stop() == ExitCode.OK
