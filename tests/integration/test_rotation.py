"""A password that is changed while the services run: they read it anew, and lose nothing."""

from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path

import pytest

from fanout.errors import ExitCode
from support.redis_server import RedisServer
from support.service import Service
from support.waiting import eventually

Start = Callable[..., Service]


def post(publisher: Service, *texts: str) -> list[HTTPConnection]:
    """Gives the publisher messages, without waiting for Redis to accept them."""
    (line,) = publisher.wait_for("started")
    connections = [HTTPConnection(line["http"].removeprefix("http://"), timeout=20) for _ in texts]
    for connection, text in zip(connections, texts, strict=True):
        connection.request("POST", "/channels/notifications/messages", text, {"Content-Type": "text/plain"})
    return connections


@pytest.mark.parametrize("how", ["password", "url"])
def test_a_changed_password_is_read_anew_and_what_waits_is_sent(
    server: RedisServer, start: Start, tmp_path: Path, how: str
) -> None:
    def write(password: str) -> None:
        url = f"redis://:{password}@127.0.0.1:{server.port}/0"
        (tmp_path / "secret").write_text(password if how == "password" else url)

    admin = server.client()
    admin.config_set("requirepass", "old")
    admin.auth("old")
    write("old")
    own = {
        "password": {"REDIS_PASSWORD_FILE": tmp_path / "secret"},
        "url": {"REDIS_URL_FILE": tmp_path / "secret", "REDIS_URL": ""},
    }
    subscriber = start("subscriber", BACKOFF_CAP="0.1", **own[how])
    publisher = start("publisher", BACKOFF_CAP="0.1", **own[how])
    subscriber.wait_for("live")
    publisher.wait_for("connected")

    admin.config_set("requirepass", "new")
    admin.client_kill_filter(_type="normal")
    admin.client_kill_filter(_type="pubsub")
    for service in (subscriber, publisher):
        lines = service.wait_for("connect_failed", 3)
        assert any("WRONGPASS" in line["cause"] or "invalid" in line["cause"] for line in lines), lines
        assert lines[-1]["attempt"] >= 2
    waiting = post(publisher, "one", "two", "three")
    (tmp_path / "secret").write_text("")
    eventually(lambda: any("is empty" in line["cause"] for line in publisher.events("connect_failed")))
    write("new")
    eventually(lambda: sorted(subscriber.data()) == ["one", "three", "two"])
    assert [connection.getresponse().status for connection in waiting] == [202, 202, 202]
    for connection in waiting:
        connection.close()
    assert (publisher.stop(), subscriber.stop()) == (0, 0)


def test_a_password_that_is_refused_at_the_very_first_ends_the_process(server: RedisServer, start: Start) -> None:
    server.client().config_set("requirepass", "right")
    subscriber = start("subscriber", REDIS_PASSWORD="wrong")
    assert subscriber.ended() == ExitCode.REFUSED_BY_REDIS
    assert "Redis refuses" in subscriber.events("failed")[0]["reason"]
