import io
import json
import re
import sys
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from fanout._event.decode import received
from fanout.environment import Environment
from fanout.message import Message
from fanout.service import logs
from subscriber.traffic import Traffic


class Captured:
    def __init__(self) -> None:
        self.buffer = io.BytesIO()

    def isatty(self) -> bool:
        return False

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.buffer.getvalue().splitlines()]


class Printed:
    """What was written to standard output since it was last asked."""

    def __init__(self, capture: Any) -> None:
        self.text = lambda: capture.readouterr().out

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text().splitlines()]


@pytest.fixture
def stdout(capsysbinary: Any) -> Any:
    hook = sys.excepthook
    yield Printed(capsysbinary)
    sys.excepthook = hook
    structlog.reset_defaults()


def configure(**env: str) -> None:
    logs.configure(Environment(env), "subscriber", "s1")


MESSAGES = [
    received("c", b"plain text")[0],
    received("c", b"\xff")[0],
    received("c", b'{"specversion":"1.0","type":"t","source":"/c/x","id":"1","data":{"a":[1,null]}}')[0],
    received(
        "c",
        b'{"specversion":"1.0","type":"t","source":"/c/x","id":"2","time":"2026-01-01T00:00:00.000000Z","data":"\\n{\\u00fc"}',
    )[0],
    received(
        "c",
        b'{"specversion":"1.0","type":"t","source":"/c/x","id":"3","streamid":"1-1","streamseq":"9","data":"'
        + b"x" * 5000
        + b'"}',
    )[0],
    Message(channel="c", source="/c/x", id="4", data=None, catch_up=True),
    Message(channel="c", source="/c/x", id="5", data=0),
    Message(channel="c", source="/c/x", id="6", data=False),
    Message(channel="c", data=""),
]


def without_time(lines: list[dict[str, Any]]) -> list[Any]:
    return [[(key, value) for key, value in line.items() if key not in {"timestamp", "latency_ms"}] for line in lines]


def test_the_prepared_line_is_what_structlog_would_write(stdout: Printed) -> None:
    configure()
    traffic = Traffic(1.0)
    traffic.messages_received(MESSAGES)
    prepared = stdout.lines()
    traffic._lines = None
    traffic.messages_received(MESSAGES)
    logged = stdout.lines()
    assert without_time(prepared) == without_time(logged)
    assert [list(line) for line in prepared] == [list(line) for line in logged]
    assert list(prepared[3]) == [
        "timestamp",
        "level",
        "event",
        "service",
        "instance",
        "channel",
        "data",
        "source",
        "id",
        "latency_ms",
    ]
    assert len(prepared[4]["data"]) == 1000


@given(st.lists(st.text(), max_size=5))
def test_any_text_makes_one_line_each(texts: list[str]) -> None:
    captured = Captured()
    real, sys.stdout = sys.stdout, captured
    hook = sys.excepthook
    try:
        configure()
        Traffic(1.0).messages_received([Message(channel="c", data=text) for text in texts])
    finally:
        sys.stdout, sys.excepthook = real, hook
        structlog.reset_defaults()
    assert [line["data"] for line in captured.lines()] == [text[:1000] for text in texts]


@pytest.mark.parametrize(("setting", "logged"), [("all", 9), ("none", 0), ("1/3", 3), ("1/4", 2)])
def test_messages_are_logged_as_log_messages_says(stdout: Printed, setting: str, logged: int) -> None:
    configure()
    traffic = Traffic(Environment({"X": setting}).fraction("X", "all"))
    for message in MESSAGES[:5]:
        traffic.messages_received([message])
    traffic.messages_received(MESSAGES[5:])
    assert len(stdout.lines()) == logged
    assert traffic.received == 9


def test_what_cannot_be_written_as_json_is_written_all_the_same(stdout: Printed) -> None:
    configure()
    structlog.get_logger().info("odd", a="\ud800", b={1, 2}, c={(1, 2): 3}, d=b"\xff")
    assert stdout.lines()[0]["event"] == "odd"


HIDDEN = "a\x1b[2J\x7f\x9b31m\u202e\u2066\u200b\U000e0041b"


def test_no_line_moves_a_cursor_or_turns_text_around(stdout: Printed) -> None:
    for form in ("json", "console"):
        configure(LOG_FORMAT=form)
        Traffic(1.0).messages_received([Message(channel=HIDDEN, data=HIDDEN), Message(channel="c", data={"x": HIDDEN})])
        try:
            raise ValueError(HIDDEN)
        except ValueError as error:
            structlog.get_logger().error("odd", text=HIDDEN, exc_info=error, **{HIDDEN: 1})
        text = re.sub("\x1b\\[[0-9;]*m", "", stdout.text().decode())  # the renderer's own colours
        assert not [c for c in text if c != "\n" and not c.isprintable()]


def test_escaped_json_lines_say_the_same(stdout: Printed) -> None:
    configure()
    Traffic(1.0).messages_received([Message(channel="c", data=HIDDEN)] * 3)
    structlog.get_logger().info("odd", data=HIDDEN)
    assert [line["data"] for line in stdout.lines()] == [HIDDEN] * 4


def test_the_console_form_is_for_people(stdout: Printed) -> None:
    configure(LOG_FORMAT="console")
    Traffic(1.0).messages_received(MESSAGES[:1])
    text = stdout.text()
    assert b"message_received" in text
    assert b"{" not in text
