"""How a service ends: when it is told to, and when it cannot start."""

import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fanout.errors import ExitCode
from support.own_code import own_code
from support.redis_server import RedisServer
from support.service import Service

Start = Callable[..., Service]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("name", ["publisher", "subscriber"])
def test_a_signal_ends_an_idle_service_within_two_seconds(start: Start, name: str, number: int) -> None:
    service = start(name)
    service.wait_for("connected")
    service.signal(number)
    assert service.ended(within=2) == ExitCode.OK
    assert [line["event"] for line in service.lines if line["event"] != "library_log"][-2:] == ["stopping", "stopped"]


def test_a_second_signal_ends_at_once_also_with_a_handler_that_blocks(tmp_path: Path, start: Start) -> None:
    for kind in ("async def", "def"):
        subscriber = start(
            "subscriber",
            HANDLER="mine:handle",
            PYTHONPATH=own_code(tmp_path, f"import time\n{kind} handle(m):\n    time.sleep(60)\n"),
        )
        subscriber.wait_for("subscribed")
        start("publisher", "send", "notifications", "x").ended()
        subscriber.wait_for("message_received")
        subscriber.signal()
        subscriber.wait_for("stopping")
        began = time.monotonic()
        subscriber.signal()
        assert subscriber.ended() == ExitCode.FORCED
        assert time.monotonic() - began < 1


def test_a_message_that_cannot_be_delivered_before_the_end_is_counted(server: RedisServer, start: Start) -> None:
    publisher = start("publisher", PUBLISH_INTERVAL="0.1", SHUTDOWN_GRACE="0.3")
    publisher.wait_for("message_published")
    server.kill()
    publisher.wait_for("connect_failed", 3)
    assert publisher.stop(within=3) == ExitCode.UNDELIVERED
    assert "never reached Redis" in publisher.lines[-1]["reason"]


def test_a_port_that_is_taken_ends_with_one_clear_line(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        publisher = start("publisher", HTTP_PORT=port)
        assert publisher.ended() == ExitCode.BAD_INPUT
    assert f"127.0.0.1:{port}" in publisher.lines[-1]["reason"]
    assert "must be an address that is free" in publisher.lines[-1]["reason"]


def test_a_bad_setting_ends_with_one_clear_line(start: Start) -> None:
    service = start("subscriber", DEAD_AFTER="soon")
    assert service.ended() == ExitCode.BAD_INPUT
    assert len(service.lines) == 1
    assert service.lines[0]["event"] == "failed"
