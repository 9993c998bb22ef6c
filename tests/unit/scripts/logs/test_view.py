"""What `make logs` shows of a line, and how."""

import json
import re
from typing import Any

import pytest

from fanout.environment import Environment
from fanout.errors import SettingError
from logs.lines import mend, parse
from logs.options import Options, read_options
from logs.printer import Printer
from logs.view import Filter, Format
from run.replicas import Replica

DAY = "2026-01-01"
REDIS_NOTICE = "7:M 24 Nov 2026 06:38:22.240 * Ready to accept connections tcp"
REDIS_WARNING = "7:M 24 Nov 2026 06:38:22.240 # WARNING Memory overcommit must be enabled!"


def line(event: str, time: str = "10:00:00.123456", level: str = "info", **rest: Any) -> str:
    always = {"timestamp": f"{DAY}T{time}Z", "level": level, "event": event, "service": "x", "instance": "fanout-x-1"}
    return json.dumps(always | rest)


def shown(text: str, *, colour: bool = False) -> str:
    form = Format(colour=colour)
    form._date = DAY
    return form.line("subscriber-1", parse(text), text)


def received(**rest: Any) -> str:
    message = {"channel": "orders", "source": "/orders/a", "id": "7", "streamid": "1-1", "streamseq": "9"}
    return line("message_received", **message | {"latency_ms": 1.26, "data": "hello"} | rest)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (received(), "info     message_received   orders       1.3 ms  hello"),
        (
            received(catch_up=True, data={"a": [1]}),
            'info     message_received   orders       1.3 ms  caught up  {"a":[1]}',
        ),
        (received(plain=True, latency_ms=None, data=""), "info     message_received   orders               plain"),
        (received(data="a\nb\x1b[2J\u2028"), r"info     message_received   orders       1.3 ms  a\nb\x1b[2J\u2028"),
        (line("live", channels=1, took_ms=0.7), "info     live               channels=1  took=0.7ms"),
        (
            line("connect_failed", level="warning", attempt=2, wait_s=0.05, cause="no answer"),
            'warning  connect_failed     attempt=2  wait=0.05s  cause="no answer"',
        ),
        (
            line("traffic", received=4, rate=1.0, duplicates=0, gaps=1, lost=0),
            "info     traffic            received=4  rate=1.0  gaps=1",
        ),
        (line("started", channels=["a", "b"], patterns=[], handler=""), "info     started            channels=a,b"),
        (line("stopping"), "info     stopping"),
    ],
)
def test_a_line_says_when_who_how_grave_what_and_the_fields_that_matter(text: str, said: str) -> None:
    assert shown(text) == f"10:00:00.123 subscriber-1 | {said}"


def test_a_traceback_stands_below_its_line() -> None:
    text = shown(line("crashed", level="critical", exception='Traceback:\n  File "x"\nValueError: no'))
    assert text.split("\n") == [
        "10:00:00.123 subscriber-1 | critical crashed",
        "             subscriber-1 |     Traceback:",
        '             subscriber-1 |       File "x"',
        "             subscriber-1 |     ValueError: no",
    ]


@pytest.mark.parametrize(
    "text",
    [
        REDIS_NOTICE,
        "Traceback (most recent call last):",
        '  File "/app/x.py", line 3, in <module>',
        '{"timestamp":"2026-01-01T00:00',
        '{"timestamp":"yesterday","level":"info","event":"x"}',
        '{"some": "other JSON"}',
        "[1, 2]",
        "",
        "a | b",
        "Grüße 世界",
        "{" * 100_000,
    ],
)
def test_what_is_none_of_our_lines_is_shown_as_it_came(text: str) -> None:
    assert shown(text) == f"             subscriber-1 | {text}"


def test_what_would_move_the_cursor_is_spelled_out_and_colours_only_stay_on_a_terminal() -> None:
    text = "\x1b[31mred\x1b[0m\x07\x1b[2J\tend\r"
    assert shown(text).endswith("| red\\x07\\x1b[2J\tend")
    assert shown(text, colour=True).endswith(" \x1b[31mred\x1b[0m\\x07\\x1b[2J\tend\x1b[0m")
    hidden = "".join(
        map(chr, (0x7F, 0x9B, 0x9D, *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200B, 0xFEFF, 0xE0041))
    )
    evil = line(f"e{hidden}", level=f"l{hidden}", exception=f"E{hidden}\nF", **{f"n{hidden}": {f"k{hidden}": hidden}})
    for text in (hidden, evil, received(channel=hidden, data=hidden, more=hidden)):
        assert not [c for c in shown(text) if c != "\n" and not c.isprintable()]


def test_every_replica_has_a_colour_of_its_own() -> None:
    form = Format(colour=True, names=["publisher-1", "subscriber-1"])
    lines = [form.line(f"subscriber-{n}", None, "x") for n in (1, 2, 3, 1)]
    colours = [re.findall(r"\x1b\[(\d+)m", text)[0] for text in lines]
    assert len(set(colours)) == 3
    assert colours[0] == colours[3]
    assert "\x1b" not in shown(received())


def test_another_day_is_announced() -> None:
    text = line("live").replace(DAY, "2025-12-31")
    assert shown(text).split("\n")[0] == "--- 2025-12-31 (UTC)"
    assert shown(text).split("\n")[1].startswith("10:00:00.123 subscriber-1 | ")


@pytest.mark.parametrize(
    ("which", "passes"),
    [
        (Filter(), {"received", "started", "lost", "redis", "redis warns", "torn", "ended", "killed"}),
        (Filter(level="warning"), {"lost", "redis warns", "torn", "killed"}),
        (Filter(level="error"), {"lost", "torn", "killed"}),
        (Filter(events=("message*",)), {"received", "lost"}),
        (Filter(events=("started", "none")), {"started"}),
        (Filter(channels=("orders",)), {"received", "started"}),
        (Filter(channels=("ord*",), events=("started",)), {"started"}),
        (Filter(services=("redis",)), set()),
        (Filter(services=("subscriber-1",), level="error"), {"lost", "torn", "killed"}),
        (Filter(services=("sub*",), events=("started",)), {"started"}),
    ],
)
def test_filters(which: Filter, passes: set[str]) -> None:
    lines = {
        "received": received(),
        "started": line("started", channels=["orders", "a"]),
        "lost": line("messages_lost", level="error", channel="a"),
        "redis": REDIS_NOTICE,
        "redis warns": REDIS_WARNING,
        "torn": '{"timestamp":"2026',
        "ended": "exited with code 0",
        "killed": "exited with code 137",
    }
    assert {name for name, text in lines.items() if which.shows("subscriber-1", parse(text), text)} == passes


def options(**env: str) -> Options:
    there = [Replica("publisher-1", "publisher"), Replica("subscriber-1", "subscriber")]
    return read_options(Environment(env), there)


def test_the_filters_are_read_from_the_environment() -> None:
    which = options(SERVICE="subscriber-1, pub*", LEVEL="Warning", EVENT="a,b*", CHANNEL="orders", TAIL="all", RAW="1")
    assert which.filter == Filter(("subscriber-1", "pub*"), "warning", ("a", "b*"), ("orders",))
    assert (which.raw, which.tail, which.follow) == (True, None, True)
    assert options(LEVEL="", EVENT="", RAW="") == Options(Filter(), raw=False, tail=100, follow=True)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("LEVEL", "loud", "one of debug, info, warning, error, critical"),
        ("SERVICE", "subscribr", "one of publisher, subscriber, or a replica such as publisher-1"),
        ("EVENT", ",", "names of events"),
        ("CHANNEL", "a{b", "channel names"),
        ("TAIL", "x", "whole number"),
        ("RAW", "yes", "one of 0, 1"),
    ],
)
def test_a_bad_filter_is_named_with_what_is_allowed(name: str, value: str, words: str) -> None:
    with pytest.raises(SettingError, match=re.escape(words)) as error:
        options(**{name: value})
    assert str(error.value).startswith(f"{name} is '{value}'")


def printer(which: Options, *, in_order: bool = False) -> tuple[Printer, list[str]]:
    written: list[str] = []
    return Printer(which, written.append, Format(colour=False), set(), in_order=in_order), written


def test_the_past_is_in_order_of_time_and_of_each_replica_the_newest_that_pass() -> None:
    seen, written = printer(options(EVENT="a", TAIL="2"))
    seen.take([("s-1", line("a", f"10:00:0{n}.000000", n=n)) for n in (1, 3, 5)] + [("s-1", line("b", n=9))])
    seen.take([("s-2", line("a", f"10:00:0{n}.000000", n=n)) for n in (2, 4, 6)])
    assert not written
    seen.finish()
    assert re.findall(r"n=(\d)", "".join(written)) == ["3", "4", "5", "6"]
    seen.take([("s-1", line("a", "09:00:00.000000", n=7))])
    assert "n=7" in written[-1]


def test_a_line_without_a_time_stays_behind_the_one_before_it() -> None:
    seen, written = printer(options())
    seen.take(
        [("s-1", line("crash", "10:00:01.000000")), ("s-1", "Traceback"), ("s-1", line("again", "10:00:03.000000"))]
    )
    seen.take(
        [
            ("s-2", line("other", "10:00:02.000000")),
            ("redis-1", REDIS_NOTICE.replace("24 Nov 2026 06:38:22", "01 Jan 2026 10:00:00")),
        ]
    )
    seen.finish()
    order = re.findall(r"Ready|crash|Traceback|other|again", "".join(written))
    assert order == ["Ready", "crash", "Traceback", "other", "again"]


def test_raw_gives_the_json_as_it_is_and_the_rest_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    seen, written = printer(options(RAW="1", TAIL="all"))
    ours, others = received(data="ü\x1b"), '{"some":  "other JSON\x9b\u202e\U000e0041"}'
    seen.take([("subscriber-1", ours), ("subscriber-1", others), ("redis-1", f"{REDIS_NOTICE}\x1b[2J")])
    seen.finish()
    assert "".join(written) == f"{ours}\n" + r'{"some":  "other JSON\u009b\u202e\udb40\udc41"}' + "\n"
    assert capsys.readouterr().err == f"redis-1 | {REDIS_NOTICE}\\x1b[2J\n"


def test_half_a_line_and_what_the_next_process_wrote_behind_it_are_told_apart() -> None:
    started = line("started").replace(": ", ":").replace(", ", ",")
    assert mend('{"timestamp":"2026-01-01T0' + started) == ['{"timestamp":"2026-01-01T0', started]
    assert mend("Killed" + started) == ["Killed", started]
    for whole in (started, received(data=started), "Killed", ""):
        assert mend(whole) == [whole]
