"""The publisher's HTTP API."""

import contextlib
import http.client
import json
import re
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from fanout.errors import ExitCode
from support.entries import retained
from support.redis_server import RedisServer
from support.service import Service
from support.waiting import eventually

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
    assert len(retained(server.client(), "c")) >= len(answered)
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
        ("c", b"NaN", "application/json", 400, "not valid JSON"),
        ("c", b"[" * 60000, "application/json", 400, "not valid JSON"),
        ("c", b'"\\ud800"', "application/json", 400, "surrogates not allowed"),
        ("c", b"\xff", "text/plain", 400, "not valid UTF-8"),
        ("c", b"x" * 70000, "text/plain", 413, "MAX_EVENT"),
        ("c", b"x" * 65500, "text/plain", 413, "MAX_EVENT"),
        ("c", b"x", "application/cloudevents+avro", 415, "is not supported"),
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
