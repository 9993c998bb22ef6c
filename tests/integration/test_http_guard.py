"""What strangers send, or do not send, costs a service little, and keeps nobody else from it."""

import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from support.http_client import Raw, ask, post, ready
from support.service import Service
from support.waiting import eventually

Start = Callable[..., Service]
HALF = b"POST /channels/n/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 65000\r\n\r\n" + b"x" * 60_000
STREAM = b"GET /channels/n/events HTTP/1.1\r\nHost: localhost\r\n\r\n"


def troubles(service: Service) -> list[dict[str, Any]]:
    """What the service logged beside its ordinary lines; a busy machine may bring a first attempt that is too short."""
    lines = [line for line in service.lines if line["event"] != "connect_failed"]
    return [line for line in lines if line["level"] in {"warning", "error", "critical"}]


def resident(service: Service) -> int:
    """Bytes of memory, and the most that there ever were."""
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024  # type: ignore[index]


def connect(service: Service) -> socket.socket:
    parts = urlsplit(service.wait_for("started")[0]["http"])
    return socket.create_connection((parts.hostname, parts.port), timeout=20)


@pytest.fixture
def crowd() -> Iterator[Callable[[Service, int, bytes], None]]:
    """Opens connections that send something and then nothing."""
    with ExitStack() as stack:

        def come(service: Service, count: int, data: bytes) -> None:
            for _ in range(count):
                one = stack.enter_context(closing(connect(service)))
                try:
                    one.sendall(data)
                except ConnectionError:
                    continue

        yield come


def test_thousands_of_half_sent_bodies_take_little_memory_and_hold_up_nobody(
    name: str, start: Start, crowd: Callable[[Service, int, bytes], None]
) -> None:
    service = ready(start(name))
    assert post(service, b"before").status == 202
    before = resident(service)
    for _ in range(30):
        crowd(service, 100, HALF)
        began = time.monotonic()
        assert post(service, b"meanwhile").status == 202
        assert time.monotonic() - began < 2
    assert resident(service) - before < 80 * 2**20
    assert troubles(service) == []


@pytest.mark.parametrize(
    "data", [b"", b"POST /chan", b"POST /channels/n/messages HTTP/1.1\r\nHost: localhost\r\n", HALF]
)
def test_a_request_that_is_not_complete_in_time_is_ended(name: str, start: Start, data: bytes) -> None:
    with Raw(start(name, REQUEST_TIMEOUT="0.5s")) as raw:
        raw.send(data)
        answer = raw.answer()
        assert (answer.status, answer.detail) == (408, "the request was not complete within 0.5 s")
        assert raw.closed()


def test_a_request_that_trickles_in_is_ended_too(name: str, start: Start) -> None:
    with Raw(start(name, REQUEST_TIMEOUT="1s")) as raw:
        began = time.monotonic()
        with pytest.raises(ConnectionError):
            for byte in HALF * 2:
                raw.send(bytes([byte]))
                time.sleep(0.05)
        assert time.monotonic() - began < 10


def test_more_connections_than_may_be_make_room_for_each_other(
    name: str, start: Start, crowd: Callable[[Service, int, bytes], None]
) -> None:
    service = ready(start(name, MAX_CONNECTIONS=20, MAX_CLIENTS=20))
    crowd(service, 100, b"")
    assert post(service, b"x").status == 202
    crowd(service, 100, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert post(service, b"x").status == 202
    crowd(service, 100, b"GET /healthz HTTP/1.1\r\n")
    assert post(service, b"x").status == 202


def test_who_makes_way_between_two_requests_is_given_no_answer_to_none(
    name: str, start: Start, crowd: Callable[[Service, int, bytes], None]
) -> None:
    service = ready(start(name, MAX_CONNECTIONS=20, MAX_CLIENTS=20))
    with Raw(service) as raw:
        raw.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert raw.answer().status == 200
        crowd(service, 30, b"")
        assert raw.closed()


def test_who_sends_nothing_does_not_make_way_for_halves(
    name: str, start: Start, crowd: Callable[[Service, int, bytes], None]
) -> None:
    service = ready(start(name, REQUEST_BUFFER="1MiB"))
    with Raw(service) as raw:
        for _ in range(3):
            raw.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert raw.answer().status == 200
            crowd(service, 50, HALF)


def test_clients_that_are_served_are_not_sent_away_for_newcomers(start: Start) -> None:
    gateway = ready(start("gateway", MAX_CLIENTS=3))
    with ExitStack() as stack:
        streams = [stack.enter_context(Raw(gateway)) for _ in range(3)]
        for stream in streams:
            stream.send(STREAM)
            assert stream.answer().status == 200
        refused = ask(gateway, "GET", "/healthz")
        assert (refused.status, refused.detail) == (503, "the service has too many connections")
        assert refused.headers["retry-after"] == "1"
        streams.pop().__exit__()
        eventually(lambda: post(gateway, b"x").status == 202)
        for stream in streams:
            assert stream._file.readline() != b""


def test_an_address_has_its_own_bound_and_one_behind_a_proxy_too(start: Start) -> None:
    gateway = ready(start("gateway", MAX_PER_ADDRESS=2, TRUSTED_PROXIES="127.0.0.0/8"))

    def stream(stack: ExitStack, forwarded: str) -> int:
        raw = stack.enter_context(Raw(gateway))
        raw.send(STREAM[:-2] + f"X-Forwarded-For: {forwarded}\r\n\r\n".encode())
        return raw.answer().status

    with ExitStack() as stack:
        assert [stream(stack, "6.6.6.6, 10.0.0.1") for _ in range(3)] == [200, 200, 503]
        assert stream(stack, "10.0.0.1, 10.0.0.2") == 200
        assert stream(stack, "10.0.0.1, 127.0.0.1") == 503
    with ExitStack() as stack:
        direct = ready(start("gateway", MAX_PER_ADDRESS=2))
        gateway = direct
        assert [stream(stack, f"10.0.0.{n}") for n in range(3)] == [200, 200, 503]


REQUEST = b"POST /channels/n/messages HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize(
    ("sent", "status", "said"),
    [
        (REQUEST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "either a content-length"),
        (REQUEST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 400, "either a content-length"),
        (REQUEST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400, "either a content-length"),
        (REQUEST + b"Transfer-Encoding: identity\r\n\r\n", 400, "either a content-length"),
        (REQUEST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "transfer-encoding twice"),
        (REQUEST + b"Transfer-Encoding : chunked\r\n\r\n", 400, "on one line"),
        (REQUEST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n", 400, "either a content-length"),
        (REQUEST + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400, "content-length twice"),
        (REQUEST + b"Content-Length: +1\r\n\r\nx", 400, "must be a number"),
        (REQUEST + b"Content-Length: 1, 1\r\n\r\nx", 400, "must be a number"),
        (REQUEST + b"Content-Length: \xb2\r\n\r\nx", 400, "must be a number"),
        (REQUEST + b"Content-Length: 65537\r\n\r\n", 413, "more than MAX_EVENT (65536) bytes"),
        (REQUEST + b"Transfer-Encoding: chunked\r\n\r\n10001\r\n", 413, "more than MAX_EVENT (65536) bytes"),
        (REQUEST + b"Transfer-Encoding: chunked\r\n\r\n1\nx\r\n0\r\n\r\n", 400, "a chunk must begin"),
        (REQUEST + b"Transfer-Encoding: chunked\r\n\r\n1;a=b\r\nx\r\n0\r\n\r\n", 400, "a chunk must begin"),
        (REQUEST + b"Transfer-Encoding: chunked\r\n\r\n0x1\r\nx\r\n0\r\n\r\n", 400, "a chunk must begin"),
        (REQUEST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n", 400, "a chunk must end with CR LF"),
        (REQUEST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n", 400, "a chunk must end with CR LF"),
        (REQUEST + b"X-A: b\r\n folded\r\n\r\n", 400, "on one line"),
        (REQUEST + b"X-A: b\r\n\tfolded\r\n\r\n", 400, "on one line"),
        (REQUEST + b"X-A: b\nX-B: c\r\n\r\n", 400, "must end with CR LF"),
        (REQUEST.replace(b"\r\n", b"\n") + b"\n", 400, "must end with CR LF"),
        (REQUEST + b"X-A: b\rc\r\n\r\n", 400, "must end with CR LF"),
        (REQUEST + b"X-A: b\0c\r\n\r\n", 400, "on one line"),
        (REQUEST + b": b\r\n\r\n", 400, "on one line"),
        (REQUEST + b"Host: localhost\r\n\r\n", 400, "host twice"),
        (REQUEST.replace(b"Host", b"Hosts") + b"\r\n", 400, "no host"),
        (REQUEST + b"X: " + b"y" * 20_000 + b"\r\n\r\n", 431, "more than 16384 bytes"),
        (REQUEST + b"X: y\r\n" * 200 + b"\r\n", 431, "more than 100 headers"),
        (b"GET /healthz\r\n\r\n", 400, "must begin with a method"),
        (b"GET http://localhost/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, "must begin with a method"),
        (b"CONNECT localhost:1 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, "must begin with a method"),
        (b"GET  /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, "must begin with a method"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "must begin with a method"),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400, "must begin with a method"),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused_and_the_connection_closed(
    name: str, start: Start, sent: bytes, status: int, said: str
) -> None:
    service = ready(start(name))
    with Raw(service) as raw:
        raw.send(sent)
        answer = raw.answer()
        assert (answer.status, said in answer.detail) == (status, True), answer.detail
        assert answer.headers["connection"] == "close"
        assert raw.closed()
    assert troubles(service) == []


def test_requests_are_read_however_they_are_cut(name: str, start: Start) -> None:
    service = ready(start(name))
    chunked = REQUEST + b"Transfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n0A\r\n0123456789\r\n0\r\n\r\n"
    plain = REQUEST + b"Content-Length: 5\r\n\r\nhello"
    stream = plain + b"\r\n" + chunked + b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" + plain
    for size in (1, 2, 7, 100, len(stream)):
        with Raw(service) as raw:
            for begin in range(0, len(stream), size):
                raw.send(stream[begin : begin + size])
            assert [raw.answer().status for _ in range(4)] == [202, 202, 200, 202]


def test_a_client_that_asks_whether_to_go_on_is_told_so(name: str, start: Start) -> None:
    with Raw(ready(start(name))) as raw:
        raw.send(REQUEST + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert raw.answer().status == 100
        raw.send(b"hello")
        assert raw.answer().status == 202


def test_a_connection_that_was_not_upgraded_is_closed(start: Start) -> None:
    gateway = ready(start("gateway"))
    with Raw(gateway) as raw:
        raw.send(b"GET /nothing HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        assert raw.answer().status == 404
        assert raw.closed()


def test_a_service_ends_although_clients_are_connected_that_say_nothing(
    name: str, start: Start, crowd: Callable[[Service, int, bytes], None]
) -> None:
    service = ready(start(name))
    crowd(service, 5, b"")
    crowd(service, 5, HALF)
    crowd(service, 5, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    began = time.monotonic()
    assert service.stop() == 0
    assert time.monotonic() - began < 5
