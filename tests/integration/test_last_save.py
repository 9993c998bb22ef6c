"""An orderly end while Redis is away: what was handled is saved if it comes back in time, and told if it does not."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fanout import keys
from fanout.errors import ExitCode
from support.own_code import own_code, pause
from support.redis_server import RedisServer
from support.sending import send
from support.service import Service
from support.waiting import eventually

Start = Callable[..., Service]
MESSAGES = [f"m{n}" for n in range(30)]
HANDLER = """
import pathlib, time
{0} handle(message):
    while not (pathlib.Path({1!r}) / "go").exists(): {2}
    if message.data == {3!r}:
        print('{{"event":"holds"}}', flush=True)
        while not (pathlib.Path({1!r}) / "on").exists(): {2}
    print('{{"event":"handled"}}', flush=True)
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path, "--appendonly", "yes", "--appendfsync", "always").start()
    yield server
    server.stop()


@pytest.fixture(params=["def", "async def"])
def subscribe(request: Any, tmp_path: Path, start: Start) -> Callable[..., Service]:
    """Starts the subscriber `s`, which holds at a message until the file `on` is there."""

    def subscribe(hold: str = "", **settings: object) -> Service:
        path = own_code(tmp_path, HANDLER.format(request.param, str(tmp_path), pause(request.param), hold))
        return start("subscriber", INSTANCE="s", HANDLER="mine:handle", PYTHONPATH=path, **settings)

    return subscribe


def saved(server: RedisServer) -> int:
    record = server.client().get(keys.position("notifications", "s"))
    return int(json.loads(record.partition(b"\n")[2])["position"][1])


def work_in_an_outage(tmp_path: Path, server: RedisServer, start: Start, subscriber: Service) -> None:
    subscriber.wait_for("live")
    send(start, *MESSAGES, BATCH_EVENTS=1)
    eventually(lambda: "message_received" in {line["event"] for line in subscriber.lines})
    server.kill()
    subscriber.wait_for("connection_lost")
    (tmp_path / "go").touch()


def test_what_was_handled_in_an_outage_does_not_come_again_if_redis_is_back_in_time(
    tmp_path: Path, server: RedisServer, start: Start, subscribe: Callable[..., Service]
) -> None:
    subscriber = subscribe()
    work_in_an_outage(tmp_path, server, start, subscriber)
    subscriber.wait_for("handled", len(MESSAGES))
    subscriber.signal()
    subscriber.wait_for("stopping")
    server.start()
    assert subscriber.ended() == ExitCode.OK
    assert not subscriber.events("position_not_saved")
    assert saved(server) == len(MESSAGES)
    again = subscribe()
    again.wait_for("live")
    send(start, "last")
    eventually(lambda: again.data() == ["last"])


def test_what_waited_behind_the_handler_comes_then_and_nothing_else(
    tmp_path: Path, server: RedisServer, start: Start, subscribe: Callable[..., Service]
) -> None:
    subscriber = subscribe(hold="m9", SHUTDOWN_GRACE=20)
    work_in_an_outage(tmp_path, server, start, subscriber)
    subscriber.wait_for("holds")
    subscriber.signal()
    subscriber.wait_for("stopping")
    (tmp_path / "on").touch()
    server.start()
    assert subscriber.ended() == ExitCode.OK
    assert saved(server) == 10
    again = subscribe()
    eventually(lambda: again.data() == MESSAGES[10:])


def test_a_redis_that_does_not_come_back_is_told_with_how_many_messages_may_come_again(
    tmp_path: Path, server: RedisServer, start: Start, subscribe: Callable[..., Service]
) -> None:
    subscriber = subscribe(hold="m19", SHUTDOWN_GRACE=1)
    work_in_an_outage(tmp_path, server, start, subscriber)
    subscriber.wait_for("holds")
    subscriber.signal()
    subscriber.wait_for("stopping")
    (tmp_path / "on").touch()
    assert subscriber.ended(within=6) == ExitCode.OK
    (line,) = subscriber.events("position_not_saved")
    assert (line["again"], line["level"]) == (20, "warning")
    server.start()
    again = subscribe()
    eventually(lambda: again.data() == MESSAGES)  # 20 of them again


def test_an_end_with_nothing_to_save_does_not_wait_for_redis(
    tmp_path: Path, server: RedisServer, start: Start, subscribe: Callable[..., Service]
) -> None:
    (tmp_path / "go").touch()
    subscriber = subscribe(SHUTDOWN_GRACE=30)
    subscriber.wait_for("live")
    send(start, *MESSAGES, BATCH_EVENTS=1)
    eventually(lambda: saved(server) == len(MESSAGES))
    server.kill()
    subscriber.wait_for("connection_lost")
    assert subscriber.stop(within=4) == ExitCode.OK
    assert not subscriber.events("position_not_saved")


def test_a_server_that_does_not_write_is_told_too(
    tmp_path: Path, server: RedisServer, start: Start, subscribe: Callable[..., Service]
) -> None:
    subscriber = subscribe(SHUTDOWN_GRACE=1)
    subscriber.wait_for("live")
    send(start, *MESSAGES, BATCH_EVENTS=1)
    server.client().config_set("maxmemory", 1)
    (tmp_path / "go").touch()
    subscriber.wait_for("handled", len(MESSAGES))
    assert subscriber.stop(within=6) == ExitCode.OK
    line = subscriber.events("position_not_saved")[-1]
    assert "memory" in line["cause"]
    assert line["again"] == len(MESSAGES)
