"""The stack under attack: production with gateway and metrics, on free ports, and a subscriber to all channels."""

import json
import os
import re
import secrets
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import redis

from chaos.stack import LOGGING, Stack
from run import ROOT
from run.child import Trouble
from run.loopback import free_port

SUBSCRIBERS, RATE = 3, 100
LAYERS = ("prod", "gateway", "metrics")
SERVICES = ("redis", "publisher", "subscriber", "watcher", "gateway", "prometheus")
OURS = SERVICES[:-1]
"""The services whose memory is measured; not Prometheus, which keeps its measurements."""
STARTED_WITHIN, WELL_WITHIN = 600, 60
MADE_UP = ("made-up-*", "too-much", "long-history", "grabbed-*", "victim-*", "abuse*")
"""The channels of attacks that do not delete them themselves."""
_SIZES = {"B": 1, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


class State(NamedTuple):
    """A container's state; `started` changes when it is restarted."""

    started: str
    running: bool
    health: str
    killed: bool


class AbuseStack(Stack):
    """The stack. `ports` are local ports by service; `metrics` is the publisher's port for Prometheus."""

    def __init__(self, folder: Path, request_timeout: str) -> None:
        self.secret = folder / "redis_password"
        self.write_password(secrets.token_hex(12))
        names = ("redis", "publisher", "metrics", "gateway", "prometheus")
        self.ports = {name: free_port(0) for name in names}
        settings = {
            "LAYERS": "",
            "AUTH": "off",  # what is attacked here is what stands before it
            "RUNTIME": "compose",
            "DETACH": "1",
            "SUBSCRIBERS": str(SUBSCRIBERS),
            "PUBLISH_RATE": str(RATE),
            "HISTORY_SIZE": "5000",  # small, so that it is soon full and does not make memory grow
            "LOG_FORMAT": "json",
            "REQUEST_TIMEOUT": request_timeout,
            "GATEWAY_PORT": str(self.ports["gateway"]),
            "PROMETHEUS_PORT": str(self.ports["prometheus"]),
        }
        super().__init__(f"fanout-abuse-{os.getpid()}", settings, folder, self._layer(), LAYERS)
        self._restarted: set[str] = set()
        self._of: dict[str, list[str]] = {}
        self.flowing_since = 0.0

    def _layer(self) -> dict[str, Any]:
        def published(name: str, port: int) -> str:
            return f"127.0.0.1:{self.ports[name]}:{port}"

        everything = {
            "extends": {"file": str(ROOT / "compose/base.yaml"), "service": "subscriber"},
            "environment": {"PATTERNS": "*", "REDIS_PASSWORD_FILE": "/run/secrets/redis_password"},
            "secrets": ["redis_password"],
            "restart": "unless-stopped",
        }
        return {
            "services": {
                "redis": LOGGING | {"networks": ["front", "back"], "ports": [published("redis", 6379)]},
                "publisher": LOGGING | {"ports": [published("publisher", 3000), published("metrics", 9100)]},
                "subscriber": LOGGING,
                "watcher": LOGGING | everything,
                "gateway": LOGGING,
            },
            "secrets": {"redis_password": {"file": str(self.secret)}},
        }

    def start(self) -> None:
        """Build and start everything.

        Raises:
            Trouble: it does not start, or messages do not flow.
        """
        self.within(STARTED_WITHIN)
        self.run("scripts/run/up")
        self.built = True
        self.find()
        began = time.time()
        self.within(WELL_WITHIN)
        self.until(lambda: self.flows(began), "messages reach every subscriber")
        self.flowing_since = time.time()

    def of(self, *services: str) -> list[str]:
        """Return the names of the services' containers, which do not change during a run."""
        for service in services:
            self._of.setdefault(service, self.containers(service))
        return [name for service in services for name in self._of[service]]

    def write_password(self, password: str) -> None:
        """Change the password of Redis, with effect from the server's next start."""
        if self.secret.exists():
            self.secret.chmod(0o644)
        self.secret.write_text(password)
        self.secret.chmod(0o444)

    def redis_client(self) -> Any:
        """Return a client with all permissions, as an attacker who has the password."""
        return redis.Redis(port=self.ports["redis"], password=self.secret.read_text(), socket_timeout=30)

    def unlink(self, channels: str) -> None:
        """Delete all keys of the channels that match a glob, as compose/README.md describes it."""
        client = self.redis_client()
        keys = list(client.scan_iter(f"fanout:{{{channels}}}:*", 5000))
        for start in range(0, len(keys), 5000):
            client.unlink(*keys[start : start + 5000])

    def clean_up(self) -> None:
        """Delete the channels that attacks have made up."""
        for channels in MADE_UP:
            self.unlink(channels)
        self.redis_client().execute_command("MEMORY", "PURGE")

    def states(self) -> dict[str, State]:
        """Return each container's state, by name."""
        found = {}
        for one in json.loads(self.docker("inspect", *self.of(*SERVICES))):
            state = one["State"]
            health = state.get("Health", {}).get("Status", "none")
            found[one["Name"][1:]] = State(state["StartedAt"], state["Running"], health, state["OOMKilled"])
        return found

    def restart(self, service: str) -> None:
        """Restart a service's containers, and note that they did not fall."""
        self.docker("restart", *self.of(service))
        self._restarted.update(self.of(service))

    def fallen(self, before: dict[str, State]) -> list[str]:
        """Wait until the containers are healthy; return those that did not survive since, with their state."""

        def ill() -> list[str]:
            return [
                f"{self.short(name)} {'was OOM-killed' if now.killed else 'was restarted' if now.running else 'ended'}"
                if name not in self._restarted and now.started != before[name].started
                else f"{self.short(name)} is {now.health if now.running else 'not running'}"
                for name, now in self.states().items()
                if not now.running
                or now.health not in ("healthy", "none")
                or (name not in self._restarted and now.started != before[name].started)
            ]

        self.within(WELL_WITHIN)
        with suppress(Trouble):
            self.until(lambda: not [one for one in ill() if " is " in one], "all are healthy", 1.0)
        found = ill()
        self._restarted.clear()
        return found

    def memory(self) -> dict[str, int]:
        """Return the bytes that each container's processes use, by name, without the page cache."""
        found = {}
        for name in self.of(*OURS):
            told = self.docker(
                "exec", name, "sh", "-c", "cat /sys/fs/cgroup/memory.stat || cat /sys/fs/cgroup/memory/*.stat"
            )
            figures = dict(line.split() for line in told.splitlines())
            found[name] = int(figures.get("anon") or figures["total_rss"])
        return found

    def memory_of(self, service: str) -> int:
        """Return the bytes that a service's only container uses."""
        [name] = self.of(service)
        return _bytes(self.docker("stats", "--no-stream", "--format", "{{.MemUsage}}", name).split()[0])

    def logs_since(self, container: str, since: float) -> str:
        """Return what a container has written since then, to standard output and standard error."""
        shell = 'exec docker logs --since "$1" "$2" 2>&1'
        return self.run("sh", "-c", shell, "sh", f"{since:.6f}", container)


def _bytes(shown: str) -> int:
    match = re.fullmatch(r"([\d.]+)([A-Za-z]+)", shown)
    assert match, shown
    return int(float(match[1]) * _SIZES[match[2].upper()])
