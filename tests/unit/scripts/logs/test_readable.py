"""What `make up` streams on a terminal: our lines for people, all else as it is."""

from datetime import UTC, datetime

import pytest

from logs.readable import readable
from logs.view import Format

RECEIVED = (
    '{"timestamp":"2026-11-27T10:00:00.123456Z","level":"info","event":"message_received","service":"subscriber",'
    '"instance":"fanout-subscriber-1","channel":"orders","data":"hello","source":"/orders/a","id":"1","latency_ms":1.5}'
)


@pytest.fixture(autouse=True)
def that_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """The day of these lines: on another one a line says first that a new day has begun."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> "Clock":  # noqa: ARG003
            return cls(2026, 11, 27, 10, tzinfo=UTC)

    monkeypatch.setattr("logs.view.datetime", Clock)


def test_a_line_of_a_service_is_for_people() -> None:
    line = readable(f"subscriber-1  | {RECEIVED}", Format(colour=False))
    assert line.split() == [
        *("10:00:00.123", "subscriber-1", "|", "info", "message_received", "orders", "1.5", "ms", "hello")
    ]


def test_what_is_none_of_our_lines_stays_as_it_is() -> None:
    form = Format(colour=False)
    assert readable("Attaching to publisher-1, redis-1", form) == "Attaching to publisher-1, redis-1"
    assert readable("redis-1 | 1:M ready\x1b[2J", form).split() == ["redis-1", "|", "1:M", "ready\\x1b[2J"]


def test_half_a_line_of_a_process_that_was_killed_does_not_hide_the_next_one() -> None:
    lines = readable(f"subscriber-1 | {RECEIVED[:40]}{RECEIVED}", Format(colour=False)).splitlines()
    assert [line.endswith("hello") for line in lines] == [False, True]
