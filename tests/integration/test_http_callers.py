"""Who may ask, and for what path: every port of Fanout answers alike."""

from collections.abc import Callable

import pytest

from support.http_client import Answer, Raw, ask, post, ready
from support.redis_server import RedisServer
from support.service import Service

SITE = "https://app.example"
Start = Callable[..., Service]


@pytest.mark.parametrize(
    ("channel", "status", "said"),
    [
        ("a%2Fb", 202, ""),
        ("gr%C3%BC%C3%9Fe%20%2A", 202, ""),
        ("a+b:(c)", 202, ""),
        ("..", 202, ""),
        ("%2e%2e", 202, ""),
        ("%FF", 400, "the channel in the path is not valid UTF-8"),
        ("a%", 400, "the channel in the path must be percent-encoded"),
        ("%zz", 400, "the channel in the path must be percent-encoded"),
        ("a%2Cb", 400, "a channel name is 1 to 255 bytes of UTF-8 without control characters, commas and braces"),
        ("%00", 400, "a channel name is 1 to 255 bytes of UTF-8 without control characters, commas and braces"),
        ("x" * 256, 400, "a channel name is 1 to 255 bytes of UTF-8 without control characters, commas and braces"),
        ("__proto__", 400, "channel names that begin with __ are reserved"),
        ("%5F_redis__:invalidate", 400, "channel names that begin with __ are reserved"),
        ("", 404, "Not Found"),
        ("a/b", 404, "Not Found"),
    ],
)
def test_a_channel_in_a_path_is_read_alike(
    name: str, start: Start, server: RedisServer, channel: str, status: int, said: str
) -> None:
    service = ready(start(name))
    answer = post(service, b"hello", channel)
    assert (answer.status, said and answer.detail) == (status, said)
    kept = {"a%2Fb": "a/b", "gr%C3%BC%C3%9Fe%20%2A": "grüße *", "%2e%2e": ".."}.get(channel, channel)
    assert [key.decode() for key in server.client().keys("fanout:*:history")] == [f"fanout:{{{kept}}}:history"] * (
        status == 202
    )


@pytest.mark.parametrize("path", ["/channels/a/messages/", "/channels/a", "/channels", "/Channels/a/messages", "//"])
def test_a_path_that_is_none_is_not_found(name: str, start: Start, path: str) -> None:
    answer = ask(start(name), "POST", path, b"x")
    assert (answer.status, answer.detail) == (404, "Not Found")


def test_another_method_is_not_allowed_and_told_which_is(name: str, start: Start) -> None:
    answer = ask(start(name), "DELETE", "/channels/a/messages")
    assert (answer.status, answer.detail, answer.headers["allow"]) == (405, "Method Not Allowed", "POST")


@pytest.mark.parametrize("channel", ["__proto__", "%FF", "%zz"])
def test_reserved_channels_cannot_be_looked_at(start: Start, channel: str) -> None:
    assert ask(start("gateway"), "GET", f"/channels/{channel}/events").status == 400


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        ("https://evil.example", "localhost", False),
        ("null", "localhost", False),
        ("http://localhost", "localhost", True),
        ("http://localhost:80", "localhost", True),
        ("http://localhost", "localhost:80", True),
        ("https://localhost", "localhost:443", True),
        ("https://localhost:443", "localhost", True),
        ("https://LOCALHOST", "localhost", True),
        ("http://localhost", "localhost:443", False),
        ("http://localhost:3000", "localhost:3001", False),
        ("http://[::1]:3000", "[::1]:3000", True),
        ("http://[::1]", "[::1]:80", True),
        (SITE, "localhost", True),
        (f"{SITE}.evil.example", "localhost", False),
    ],
)
def test_a_page_of_another_origin_is_refused(name: str, start: Start, origin: str, host: str, allowed: bool) -> None:
    service = ready(start(name, ORIGINS=SITE))
    answer = post(service, b"x", origin=origin, host=host, content_type="text/plain")
    assert answer.status == (202 if allowed else 403)
    assert "may not use this service; ORIGINS can allow them" in answer.body.decode() or allowed
    readable = answer.headers.get("access-control-allow-origin")
    assert (readable, answer.headers["vary"]) == (origin if origin == SITE else None, "Origin")


def preflight(service: Service, origin: str) -> Answer:
    return ask(service, "OPTIONS", "/channels/a/messages", origin=origin, access_control_request_method="POST")


def test_a_browser_that_asks_first_is_answered_alike(start: Start) -> None:
    answers = [preflight(start(name, ORIGINS=SITE), SITE) for name in ("publisher", "gateway")]
    seen = [
        (answer.status, {key: value for key, value in answer.headers.items() if key.startswith("access-control")})
        for answer in answers
    ]
    assert seen[0] == seen[1]
    assert (seen[0][0], seen[0][1]["access-control-allow-origin"]) == (204, SITE)
    assert "Idempotency-Key" in seen[0][1]["access-control-allow-headers"]
    assert preflight(start("publisher"), SITE).status == 403


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("localhost:3000", True),
        ("LocalHost", True),
        ("fanout.localhost", True),
        ("127.0.0.1:8080", True),
        ("10.1.2.3", True),
        ("[::1]:8080", True),
        ("publisher:3000", True),
        ("gateway:8080", True),
        ("my-replica", True),
        ("app.example", True),
        ("app.example:443", True),
        ("evil.example", False),
        ("localhost.evil.example:3000", False),
        ("publisher.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("1", False),
        ("", False),
        ("localhost:x", False),
    ],
)
def test_a_name_that_somebody_else_has_point_here_is_refused(name: str, start: Start, host: str, allowed: bool) -> None:
    service = start(name, ALLOWED_HOSTS="app.example, other.example", INSTANCE="my-replica")
    answer = ask(service, "GET", "/healthz", host=host, origin=f"http://{host}")
    assert answer.status == (200 if allowed else 403)
    assert "ALLOWED_HOSTS can add it" in answer.body.decode() or allowed


def test_every_name_is_allowed_where_that_is_said(name: str, start: Start) -> None:
    assert ask(start(name, ALLOWED_HOSTS="*"), "GET", "/healthz", host="evil.example").status == 200


@pytest.mark.parametrize("path", ["/page/" + "x" * 256, "/page/%00", "/page/..%2fapp.py", "/page/", "/page/a/b"])
def test_a_page_that_there_is_not_is_not_found(start: Start, path: str) -> None:
    service = start("gateway")
    answer = ask(service, "GET", path)
    assert (answer.status, answer.detail) == (404, "Not Found")
    assert [line for line in service.lines if line["level"] != "info" and line["event"] != "connect_failed"] == []
    assert ask(service, "GET", "/page/style.css").status == 200


def test_the_documentation_can_be_turned_off(start: Start) -> None:
    assert ask(start("publisher"), "GET", "/docs").status == 200
    without = start("publisher", API_DOCS="off")
    assert {ask(without, "GET", path).status for path in ("/docs", "/redoc", "/openapi.json")} == {404}


@pytest.mark.parametrize("headers_too", [True, False])
def test_a_request_that_is_broken_off_leaves_no_traceback(name: str, start: Start, headers_too: bool) -> None:
    service = ready(start(name))
    for _ in range(3):
        with Raw(service) as raw:
            raw.send(b"POST /channels/a/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n")
            raw.send(b"\r\nhalf" if headers_too else b"")
    assert post(service, b"x").status == 202
    lines = [line for line in service.lines if line["event"] != "connect_failed"]  # which a busy machine may bring
    assert [line for line in lines if line["level"] != "info" or "exception" in line] == []
