"""Whatever a handler raises, or does to its message, ends nothing and moves no position."""

import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fanout import keys
from fanout.errors import ExitCode
from support.entries import retained
from support.own_code import own_code, pause
from support.presence_view import look
from support.redis_server import RedisServer
from support.sending import send
from support.service import Service
from support.status_program import status
from support.waiting import eventually

Start = Callable[..., Service]
KINDS = pytest.mark.parametrize("kind", ["def", "async def"])


def saved(server: RedisServer, name: str) -> Any:
    record = server.client().get(keys.position("notifications", name)) or b"\n{}"
    return json.loads(record.partition(b"\n")[2])


RAISES = {
    "sys.exit()": "sys.exit()",
    "sys.exit(3)": "sys.exit(3)",
    "KeyboardInterrupt": "raise KeyboardInterrupt",
    "GeneratorExit": "raise GeneratorExit",
    "StopIteration": "raise StopIteration",
    "StopAsyncIteration": "raise StopAsyncIteration",
    "CancelledError": "raise asyncio.CancelledError",
    "BaseException": "raise BaseException('nobody expects it')",
    "RecursionError": "endless()",
    "unprintable": "raise Unprintable",
    "group": "raise BaseExceptionGroup('several', [SystemExit(3), ValueError()])",
}
RAISING = """
import asyncio, sys
RAISES = {0!r}
class Unprintable(Exception):
    def __str__(self): raise RuntimeError
    __repr__ = __str__
def endless(): endless()
{1} handle(message):
    exec(RAISES[message.data])
"""


@KINDS
def test_whatever_a_handler_raises_is_logged_and_the_next_message_follows(
    tmp_path: Path, server: RedisServer, start: Start, kind: str
) -> None:
    code = own_code(tmp_path, RAISING.format(RAISES, kind))
    subscriber = start("subscriber", INSTANCE="s", HANDLER="mine:handle", PYTHONPATH=code)
    subscriber.wait_for("live")
    send(start, *RAISES)
    failed = subscriber.wait_for("handler_failed", len(RAISES))
    assert [line["data"] for line in failed] == list(RAISES)
    assert "SystemExit" in failed[0]["exception"]
    assert subscriber.process.poll() is None
    assert subscriber.stop() == ExitCode.OK
    assert subscriber.lines[-1]["handler_failures"] == len(RAISES)
    assert not subscriber.events("crashed")
    assert saved(server, "s")["position"][1] == len(RAISES)  # handled: none of them comes again


CANCELS = """
import asyncio
async def handle(message):
    if message.data == "at once": asyncio.current_task().cancel()
    if message.data == "and waits":
        asyncio.current_task().cancel()
        await asyncio.sleep(60)
    if message.data == "in time":
        async with asyncio.timeout(5): await asyncio.sleep(0)
"""


def test_a_handler_that_cancels_the_task_it_runs_in_fails_alone(tmp_path: Path, start: Start) -> None:
    subscriber = start("subscriber", HANDLER="mine:handle", PYTHONPATH=own_code(tmp_path, CANCELS))
    subscriber.wait_for("live")
    send(start, "at once", "and waits", "in time", "last")
    eventually(lambda: subscriber.data() == ["at once", "and waits", "in time", "last"])
    send(start, "once more")
    eventually(lambda: subscriber.data()[-1] == "once more")
    assert [line["data"] for line in subscriber.events("handler_failed")] == ["at once", "and waits"]
    assert subscriber.stop() == ExitCode.OK


FAILS_LATE = """
import pathlib, time
{0} handle(message):
    print('{{"event":"begun"}}', flush=True)
    while not pathlib.Path({1!r}).exists(): {2}
    raise SystemExit(3)
"""


@KINDS
def test_a_handler_that_raises_while_the_process_ends_has_had_its_message(
    tmp_path: Path, server: RedisServer, start: Start, kind: str
) -> None:
    go = tmp_path / "go"
    code = own_code(tmp_path, FAILS_LATE.format(kind, str(go), pause(kind)))
    subscriber = start("subscriber", INSTANCE="s", HANDLER="mine:handle", PYTHONPATH=code)
    subscriber.wait_for("live")
    send(start, "one", "two", BATCH_EVENTS=1)
    subscriber.wait_for("begun")
    subscriber.signal()
    subscriber.wait_for("stopping")
    go.touch()
    assert subscriber.ended() == ExitCode.OK
    assert [line["data"] for line in subscriber.events("handler_failed")] == ["one"]
    assert saved(server, "s")["position"][1] == 1


def test_a_module_that_ends_the_process_on_import_ends_with_one_clear_line(tmp_path: Path, start: Start) -> None:
    subscriber = start("subscriber", HANDLER="mine:handle", PYTHONPATH=own_code(tmp_path, "import sys; sys.exit(5)"))
    assert subscriber.ended() == ExitCode.BAD_INPUT
    assert "SystemExit: 5" in subscriber.lines[-1]["reason"]


CHANGING = """
import pathlib, time
class Unprintable:
    def __repr__(self): raise RuntimeError("no")
{0} handle(message):
    data = message.data
    message.id, message.source, message.channel, message.time = "order-1", None, "x", 5
    message.streamid, message.streamseq, message.streamprev = None, "many", [message]
    message.data = message if data == "one" else Unprintable()
    message.catch_up, message.pattern = "yes", 1
    print('{{"event":"changed"}}', flush=True)
    while data == "two" and not pathlib.Path({1!r}).exists(): {2}
    raise ValueError(data)
"""


@KINDS
def test_a_handler_may_change_its_message_and_position_and_duplicates_stay_right(
    tmp_path: Path, server: RedisServer, start: Start, kind: str
) -> None:
    go = tmp_path / "go"
    code = own_code(tmp_path, CHANGING.format(kind, str(go), pause(kind)))
    subscriber = start("subscriber", INSTANCE="s", HANDLER="mine:handle", PYTHONPATH=code)
    subscriber.wait_for("live")
    send(start, "one", "two", "three", BATCH_EVENTS=1)
    subscriber.wait_for("changed", 2)
    eventually(lambda: saved(server, "s")["position"][1] == 1)  # saved while a changed message is in hand
    (source,) = saved(server, "s")["producers"]
    assert saved(server, "s")["producers"] == {source: 1}
    go.touch()
    failed = subscriber.wait_for("handler_failed", 3)
    assert [(line["channel"], line["source"], line["id"]) for line in failed] == [
        ("notifications", source, str(n)) for n in (1, 2, 3)
    ]
    server.client().publish("notifications", json.dumps(retained(server.client(), "notifications")[0]))
    assert subscriber.stop() == ExitCode.OK
    assert saved(server, "s")["producers"] == {source: 3}

    again = start("subscriber", INSTANCE="s")
    again.wait_for("live")
    send(start, "four")
    eventually(lambda: again.data() == ["four"])


FAILING = "{0} handle(message): raise RuntimeError(message.data)\n"


@KINDS
def test_a_handler_that_raises_on_every_message_shows_in_record_metrics_and_status(
    tmp_path: Path, server: RedisServer, start: Start, kind: str
) -> None:
    subscriber = start(
        "subscriber", INSTANCE="s", HANDLER="mine:handle", PYTHONPATH=own_code(tmp_path, FAILING.format(kind))
    )
    start("subscriber", INSTANCE="well").wait_for("live")
    subscriber.wait_for("live")
    send(start, *map(str, range(7)))
    subscriber.wait_for("handler_failed", 7)
    eventually(lambda: [(one.instance, one.failed) for one in look(server).replicas] == [("s", 7), ("well", 0)])
    with urllib.request.urlopen(subscriber.wait_for("started")[0]["metrics"], timeout=5) as answer:
        assert b"fanout_handler_failures_total 7.0" in answer.read()
    (row,) = json.loads(status("--json", REDIS_URL=server.url))["channels"]
    flags = {one["name"]: one["flags"] for one in row["subscribers"]}
    assert flags == {"s": ["its handler failed on 7 of 7 messages"], "well": []}
