import contextlib
import http.client
import json
import re
import signal
import socket
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fanout.errors import ExitCode
from redis_server import RedisServer
from service import Service
from waiting import eventually

Start = Callable[..., Service]


def api(publisher: Service) -> str:
    return str(publisher.wait_for("started")[0]["http"])


def post(url: str, body: bytes, kind: str | None = None, **headers: str) -> tuple[int, Any]:
    request = urllib.request.Request(url, data=body, method="POST", headers=headers)
    request.add_header("Content-Type", kind or "application/x-www-form-urlencoded")
    try:
        with urllib.request.urlopen(request, timeout=15) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def waiting(publisher: Service) -> int:
    try:
        with urllib.request.urlopen(f"{api(publisher)}/readyz", timeout=5) as answer:
            return int(json.load(answer)["waiting"])
    except urllib.error.HTTPError as error:
        with error:
            return int(json.load(error)["waiting"])


def test_messages_reach_every_subscriber_once_with_all_fields(server: RedisServer, start: Start) -> None:
    subscribers = [start("subscriber", INSTANCE=f"s{n}") for n in range(3)]
    for subscriber in subscribers:
        subscriber.wait_for("subscribed")
    lines = "".join(f"line {n}\n" for n in range(20)).encode()
    publisher = start("publisher", "send", "notifications", stdin=lines)
    assert publisher.ended() == ExitCode.OK
    for subscriber in subscribers:
        received = subscriber.wait_for("message_received", 20)
        assert [line["data"] for line in received] == [f"line {n}" for n in range(20)]
        assert [line["id"] for line in received] == [str(n) for n in range(1, 21)]
        first = received[0]
        assert list(first)[:5] == ["timestamp", "level", "event", "service", "instance"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", first["timestamp"])
        assert first["channel"] == "notifications"
        assert first["source"].startswith("/notifications/")
        assert 0 <= first["latency_ms"] < 10_000
        assert subscriber.wait_for("traffic")[0]["received"] > 0


def test_a_message_of_anyone_arrives_as_it_came(server: RedisServer, start: Start) -> None:
    subscriber = start("subscriber", CHANNELS="a, b", PATTERNS="news.*")
    subscriber.wait_for("subscribed")
    client = server.client()
    for channel, data in (
        ("a", b"hello"),
        ("news.sport", b'{"goal":1}'),
        ("b", b"\xff\x00"),
        ("other", b"unseen"),
        ("a", b""),
    ):
        client.publish(channel, data)
    received = subscriber.wait_for("message_received", 4)
    assert [(line["channel"], line["data"]) for line in received] == [
        ("a", "hello"),
        ("news.sport", '{"goal":1}'),
        ("b", "b'\\xff\\x00'"),
        ("a", ""),
    ]
    assert all(line["plain"] for line in received)


def test_the_api_publishes_text_and_json(server: RedisServer, start: Start) -> None:
    subscriber, publisher = start("subscriber", PATTERNS="*"), start("publisher")
    subscriber.wait_for("subscribed")
    url = api(publisher)
    status, answer = post(f"{url}/channels/notifications/messages", b"hello")
    assert (status, answer["id"]) == (202, "1")
    assert answer["source"].startswith("/notifications/")
    assert post(f"{url}/channels/gr%C3%BC%C3%9Fe%20x/messages", b'{"a":[1]}', "application/json")[0] == 202
    received = subscriber.wait_for("message_received", 2)
    assert [(line["channel"], line["data"]) for line in received] == [
        ("notifications", "hello"),
        ("grüße x", {"a": [1]}),
    ]
    assert (received[0]["source"], received[0]["id"]) == (answer["source"], answer["id"])


def test_a_publisher_that_is_stopped_answers_what_it_has_taken(server: RedisServer, start: Start) -> None:
    publisher = start("publisher")
    address = urllib.parse.urlsplit(api(publisher))
    answered: list[int] = []

    def go_on() -> None:
        connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=20)
        with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
            while True:
                connection.request("POST", "/channels/c/messages", b"x", {"Content-Type": "text/plain"})
                answer = connection.getresponse()
                answer.read()
                answered.append(answer.status)

    callers = [threading.Thread(target=go_on) for _ in range(4)]
    for caller in callers:
        caller.start()
    eventually(lambda: len(answered) > 50)
    assert publisher.stop(within=4) == ExitCode.OK
    for caller in callers:
        caller.join(5)
    assert set(answered) == {202}
    assert server.client().xlen("fanout:{c}:history") >= len(answered)
    assert not [line for line in publisher.lines if line["level"] in {"error", "critical"}]


def test_a_publisher_that_is_stopped_without_redis_says_what_it_could_not_deliver(
    server: RedisServer, start: Start
) -> None:
    publisher = start("publisher", SHUTDOWN_GRACE=1)
    publisher.wait_for("connected")
    server.kill()
    publisher.wait_for("connection_lost")
    caller = threading.Thread(target=post, args=(f"{api(publisher)}/channels/c/messages", b"x", "text/plain"))
    caller.start()
    eventually(lambda: waiting(publisher) == 1)
    assert publisher.stop(within=8) == ExitCode.UNDELIVERED
    caller.join(5)
    assert "1 events never reached Redis" in publisher.events("failed")[0]["reason"]
    assert not [line for line in publisher.lines if "exception" in line]


@pytest.mark.parametrize(
    ("path", "body", "kind", "status", "why"),
    [
        ("a%2Cb", b"x", None, 400, "a channel name is 1 to 255 bytes"),
        ("a%0A", b"x", None, 400, "a channel name is 1 to 255 bytes"),
        ("c", b"{", "application/json", 400, "not valid JSON"),
        ("c", b"NaN", "application/json", 400, "NaN is no JSON value"),
        ("c", b"[" * 60000, "application/json", 400, "not valid JSON"),
        ("c", b'"\\ud800"', "application/json", 400, "cannot be written as JSON"),
        ("c", b"\xff", "text/plain", 400, "not valid UTF-8"),
        ("c", b"x" * 70000, "text/plain", 413, "MAX_EVENT"),
        ("c", b"x" * 65500, "text/plain", 413, "MAX_EVENT"),
        ("c", b"x", "image/png", 415, "image/png"),
    ],
)
def test_the_api_says_what_is_wrong_with_a_request(
    start: Start, path: str, body: bytes, kind: str, status: int, why: str
) -> None:
    publisher = start("publisher")
    publisher.wait_for("connected")
    answered, detail = post(f"{api(publisher)}/channels/{path}/messages", body, kind)
    assert (answered, why in str(detail)) == (status, True), detail
    assert publisher.stop() == ExitCode.OK
    assert not publisher.events("crashed")


def test_the_api_tells_how_the_publisher_is(server: RedisServer, start: Start) -> None:
    publisher = start("publisher")
    publisher.wait_for("connected")
    url = api(publisher)

    def get(path: str) -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(url + path, timeout=5) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    assert get("/healthz")[0] == get("/readyz")[0] == 200
    schema = json.loads(get("/openapi.json")[1])
    assert set(schema["paths"]["/channels/{channel}/messages"]["post"]["responses"]) >= {
        "202",
        "400",
        "413",
        "415",
        "503",
    }
    page = get("/docs")[1].decode()
    assert "swagger" in page
    assert "//" not in re.sub(r"<!--.*?-->|// ", "", page).replace("://", "").replace("https", "") or "cdn" not in page
    server.kill()
    eventually(lambda: get("/readyz")[0] == 503)
    assert get("/healthz")[0] == 200


def test_the_steady_load_keeps_its_rate_and_stops_at_its_count(server: RedisServer, start: Start) -> None:
    subscriber = start("subscriber", LOG_MESSAGES="1/10")
    subscriber.wait_for("subscribed")
    publisher = start("publisher", PUBLISH_RATE=500, PUBLISH_COUNT=500, LOG_MESSAGES="none")
    finished = publisher.wait_for("load_finished")[0]
    assert finished["count"] == 500
    assert 0.9 <= finished["took_s"] < 3
    subscriber.wait_for("message_received", 50)
    assert publisher.stop() == ExitCode.OK
    assert publisher.events("stopped")[0]["accepted"] == 500
    assert not publisher.events("message_published")
    assert subscriber.stop() == ExitCode.OK
    assert subscriber.events("stopped")[0]["received"] == 500


def test_the_heartbeat_greets_at_its_interval(start: Start) -> None:
    publisher = start("publisher", PUBLISH_INTERVAL="200ms")
    published = publisher.wait_for("message_published", 4)
    assert all(line["data"].startswith("Hello at 20") for line in published)


def test_the_plain_wire_format_is_the_bare_text(server: RedisServer, start: Start) -> None:
    listener = server.client().pubsub()
    listener.subscribe("notifications")
    assert (
        start("publisher", "send", "notifications", "hello", WIRE_FORMAT="plain", HISTORY_SIZE=0).ended() == ExitCode.OK
    )
    got = eventually(lambda: (m := listener.get_message(timeout=1)) and m["type"] == "message" and m)
    assert got["data"] == b"hello"
    listener.close()


def test_lines_that_cannot_be_published_are_named_and_the_others_go_out(server: RedisServer, start: Start) -> None:
    publisher = start("publisher", "send", "notifications", stdin=b"good\n\xff\n" + b"x" * 70000 + b"\nalso good\n")
    assert publisher.ended() == ExitCode.BAD_INPUT
    assert [line["line"] for line in publisher.events("line_refused")] == [2, 3]
    assert [line["data"] for line in publisher.events("message_published")] == ["good", "also good"]
    assert publisher.lines[-1]["reason"] == "2 of 4 lines could not be published"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("name", ["publisher", "subscriber"])
def test_a_signal_ends_an_idle_service_within_two_seconds(start: Start, name: str, number: int) -> None:
    service = start(name)
    service.wait_for("connected")
    service.signal(number)
    assert service.ended(within=2) == ExitCode.OK
    assert [line["event"] for line in service.lines if line["event"] != "library_log"][-2:] == ["stopping", "stopped"]


def test_a_second_signal_ends_at_once_also_with_a_handler_that_blocks(tmp_path: Path, start: Start) -> None:
    for kind in ("async def", "def"):
        subscriber = start(
            "subscriber",
            HANDLER="mine:handle",
            PYTHONPATH=handlers(tmp_path, f"import time\n{kind} handle(m):\n    time.sleep(60)\n"),
        )
        subscriber.wait_for("subscribed")
        start("publisher", "send", "notifications", "x").ended()
        subscriber.wait_for("message_received")
        subscriber.signal()
        subscriber.wait_for("stopping")
        began = time.monotonic()
        subscriber.signal()
        assert subscriber.ended() == ExitCode.FORCED
        assert time.monotonic() - began < 1


def test_a_message_that_cannot_be_delivered_before_the_end_is_counted(server: RedisServer, start: Start) -> None:
    publisher = start("publisher", PUBLISH_INTERVAL="0.1", SHUTDOWN_GRACE="0.3")
    publisher.wait_for("message_published")
    server.kill()
    publisher.wait_for("connect_failed", 3)
    assert publisher.stop(within=3) == ExitCode.UNDELIVERED
    assert "never reached Redis" in publisher.lines[-1]["reason"]


def test_a_port_that_is_taken_ends_with_one_clear_line(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        publisher = start("publisher", HTTP_PORT=port)
        assert publisher.ended() == ExitCode.BAD_INPUT
    assert f"127.0.0.1:{port}" in publisher.lines[-1]["reason"]
    assert "must be an address that is free" in publisher.lines[-1]["reason"]


def test_a_bad_setting_ends_with_one_clear_line(start: Start) -> None:
    service = start("subscriber", DEAD_AFTER="soon")
    assert service.ended() == ExitCode.BAD_INPUT
    assert len(service.lines) == 1
    assert service.lines[0]["event"] == "failed"


def handlers(folder: Path, code: str) -> str:
    (folder / "mine.py").write_text(code)
    root = Path(__file__).resolve().parents[2] / "services"
    return f"{folder}:{root}/fanout:{root}/subscriber"


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("", "mine has no 'handle'"),
        ("handle = 5", "'handle' is no function"),
        ("import nothing_like_this", "No module named 'nothing_like_this'"),
        ("raise RuntimeError('boom')", "RuntimeError: boom"),
        ("def broken(:", "SyntaxError"),
    ],
)
def test_a_handler_that_cannot_be_loaded_ends_with_one_clear_line(
    tmp_path: Path, start: Start, code: str, why: str
) -> None:
    service = start("subscriber", HANDLER="mine:handle", PYTHONPATH=handlers(tmp_path, code))
    assert service.ended() == ExitCode.BAD_INPUT
    assert why in service.lines[-1]["reason"]


BLOCKING = """
import time, threading
def handle(message):
    if message.data == "bad": raise ValueError("no such thing")
    time.sleep(0.3)
    print('{"event":"handled","data":"%s","thread":"%s"}' % (message.data, threading.current_thread().name), flush=True)
"""


def test_a_blocking_handler_runs_beside_reading_and_its_errors_end_nothing(tmp_path: Path, start: Start) -> None:
    subscriber = start("subscriber", HANDLER="mine:handle", PYTHONPATH=handlers(tmp_path, BLOCKING), DEAD_AFTER="0.5")
    subscriber.wait_for("subscribed")
    start("publisher", "send", "notifications", stdin=b"one\nbad\nthree\nfour\n").ended()
    handled = subscriber.wait_for("handled", 3)
    assert [line["data"] for line in handled] == ["one", "three", "four"]
    assert len({line["thread"] for line in handled}) == 1
    failed = subscriber.events("handler_failed")
    assert [(line["data"], "ValueError: no such thing" in line["exception"]) for line in failed] == [("bad", True)]
    assert not subscriber.events("connection_lost")
    assert subscriber.stop() == ExitCode.OK
    assert subscriber.lines[-1]["handler_failures"] == 1


ASYNC = """
import asyncio
busy = 0
async def handle(message):
    global busy
    busy += 1
    assert busy == 1
    await asyncio.sleep(0.05)
    busy -= 1
    if message.data == "bad": raise asyncio.CancelledError
    print('{"event":"handled","data":"%s"}' % message.data, flush=True)
"""


def test_an_async_handler_is_awaited_one_message_at_a_time(tmp_path: Path, start: Start) -> None:
    subscriber = start("subscriber", HANDLER="mine:handle", PYTHONPATH=handlers(tmp_path, ASYNC))
    subscriber.wait_for("subscribed")
    start("publisher", "send", "notifications", stdin=b"one\nbad\nthree\nfour\n").ended()
    assert [line["data"] for line in subscriber.wait_for("handled", 3)] == ["one", "three", "four"]
    assert len(subscriber.events("handler_failed")) == 1


LIBRARY = """
import logging, warnings, threading
def handle(message):
    logging.getLogger("lib").warning("careful: %s", message.data)
    warnings.warn("old way", DeprecationWarning)
    print(bytes([0x7b]).decode() + '"event":"handled"' + bytes([0x7d]).decode(), flush=True)
    threading.Thread(target=lambda: 1 / 0).start()
"""


def test_every_line_is_json_also_of_libraries_and_uncaught_exceptions(tmp_path: Path, start: Start) -> None:
    subscriber = start(
        "subscriber", HANDLER="mine:handle", PYTHONPATH=handlers(tmp_path, LIBRARY), PYTHONWARNINGS="default"
    )
    subscriber.wait_for("subscribed")
    start("publisher", "send", "notifications", "x").ended()
    subscriber.wait_for("handled")
    crash = subscriber.wait_for("crashed")[0]
    assert "ZeroDivisionError" in crash["exception"]
    logged = subscriber.events("library_log")
    assert {"logger": "lib", "message": "careful: x"}.items() <= logged[0].items()
    assert "old way" in logged[1]["message"]
    assert not subscriber.events("NO JSON")


def test_the_heartbeat_file_follows_the_main_loop(tmp_path: Path, server: RedisServer, start: Start) -> None:
    for name in ("subscriber", "publisher"):
        heartbeat = tmp_path / name
        server.stop()
        service = start(name, HEARTBEAT_FILE=heartbeat, DEAD_AFTER="1")
        service.wait_for("connect_failed", 2)
        assert not heartbeat.exists()
        server.start()
        eventually(heartbeat.exists)
        first = heartbeat.stat().st_mtime
        eventually(lambda path=heartbeat, since=first: path.stat().st_mtime > since)
        server.kill()
        service.wait_for("connection_lost")
        second = heartbeat.stat().st_mtime
        eventually(lambda path=heartbeat, since=second: path.stat().st_mtime > since)
        server.start()
