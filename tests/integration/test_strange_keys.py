"""What somebody else puts where Fanout's keys are: make status says so, and goes on."""

import json
from typing import Any

import pytest

from fanout import keys
from support.redis_server import RedisServer
from support.status_program import status

HISTORY = keys.history("c")
EVIL = "\x1b[2J\x9b31m\u202e\u200b\U000e0041"


def channels(server: RedisServer) -> dict[str, Any]:
    return {row["channel"]: row for row in json.loads(status("--json", REDIS_URL=server.url))["channels"]}


@pytest.mark.parametrize(
    "record",
    [
        b"hello",
        b"owner 5000\n" + b"[" * 100_000,
        b'owner 1\n{"position":["zzz",5]}',
        b'owner 1\n{"position":["1-1",-5]}',
        b'owner 1\n{"position":["99999999999999999999-1",5]}',
        b'owner 1\n{"position":["1-1",1' + b"0" * 5000 + b"]}",
        b'owner 1\n{"position":["1-1",true]}',
        b"owner " + b"9" * 5000 + b'\n{"position":["evil",622]}',
    ],
)
def test_a_position_that_is_none_is_said_to_be_none(server: RedisServer, record: bytes) -> None:
    client = server.client()
    client.xadd(HISTORY, {"event": "x", "streamseq": 1})
    client.set(keys.position("c", "x"), record)
    row = channels(server)["c"]
    assert (row["streamseq"], row["subscribers"][0]["flags"]) == (1, ["no record that can be read", "not connected"])
    assert "no record that can be read" in status(REDIS_URL=server.url)


@pytest.mark.parametrize(
    "fields", [{"x": "y"}, {"event": "x", "streamseq": "abc"}, {"event": b"\xff", "streamseq": b"\xff"}]
)
def test_an_entry_that_somebody_else_added_is_no_event(server: RedisServer, fields: dict[Any, Any]) -> None:
    server.client().xadd(HISTORY, fields)
    row = channels(server)["c"]
    assert (row["length"], row["streamseq"]) == (0, 0)
    assert "c: 0 of 0 events" in status(REDIS_URL=server.url)


def test_keys_of_other_types_and_names_that_are_no_text_are_none_of_ours(server: RedisServer) -> None:
    client = server.client()
    client.xadd(HISTORY, {"event": "x", "streamseq": 1})
    client.rpush(keys.position("c", "list"), "x")
    client.xadd(keys.position("c", "stream"), {"x": "y"})
    client.hset(keys.producer("c", "hash"), "x", "y")
    client.set(keys.producer("c", "many"), "9" * 5000)
    client.set(keys.producer("c", "negative"), -1)
    client.set(keys.producer("c", "well"), 7)
    client.rpush(keys.history("list"), "x")
    client.set(b"fanout:{\xff}:history", "x")
    client.set(b"fanout:{c}:position:\xff", "x")
    found = channels(server)
    assert found["c"]["streamseq"] == 1
    assert [one["seq"] for one in found["c"]["producers"]] == [7]
    assert {tuple(one["flags"][:1]) for one in found["c"]["subscribers"]} == {("no record that can be read",)}
    assert (found["list"]["history"], found["\ufffd"]["history"]) == (False, False)


def test_names_that_would_move_the_cursor_are_spelled_out(server: RedisServer) -> None:
    client = server.client()
    client.set(keys.position(f"c{EVIL}", f"s{EVIL}"), "x")
    client.set(keys.producer(f"c{EVIL}", f"p{EVIL}"), 1)
    client.set(keys.pattern(f"*{EVIL}", f"s{EVIL}"), "x")
    text = status(REDIS_URL=server.url)
    assert not [c for c in text if c != "\n" and not c.isprintable()]
    for name in "csp*":
        assert name + r"\x1b[2J\x9b31m\u202e\u200b\U000e0041" in text
    said = status(code=1, REDIS_URL=f"redis://{EVIL.replace('[', '')}/0")
    assert not [c for c in said if c != "\n" and not c.isprintable()]


def test_presence_that_is_none_is_counted(server: RedisServer) -> None:
    client = server.client()
    client.sadd("fanout:presence", b"\xff", "deep", "list")
    client.set(b"fanout:presence:\xff", "x")
    client.set("fanout:presence:deep", "[" * 100_000)
    client.rpush("fanout:presence:list", "x")
    assert "3 records of the roster are none of Fanout's, and left out" in status(REDIS_URL=server.url)
