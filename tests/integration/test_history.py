"""History from outside: what a user sees of catch-up."""

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fanout.errors import ExitCode
from support.entries import streamname
from support.own_code import own_code
from support.redis_server import RedisServer
from support.sending import send
from support.service import Service
from support.waiting import eventually

Start = Callable[..., Service]

HISTORY = "fanout:{notifications}:history"


def test_a_subscriber_that_was_away_gets_what_it_missed_once_and_in_order(start: Start) -> None:
    subscriber = start("subscriber")
    subscriber.wait_for("live")
    send(start, "before")
    subscriber.wait_for("message_received")
    assert subscriber.stop() == ExitCode.OK
    send(start, *(f"missed {n}" for n in range(1000)))
    again = start("subscriber")
    received = again.wait_for("message_received", 1000)
    assert [line["data"] for line in received] == [f"missed {n}" for n in range(1000)]
    assert all(line["catch_up"] and line["streamid"] and line["streamseq"] for line in received)
    caught_up = again.wait_for("caught_up")[0]
    assert (caught_up["outcome"], caught_up["recovered"], caught_up["lost"], caught_up["duplicates"]) == (
        "recovered",
        1000,
        0,
        0,
    )
    again.wait_for("live")


def test_a_killed_subscriber_goes_on_from_its_last_second(start: Start) -> None:
    subscriber = start("subscriber")
    subscriber.wait_for("live")
    send(start, "one")
    subscriber.wait_for("message_received")
    subscriber.signal(signal.SIGKILL)
    subscriber.ended()
    send(start, "two")
    again = start("subscriber")
    eventually(lambda: "two" in again.data())
    assert again.data() in (["two"], ["one", "two"])


@pytest.mark.parametrize(
    ("start_from", "expected"),
    [("now", ["new"]), ("earliest", ["old", "new"]), ("1h", ["old", "new"]), ("1ms", ["new"])],
)
def test_a_first_start_begins_where_start_from_says(start: Start, start_from: str, expected: list[str]) -> None:
    send(start, "old")
    time.sleep(0.05)  # so that `old` is older than the shortest age
    subscriber = start("subscriber", START_FROM=start_from)
    subscriber.wait_for("live")
    send(start, "new")
    eventually(lambda: subscriber.data() == expected)


def test_a_pattern_finds_the_channels_that_came_while_it_was_away(start: Start) -> None:
    send(start, "before", channel="news.old")
    subscriber = start("subscriber", PATTERNS="news.*,*.sport")
    subscriber.wait_for("live")
    send(start, "live", channel="news.sport")
    eventually(lambda: subscriber.data() == ["live"])
    subscriber.stop()
    send(start, "missed 1", channel="news.sport")
    send(start, "missed 2", channel="news.new")
    send(start, "missed 3", channel="news.old")
    again = start("subscriber", PATTERNS="news.*,*.sport")
    eventually(lambda: sorted(again.data()) == ["missed 1", "missed 2", "missed 3"])


@pytest.mark.parametrize("settings", [{"PATTERNS": "news"}, {"PATTERNS": "news", "CHANNELS": "news"}])
def test_a_pattern_that_reads_like_a_channel_does_not_bring_its_history_again(
    start: Start, settings: dict[str, str]
) -> None:
    subscriber = start("subscriber", **settings)
    subscriber.wait_for("live")
    send(start, "seen", channel="news")
    subscriber.wait_for("message_received")
    assert subscriber.stop() == ExitCode.OK
    send(start, "missed", channel="news")
    again = start("subscriber", **settings)
    again.wait_for("live")
    send(start, "live", channel="news")
    eventually(lambda: "live" in again.data())
    assert again.data() == ["missed", "live"]


SLOW = """
import time
def handle(message):
    time.sleep(0.0005)
"""


def test_a_slow_handler_gets_everything_through_a_small_queue(tmp_path: Path, start: Start) -> None:
    subscriber = start("subscriber", HANDLER="mine:handle", PYTHONPATH=own_code(tmp_path, SLOW), QUEUE_SIZE=50)
    subscriber.wait_for("live")
    send(start, *(f"m{n}" for n in range(3000)), LOG_MESSAGES="none")
    subscriber.wait_for("message_received", 3000, within=30)
    assert subscriber.data() == [f"m{n}" for n in range(3000)]
    assert {line["cause"] for line in subscriber.events("caught_up")} <= {"overflow", "gap", "idle"}


def test_a_subscriber_that_the_server_lets_go_for_its_backlog_catches_up(server: RedisServer, start: Start) -> None:
    subscriber = start("subscriber")
    subscriber.wait_for("live")
    server.client().config_set("client-output-buffer-limit", "pubsub 64kb 0 0")
    subscriber.signal(signal.SIGSTOP)
    text = "x" * 50_000
    send(start, *(f"{n} {text}" for n in range(300)), LOG_MESSAGES="none")
    subscriber.signal(signal.SIGCONT)
    subscriber.wait_for("message_received", 300)
    assert [data.split()[0] for data in subscriber.data()] == [str(n) for n in range(300)]
    assert subscriber.events("connection_lost")


def test_an_event_lost_at_the_end_of_traffic_is_found_by_the_idle_tick(server: RedisServer, start: Start) -> None:
    subscriber = start("subscriber")
    subscriber.wait_for("live")
    send(start, "heard")
    subscriber.wait_for("message_received")
    [(_, fields)] = server.client().xrange(HISTORY)
    events = fields[b"events"].replace(b'"id":"1"', b'"id":"2"').replace(b"heard", b"unheard")
    streamid = server.client().xadd(HISTORY, {"events": events, "streamseq": 2})
    name = streamname(server.client(), "notifications")
    server.client().set("fanout:{notifications}:head", f"{streamid.decode()} 2 2 {name}")
    eventually(lambda: subscriber.data() == ["heard", "unheard"])
    assert subscriber.events("caught_up")[-1]["cause"] == "idle"


def test_without_history_it_is_plain_pubsub(server: RedisServer, start: Start) -> None:
    for settings in ({}, {"HISTORY_SIZE": 0}):
        subscriber = start("subscriber", INSTANCE=f"s{settings}", **settings)
        subscriber.wait_for("subscribed")
        send(start, "plain", HISTORY_SIZE=0)
        line = subscriber.wait_for("message_received")[0]
        assert "streamid" not in line
        assert subscriber.stop() == ExitCode.OK
    assert not server.client().exists(HISTORY)


def test_an_event_that_comes_again_without_history_is_a_duplicate(server: RedisServer, start: Start) -> None:
    subscriber = start("subscriber")
    subscriber.wait_for("live")
    listener = server.client().pubsub()
    listener.subscribe("notifications")
    send(start, "once", HISTORY_SIZE=0)
    wire = eventually(lambda: (m := listener.get_message(timeout=1)) and m["type"] == "message" and m["data"])
    server.client().publish("notifications", wire)
    send(start, "next")
    eventually(lambda: subscriber.data() == ["once", "next"])
    listener.close()
