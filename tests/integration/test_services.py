"""A publisher and subscribers as processes, from the message to the log line."""

import re
from collections.abc import Callable
from pathlib import Path

from fanout.errors import ExitCode
from support.redis_server import RedisServer
from support.service import Service
from support.waiting import eventually

Start = Callable[..., Service]


def test_messages_reach_every_subscriber_once_with_all_fields(server: RedisServer, start: Start) -> None:
    subscribers = [start("subscriber", INSTANCE=f"s{n}") for n in range(3)]
    for subscriber in subscribers:
        subscriber.wait_for("subscribed")
    lines = "".join(f"line {n}\n" for n in range(100)).encode()
    publisher = start("publisher", "send", "notifications", stdin=lines)
    assert publisher.ended() == ExitCode.OK
    for subscriber in subscribers:
        received = subscriber.wait_for("message_received", 100)
        assert [line["data"] for line in received] == [f"line {n}" for n in range(100)]
        assert [line["id"] for line in received] == [str(n) for n in range(1, 101)]
        first = received[0]
        assert list(first)[:5] == ["timestamp", "level", "event", "service", "instance"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", first["timestamp"])
        assert first["channel"] == "notifications"
        assert first["source"].startswith("/notifications/")
        assert 0 <= first["latency_ms"] < 10_000
        assert subscriber.wait_for("traffic")[0]["received"] > 0


def test_a_message_of_anyone_arrives_as_it_came(server: RedisServer, start: Start) -> None:
    subscriber = start("subscriber", CHANNELS="a, b", PATTERNS="news.*")
    subscriber.wait_for("subscribed")
    client = server.client()
    for channel, data in (
        ("a", b"hello"),
        ("news.sport", b'{"goal":1}'),
        ("b", b"\xff\x00"),
        ("other", b"unseen"),
        ("a", b""),
    ):
        client.publish(channel, data)
    received = subscriber.wait_for("message_received", 4)
    assert [(line["channel"], line["data"]) for line in received] == [
        ("a", "hello"),
        ("news.sport", '{"goal":1}'),
        ("b", "b'\\xff\\x00'"),
        ("a", ""),
    ]
    assert all(line["plain"] for line in received)


def test_the_steady_load_keeps_its_rate_and_stops_at_its_count(server: RedisServer, start: Start) -> None:
    subscriber = start("subscriber", LOG_MESSAGES="1/10")
    subscriber.wait_for("subscribed")
    publisher = start("publisher", PUBLISH_RATE=500, PUBLISH_COUNT=500, LOG_MESSAGES="none")
    finished = publisher.wait_for("load_finished")[0]
    assert finished["count"] == 500
    assert 0.9 <= finished["took_s"] < 3
    subscriber.wait_for("message_received", 50)
    assert publisher.stop() == ExitCode.OK
    assert publisher.events("stopped")[0]["accepted"] == 500
    assert not publisher.events("message_published")
    assert subscriber.stop() == ExitCode.OK
    assert subscriber.events("stopped")[0]["received"] == 500


def test_the_heartbeat_greets_at_its_interval(start: Start) -> None:
    publisher = start("publisher", PUBLISH_INTERVAL="200ms")
    published = publisher.wait_for("message_published", 4)
    assert all(line["data"].startswith("Hello at 20") for line in published)


def test_the_plain_wire_format_is_the_bare_text(server: RedisServer, start: Start) -> None:
    listener = server.client().pubsub()
    listener.subscribe("notifications")
    assert (
        start("publisher", "send", "notifications", "hello", WIRE_FORMAT="plain", HISTORY_SIZE=0).ended() == ExitCode.OK
    )
    got = eventually(lambda: (m := listener.get_message(timeout=1)) and m["type"] == "message" and m)
    assert got["data"] == b"hello"
    listener.close()


def test_lines_that_cannot_be_published_are_named_and_the_others_go_out(server: RedisServer, start: Start) -> None:
    publisher = start("publisher", "send", "notifications", stdin=b"good\n\xff\n" + b"x" * 70000 + b"\nalso good\n")
    assert publisher.ended() == ExitCode.BAD_INPUT
    assert [line["line"] for line in publisher.events("line_refused")] == [2, 3]
    assert [line["data"] for line in publisher.events("message_published")] == ["good", "also good"]
    assert publisher.lines[-1]["reason"] == "2 of 4 lines could not be published"


def test_the_heartbeat_file_follows_the_main_loop(tmp_path: Path, server: RedisServer, start: Start) -> None:
    for name in ("subscriber", "publisher"):
        heartbeat = tmp_path / name
        server.stop()
        service = start(name, HEARTBEAT_FILE=heartbeat, DEAD_AFTER="1")
        service.wait_for("connect_failed", 2)
        assert not heartbeat.exists()
        server.start()
        eventually(heartbeat.exists)
        first = heartbeat.stat().st_mtime
        eventually(lambda path=heartbeat, since=first: path.stat().st_mtime > since)
        server.kill()
        service.wait_for("connection_lost")
        second = heartbeat.stat().st_mtime
        eventually(lambda path=heartbeat, since=second: path.stat().st_mtime > since)
        server.start()
