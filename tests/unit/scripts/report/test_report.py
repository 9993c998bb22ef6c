"""A report, from log lines to what is printed."""

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from chaos.ledger import Accepted
from fanout.environment import Environment
from fanout.errors import SettingError
from report.__main__ import check, read_order
from report.result import Heard, Order, Result, compare, hear, missing, summary
from report.view import as_json, show
from run.child import Trouble
from run.replicas import Replica

SOURCE = "/c/a"


def line(at: float, event: str, **rest: Any) -> str:
    timestamp = datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return json.dumps({"timestamp": timestamp, "level": "info", "event": event} | rest)


def received(n: int, run: str = "r", **rest: Any) -> str:
    """Message n is the event with the ID n + 10 and takes n milliseconds."""
    message = {"channel": "c", "source": SOURCE, "id": str(n + 10), "latency_ms": float(n)}
    return line(n, "message_received", **message | {"data": f"report {run} {n} of 9"} | rest)


def sent(*numbers: int) -> dict[int, Accepted]:
    return {n: Accepted(float(n), (SOURCE, n + 10)) for n in numbers}


def heard(*lines: str, accepted: int = 9) -> Heard:
    return hear(lines, "r", {n: event.key for n, event in sent(*range(1, accepted + 1)).items()})


def result(count: int, later: tuple[str, ...] = (), failed: str = "", accepted: int = 0, **logs: list[str]) -> Result:
    order = Order("r", "c", count, 20, 30)
    events = sent(*range(1, (accepted or count) + 1))
    replicas = {name: heard(*lines) for name, lines in logs.items()}
    rows, unanswered = compare(events, replicas, later, {"s3": "exited with code 137"})
    return Result(order, events, failed, rows, unanswered, {})


def row(found: Result, name: str) -> Any:
    return next(row for row in found.rows if row.replica == name)


def test_all_is_ok() -> None:
    found = result(3, s1=[received(n) for n in (1, 2, 3)], s2=[received(n, catch_up=n > 1) for n in (1, 2, 3)])
    assert found.ok
    assert [(row.received, row.missing, row.caught_up) for row in found.rows] == [(3, [], 0), (3, [], 2)]
    text = show(found, colour=False)
    assert re.search(r"^s1 +3 +0 +0 +0 +0 +0 +2\.0 +3\.0 +3\.0 +3\.0$", text, re.MULTILINE)
    assert re.search(r"^ +2 +00:00:02\.000 +2\.0 +2\.0\*$", text, re.MULTILINE)
    assert "*: caught up from history" in text
    assert text.endswith("OK: 3 messages reached all 2 replicas, once and in order.")


def test_what_is_missing_twice_or_late_is_named_where_it_is() -> None:
    found = result(
        4,
        s1=[received(n) for n in (1, 2, 3, 4)],
        s2=[received(n) for n in (1, 3, 2, 4, 4)],
        s3=[received(n) for n in (1, 4)],
    )
    assert not found.ok
    assert (row(found, "s2").duplicated, row(found, "s2").out_of_order) == ([4], [2])
    assert row(found, "s3").missing == [2, 3]
    text = show(found, colour=False)
    assert re.search(r"^s3 +2 +2 +0 +0 +0 .* exited with code 137$", text, re.MULTILINE)
    assert re.search(r"^ +2 +\S+ +2\.0 +2\.0! +missing$", text, re.MULTILINE)
    assert re.search(r"^ +4 +\S+ +4\.0 +4\.0 x2 +4\.0$", text, re.MULTILINE)
    assert text.endswith("FAILED: 2 missing (s3: 2); 1 duplicated (s2: 1); 1 out of order (s2: 1)")


def test_a_replica_that_logged_nothing_misses_everything() -> None:
    found = result(2, s1=[])
    assert row(found, "s1").missing == [1, 2]
    assert row(found, "s1").latency_ms == {"p50": None, "p95": None, "p99": None, "max": None}
    assert "FAILED: 2 missing" in show(found, colour=False)


def test_what_comes_again_after_a_kill_is_allowed_and_said() -> None:
    lives = [received(1), received(2), line(3, "started"), line(3, "subscribed"), received(2), received(3)]
    found = result(3, s1=lives)
    assert found.ok
    assert (row(found, "s1").repeated, row(found, "s1").duplicated) == ([2], [])
    assert "1 received again after it was killed, which is allowed" in show(found, colour=False)


def test_who_comes_later_must_have_what_was_sent_after_it_had_subscribed() -> None:
    begun = [line(1.5, "started"), line(2.5, "subscribed"), received(2)]
    lines = [*begun, received(4)]
    assert missing(sent(1, 2, 3, 4), heard(*lines), later=True) == [3]
    assert missing(sent(1, 2), heard(line(1.5, "started")), later=True) == []
    found = result(4, later=("s2",), s1=[received(n) for n in (1, 2, 3, 4)], s2=[*begun, received(3), received(4)])
    assert row(found, "s2").received == 3
    text = show(found, colour=False)
    assert re.search(r"^ +1 +\S+ +1\.0 +-$", text, re.MULTILINE)
    assert text.endswith("once and in order; s2: all that were sent after it had subscribed.")
    found = result(4, later=("s2",), s1=[received(n) for n in (1, 2, 3, 4)], s2=lines)
    assert row(found, "s2").missing == [3]
    assert not found.ok


def test_other_messages_and_other_reports_do_not_count() -> None:
    other = received(1, data="Hello"), received(2, run="other"), received(3, data={"report": 1}), received(1)
    assert [event.key for event in heard(*other).received] == [(SOURCE, 11)]


def test_plain_messages_are_known_by_what_they_say() -> None:
    plain = {"plain": True, "source": None, "id": None, "latency_ms": None}
    found = result(2, s1=[received(1, **plain), received(2, **plain)])
    assert found.ok
    assert re.search(r"^ +1 +\S+ +received$", show(found, colour=False), re.MULTILINE)


def failed(n: int, **rest: Any) -> str:
    return line(n, "handler_failed", **{"channel": "c", "source": SOURCE, "id": str(n + 10), "data": "changed"} | rest)


def test_a_replica_whose_handler_raises_has_failed() -> None:
    everything = [received(n) for n in (1, 2, 3)]
    of_others = [failed(4), failed(1, source="/c/b"), failed(1, source="", id="", data="other")]
    assert result(3, s1=[*everything, *of_others]).ok
    found = result(3, s1=[received(1), failed(1), received(2), received(3), failed(3)], s2=everything)
    assert not found.ok
    assert (row(found, "s1").failed, row(found, "s2").ok) == ([1, 3], True)
    text = show(found, colour=False)
    assert re.search(r"^s1 +3 +0 +0 +0 +2 +0 ", text, re.MULTILINE)
    assert re.search(r"^ +3 +\S+ +3\.0# +3\.0$", text, re.MULTILINE)
    assert "#: failed: the handler raised" in text
    assert text.endswith("FAILED: 2 failed (s1: 2)")
    plain = {"source": "", "id": "", "data": "report r 2 of 9"}
    found = result(2, s1=[received(1), received(2, plain=True, source=None, id=None), failed(2, **plain)])
    assert row(found, "s1").failed == [2]


def test_events_of_others_that_read_like_probes_end_nothing() -> None:
    assert result(1, s1=[received(1), received(1, id="abc"), received(1, id="9" * 5000), received(1, source=7)]).ok


def test_nothing_of_what_others_say_moves_the_cursor() -> None:
    evil = "\x1b[2J\x9b\u202e\u200b\U000e0041"
    lines = [received(1), line(2, "connect_failed", cause=evil)]
    found = result(2, failed=evil, accepted=1, **{f"s{evil}": lines})
    text = show(Result(found.order, found.accepted, evil, found.rows, 0, {evil: evil}), colour=False)
    assert not [c for c in text if c != "\n" and not c.isprintable()]
    assert r"\x1b[2J\x9b\u202e\u200b\U000e0041" in text


def test_what_the_publisher_did_not_answer_for_is_said_and_has_failed() -> None:
    found = result(3, failed="the publisher answers 503: no", accepted=2, s1=[received(n) for n in (1, 2, 3)])
    assert not found.ok
    text = show(found, colour=False)
    assert "accepted 2 of 3 messages" in text
    assert "publishing was given up: the publisher answers 503: no" in text
    assert "received, although the publisher never answered that they were accepted: 1" in text
    assert text.endswith("FAILED: 1 not accepted")


def test_torn_lines_do_not_hide_what_the_next_process_says() -> None:
    torn = '{"timestamp":"2026-' + line(3, "started").replace(": ", ":").replace(", ", ",")
    again = heard(received(1), torn, "Killed", received(1), line(4, "connect_failed", cause="refused"))
    assert (again.lives, again.starting, again.trouble) == (2, True, "refused")
    assert heard("exited with code 137").ended == "exited with code 137"


def test_of_many_messages_only_those_with_which_something_is_wrong_are_shown() -> None:
    everything = [received(n) for n in range(1, 201)]
    assert "message " not in show(result(200, s1=everything), colour=False)
    text = show(result(200, s1=everything[:-1]), colour=False)
    assert re.search(r"^ +200 +00:03:20\.000 +missing\nmessages with a problem: 1$", text, re.MULTILINE)
    text = show(result(200, s1=everything[:100]), colour=False)
    assert "the first 50 of the messages with a problem: 100" in text
    assert text.count("missing\n") == 50


def test_of_many_replicas_only_those_with_which_something_is_wrong_have_a_column() -> None:
    everything = [received(1), received(2)]
    many = {f"s{n}": everything for n in range(40)}
    assert "message " not in show(result(2, **many), colour=False)
    text = show(result(2, **many | {"s7": everything[:1]}), colour=False)
    assert re.search(r"^message +sent \(UTC\) +s7\n +1 +\S+ +1\.0\n +2 +\S+ +missing$", text, re.MULTILINE)


def test_percentiles_are_values_that_occurred() -> None:
    assert summary([float(n) for n in range(1, 101)]) == {"p50": 50, "p95": 95, "p99": 99, "max": 100}
    assert summary([None, 7.0]) == {"p50": 7, "p95": 7, "p99": 7, "max": 7}


def test_the_json_says_the_same() -> None:
    found = json.loads(json.dumps(as_json(result(2, s1=[received(1)]))))
    assert (found["ok"], found["count"], found["run"]) == (False, 2, "r")
    assert found["accepted"][0] == {"n": 1, "sent": 1.0, "source": SOURCE, "id": "11"}
    (replica,) = found["replicas"]
    assert (replica["replica"], replica["received"], replica["missing"], replica["ok"]) == ("s1", 1, [2], False)
    assert replica["messages"]["2"]["times"] == 0


def test_colours_only_when_asked_for() -> None:
    found = result(1, s1=[])
    assert "\x1b[31m" in show(found, colour=True)
    assert "\x1b" not in show(found, colour=False)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"LOG_MESSAGES": "none"}, "LOG_MESSAGES is 'none', so not every message is logged"),
        ({"LOG_MESSAGES": "1/10"}, "LOG_MESSAGES=all make up"),
        ({"LOG_LEVEL": "error"}, "LOG_LEVEL=info make up"),
        ({"LOG_FORMAT": "console"}, "LOG_FORMAT=json make up"),
        (
            {"CHANNELS": "orders, b"},
            "CHANNELS is 'orders,b', so it misses notifications: make report CHANNEL=orders",
        ),
    ],
)
def test_a_log_that_cannot_show_it_is_refused_with_what_to_set(settings: dict[str, str], words: str) -> None:
    there = [Replica("publisher-1", "publisher"), Replica("subscriber-1", "subscriber")]
    check([*there, Replica("subscriber-2", "subscriber", settings={"LOG_MESSAGES": "all"})], "notifications")
    check([*there, Replica("subscriber-2", "subscriber", settings={"CHANNELS": "a", "PATTERNS": "*"})], "notifications")
    with pytest.raises(Trouble, match=re.escape(words)) as error:
        check([*there, Replica("subscriber-2", "subscriber", settings=settings)], "notifications")
    assert str(error.value).startswith("subscriber-2: ")


def test_there_must_be_a_publisher_and_a_subscriber_that_run() -> None:
    publisher, subscriber = (
        Replica("publisher-1", "publisher"),
        Replica("subscriber-1", "subscriber", "exited with code 1"),
    )
    for there, words in (
        ([], "nothing is running"),
        ([publisher, subscriber], "no subscriber is running"),
        ([Replica("subscriber-1", "subscriber")], "no publisher is running"),
    ):
        with pytest.raises(Trouble, match=words):
            check(there, "notifications")


@pytest.mark.parametrize(
    ("name", "value"), [("COUNT", "0"), ("RATE", "x"), ("CHANNEL", "a,b"), ("CHANNEL", "a{"), ("WITHIN", "2y")]
)
def test_a_bad_value_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingError, match=f"{name} is '{value}'"):
        read_order(Environment({name: value}))
