"""The port of the metrics, with others than Prometheus at it."""

import contextlib
import http.client
import os
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlparse

import pytest

from fanout.errors import ExitCode
from fanout.service import scrapes
from support.redis_server import RedisServer
from support.service import Service
from support.waiting import eventually

Start = Callable[..., Service]
IDLE = 300


def address(service: Service) -> tuple[str, int]:
    at = urlparse(service.wait_for("started")[0]["metrics"])
    assert at.hostname and at.port
    return at.hostname, at.port


def scrape(service: Service) -> tuple[float, bytes]:
    """How long a scrape took, and what it answered."""
    began = time.monotonic()
    with urllib.request.urlopen(service.wait_for("started")[0]["metrics"], timeout=10) as answer:
        return time.monotonic() - began, answer.read()


@contextlib.contextmanager
def connections(service: Service, count: int, *, says: bytes = b"") -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(socket.create_connection(address(service), 5)) for _ in range(count)]
        for one in opened:
            with contextlib.suppress(OSError):  # cut off by then
                one.sendall(says)
        yield opened


def cut(one: socket.socket) -> bool:
    one.setblocking(False)
    try:
        return one.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


@pytest.mark.parametrize("says", [b"", b"GET /metr", b"\x16\x03\x01"])
@pytest.mark.parametrize("name", ["subscriber", "publisher", "gateway"])
def test_idle_connections_hold_no_scrape_up_and_are_closed(start: Start, name: str, says: bytes) -> None:
    service = start(name)
    service.wait_for("connected")
    files = len(os.listdir(f"/proc/{service.process.pid}/fd"))
    threads = len(os.listdir(f"/proc/{service.process.pid}/task"))
    with connections(service, IDLE, says=says) as idle:
        for _ in range(5):
            took, text = scrape(service)
            assert took < 1
            assert b"fanout_info" in text
        assert len(os.listdir(f"/proc/{service.process.pid}/task")) == threads
        assert len(os.listdir(f"/proc/{service.process.pid}/fd")) <= files + scrapes.CONNECTIONS + 5
        eventually(lambda: all(map(cut, idle)), scrapes.WITHIN + 3)
    eventually(lambda: len(os.listdir(f"/proc/{service.process.pid}/fd")) <= files + 1)
    assert service.stop() == ExitCode.OK


def test_messages_the_heartbeat_and_reconnects_go_on_beside_idle_connections(
    tmp_path: Path, server: RedisServer, start: Start
) -> None:
    heartbeat = tmp_path / "heartbeat"
    subscriber = start("subscriber", HEARTBEAT_FILE=heartbeat)
    subscriber.wait_for("live")
    with connections(subscriber, IDLE):
        server.kill()
        subscriber.wait_for("connection_lost")
        server.start()
        subscriber.wait_for("live", 2)
        assert start("publisher", "send", "notifications", "x").ended() == ExitCode.OK
        subscriber.wait_for("message_received")
        seen = heartbeat.stat().st_mtime
        eventually(lambda: heartbeat.stat().st_mtime > seen)
    assert not [line for line in subscriber.lines if line["event"] in {"NO JSON", "library_log", "crashed"}]


def test_who_asks_and_does_not_read_is_cut_off(start: Start) -> None:
    subscriber = start("subscriber")
    with contextlib.ExitStack() as stack:
        deaf = [stack.enter_context(socket.socket()) for _ in range(20)]
        for one in deaf:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            one.connect(address(subscriber))
            one.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert scrape(subscriber)[0] < 1
        time_is_up = time.monotonic() + scrapes.WITHIN + 3
        port = f":{address(subscriber)[1]:04X}"

        def open_there() -> int:
            rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines())
            return sum(row[1].endswith(port) and row[3] == "01" for row in rows if len(row) > 3)

        eventually(lambda: open_there() == 0, time_is_up - time.monotonic())


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("GET /metrics HTTP/1.1", 200),
        ("GET / HTTP/1.0", 200),
        ("HEAD /metrics?name[]=up HTTP/1.1", 200),
        ("GET /other HTTP/1.1", 404),
        ("POST /metrics HTTP/1.1", 400),
        ("hello", 400),
        ("GET  /metrics HTTP/1.1", 400),
        ("\xff\x00", 400),
    ],
)
def test_a_request_is_answered_and_the_connection_closed(start: Start, request_line: str, status: int) -> None:
    with socket.create_connection(address(start("subscriber")), 5) as client:
        for part in (request_line, "\r\nHost: x\r\nACCEPT: application/openmetrics-text", "; version=1.0.0\r\n\r\n"):
            client.sendall(part.encode("latin-1"))
        answer = http.client.HTTPResponse(client, method=request_line.partition(" ")[0])
        answer.begin()
        body = answer.read()
        assert answer.status == status
        assert client.recv(1) == b""
        if status == 200:
            assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
            assert body.endswith(b"# EOF\n") or request_line.startswith("HEAD")
        answer.close()


def test_a_head_without_end_is_cut_off(start: Start) -> None:
    with socket.create_connection(address(start("subscriber")), 5) as client, pytest.raises(OSError):
        while True:
            client.sendall(b"GET /metrics HTTP/1.1\r\n" + b"x: y\r\n" * 1000)
