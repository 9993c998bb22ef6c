"""The stack without containers, as `make up` starts it where there is no engine."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from event_source import EventSource
from loopback import free_port
from waiting import eventually

ROOT = Path(__file__).resolve().parents[2]


class Local:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        ports = {name: str(free_port(0)) for name in ("API_PORT", "REDIS_PORT", "GATEWAY_PORT")}
        self.env = os.environ | ports | {"FANOUT_RUN": str(folder), "RUNTIME": "local", "PUBLISH_INTERVAL": "0"}

    def make(self, *arguments: str, **settings: str) -> str:
        command = ["make", "--no-print-directory", *arguments]
        done = subprocess.run(
            command, cwd=ROOT, env=self.env | settings, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def lines(self) -> list[tuple[str, dict[str, Any]]]:
        rows = (line.partition(" | ") for line in (self.folder / "log").read_text().splitlines())
        return [(name.strip(), json.loads(rest)) for name, _, rest in rows if rest.startswith("{")]

    def received(self, data: str) -> list[str]:
        return sorted(
            name for name, line in self.lines() if line["event"] == "message_received" and line["data"] == data
        )


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
    command = ["scripts/up"]
    with subprocess.Popen(
        command, cwd=ROOT, env=local.env | {"SUBSCRIBERS": "2"}, stdout=subprocess.PIPE, text=True
    ) as up:
        eventually(
            lambda: (local.folder / "log").exists() and sum(line["event"] == "live" for _, line in local.lines()) == 2,
            60,
        )
        up.send_signal(signal.SIGINT)
        output, _ = up.communicate(timeout=20)
    assert up.returncode == 0
    assert output.count("exited with code 0") == 4
    assert output.rindex("redis-1") > output.rindex("subscriber-1")
