"""A handler is loaded, and called with one message at a time."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fanout.errors import ExitCode
from support.own_code import own_code
from support.service import Service

Start = Callable[..., Service]


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("", "mine has no 'handle'"),
        ("handle = 5", "'handle' is not a function"),
        ("import nothing_like_this", "needs 'nothing_like_this', which is not installed"),
        ("raise RuntimeError('boom')", "RuntimeError: boom"),
        ("def broken(:", "SyntaxError"),
    ],
)
def test_a_handler_that_cannot_be_loaded_ends_with_one_clear_line(
    tmp_path: Path, start: Start, code: str, why: str
) -> None:
    service = start("subscriber", HANDLER="mine:handle", PYTHONPATH=own_code(tmp_path, code))
    assert service.ended() == ExitCode.BAD_INPUT
    assert why in service.lines[-1]["reason"]


BLOCKING = """
import time, threading
def handle(message):
    if message.data == "bad": raise ValueError("no such thing")
    time.sleep(0.3)
    print('{"event":"handled","data":"%s","thread":"%s"}' % (message.data, threading.current_thread().name), flush=True)
"""


def test_a_blocking_handler_runs_beside_reading_and_its_errors_end_nothing(tmp_path: Path, start: Start) -> None:
    subscriber = start("subscriber", HANDLER="mine:handle", PYTHONPATH=own_code(tmp_path, BLOCKING), DEAD_AFTER="0.5")
    subscriber.wait_for("subscribed")
    start("publisher", "send", "notifications", stdin=b"one\nbad\nthree\nfour\n").ended()
    handled = subscriber.wait_for("handled", 3)
    assert [line["data"] for line in handled] == ["one", "three", "four"]
    assert len({line["thread"] for line in handled}) == 1
    failed = subscriber.events("handler_failed")
    assert [(line["data"], "ValueError: no such thing" in line["exception"]) for line in failed] == [("bad", True)]
    assert not subscriber.events("connection_lost")
    assert subscriber.stop() == ExitCode.OK
    assert subscriber.lines[-1]["handler_failures"] == 1


ASYNC = """
import asyncio
busy = 0
async def handle(message):
    global busy
    busy += 1
    assert busy == 1
    await asyncio.sleep(0.05)
    busy -= 1
    if message.data == "bad": raise asyncio.CancelledError
    print('{"event":"handled","data":"%s"}' % message.data, flush=True)
"""


def test_an_async_handler_is_awaited_one_message_at_a_time(tmp_path: Path, start: Start) -> None:
    subscriber = start("subscriber", HANDLER="mine:handle", PYTHONPATH=own_code(tmp_path, ASYNC))
    subscriber.wait_for("subscribed")
    start("publisher", "send", "notifications", stdin=b"one\nbad\nthree\nfour\n").ended()
    assert [line["data"] for line in subscriber.wait_for("handled", 3)] == ["one", "three", "four"]
    assert len(subscriber.events("handler_failed")) == 1


LIBRARY = """
import logging, warnings, threading
def handle(message):
    logging.getLogger("lib").warning("careful: %s", message.data)
    warnings.warn("old way", DeprecationWarning)
    print(bytes([0x7b]).decode() + '"event":"handled"' + bytes([0x7d]).decode(), flush=True)
    threading.Thread(target=lambda: 1 / 0).start()
"""


def test_every_line_is_json_also_of_libraries_and_uncaught_exceptions(tmp_path: Path, start: Start) -> None:
    subscriber = start(
        "subscriber", HANDLER="mine:handle", PYTHONPATH=own_code(tmp_path, LIBRARY), PYTHONWARNINGS="default"
    )
    subscriber.wait_for("subscribed")
    start("publisher", "send", "notifications", "x").ended()
    subscriber.wait_for("handled")
    crash = subscriber.wait_for("crashed")[0]
    assert "ZeroDivisionError" in crash["exception"]
    logged = subscriber.events("library_log")
    assert {"logger": "lib", "message": "careful: x"}.items() <= logged[0].items()
    assert "old way" in logged[1]["message"]
    assert not subscriber.events("NO JSON")
