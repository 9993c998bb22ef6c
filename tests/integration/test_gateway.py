"""The gateway as a browser sees it."""

import asyncio
import json
import random
import resource
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from event_source import EventSource
from fanout.errors import ExitCode
from redis_server import RedisServer
from service import Service
from waiting import eventually

Start = Callable[..., Service]
Connect = Callable[..., EventSource]


def url(service: Service) -> str:
    return str(service.wait_for("started")[0]["http"])


def post(service: Service, data: str, channel: str = "n") -> dict[str, Any]:
    status, answer = request(f"{url(service)}/channels/{channel}/messages", data.encode())
    assert status == 202, answer
    return dict(answer)


def request(address: str, body: bytes | None = None, method: str | None = None, **headers: str) -> tuple[int, Any]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    asked = urllib.request.Request(address, data=body, method=method, headers=named)
    try:
        with urllib.request.urlopen(asked, timeout=15) as answer:
            text = answer.read()
            return answer.status, json.loads(text) if text else answer.headers
    except urllib.error.HTTPError as error:
        with error:
            text = error.read()
            return error.code, json.loads(text) if text else error.headers


@pytest.fixture
def start(start: Start) -> Iterator[Start]:
    """Starts services, none of which may meet with something unforeseen."""
    services: list[Service] = []

    def begin(name: str, *arguments: str, **settings: Any) -> Service:
        services.append(start(name, *arguments, **settings))
        return services[-1]

    yield begin
    for service in services:
        assert not [line for line in service.lines if line["event"] in {"crashed", "NO JSON"} or "exception" in line]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Opens event streams; closes what a test leaves open."""
    open_ones: list[EventSource] = []

    def connect(service: Service, path: str = "/channels/n/events", **headers: str) -> EventSource:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        open_ones.append(EventSource(url(service) + path, **named))
        return open_ones[-1]

    yield connect
    for one in open_ones:
        one.close()


def test_every_client_gets_every_message_over_one_subscription(
    server: RedisServer, start: Start, connect: Connect
) -> None:
    gateway, publisher = start("gateway"), start("publisher")
    clients = [connect(gateway) for _ in range(5)]
    answer = post(publisher, "hello")
    server.client().publish("n", b"bare\ntext\r\n\ndata: no event")
    server.client().publish("n", b"\xff")
    assert request(f"{url(gateway)}/channels/n/messages", b'{"a": "x\\ny"}', Content_Type="application/json")[0] == 202
    for client in clients:
        first, bare, binary, last = client.wait_for(4)
        assert client.retry == "1000"
        assert client.headers["Content-Type"].startswith("text/event-stream")
        assert first == {
            "channel": "n", "specversion": "1.0", "type": "notification", "datacontenttype": "text/plain",
            "data": "hello", "streamseq": "1", "time": first["time"], **answer,
        }  # fmt: skip
        assert bare == {"channel": "n", "plain": True, "data": "bare\ntext\r\n\ndata: no event"}
        assert binary == {"channel": "n", "plain": True, "data": "b'\\xff'"}
        assert last["data"] == {"a": "x\ny"}
        assert [ident for ident, _, _ in client.events] == [f"{answer['streamid']}:1", "", "", f"{last['streamid']}:2"]
    assert server.client().pubsub_numsub("n") == [(b"n", 1)]


def test_a_client_that_comes_back_gets_what_it_missed_from_the_ring_or_the_history(
    server: RedisServer, start: Start, connect: Connect
) -> None:
    ids = an_hour_ago(server, 300)
    gateway = start("gateway")
    everything = connect(gateway, "/channels/n/events?since=earliest")
    assert everything.wait_for(300)[0]["catch_up"] is True
    post(gateway, "301")
    assert "catch_up" not in everything.wait_for(301)[300]
    post(gateway, "302")
    ids += [ident for ident, _, _ in everything.wait_for(302) and everything.events[300:]]
    assert everything.data() == [str(n) for n in range(1, 303)]
    for known in (1, 150, 299, 300, 301, 302):
        back = connect(gateway, Last_Event_ID=ids[known - 1])
        got = back.wait_for(302 - known)
        assert [message["data"] for message in got] == [str(n) for n in range(known + 1, 303)]
        assert all(message["catch_up"] for message in got)
        assert back.of("gone") == []
    assert connect(gateway, "/channels/n/events?since=2h").wait_for(302)[0]["data"] == "1"
    assert connect(gateway, "/channels/n/events?since=10m").wait_for(2)[0]["data"] == "301"
    post(gateway, "303")
    eventually(lambda: back.data() == everything.data()[302:] == ["303"])


def an_hour_ago(server: RedisServer, count: int) -> list[str]:
    """Puts that many events into a history that no ring has; returns their IDs as clients have them."""
    pipeline = server.client().pipeline()
    for n in range(1, count + 1):
        event = {"specversion": "1.0", "type": "t", "source": f"/n/{'a' * 16}", "id": str(n), "data": str(n)}
        pipeline.xadd(
            "fanout:{n}:history", {"event": json.dumps(event), "streamseq": n}, f"{int(time.time()) - 3600}000-{n}"
        )
    return [f"{streamid.decode()}:{n}" for n, streamid in enumerate(pipeline.execute(), 1)]


def lines(first: int, last: int) -> bytes:
    return "".join(f"{n}\n" for n in range(first, last + 1)).encode()


def test_after_a_rollback_of_redis_each_event_comes_once_and_in_order(
    server: RedisServer, start: Start, connect: Connect
) -> None:
    gateway, publisher = start("gateway"), start("publisher")
    stays, leaves = connect(gateway), connect(gateway)
    for n in range(1, 6):
        post(publisher, str(n))
    leaves.wait_for(5)
    leaves.close()
    for n in range(6, 11):
        post(publisher, str(n))
    stays.wait_for(10)
    server.kill()
    server.start()  # remembers nothing
    publisher.wait_for("replaying")
    for n in range(11, 16):
        post(publisher, str(n))
    assert [m["id"] for m in stays.wait_for(15)] == [str(n) for n in range(1, 16)]
    back = connect(gateway, Last_Event_ID=leaves.last_id)
    assert [m["data"] for m in back.wait_for(10)] == [str(n) for n in range(6, 16)]
    again = connect(gateway, Last_Event_ID=stays.last_id)
    post(publisher, "16")
    for client in (stays, back, again):
        eventually(lambda c=client: c.data()[-1:] == ["16"])
        assert client.of("gone") == []
    assert (len(stays.data()), back.data(), again.data()) == (16, [str(n) for n in range(6, 17)], ["16"])
    # A gateway that was not there cannot know what that ID was: it gives everything, and says so.
    other = connect(start("gateway", INSTANCE="gateway-2"), Last_Event_ID=leaves.last_id)
    assert [m["data"] for m in other.wait_for(16)] == [str(n) for n in range(1, 17)]
    assert other.of("gone") == [{"channel": "n", "count": 0, "exact": False}]


def test_what_redis_lost_and_nobody_has_sent_again_yet_is_not_missed_by_who_comes_meanwhile(
    server: RedisServer, start: Start, connect: Connect
) -> None:
    gateway, slow, quick = start("gateway"), start("publisher", INSTANCE="slow"), start("publisher", INSTANCE="quick")
    first = connect(gateway)
    post(slow, "a")
    post(quick, "b")
    first.wait_for(2)
    slow.signal(signal.SIGSTOP)
    server.kill()
    server.start()
    quick.wait_for("replaying")
    post(quick, "c")
    first.wait_for(3)
    meanwhile = connect(gateway, "/channels/n/events?since=earliest")
    assert sorted(m["data"] for m in meanwhile.wait_for(3)) == ["a", "b", "c"]
    slow.signal(signal.SIGCONT)
    slow.wait_for("replaying")
    post(slow, "d")
    assert [m["data"] for m in first.wait_for(4)] == ["a", "b", "c", "d"]
    assert [m["data"] for m in meanwhile.wait_for(4)][3:] == ["d"]
    # Who was cut off right after c may not have had a, which the history brings again behind it.
    assert [m["data"] for m in connect(gateway, Last_Event_ID=first.events[2][0]).wait_for(2)] == ["a", "d"]
    late = connect(gateway, "/channels/n/events?since=earliest")
    assert [m["data"] for m in late.wait_for(4)] == ["b", "c", "a", "d"]
    for client in (first, meanwhile, late):
        assert len(client.data()) == 4


def test_what_is_trimmed_is_counted(server: RedisServer, start: Start, connect: Connect) -> None:
    time.sleep(1.1)  # an ID within the server's first second does not prove that it was given by this server
    gateway = start("gateway")
    begin = connect(gateway)
    start("publisher", "send", "n", stdin=lines(1, 100)).ended()
    begin.wait_for(100)
    ids = [ident for ident, _, _ in begin.events]
    server.client().xtrim("fanout:{n}:history", maxlen=40, approximate=False)
    back = connect(start("gateway", INSTANCE="gateway-2"), Last_Event_ID=ids[0])
    assert [message["data"] for message in back.wait_for(40)] == [str(n) for n in range(61, 101)]
    assert back.events[0][1:] == ("gone", {"channel": "n", "count": 59, "exact": True})
    assert connect(gateway, Last_Event_ID=ids[0]).wait_for(99)[0]["data"] == "2"  # out of the ring
    server.client().xtrim("fanout:{n}:history", maxlen=0, approximate=False)
    another = start("gateway", INSTANCE="gateway-3")
    nothing, whole = connect(another, Last_Event_ID=ids[79]), connect(another, Last_Event_ID=ids[99])
    assert nothing.wait_for(1, "gone") == [{"channel": "n", "count": 20, "exact": True}]
    post(gateway, "on")
    for client in (nothing, whole):
        assert client.wait_for(1)[0]["data"] == "on"
    assert not whole.of("gone")


def test_clients_are_told_what_the_gateway_itself_has_lost(server: RedisServer, start: Start, connect: Connect) -> None:
    gateway = start("gateway", DEAD_AFTER="60")
    client = connect(gateway)
    post(gateway, "1")
    client.wait_for(1)
    gateway.signal(signal.SIGSTOP)
    start("publisher", "send", "n", stdin=lines(2, 100)).ended()
    server.client().xtrim("fanout:{n}:history", maxlen=40, approximate=False)
    for found in server.client().client_list(_type="pubsub"):
        server.client().client_kill_filter(_id=found["id"])
    gateway.signal(signal.SIGCONT)
    # What had reached the gateway's socket before the cut may be taken or not.
    eventually(lambda: client.data()[-1:] == ["100"])
    gone = sum(one["count"] for one in client.of("gone"))
    assert len(client.data()) + gone == 100


def test_what_a_rollback_took_from_the_end_of_the_history_comes_once_too(
    server: RedisServer, start: Start, connect: Connect
) -> None:
    gateway, publisher = start("gateway"), start("publisher")
    first = connect(gateway)
    post(publisher, "a")
    server.client().save()
    post(publisher, "b")
    post(publisher, "c")
    first.wait_for(3)
    publisher.signal(signal.SIGSTOP)
    server.kill()
    server.start()  # remembers a
    gateway.wait_for("subscribed", 2)
    meanwhile = connect(gateway, "/channels/n/events?since=earliest")
    assert [m["data"] for m in meanwhile.wait_for(3)] == ["a", "b", "c"]
    publisher.signal(signal.SIGCONT)
    publisher.wait_for("replaying")
    post(publisher, "d")
    for client in (first, meanwhile):
        assert [m["data"] for m in client.wait_for(4)] == ["a", "b", "c", "d"]
        assert len(client.data()) == 4


def test_who_comes_after_a_rollback_of_more_than_the_ring_has_waits_for_the_publisher(
    server: RedisServer, start: Start, connect: Connect
) -> None:
    gateway, publisher = start("gateway"), start("publisher")
    first = connect(gateway)
    large = "x" * 60_000
    for n in range(100):  # six megabytes: more than a ring has
        post(publisher, f"{n} {large}")
    first.wait_for(100)
    publisher.signal(signal.SIGSTOP)
    server.kill()
    server.start()
    gateway.wait_for("live", 2)
    meanwhile = connect(gateway, "/channels/n/events?since=earliest")
    post(gateway, "of another")
    meanwhile.wait_for(1)
    publisher.signal(signal.SIGCONT)
    for client in (meanwhile, connect(gateway, "/channels/n/events?since=earliest")):
        got = [message["data"].removesuffix(f" {large}") for message in client.wait_for(101)]
        assert got == ["of another", *map(str, range(100))]


def test_a_client_that_is_cut_off_before_its_first_message_misses_nothing(
    server: RedisServer, start: Start, connect: Connect
) -> None:
    gateway = start("gateway")
    post(gateway, "before")
    client = connect(gateway)
    here = eventually(lambda: client.last_id)
    client.close()
    post(gateway, "between")
    assert connect(gateway, Last_Event_ID=here).wait_for(1)[0]["data"] == "between"
    assert client.events == []


async def test_a_client_that_is_cut_off_fifty_times_has_every_message_once_and_in_order(
    server: RedisServer, start: Start
) -> None:
    gateway = start("gateway")
    address = f"{url(gateway)}/channels/notifications/events?since=earliest"
    publisher = start("publisher", PUBLISH_RATE=1000, PUBLISH_COUNT=5000, LOG_MESSAGES="none")
    chance = random.Random(6)
    got: list[str] = []
    last, cuts = "", 0
    async with aiohttp.ClientSession() as session, asyncio.timeout(60):
        while len(got) < 5000:
            stop_at = len(got) + chance.randint(1, 99) if cuts < 50 else 5001
            async with session.get(address, headers={"Last-Event-ID": last} if last else {}) as stream:
                assert stream.status == 200
                ident = ""
                while len(got) < min(stop_at, 5000):
                    name, _, value = (await stream.content.readline()).decode().rstrip("\n").partition(": ")
                    assert value != "gone"
                    if name == "id":
                        ident = value
                    elif name == "data":
                        last = ident
                        got.append(json.loads(value)["data"])
                stream.connection.transport.abort()
            cuts += 1
    assert cuts == 51
    assert got == [f"Message {n}" for n in range(1, 5001)]
    assert publisher.process.poll() is None


def test_a_client_that_never_reads_is_cut_and_nobody_else_notices(
    server: RedisServer, start: Start, connect: Connect
) -> None:
    gateway = start("gateway", CLIENT_BUFFER="64KiB", LOG_MESSAGES="none")
    reader = connect(gateway)
    host, _, port = url(gateway).removeprefix("http://").partition(":")
    for first in (
        b"GET /channels/n/events HTTP/1.1\r\nHost: x\r\n\r\n",
        handshake("/ws") + masked(b'{"subscribe":"n"}'),
    ):
        count = len(gateway.events("client_cut"))
        before = len(reader.data())
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect((host, int(port)))
            deaf.sendall(first)
            eventually(lambda: len(deaf.recv(4096, socket.MSG_PEEK)) > 100)
            time.sleep(0.2)
            start("publisher", "send", "n", stdin=(b"x" * 60_000 + b"\n") * 200, LOG_MESSAGES="none").ended()
            cut = gateway.wait_for("client_cut", count + 1)[count]
            assert cut["cause"] == "it reads too slowly"
            assert 65536 < cut["waiting"] < 200_000
            reader.wait_for(before + 200)
    assert not reader.ended
    assert gateway.stop() == ExitCode.OK
    assert gateway.lines[-1]["clients_cut"] == 2


def test_a_slow_client_has_its_catch_up_read_as_it_reads(server: RedisServer, start: Start) -> None:
    gateway = start("gateway", CLIENT_BUFFER="64KiB", LOG_MESSAGES="none")
    sent = b"".join(b"%d" % n + b"x" * 50_000 + b"\n" for n in range(200))
    start("publisher", "send", "n", stdin=sent, LOG_MESSAGES="none").ended()
    host, _, port = url(gateway).removeprefix("http://").partition(":")
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        slow.connect((host, int(port)))
        slow.sendall(b"GET /channels/n/events?since=earliest HTTP/1.0\r\nHost: x\r\n\r\n")
        slow.settimeout(10)
        got = b""
        while got.count(b"\nevent: message\n") < 200 or not got.endswith(b"}\n\n"):
            got += slow.recv(100_000)
            time.sleep(0.002)
    data = [json.loads(line[6:]) for line in got.split(b"\n") if line.startswith(b"data: ")]
    assert [int(one["data"].rstrip("x")) for one in data] == list(range(200))
    assert not gateway.events("client_cut")


def handshake(path: str, **headers: str) -> bytes:
    named = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return (
        f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{named}"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def masked(text: bytes) -> bytes:
    return bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text


def test_while_redis_is_away_connections_stay_and_then_nothing_is_missing(
    server: RedisServer, start: Start, connect: Connect
) -> None:
    gateway, publisher = start("gateway"), start("publisher")
    before = connect(gateway)
    system = connect(gateway, "/system/events")
    post(publisher, "1")
    before.wait_for(1)
    eventually(lambda: (v := system.of("view")[-1])["channels"] == {"n": 1} and len(v["replicas"]) == 2)
    server.kill()
    eventually(lambda: system.of("view")[-1]["redis"] == "away")
    assert {replica["instance"] for replica in system.of("view")[-1]["replicas"]} == {"gateway-1", "publisher-1"}
    during = connect(gateway, "/channels/n/events?since=earliest")
    assert during.status == 200
    assert request(f"{url(gateway)}/readyz")[0] == 503
    assert request(f"{url(gateway)}/healthz")[0] == 200
    server.start()
    post(publisher, "2")
    post(gateway, "3")
    for client in (before, during):
        assert [m["data"] for m in client.wait_for(3)] == ["1", "2", "3"]
        assert not client.ended
    eventually(lambda: system.of("view")[-1]["redis"] == "connected")


def test_the_dashboards_view_is_read_once_for_all_and_only_while_somebody_looks(
    server: RedisServer, start: Start, connect: Connect
) -> None:
    gateway = start("gateway")
    gateway.wait_for("connected")

    def connections() -> int:
        return len([one for one in server.client().client_list() if one["name"] == "gateway-1"])

    eventually(lambda: connections() == 1)
    pages = [connect(gateway, "/system/events") for _ in range(3)]
    eventually(lambda: connections() == 2)
    start("subscriber", CHANNELS="n", INSTANCE="s").wait_for("live")
    post(gateway, "x")
    for page in pages:
        view = eventually(lambda p=page: (v := p.of("view")[-1])["channels"] == {"n": 1} and v)
        assert [(r["service"], r["instance"]) for r in view["replicas"]] == [
            ("gateway", "gateway-1"),
            ("subscriber", "s"),
        ]
        assert view["redis"] == "connected"
        assert abs(view["at"] - time.time()) < 30
        assert {"rate", "lag", "age_s", "clients", "patterns", "latency_p50_ms"} <= set(view["replicas"][1])
    eventually(lambda: pages[0].of("view")[-1]["replicas"][0]["clients"] == 3)
    for page in pages:
        page.close()
    eventually(lambda: connections() == 1)


REFUSED: list[tuple[str, bytes | None, dict[str, str], int, str]] = [
    ("/channels/a%2Cb/messages", b"x", {}, 400, "a channel name is 1 to 255 bytes"),
    ("/channels/a%0A/messages", b"x", {}, 400, "a channel name is 1 to 255 bytes"),
    ("/channels/n/messages", b"{", {"Content_Type": "application/json"}, 400, "not valid JSON"),
    ("/channels/n/messages", b"\xff", {"Content_Type": "text/plain"}, 400, "not valid UTF-8"),
    ("/channels/n/messages", b"x" * 70000, {"Content_Type": "text/plain"}, 413, "MAX_EVENT"),
    ("/channels/n/messages", b"x", {"Content_Type": "image/png"}, 415, "image/png"),
    ("/channels/n/messages", b"x", {"Idempotency_Key": "x" * 300}, 422, "1 to 255"),
    ("/channels/n/messages", b"x", {"Idempotency_Key": "\xff"}, 422, "1 to 255"),
    ("/channels/n/messages", b"x", {"traceparent": "\xff"}, 400, "cannot be written as JSON"),
    ("/channels/n/messages", b"x", {"Origin": "https://elsewhere.example"}, 403, "may not use this gateway"),
    ("/channels/n/messages", b"x", {"Origin": "null"}, 403, "may not use this gateway"),
    ("/channels/n/events", None, {"Origin": "https://elsewhere.example"}, 403, "may not use this gateway"),
    ("/ws", None, {"Origin": "http://127.0.0.1:1"}, 403, "may not use this gateway"),
    ("/ws", None, {}, 400, "WebSocket"),
    ("/channels/a%7B/events", None, {}, 400, "a channel name is 1 to 255 bytes"),
    ("/channels/n/events?since=soon", None, {}, 400, "since is 'soon', but must be"),
    ("/channels/n/events?since=1-1", None, {}, 400, "since is '1-1', but must be"),
    ("/channels/n/events", None, {"Last_Event_ID": "1-1:x"}, 400, "since is '1-1:x', but must be"),
    ("/channels/n/events", b"x", {}, 405, "Method Not Allowed"),
    ("/page/..%2f..%2fsettings.py", None, {}, 404, "Not Found"),
    ("/nothing", None, {}, 404, "Not Found"),
]


def test_what_cannot_be_is_refused_with_the_reason(server: RedisServer, start: Start) -> None:
    gateway = start("gateway")
    for path, body, headers, status, why in REFUSED:
        answered, detail = request(url(gateway) + path, body, **headers)
        assert (answered, why in detail["detail"]) == (status, True), (path, headers, answered, detail)
    host, _, port = url(gateway).removeprefix("http://").partition(":")
    for line in (b"\x16\x03\x01 nonsense\r\n\r\n", b"GET / HTTP/9\r\n\r\n", b"GET /\xff\x00 HTTP/1.1\r\n\r\n"):
        with socket.create_connection((host, int(port)), 5) as raw:
            raw.sendall(line)
            assert raw.recv(100).startswith(b"HTTP/1.") or raw.recv(1) == b""
    assert request(f"{url(gateway)}/healthz")[0] == 200
    assert gateway.stop() == ExitCode.OK
    assert gateway.lines[-1]["accepted"] == 0


def test_a_post_publishes_once_under_its_idempotency_key(server: RedisServer, start: Start, connect: Connect) -> None:
    gateway, publisher = start("gateway"), start("publisher")
    client = connect(gateway, "/channels/a%2Fb%20%C3%BC/events")
    there = f"{url(gateway)}/channels/a%2Fb%20%C3%BC/messages"
    first = request(there, b"once", Idempotency_Key="k", traceparent="00-1-2-01")
    assert request(there, b"once", Idempotency_Key="k") == first
    assert request(f"{url(publisher)}/channels/n/messages", b"x")[0] == request(there, b"end")[0] == 202
    assert [(m["channel"], m["data"], m.get("traceparent")) for m in client.wait_for(2)] == [
        ("a/b ü", "once", "00-1-2-01"),
        ("a/b ü", "end", None),
    ]


def test_pages_of_named_origins_may_use_it_and_may_read_the_answers(
    server: RedisServer, start: Start, connect: Connect
) -> None:
    site = "https://site.example"
    gateway = start("gateway", ORIGINS=f"{site}, https://other.example")
    asked = {"Origin": site, "Access_Control_Request_Method": "POST"}
    status, headers = request(f"{url(gateway)}/channels/n/messages", method="OPTIONS", **asked)
    assert (status, headers["Access-Control-Allow-Origin"]) == (204, site)
    assert "Last-Event-ID" in headers["Access-Control-Allow-Headers"]
    stream = connect(gateway, Origin=site)
    assert stream.headers["Access-Control-Allow-Origin"] == site
    own = connect(gateway, Origin=url(gateway))
    assert (own.status, own.headers["Access-Control-Allow-Origin"]) == (200, None)
    assert connect(gateway, Origin="https://site.example.evil.example").status == 403
    everybody = start("gateway", ORIGINS="*", INSTANCE="gateway-2")
    assert (
        connect(everybody, Origin="https://any.example").headers["Access-Control-Allow-Origin"] == "https://any.example"
    )
    assert start("gateway", ORIGINS="site.example").ended() == ExitCode.BAD_INPUT


def test_the_page_is_served_with_a_policy_and_is_asked_for_again_when_it_changed(start: Start) -> None:
    gateway = start("gateway")
    with urllib.request.urlopen(url(gateway), timeout=5) as answer:
        page, headers = answer.read(), answer.headers
    assert b"<html" in page
    assert headers["Content-Security-Policy"].startswith("default-src 'self'")
    assert headers["Cache-Control"] == "no-cache"
    assert request(url(gateway), If_None_Match=headers["ETag"])[0] == 304


async def test_a_websocket_follows_several_channels(server: RedisServer, start: Start) -> None:
    gateway, publisher = start("gateway"), start("publisher")
    ids = [post(publisher, str(n), "a")["streamid"] for n in range(1, 6)]
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{url(gateway)}/ws") as ws, asyncio.timeout(30):

        async def say(**command: object) -> Any:
            await ws.send_json(command)
            return await ws.receive_json()

        assert await say(subscribe="b") == {"subscribed": "b", "event_id": "0-0:0"}
        assert await say(subscribe="a", since=f"{ids[2]}:3") == {"subscribed": "a"}
        for n in (4, 5):
            got = await ws.receive_json()
            assert got["event_id"] == f"{ids[n - 1]}:{n}"
            assert (got["message"]["channel"], got["message"]["data"], got["message"]["catch_up"]) == (
                "a",
                str(n),
                True,
            )
        post(publisher, "on b", "b")
        assert (await ws.receive_json())["message"]["data"] == "on b"
        server.client().publish("a", b"\xff\n")
        assert await ws.receive_json() == {"message": {"channel": "a", "plain": True, "data": "b'\\xff\\n'"}}
        assert await say(unsubscribe="b") == {"unsubscribed": "b"}
        post(publisher, "unheard", "b")
        post(publisher, "x" * 60_000, "a")
        assert len((await ws.receive_json())["message"]["data"]) == 60_000
        assert (await say(subscribe="c", since="123-4:5")) == {"subscribed": "c"}
        assert await ws.receive_json() == {"gone": {"channel": "c", "count": 0, "exact": False}}
        for wrong, why in (
            ({"subscribe": "a"}, "subscribed already"),
            ({"unsubscribe": "b"}, "not subscribed"),
            ({"subscribe": "a,b"}, "a channel name is"),
            ({"subscribe": "d", "since": "soon"}, "since is 'soon'"),
            ({"subscribe": 5}, "Expected `str"),
            ({"subscribe": "a", "unsubscribe": "b"}, "either subscribe or unsubscribe"),
            ({}, "either subscribe or unsubscribe"),
            ([], "Expected `object`"),
        ):
            await ws.send_json(wrong)
            assert why in (await ws.receive_json())["error"]
        for raw in ("", "{", "\ud7ff"):
            await ws.send_str(raw)
            assert "error" in await ws.receive_json()
        await ws.send_bytes(b"{}")
        assert (await ws.receive_json())["error"] == "a command is JSON in a text frame"
        assert server.client().pubsub_numsub("a", "c", "d") == [(b"a", 1), (b"c", 1), (b"d", 0)]
        gateway.signal()
        assert (await ws.receive()).data == aiohttp.WSCloseCode.GOING_AWAY
    assert gateway.ended() == ExitCode.OK


def test_there_are_bounds_on_clients_and_channels(server: RedisServer, start: Start, connect: Connect) -> None:
    gateway = start("gateway", MAX_CLIENTS=3, MAX_CHANNELS=2)
    one, two = connect(gateway), connect(gateway, "/channels/o/events")
    third = connect(gateway, "/channels/p/events")
    assert (third.status, third.headers["Retry-After"]) == (503, "1")
    assert connect(gateway).status == 200
    assert connect(gateway).status == 503
    two.close()
    assert eventually(lambda: connect(gateway, "/channels/p/events").status == 200)
    assert not one.ended


def test_it_ends_in_an_orderly_way_with_clients_that_read_and_one_that_does_not(
    server: RedisServer, start: Start, connect: Connect
) -> None:
    gateway = start("gateway", SHUTDOWN_GRACE="2", LOG_MESSAGES="none")
    readers = [connect(gateway) for _ in range(20)] + [connect(gateway, "/system/events")]
    start("publisher", "send", "n", stdin=(b"x" * 60_000 + b"\n") * 20, LOG_MESSAGES="none").ended()
    host, _, port = url(gateway).removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as deaf:
        deaf.sendall(handshake("/ws") + masked(b'{"subscribe":"n","since":"earliest"}'))
        readers[0].wait_for(20)
        began = time.monotonic()
        assert gateway.stop() == ExitCode.OK
        assert time.monotonic() - began < 4
    eventually(lambda: all(reader.ended for reader in readers))
    assert server.client().smembers("fanout:presence") == set()


def test_a_channel_that_may_not_be_read_is_refused_and_the_others_go_on(
    server: RedisServer, start: Start, connect: Connect
) -> None:
    server.client().acl_setuser(
        "limited", enabled=True, passwords=["+p"], keys=["*"], channels=["open*"], commands=["+@all"]
    )
    gateway = start("gateway", REDIS_URL=server.url.replace("//", "//limited:p@"))
    good, bad = connect(gateway, "/channels/open/events"), connect(gateway, "/channels/closed/events")
    assert bad.status == 503
    assert gateway.wait_for("channel_refused")[0]["channel"] == "closed"
    post(gateway, "x", "open")
    assert good.wait_for(1)[0]["data"] == "x"
    assert start("gateway", REDIS_PASSWORD="wrong", INSTANCE="g").ended() == ExitCode.REFUSED_BY_REDIS


async def test_two_thousand_clients_each_get_every_message(server: RedisServer, start: Start) -> None:
    count, messages = 2000, 100
    allow_sockets(count + 500)
    gateway, publisher = start("gateway", LOG_MESSAGES="none"), start("publisher", LOG_MESSAGES="none")
    host, _, port = url(gateway).removeprefix("http://").partition(":")
    post(publisher, "begin")
    before = memory(gateway)
    got: list[list[int]] = [[] for _ in range(count)]

    async def listen(number: int, reader: asyncio.StreamReader) -> None:
        while len(got[number]) < messages:
            line = await reader.readline()
            assert line
            if line.startswith(b"data: "):
                got[number].append(int(json.loads(line[6:])["data"]))

    streams = []
    for _ in range(count):
        reader, writer = await asyncio.open_connection(host, int(port), limit=2**16)
        writer.write(b"GET /channels/n/events HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readuntil(b"retry: 1000\n\n")).startswith(b"HTTP/1.1 200 ")
        streams.append((reader, writer))
    each = (memory(gateway) - before) / count
    listening = [asyncio.create_task(listen(n, reader)) for n, (reader, _) in enumerate(streams)]
    began = time.monotonic()
    sending = asyncio.create_task(asyncio.to_thread(lambda: [post(publisher, str(n)) for n in range(messages)]))
    async with asyncio.timeout(60):
        await asyncio.gather(*listening)
    took = time.monotonic() - began
    await sending
    print(f"\n{count} clients: {each:.1f} kB each; {messages} messages to all in {took:.1f} s")
    assert got == [list(range(messages))] * count
    assert each < 100
    for _, writer in streams:
        writer.transport.abort()
    assert gateway.stop() == ExitCode.OK


def allow_sockets(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))


def memory(service: Service) -> float:
    """Its resident memory in kB."""
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    return float(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))
