"""The program that publishes a report's messages, against a real publisher."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from support.redis_server import RedisServer
from support.service import ROOT, Service

Start = Callable[..., Service]


def probe(
    url: str, count: int, within: float, channel: str = "notifications", waits: Callable[[], object] = lambda: None
) -> list[dict[str, Any]]:
    """What it prints; calls `waits` at each row that says that it waits."""
    options = {"url": url, "channel": channel, "run": "r", "count": count, "rate": 50, "within": within}
    command = [sys.executable, "-m", "fanout.cli", "probe", *(f"--{name}={value}" for name, value in options.items())]
    rows: list[dict[str, Any]] = []
    env = os.environ | {"PYTHONPATH": str(ROOT / "services/fanout")}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            rows.append(json.loads(line))
            if "waits" in rows[-1]:
                waits()
    assert process.returncode == 0
    return rows


def test_what_is_answered_503_is_sent_again_and_published_once(server: RedisServer, start: Start) -> None:
    subscriber, publisher = start("subscriber", DEAD_AFTER=60), start("publisher", DEAD_AFTER=60)
    subscriber.wait_for("live")
    url = publisher.wait_for("started")[0]["http"]
    publisher.wait_for("connected")
    server.signal(signal.SIGSTOP)
    rows = probe(url, 3, 60, waits=lambda: server.signal(signal.SIGCONT))
    assert (
        "the publisher answers 503: Redis has not accepted the event within 10 s: it may be published or not"
        in rows[0]["waits"]
    )
    accepted = [row for row in rows if "id" in row]
    assert [row["n"] for row in accepted] == [1, 2, 3]
    received = subscriber.wait_for("message_received", 3)
    assert [line["data"] for line in received] == ["report r 1 of 3", "report r 2 of 3", "report r 3 of 3"]
    assert [(line["source"], line["id"]) for line in received] == [(row["source"], row["id"]) for row in accepted]


def test_a_publisher_that_is_not_there_is_said_in_time(server: RedisServer, start: Start) -> None:
    publisher = start("publisher")
    url = publisher.wait_for("started")[0]["http"]
    assert publisher.stop() == 0
    assert "Connection refused" in probe(url, 3, 1)[-1]["failed"]


def test_what_the_api_will_never_take_is_not_tried_again(server: RedisServer, start: Start) -> None:
    (row,) = probe(start("publisher").wait_for("started")[0]["http"], 3, 10, channel="a{b")
    assert row["failed"].startswith("the publisher answers 400: a channel name is")
