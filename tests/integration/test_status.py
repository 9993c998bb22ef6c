import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fanout import keys
from support.redis_server import RedisServer
from support.service import Service
from support.status_program import status
from support.waiting import eventually

Start = Callable[..., Service]


def channel(server: RedisServer) -> dict[str, Any]:
    (row,) = json.loads(status("--json", REDIS_URL=server.url))["channels"]
    return row


def positions(row: dict[str, Any]) -> list[tuple[str, int, list[str]]]:
    return [(one["name"], one["lag"], one["flags"]) for one in row["subscribers"]]


def publish(start: Start, count: int) -> None:
    lines = "".join(f"line {n}\n" for n in range(count)).encode()
    assert start("publisher", "send", "notifications", stdin=lines, BATCH_EVENTS=1).ended() == 0


def test_how_far_each_subscriber_is(server: RedisServer, start: Start) -> None:
    first = start("subscriber", INSTANCE="first")
    second = start("subscriber", INSTANCE="second", PATTERNS="notif*")
    for subscriber in (first, second):
        subscriber.wait_for("live")
    publisher = start("publisher", PUBLISH_RATE=1000, PUBLISH_COUNT=20)
    publisher.wait_for("load_finished")
    up_to_date = [("first", 0, []), ("second", 0, [])]
    eventually(lambda: positions(channel(server)) == up_to_date)

    row = channel(server)
    assert (row["channel"], row["length"], row["streamseq"]) == ("notifications", 20, 20)
    assert 0 <= row["newest_s"] <= row["oldest_s"] < 60
    assert row["bytes"] > 1000
    assert [(one["seq"], one["ended"]) for one in row["producers"]] == [(20, False)]
    assert all(one["streamseq"] == 20 and one["saved_s"] < 60 for one in row["subscribers"])

    text = status(REDIS_URL=server.url)
    assert re.search(r"^notifications: 20 of 20 events, \d+ kB, oldest \d+ s, newest \d+ s$", text, re.MULTILINE)
    assert re.search(r"^  1 producer: [0-9a-f]{16} at 20 \(\d+ s\)$", text, re.MULTILINE)
    assert re.search(r"^  first +0 +20  \d+-\d+ +\d+ s$", text, re.MULTILINE)
    assert re.search(r"^patterns .*\n  notif\*  second$", text, re.MULTILINE)

    assert first.stop() == 0
    publish(start, 5)
    behind = [("first", 5, ["not connected"]), ("second", 0, [])]
    eventually(lambda: positions(channel(server)) == behind)
    assert re.search(r"^  first +5 +20  \d+-\d+ +\d+ s  not connected$", status(REDIS_URL=server.url), re.MULTILINE)


def test_a_position_that_the_history_no_longer_has(server: RedisServer, start: Start) -> None:
    subscriber = start("subscriber", INSTANCE="late")
    subscriber.wait_for("live")
    publish(start, 3)
    subscriber.wait_for("message_received", 3)
    assert subscriber.stop() == 0
    publish(start, 7)
    client = server.client()
    client.xtrim(keys.history("notifications"), maxlen=2, approximate=False)
    gone = "position no longer in history, nor 5 after it"
    assert positions(channel(server)) == [("late", 7, [gone, "not connected"])]
    client.delete(keys.history("notifications"))
    assert positions(channel(server))[0][2][0] == "there is no history any more"


def test_it_can_be_piped_and_reads_the_environment(server: RedisServer, start: Start, tmp_path: Path) -> None:
    said = status(REDIS_URL=server.url)
    assert re.fullmatch(r"Redis uses \d\.\d MB without a limit\n\nRedis has no keys of Fanout\n", said)
    server.client().config_set("maxmemory", 20_000_000)
    assert re.match(r"Redis uses \d\.\d MB of 20 MB, \d+%\n\n", status(REDIS_URL=server.url))
    publish(start, 8)
    server.client().config_set("requirepass", "secret")
    (tmp_path / "password").write_text("secret\n")
    settings = {"REDIS_URL": server.url, "REDIS_PASSWORD_FILE": str(tmp_path / "password")}
    assert "notifications: 8 of 8 events" in status(**settings)


def test_more_producers_than_are_shown_and_names_of_others(server: RedisServer) -> None:
    client = server.client()
    for n in range(7):
        client.set(keys.producer("a\x1b", f"{n:016x}"), n, ex=keys.CHANNEL_TTL - n)
    client.set(keys.position("a\x1b", "broken"), b"\xff", ex=60)
    client.set("fanout:{b}:history", "no stream")
    client.set("other", 1)
    text = status(REDIS_URL=server.url)
    assert "a\\x1b: no history\n  7 producers: 0000000000000000 at 0 (" in text
    assert re.search(r"0000000000000004 at 4 \(\d+ s\), and 2 more\n", text)
    assert "no record that can be read" in text


def test_what_cannot_be_reached_is_said_in_one_line(server: RedisServer) -> None:
    server.client().config_set("requirepass", "secret")
    for url, words in (
        ("redis://127.0.0.1:1/0", "127.0.0.1:1"),
        ("http://127.0.0.1", "REDIS_URL has another scheme"),
        (server.url, "Authentication required"),
        (server.url.replace("//", "//:wrong@"), "invalid username-password"),
    ):
        said = status(code=1, REDIS_URL=url)
        assert said.startswith("status: ")
        assert words in said
        assert said.count("\n") == 1
