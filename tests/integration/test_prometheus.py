"""A real Prometheus with the rules of the layer, and what promtool says of its files."""

import json
import shutil
import signal
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from fanout import keys
from run.loopback import free_port
from support.redis_server import RedisServer
from support.service import ROOT, Service
from support.waiting import eventually, missing

Start = Callable[..., Service]
FILES = ROOT / "docker/prometheus"


def program(name: str) -> str:
    found = shutil.which(name)
    if not found:
        missing(f"{name} is missing (Debian: apt-get install prometheus)")
    return str(found)


@pytest.mark.parametrize("check", ["check config prometheus.yml", "test rules rules.test.yml"])
def test_promtool_finds_the_files_right_and_the_alerts_firing_when_they_should(check: str) -> None:
    done = subprocess.run(
        [program("promtool"), *check.split()], cwd=FILES, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_test_in_which_it_fires() -> None:
    alerts = {
        rule["alert"]
        for group in yaml.safe_load((FILES / "rules.yml").read_text())["groups"]
        for rule in group["rules"]
    }
    tests = yaml.safe_load((FILES / "rules.test.yml").read_text())["tests"]
    assert alerts == {case["alertname"] for test in tests for case in test["alert_rule_test"] if case.get("exp_alerts")}


class Prometheus:
    """The layer's configuration, with addresses in place of names, and scrapes every 0.3 s."""

    def __init__(self, folder: Path, targets: dict[str, list[str]]) -> None:
        config = yaml.safe_load((FILES / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "300ms", "scrape_timeout": "300ms", "evaluation_interval": "300ms"}
        config["rule_files"] = [str(FILES / "rules.yml")]
        for job in config["scrape_configs"]:
            del job["dns_sd_configs"]
            job["static_configs"] = [{"targets": targets.get(job["job_name"], [])}]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self.url = f"http://127.0.0.1:{free_port(0)}"
        with (folder / "prometheus.log").open("wb") as log:
            self.process = subprocess.Popen(
                [
                    program("prometheus"),
                    f"--config.file={folder}/prometheus.yml",
                    f"--storage.tsdb.path={folder}/prometheus",
                    f"--web.listen-address={self.url.removeprefix('http://')}",
                ],
                stdout=log,
                stderr=log,
            )

    def ask(self, path: str, **parameters: str) -> Any:
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}") as answer:
                return json.load(answer)["data"]
        except OSError:  # not up yet
            return {}

    def query(self, expression: str) -> dict[str, float]:
        """The values by replica."""
        named = f"({expression}) * on (instance) group_left (replica) fanout_info"
        found = self.ask("query", query=named).get("result", [])
        return {one["metric"]["replica"]: float(one["value"][1]) for one in found}

    def alerts(self) -> list[dict[str, Any]]:
        return [one for one in self.ask("alerts").get("alerts", []) if one["state"] == "firing"]


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Callable[..., Prometheus]]:
    started: list[Prometheus] = []

    def start(**services: list[Service]) -> Prometheus:
        targets = {
            job: [urllib.parse.urlparse(one.wait_for("started")[0]["metrics"]).netloc for one in some]
            for job, some in services.items()
        }
        started.append(Prometheus(tmp_path, targets))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()


def test_it_scrapes_three_replicas_and_a_lost_message_fires(
    server: RedisServer, start: Start, prometheus: Callable[..., Prometheus]
) -> None:
    subscribers = [start("subscriber", INSTANCE=f"s-{n}") for n in (1, 2, 3)]
    publisher = start("publisher", INSTANCE="p-1")
    watching = prometheus(subscriber=subscribers, publisher=[publisher])
    for subscriber in subscribers:
        subscriber.wait_for("live")
    eventually(lambda: watching.query("up") == {"s-1": 1, "s-2": 1, "s-3": 1, "p-1": 1})
    eventually(lambda: watching.query("fanout_messages_lost_total") == {"s-1": 0, "s-2": 0, "s-3": 0})
    assert watching.alerts() == []

    late = subscribers[1]
    late.signal(signal.SIGSTOP)
    server.client().execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    start("publisher", "send", "notifications", stdin=b"x\n" * 8, BATCH_EVENTS=1).ended()
    for subscriber in (subscribers[0], subscribers[2]):
        subscriber.wait_for("message_received", 8)
    server.client().xtrim(keys.history("notifications"), maxlen=5, approximate=False)
    late.signal(signal.SIGCONT)
    (alert,) = eventually(watching.alerts)
    assert alert["labels"]["alertname"] == "MessagesLost"
    assert alert["annotations"]["replica"] == "s-2"
    assert watching.query("fanout_messages_lost_total > 0") == {"s-2": 3}
    eventually(lambda: watching.query("fanout_messages_received_total") == {"s-1": 8, "s-2": 5, "s-3": 8})
