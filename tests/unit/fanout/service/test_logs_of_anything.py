"""Whatever is to be logged, a line is written, and it shows what it holds without doing it."""

import json
import logging
import sys
import unicodedata
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from fanout._event.decode import received
from fanout.environment import Environment
from fanout.message import Message
from fanout.service import logs
from fanout.service.visible import escape_json
from subscriber.delivery import MessageId
from subscriber.traffic import Traffic


class Hostile:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    __str__ = __repr__


def deep(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


def endless() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


ANYTHING = [
    "\ud800",
    ["\ud800"],
    {"\udfff": 1},
    b"\xff\x00",
    10**30,
    10**5000,
    [10**5000],
    float("nan"),
    float("inf"),
    deep(200),
    deep(100_000),
    endless(),
    {1: 2, None: 3, (1, 2): 4},
    {b"a": 1},
    {1, "a"},
    Hostile(),
    [Hostile()],
    {"a": {Hostile(): 1}},
    object(),
]


@pytest.fixture(params=["json", "console"])
def form(request: pytest.FixtureRequest) -> Iterator[str]:
    hook = sys.excepthook
    yield request.param
    sys.excepthook = hook
    structlog.reset_defaults()


def configure(form: str) -> None:
    logs.configure(Environment({"LOG_FORMAT": form}), "subscriber", "s1")


@pytest.mark.parametrize("value", ANYTHING, ids=range(len(ANYTHING)))
def test_a_line_with_anything_in_it_is_one_line(form: str, value: Any, capsysbinary: Any) -> None:
    configure(form)
    structlog.get_logger().info("odd", value=value, **{"\ud800": 1})
    written = capsysbinary.readouterr().out
    assert written.count(b"\n") == 1
    assert written.decode().isascii() or form == "console"
    if form == "json":
        assert json.loads(written)["event"] == "odd"


@pytest.mark.parametrize("value", ANYTHING, ids=range(len(ANYTHING)))
def test_a_message_with_anything_in_it_is_a_line_and_so_are_those_around_it(
    form: str, value: Any, capsysbinary: Any
) -> None:
    configure(form)
    batch = [Message(channel="c", data="before"), Message(channel="c", data=value), Message(channel="c", data="after")]
    Traffic(1.0).messages_received(batch)
    first, _, last = capsysbinary.readouterr().out.splitlines()
    assert (b"before" in first, b"after" in last) == (True, True)


@pytest.mark.parametrize("value", ANYTHING, ids=range(len(ANYTHING)))
def test_a_handler_that_failed_on_anything_is_a_line(form: str, value: Any, capsysbinary: Any) -> None:
    configure(form)

    class Failed(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text either")

    Traffic(1.0).handler_failed(MessageId("c", "/s", "1"), Message(channel="c", data=value), Failed(value))
    assert b"handler_failed" in capsysbinary.readouterr().out


def test_what_a_library_logs_with_arguments_that_do_not_fit_is_a_line(form: str, capsysbinary: Any) -> None:
    configure(form)
    for arguments in (("%d %s", "x"), (Hostile(),), ("%s", Hostile())):
        record = logging.getLogger("library").makeRecord("library", 30, "", 0, arguments[0], arguments[1:], None)
        [handler] = [found for found in logging.getLogger().handlers if type(found).__module__ == logs.__name__]
        handler.handle(record)
    assert capsysbinary.readouterr().out.count(b"library_log") == 3


UNSEEN = [chr(c) for c in range(sys.maxunicode + 1) if unicodedata.category(chr(c)) in {"Cc", "Cf", "Zl", "Zp"}]


def test_nothing_that_a_terminal_obeys_or_hides_gets_there_as_it_is(form: str, capsysbinary: Any) -> None:
    configure(form)
    log = structlog.get_logger()
    for text in ("".join(UNSEEN), "".join(reversed(UNSEEN))):
        log.info("odd", text=text, of_error=ValueError(text), inside=[text])
        Traffic(1.0).messages_received([received("c", text.encode())[0]])
        lines = capsysbinary.readouterr().out.decode()
        assert lines.count("\n") == 2
        if form == "json":
            assert [character for character in UNSEEN if character != "\n" and character in lines] == []
            assert [
                json.loads(line).get("text", json.loads(line).get("data"))[:500] for line in lines.splitlines()
            ] == [text[:500]] * 2
        else:  # the colours are escapes of our own
            assert [character for character in UNSEEN if character not in "\n\x1b" and character in lines] == []
            assert all(part.startswith("[") for part in lines.split("\x1b")[1:])


def test_what_is_in_no_danger_is_written_as_it_is() -> None:
    assert escape_json('{"a":"grüße 日本 🎉"}\n'.encode()) == '{"a":"grüße 日本 🎉"}\n'.encode()
