"""The stack without containers, as `make up` starts it where there is no engine."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.event_source import EventSource
from support.followed import Followed
from support.local_stack import ROOT, Local
from support.waiting import eventually


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Local]:
    local = Local(tmp_path)
    yield local
    local.make("down")


def test_it_starts_fans_out_scales_and_ends(local: Local) -> None:
    local.make("up", SUBSCRIBERS="3", DETACH="1", LAYERS="dev gateway")
    assert local.make("ps").count("healthy") == 5
    events = EventSource(f"http://127.0.0.1:{local.env['GATEWAY_PORT']}/channels/notifications/events")
    local.make("send", DATA="to three")
    assert events.wait_for(1)[0]["data"] == "to three"
    events.close()
    three = [f"subscriber-{n}" for n in (1, 2, 3)]
    eventually(lambda: local.received("to three") == three)
    assert {line["instance"] for name, line in local.lines() if name == "subscriber-2"} == {"fanout-subscriber-2"}
    assert "fanout-subscriber-3" in local.make("status")
    local.make("scale", SUBSCRIBERS="1")
    eventually(lambda: local.make("ps").count("subscriber") == 1)
    local.make("send", DATA="to one")
    eventually(lambda: local.received("to one") == three[:1])
    local.make("scale", SUBSCRIBERS="2")
    eventually(lambda: local.received("to one") == three[:2])  # the second goes on where it was
    local.make("down")
    assert [line["event"] for _, line in local.lines()].count("stopped") >= 3


def test_ctrl_c_ends_everything_in_order(local: Local) -> None:
    command = ["scripts/run/up"]
    with subprocess.Popen(
        command, cwd=ROOT, env=local.env | {"SUBSCRIBERS": "2"}, stdout=subprocess.PIPE, text=True
    ) as up:
        eventually((local.folder / "log").exists, 60)
        ready = [("publisher-1", "connected"), ("subscriber-1", "live"), ("subscriber-2", "live")]
        eventually(lambda: {(name, line["event"]) for name, line in local.lines()} >= set(ready), 60)
        up.send_signal(signal.SIGINT)
        output, _ = up.communicate(timeout=20)
    assert up.returncode == 0
    assert [line for line in output.splitlines() if "exited with" in line and not line.endswith("code 0")] == []
    assert output.count("exited with code 0") == 4
    assert output.rindex("redis-1") > output.rindex("subscriber-1")


def test_logs_follows_replicas_that_come_and_go_until_nothing_runs(local: Local, tmp_path: Path) -> None:
    local.make("up", SUBSCRIBERS="1", DETACH="1")
    logs = Followed(local.env, tmp_path / "followed", SERVICE="subscriber,redis")
    try:
        logs.wait_for(r"^[\d:.]{12} subscriber-1 \| info     live ")
        logs.wait_for(r"^ +redis-1 +\| \d+:M .* Ready to accept connections")
        local.make("scale", SUBSCRIBERS="2")
        logs.wait_for(r"^[\d:.]{12} subscriber-2 \| info     live ")
        local.make("send", DATA="to \x1b both")
        for n in (1, 2):
            logs.wait_for(
                rf"^[\d:.]{{12}} subscriber-{n} \| info     message_received   notifications +[\d.]+ ms  to \\x1b both$"
            )
        os.kill(local.pid("subscriber-2"), signal.SIGKILL)
        logs.wait_for(r"^ +subscriber-2 \| exited with code 137$")
        local.make("down")
        logs.wait_for(r"^logs: nothing is running any more$")
        assert logs.process.wait(60) == 0
    finally:
        logs.kill()
    assert "publisher" not in logs.text()
    assert "\x1b" not in logs.text()
    (last,) = local.make("logs", FOLLOW="0", TAIL="1", SERVICE="subscriber-1", EVENT="stop*").splitlines()
    assert re.fullmatch(r"[\d:.]{12} subscriber-1 \| info     stopped            received=1", last)


def test_logs_ends_on_ctrl_c_when_nobody_reads_and_on_a_bad_filter(local: Local, tmp_path: Path) -> None:
    local.make("up", SUBSCRIBERS="1", DETACH="1")
    logs = Followed(local.env, tmp_path / "followed", EVENT="live", RAW="1")
    try:
        logs.wait_for(r"\"event\":\"live\"")
        assert [json.loads(line)["event"] for line in logs.text().splitlines()] == ["live"]
        logs.interrupt()
    finally:
        logs.kill()
    head = "make --no-print-directory logs | head -n 1"
    done = subprocess.run(
        ["sh", "-c", head], cwd=ROOT, env=local.env, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout.count("\n"), done.stderr) == (1, "")
    assert local.make("logs", LEVEL="loud", code=2).startswith("logs: LEVEL is 'loud', but must be one of debug, info,")


def test_report_says_who_received_what(local: Local) -> None:
    local.make("up", SUBSCRIBERS="3", DETACH="1")
    text = local.make("report", COUNT="5")
    for n in (1, 2, 3):
        assert re.search(rf"^subscriber-{n} +5 +0 +0 +0 +0 +0( +[\d.]+){{4}}$", text, re.MULTILINE), text
    assert re.search(r"^ +5 +[\d:.]{12}( +[\d.]+){3}$", text, re.MULTILINE)
    assert text.endswith("\nOK: 5 messages reached all 3 replicas, once and in order.\n")

    command = ["make", "--no-print-directory", "report", "COUNT=40", "RATE=10", "WITHIN=60", "JSON=1"]
    with subprocess.Popen(command, cwd=ROOT, env=local.env, stdout=subprocess.PIPE, text=True) as report:
        eventually(lambda: any(re.match(r"report \w+ 5 of 40", str(line.get("data"))) for _, line in local.lines()), 60)
        os.kill(local.pid("subscriber-2"), signal.SIGKILL)
        found = json.loads(report.communicate(timeout=120)[0])
    assert report.returncode == 2
    rows = {row["replica"]: row for row in found["replicas"]}
    assert not found["ok"]
    assert [rows[f"subscriber-{n}"]["received"] for n in (1, 3)] == [40, 40]
    assert rows["subscriber-2"]["note"] == "exited with code 137"
    had = rows["subscriber-2"]["received"]
    assert 5 <= had < 40
    assert rows["subscriber-2"]["missing"] == list(range(had + 1, 41))

    local.make("scale", SUBSCRIBERS="0")
    eventually(lambda: "subscriber" not in local.make("ps"))
    assert "report: no subscriber is running; make scale" in local.make("report", code=2)


def test_report_says_that_the_log_has_no_message_lines_and_that_the_publisher_is_gone(local: Local) -> None:
    local.make("up", SUBSCRIBERS="1", DETACH="1", LOG_MESSAGES="none")
    assert "subscriber-1: LOG_MESSAGES is 'none'" in local.make("report", code=2)
    os.kill(local.pid("publisher-1"), signal.SIGKILL)
    eventually(lambda: "publisher" not in local.make("ps"))
    assert "report: no publisher is running" in local.make("report", code=2)
