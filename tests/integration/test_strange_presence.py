"""What somebody else puts among the roster's records is left out, and everything that reads them goes on."""

import json
import time
from collections.abc import Callable

import pytest

from fanout.service import roster
from support.event_source import EventSource
from support.presence_view import look
from support.redis_server import RedisServer
from support.service import Service
from support.waiting import eventually

Start = Callable[..., Service]
RECORD = {"service": "subscriber", "instance": "x", "state": "live", "since": 1.0}
DEEP = b"[" * 50_000 + b"]" * 50_000

RECORDS = {
    "no JSON": b"hello",
    "no object": b"[]",
    "not UTF-8": b'{"service":"\xff"}',
    "deeply nested": b'{"x":' + DEEP + b"}",
    "nested where text is expected": b'{"service":' + DEEP + b"}",
    "huge": json.dumps(RECORD | {"more": "x" * 2**20}).encode(),
    "of another": json.dumps(RECORD | {"instance": "s"}).encode(),
    **{
        f"{name} {value}": json.dumps(RECORD).replace("}", f', "{name}": {value}}}').encode()
        for name, value in (
            ("received", "-1"),
            ("received", "1e400"),
            ("received", "1" + "0" * 5000),
            ("received", '"many"'),
            ("received", "1.5"),
            ("rate", "NaN"),
            ("since", "-1e300"),
            ("latency_p99_ms", "1e308"),
            ("last_message_at", "Infinity"),
            ("state", '"\\u009bevil"'),
            ("service", '"<b>"'),
            ("instance", '"\\ud800"'),
            ("channels", '{"c": -1}'),
            ("channels", '["c"]'),
            ("channels", json.dumps({f"c{n}": 1 for n in range(1000)})),
        )
    },
}


def there(server: RedisServer) -> list[str]:
    return [one.instance for one in look(server).replicas]


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_a_record_that_is_none_is_counted_and_left_out(server: RedisServer, record: bytes) -> None:
    client = server.client()
    for name, value in (("s", json.dumps(RECORD | {"instance": "s"}).encode()), ("x", record)):
        client.set(f"fanout:presence:{name}", value, px=10_000)
        client.sadd("fanout:presence", name)
    view = look(server)
    assert ([one.instance for one in view.replicas], view.strange) == (["s"], 1)


def test_a_record_that_never_ends_or_is_no_text_or_has_a_name_that_is_none_is_left_out(server: RedisServer) -> None:
    client = server.client()
    for name in (b"forever", b"later", b"\xff", b"s"):
        record = json.dumps(RECORD | {"instance": name.decode(errors="replace")})
        client.set(b"fanout:presence:" + name, record, px=10**9 if name == b"later" else None)
        client.sadd("fanout:presence", name)
    client.rpush("fanout:presence:list", "x")
    client.sadd("fanout:presence", "list", b"\xfe", "x" * 10_000)
    client.pexpire("fanout:presence:s", 10_000)
    view = look(server)
    assert ([one.instance for one in view.replicas], view.strange) == (["s"], 4)
    assert client.scard("fanout:presence") == 5  # names without a record are gone


def test_who_is_there_is_found_among_100_000_names_of_nobody(server: RedisServer, start: Start) -> None:
    start("subscriber", INSTANCE="s")
    eventually(lambda: there(server) == ["s"])
    client = server.client()
    for at in range(0, 100_000, 10_000):
        client.sadd("fanout:presence", *(f"nobody-{n}" for n in range(at, at + 10_000)))
    began = time.monotonic()
    assert there(server) == ["s"]
    assert time.monotonic() - began < 5
    assert client.smembers("fanout:presence") == {b"s"}


def test_more_records_than_anybody_would_show_are_not_read(server: RedisServer) -> None:
    client = server.client()
    with client.pipeline(transaction=False) as pipe:
        for n in range(roster.MOST_REPLICAS * 3):
            record = RECORD | {"instance": f"x-{n}", "channels": {f"c{n}-{m}": 1 for m in range(roster.CHANNELS)}}
            pipe.set(f"fanout:presence:x-{n}", json.dumps(record), px=15_000)
            pipe.sadd("fanout:presence", f"x-{n}")
        pipe.execute()
    view = look(server)
    assert roster.MOST_REPLICAS <= len(view.replicas) <= roster.MOST_REPLICAS + 2 * roster.NAMES_AT_ONCE


def test_a_presence_that_is_no_set_is_made_one_again_by_those_who_are_there(server: RedisServer, start: Start) -> None:
    server.client().set("fanout:presence", "hello")
    assert look(server) == roster.View([], {}, strange=1)
    start("subscriber", INSTANCE="s")
    eventually(lambda: there(server) == ["s"])
    server.client().delete("fanout:presence")
    server.client().rpush("fanout:presence", "hello")
    eventually(lambda: there(server) == ["s"])


def test_the_dashboard_goes_on_and_never_says_that_redis_is_away(server: RedisServer, start: Start) -> None:
    subscriber, gateway = start("subscriber", INSTANCE="s"), start("gateway", INSTANCE="g")
    subscriber.wait_for("live")
    watching = EventSource(f"{gateway.wait_for('started')[0]['http']}/system/events")

    def names() -> list[str]:
        return [one["instance"] for view in watching.of("view")[-1:] for one in view["replicas"]]

    eventually(lambda: names() == ["g", "s"])
    client = server.client()
    client.sadd("fanout:presence", b"\xff", *RECORDS)
    client.set(b"fanout:presence:\xff", "x")
    for name, record in RECORDS.items():
        client.set(f"fanout:presence:{name}", record)
    began = len(watching.of("view"))
    start("subscriber", INSTANCE="s2")
    eventually(lambda: names() == ["g", "s", "s2"])
    client.delete("fanout:presence")
    client.set("fanout:presence", "no set")
    eventually(lambda: client.type("fanout:presence") == b"set" and names() == ["g", "s", "s2"])
    views = watching.of("view")
    assert {view["redis"] for view in views[1:]} == {"connected"}  # the first may be from before there was a connection
    assert len(views) > began
    watching.close()
