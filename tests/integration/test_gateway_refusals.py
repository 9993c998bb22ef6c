"""What the gateway refuses, and that it says why."""

import socket
from collections.abc import Callable

from fanout.errors import ExitCode
from support.event_source import EventSource
from support.gateways import post, request, url
from support.redis_server import RedisServer
from support.service import Service
from support.waiting import eventually

Start = Callable[..., Service]

Connect = Callable[..., EventSource]

REFUSED: list[tuple[str, bytes | None, dict[str, str], int, str]] = [
    ("/channels/a%2Cb/messages", b"x", {}, 400, "a channel name is 1 to 255 bytes"),
    ("/channels/a%0A/messages", b"x", {}, 400, "a channel name is 1 to 255 bytes"),
    ("/channels/n/messages", b"{", {"Content_Type": "application/json"}, 400, "not valid JSON"),
    ("/channels/n/messages", b"\xff", {"Content_Type": "text/plain"}, 400, "not valid UTF-8"),
    ("/channels/n/messages", b"x" * 70000, {"Content_Type": "text/plain"}, 413, "MAX_EVENT"),
    ("/channels/n/messages", b"x", {"Content_Type": "application/cloudevents+avro"}, 415, "is not supported"),
    ("/channels/n/messages", b"x", {"Idempotency_Key": "x" * 300}, 422, "1 to 255"),
    ("/channels/n/messages", b"x", {"Idempotency_Key": "\xff"}, 422, "1 to 255"),
    ("/channels/n/messages", b"x", {"traceparent": "\x85"}, 400, "the header traceparent must be ASCII"),
    ("/channels/n/messages", b"x", {"Origin": "https://elsewhere.example"}, 403, "may not use this service"),
    ("/channels/n/messages", b"x", {"Origin": "null"}, 403, "may not use this service"),
    ("/channels/n/events", None, {"Origin": "https://elsewhere.example"}, 403, "may not use this service"),
    ("/ws", None, {"Origin": "http://127.0.0.1:1"}, 403, "may not use this service"),
    ("/ws", None, {}, 400, "WebSocket"),
    ("/events?channel=%ff", None, {}, 400, "the query is not valid UTF-8"),
    ("/channels/a%7B/events", None, {}, 400, "a channel name is 1 to 255 bytes"),
    ("/channels/n/events?since=soon", None, {}, 400, "since is 'soon', but must be"),
    ("/channels/n/events?since=1-1", None, {}, 400, "since is '1-1', but must be"),
    ("/channels/n/events?since=1-1:x", None, {}, 400, "since is '1-1:x', but must be"),
    ("/channels/n/events", b"x", {}, 405, "Method Not Allowed"),
    ("/page/..%2f..%2fsettings.py", None, {}, 404, "Not Found"),
    ("/nothing", None, {}, 404, "Not Found"),
]


def test_what_cannot_be_is_refused_with_the_reason(server: RedisServer, unharmed: Start) -> None:
    gateway = unharmed("gateway")
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


def test_there_are_bounds_on_clients_and_channels(server: RedisServer, unharmed: Start, connect: Connect) -> None:
    gateway = unharmed("gateway", MAX_CLIENTS=3, MAX_CHANNELS=2)
    one, two = connect(gateway), connect(gateway, "/channels/o/events")
    third = connect(gateway, "/channels/p/events")
    assert (third.status, third.headers["Retry-After"]) == (503, "1")
    assert connect(gateway).status == 200
    assert connect(gateway).status == 503
    two.close()
    assert eventually(lambda: connect(gateway, "/channels/p/events").status == 200)
    assert not one.ended


def test_a_channel_that_may_not_be_read_is_refused_and_the_others_go_on(
    server: RedisServer, unharmed: Start, connect: Connect
) -> None:
    server.client().acl_setuser(
        "limited", enabled=True, passwords=["+p"], keys=["*"], channels=["open*"], commands=["+@all"]
    )
    gateway = unharmed("gateway", REDIS_URL=server.url.replace("//", "//limited:p@"))
    good, bad = connect(gateway, "/channels/open/events"), connect(gateway, "/channels/closed/events")
    assert bad.status == 503
    assert gateway.wait_for("channel_refused")[0]["channel"] == "closed"
    post(gateway, "x", "open")
    assert good.wait_for(1)[0]["data"] == "x"
    assert unharmed("gateway", REDIS_PASSWORD="wrong", INSTANCE="g").ended() == ExitCode.REFUSED_BY_REDIS
