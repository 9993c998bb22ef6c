"""Where a subscriber goes on: with a server that does not write, with records that are wrong or gone, after rollbacks."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fanout.errors import ExitCode
from support.entries import events_of
from support.own_code import own_code
from support.redis_server import RedisServer
from support.sending import send
from support.service import Service
from support.waiting import eventually

Start = Callable[..., Service]
HISTORY = "fanout:{notifications}:history"
POSITION = "fanout:{notifications}:position:s"


def lines(name: str, count: int) -> list[str]:
    return [f"{name} {n}" for n in range(count)]


@pytest.fixture
def other(tmp_path: Path) -> Iterator[RedisServer]:
    (tmp_path / "other").mkdir()
    server = RedisServer(tmp_path / "other").start()
    yield server
    server.stop()


def test_a_full_server_is_heard_and_read_and_the_position_saved_later(server: RedisServer, start: Start) -> None:
    send(start, "retained")
    client = server.client()
    client.config_set("maxmemory", 1)
    subscriber = start("subscriber", INSTANCE="s", START_FROM="earliest")
    subscriber.wait_for("live")
    assert "maxmemory" in subscriber.wait_for("position_not_saved")[0]["cause"]
    client.publish("notifications", "bare")
    eventually(lambda: subscriber.data() == ["retained", "bare"])
    client.config_set("maxmemory", 0)
    eventually(lambda: client.exists(POSITION))
    assert len(subscriber.events("position_not_saved")) == 1


def test_a_read_replica_is_heard_and_read(server: RedisServer, other: RedisServer, start: Start) -> None:
    other.client().replicaof("127.0.0.1", server.port)
    eventually(lambda: other.client().info("replication")["master_link_status"] == "up")
    subscriber = start("subscriber", REDIS_URL=other.url)
    subscriber.wait_for("live")
    send(start, *lines("m", 100))
    eventually(lambda: subscriber.data() == lines("m", 100))
    assert not subscriber.events("connection_lost")


def test_a_subscriber_left_on_a_demoted_primary_connects_again(
    server: RedisServer, other: RedisServer, start: Start
) -> None:
    subscriber = start("subscriber")
    subscriber.wait_for("live")
    other.client().replicaof("127.0.0.1", server.port)
    eventually(lambda: other.client().info("replication")["master_link_status"] == "up")
    other.client().replicaof("NO", "ONE")
    server.client().replicaof("127.0.0.1", other.port)
    send(start, "on the new primary", REDIS_URL=other.url)
    assert "has become a replica" in subscriber.wait_for("connection_lost")[0]["cause"]
    eventually(lambda: subscriber.data() == ["on the new primary"])


def test_a_pattern_finds_channels_that_reached_a_demoted_primary_without_a_message(
    server: RedisServer, other: RedisServer, start: Start
) -> None:
    subscriber = start("subscriber", PATTERNS="news.*", INSTANCE="s")
    subscriber.wait_for("live")
    send(start, "one", channel="news.a")
    eventually(lambda: subscriber.data() == ["one"])
    send(start, "two", channel="news.b", REDIS_URL=other.url)
    server.client().replicaof("127.0.0.1", other.port)
    eventually(lambda: subscriber.data() == ["one", "two"])


RECORD = {"position": ["1-1", 1], "checkpoints": [], "producers": {}, "replid": "x", "fell_back": False, "format": 1}


def record(**changed: Any) -> bytes:
    return b"0123456789abcdef 5\n" + json.dumps(RECORD | changed).encode()


@pytest.mark.parametrize(
    "saved",
    [
        b"0123456789abcdef 5\n" + json.dumps(RECORD).encode()[:30],
        b"",
        b"\xff\xfe",
        record(format=2),
        record(position=["evil", 622]),
        record(position=["1-1", 10**30]),
        record(position=["9" * 5000 + "-1", 1]),
        record(checkpoints=[["zzz", 5]]),
        record(producers={"/notifications/x": -5}),
        record(replid=["deep"]),
        b"0123456789abcdef " + b"9" * 5000 + b"\n" + json.dumps(RECORD).encode()[:20],
        ["a list"],
    ],
    ids=lambda saved: str(saved)[:40],
)
def test_a_record_that_cannot_be_read_is_said_and_nothing_is_skipped(
    server: RedisServer, start: Start, saved: bytes | list[str]
) -> None:
    send(start, "while away")
    if isinstance(saved, bytes):
        server.client().set(POSITION, saved)
    else:
        server.client().rpush(POSITION, *saved)
    subscriber = start("subscriber", INSTANCE="s")
    assert subscriber.wait_for("position_unreadable")[0]["channel"] == "notifications"
    eventually(lambda: subscriber.data() == ["while away"])
    last = server.client().xrevrange(HISTORY, count=1)[0][0]
    eventually(lambda: server.client().type(POSITION) == b"string" and last in server.client().get(POSITION))
    assert subscriber.stop() == ExitCode.OK
    again = start("subscriber", INSTANCE="s")
    again.wait_for("live")
    assert not again.events("position_unreadable")
    assert again.data() == []


def test_a_first_start_is_said(start: Start) -> None:
    subscriber = start("subscriber", CHANNELS="a,b", START_FROM="10m", INSTANCE="s")
    first = subscriber.wait_for("first_start")[0]
    assert (first["channels"], first["start_from"]) == (["a", "b"], "600s")
    subscriber.wait_for("live")
    subscriber.stop()
    again = start("subscriber", CHANNELS="a,b", INSTANCE="s")
    again.wait_for("live")
    assert not again.events("first_start")


def test_what_was_trimmed_of_another_shorter_history_is_reported_as_an_estimate(
    server: RedisServer, start: Start
) -> None:
    subscriber = start("subscriber", INSTANCE="s")
    subscriber.wait_for("live")
    send(start, *lines("seen", 100))
    eventually(lambda: len(subscriber.data()) == 100)
    assert subscriber.stop() == ExitCode.OK
    server.client().delete(HISTORY, "fanout:{notifications}:head")  # as a rollback to the very beginning
    send(start, *lines("missed", 60), BATCH_EVENTS=1)
    server.client().xtrim(HISTORY, maxlen=20, approximate=False)
    again = start("subscriber", INSTANCE="s")
    lost = again.wait_for("messages_lost")[0]
    assert (lost["count"], lost["exact"]) == (40, False)
    eventually(lambda: again.data() == lines("missed", 60)[40:])


def test_a_history_that_was_trimmed_up_to_our_position_has_lost_nothing(server: RedisServer, start: Start) -> None:
    subscriber = start("subscriber", INSTANCE="s")
    subscriber.wait_for("live")
    send(start, *lines("seen", 100))
    eventually(lambda: len(subscriber.data()) == 100)
    assert subscriber.stop() == ExitCode.OK
    send(start, *lines("missed", 20), BATCH_EVENTS=1)
    server.client().xtrim(HISTORY, maxlen=20, approximate=False)
    again = start("subscriber", INSTANCE="s")
    eventually(lambda: again.data() == lines("missed", 20))
    assert not again.events("messages_lost")


def test_entries_that_a_second_restart_brings_back_before_our_position_are_read(tmp_path: Path, start: Start) -> None:
    """As after an AOF that ended within a transaction, which later writes completed."""
    (tmp_path / "aof").mkdir()
    server = RedisServer(tmp_path / "aof", "--appendonly", "yes", "--appendfsync", "always").start()
    try:
        subscriber = start("subscriber", INSTANCE="s", REDIS_URL=server.url)
        subscriber.wait_for("live")
        for line in lines("m", 5):  # one by one, so that there is room between their IDs
            send(start, line, REDIS_URL=server.url)
        eventually(lambda: len(subscriber.data()) == 5)
        assert subscriber.stop() == ExitCode.OK
        client = server.client()
        entries = client.xrange(HISTORY)
        client.delete(HISTORY)
        for place, (streamid, fields) in enumerate(entries):
            client.xadd(HISTORY, fields, id=streamid)
            if place == 3:
                [event] = events_of(fields)
                event |= {"data": "brought back", "source": "/notifications/0123456789abcdef"}
                back = json.dumps(event)[:-1]
                between = streamid.split(b"-")[0] + b"-%d" % (int(streamid.split(b"-")[1]) + 1)
                client.xadd(HISTORY, {"events": back, "streamseq": 5}, id=between)
        server.kill()
        server.start()
        again = start("subscriber", INSTANCE="s", REDIS_URL=server.url)
        eventually(lambda: again.data() == ["brought back"])
        again.wait_for("live")
        send(start, "next", REDIS_URL=server.url)
        eventually(lambda: again.data() == ["brought back", "next"])
    finally:
        server.stop()


@pytest.mark.parametrize("start_from", ["now", "1ms"])
def test_what_a_rollback_brings_again_from_before_the_start_is_not_new(
    server: RedisServer, start: Start, start_from: str
) -> None:
    publisher = start("publisher", PUBLISH_RATE=20_000, PUBLISH_COUNT=15_000, LOG_MESSAGES="none")
    publisher.wait_for("load_finished")
    subscriber = start("subscriber", INSTANCE="s", START_FROM=start_from)
    subscriber.wait_for("live")
    server.kill()  # it has no AOF: everything is forgotten
    server.start()
    publisher.wait_for("replaying")
    send(start, "new")
    eventually(lambda: "new" in subscriber.data())
    assert subscriber.data() == ["new"]


def test_a_record_of_a_clock_that_was_ahead_takes_no_name(server: RedisServer, start: Start) -> None:
    saved = b"0123456789abcdef 9999999999999\n" + json.dumps(RECORD).encode()
    server.client().set("fanout:{news.a}:position:s", saved)
    subscriber = start("subscriber", PATTERNS="news.*", INSTANCE="s")
    subscriber.wait_for("live")
    send(start, "one", channel="news.a")
    eventually(lambda: subscriber.data() == ["one"])
    eventually(lambda: b"9999999999999\n" not in server.client().get("fanout:{news.a}:position:s"))
    assert subscriber.stop() == ExitCode.OK


def test_a_subscriber_that_ends_in_the_middle_of_a_batch_goes_on_there(
    tmp_path: Path, server: RedisServer, start: Start
) -> None:
    code = own_code(
        tmp_path,
        """
import time
def handle(message):
    if message.data == "m 3":
        time.sleep(60)
""",
    )
    subscriber = start("subscriber", INSTANCE="s", HANDLER="mine:handle", PYTHONPATH=code, SHUTDOWN_GRACE="0.2")
    subscriber.wait_for("live")
    send(start, *lines("m", 6))
    subscriber.wait_for("message_received", 4)
    subscriber.stop()
    again = start("subscriber", INSTANCE="s")
    eventually(lambda: again.data() == lines("m", 6)[3:])
    again.wait_for("live")
    assert server.client().xlen(HISTORY) == 1
    assert again.events("caught_up")[0]["duplicates"] == 3
