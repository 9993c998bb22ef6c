import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fanout.errors import ExitCode
from run.loopback import free_port
from support.redis_server import RedisServer
from support.service import Service
from support.waiting import eventually

Start = Callable[..., Service]


def publish(server: RedisServer, data: str) -> None:
    server.client().publish("notifications", data)


def test_a_killed_server_is_reached_again_and_attempts_are_logged_once_a_second(
    server: RedisServer, start: Start
) -> None:
    subscriber, publisher = start("subscriber"), start("publisher", PUBLISH_INTERVAL="0.1")
    subscriber.wait_for("message_received")
    server.kill()
    for service in (subscriber, publisher):
        service.wait_for("connection_lost")
        attempts = service.wait_for("connect_failed", 3)
        numbers = [line["attempt"] for line in attempts]
        assert numbers[0] == 1
        assert numbers == sorted(set(numbers))
        assert all(0 <= line["wait_s"] <= 1 and line["cause"] for line in attempts)
        assert attempts[0]["wait_s"] <= 0.05
    server.start()
    subscriber.wait_for("subscribed", 2)
    seen = len(subscriber.data())
    eventually(lambda: len(subscriber.data()) > seen)
    assert publisher.stop() == ExitCode.OK or publisher.events("publish_failed")
    assert subscriber.stop() == ExitCode.OK


def test_a_server_that_comes_up_last_is_waited_for(server: RedisServer, start: Start) -> None:
    server.stop()
    subscriber = start("subscriber")
    publisher = start("publisher", "send", "notifications", "hello")
    subscriber.wait_for("connect_failed", 2)
    publisher.wait_for("connect_failed", 2)
    server.start()
    assert publisher.ended() == ExitCode.OK
    subscriber.wait_for("subscribed")


def test_a_paused_server_is_noticed_within_five_seconds(server: RedisServer, start: Start) -> None:
    subscriber = start("subscriber")
    subscriber.wait_for("subscribed")
    server.signal(signal.SIGSTOP)
    began = time.monotonic()
    lost = subscriber.wait_for("connection_lost", within=8)
    assert time.monotonic() - began < 5.5
    assert "no sign of life" in lost[0]["cause"]
    server.signal(signal.SIGCONT)
    subscriber.wait_for("subscribed", 2)
    publish(server, "back")
    eventually(lambda: subscriber.data() == ["back"])


def test_an_idle_connection_is_kept(server: RedisServer, start: Start) -> None:
    subscriber = start("subscriber", DEAD_AFTER="0.5")
    publisher = start("publisher", DEAD_AFTER="0.5")
    subscriber.wait_for("subscribed")
    publisher.wait_for("connected")
    commands = server.client().info("commandstats")["cmdstat_ping"]["calls"]
    eventually(lambda: server.client().info("commandstats")["cmdstat_ping"]["calls"] > commands + 20)
    assert not subscriber.events("connection_lost")
    assert not publisher.events("connection_lost")


def test_a_name_that_does_not_resolve_is_an_outage(start: Start) -> None:
    subscriber = start("subscriber", REDIS_URL="redis://no-such-host.invalid:6379/0")
    subscriber.wait_for("connect_failed", 3)
    assert subscriber.stop(within=2) == ExitCode.OK


def test_a_look_up_that_hangs_delays_neither_the_next_attempt_nor_the_exit(tmp_path: Path, start: Start) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import socket, time\nsocket.getaddrinfo = lambda *a, **k: time.sleep(60)\n", encoding="utf-8"
    )
    hanging = {"REDIS_URL": "redis://hanging:6379/0", "PYTHONPATH": _with(tmp_path)}
    subscriber = start("subscriber", DEAD_AFTER="1", METRICS_PORT="off", **hanging)  # its server looks up its address
    attempts = subscriber.wait_for("connect_failed", 3, within=8)
    assert "no connection within 0.1 s" in attempts[0]["cause"]
    began = time.monotonic()
    assert subscriber.stop() == ExitCode.OK
    assert time.monotonic() - began < 2


def _with(folder: Path) -> str:
    root = Path(__file__).resolve().parents[2] / "services"
    return f"{folder}:{root}/fanout:{root}/subscriber"


def test_a_wrong_password_ends_with_one_clear_line(tmp_path: Path, start: Start) -> None:
    server = RedisServer(tmp_path, "--requirepass", "right").start()
    try:
        for service in (
            start("subscriber", REDIS_URL=server.url, REDIS_PASSWORD="wrong"),
            start("subscriber", REDIS_URL=server.url),
            start("publisher", REDIS_URL=f"redis://:wrong@127.0.0.1:{server.port}"),
        ):
            assert service.ended() == ExitCode.REFUSED_BY_REDIS
            assert "Redis refuses" in service.lines[-1]["reason"]
            assert "wrong" not in service.lines[-1]["reason"].lower().replace("wrongpass", "")
        subscriber = start("subscriber", REDIS_URL=server.url, REDIS_PASSWORD="right")
        subscriber.wait_for("subscribed")
    finally:
        server.stop()


def test_a_channel_that_is_not_permitted_ends_with_one_clear_line(server: RedisServer, start: Start) -> None:
    server.client().execute_command("ACL", "SETUSER", "limited", "on", ">pw", "+@all", "resetchannels", "&allowed")
    url = f"redis://limited:pw@127.0.0.1:{server.port}"
    subscriber = start("subscriber", REDIS_URL=url)
    assert subscriber.ended() == ExitCode.REFUSED_BY_REDIS
    assert "permission" in subscriber.lines[-1]["reason"].lower()
    assert start("publisher", "send", "notifications", "x", REDIS_URL=url).ended() == ExitCode.REFUSED_BY_REDIS


@pytest.fixture
def old_server() -> Iterator[int]:
    """Answers as a Redis 6 would."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                while request := client.recv(65536):
                    for command in request.split(b"*")[1:]:
                        client.sendall(
                            b"$21\r\nredis_version:6.2.14\n\r\n"
                            if b"INFO\r" in command and b"SETINFO" not in command
                            else b"+OK\r\n"
                        )

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1]
    listener.close()


def test_a_server_that_is_too_old_is_refused_with_its_version(old_server: int, start: Start) -> None:
    subscriber = start("subscriber", REDIS_URL=f"redis://127.0.0.1:{old_server}")
    assert subscriber.ended() == ExitCode.REFUSED_BY_REDIS
    assert "version 6.2.14, but must be 7.0 or later" in subscriber.lines[-1]["reason"]


def test_something_that_is_no_redis_is_an_outage_with_its_cause(start: Start) -> None:
    listener = socket.create_server(("127.0.0.1", free_port(0)))

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                client.sendall(b"220 mail.example ESMTP\r\n" * 3)

    threading.Thread(target=serve, daemon=True).start()
    subscriber = start("subscriber", REDIS_URL=f"redis://127.0.0.1:{listener.getsockname()[1]}")
    subscriber.wait_for("connect_failed", 2)
    assert subscriber.stop() == ExitCode.OK
    listener.close()
