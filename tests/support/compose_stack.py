"""The real Compose stack under a project name and ports of its own."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from run.loopback import free_port
from support.waiting import eventually, missing

ROOT = Path(__file__).resolve().parents[2]


class Stack:
    """Started by `make up`, so the test sees what a user sees."""

    def __init__(self, layers: str, name: str = "") -> None:
        self.project = f"fanout-test-{os.getpid()}-{name or layers.replace(' ', '-')}"
        self.redis_port, self.api_port, self.gateway_port = free_port(0), free_port(0), free_port(0)
        self.prometheus_port = free_port(0)
        self.env = os.environ | {
            "COMPOSE_PROJECT_NAME": self.project,
            "LAYERS": layers,
            "COMPOSE_FILE": ":".join(f"compose/{layer}.yaml" for layer in ["base", *layers.split()]),
            "RUNTIME": "compose",
            "AUTH": "off",
            "DETACH": "1",
            "REDIS_PORT": str(self.redis_port),
            "API_PORT": str(self.api_port),
            "GATEWAY_PORT": str(self.gateway_port),
            "PROMETHEUS_PORT": str(self.prometheus_port),
            "PUBLISH_INTERVAL": "0",
        }

    def make(self, *arguments: str, within: float = 400, code: int = 0, **settings: str) -> str:
        return self.run("make", "--no-print-directory", *arguments, within=within, code=code, **settings)

    def said(self, *arguments: str, code: int = 0, **settings: str) -> str:
        """What `make` printed, standard error too."""
        command = ["sh", "-c", 'exec make --no-print-directory "$@" 2>&1', "make", *arguments]
        return self.run(*command, within=400, code=code, **settings)

    def compose(self, *arguments: str, within: float = 120, **settings: str) -> str:
        return self.run("docker", "compose", *arguments, within=within, **settings)

    def run(self, *command: str, within: float = 60, code: int = 0, **settings: str) -> str:
        done = subprocess.run(
            command, cwd=ROOT, env=self.env | settings, capture_output=True, text=True, timeout=within, check=False
        )
        assert done.returncode == code, (
            f"{command} ended with {done.returncode}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        )
        return done.stdout

    def containers(self, service: str) -> list[str]:
        names = self.run(
            "docker", "ps", "-a", "--filter", f"label=com.docker.compose.project={self.project}",
            "--filter", f"label=com.docker.compose.service={service}", "--format", "{{.Names}}",
        )  # fmt: skip
        return sorted(name for name in names.split() if "-run-" not in name)

    def log(self, container: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.run("docker", "logs", container).splitlines()]

    def events(self, container: str, name: str) -> list[dict[str, Any]]:
        return [line for line in self.log(container) if line["event"] == name]

    def data(self, container: str) -> list[Any]:
        return [line["data"] for line in self.events(container, "message_received")]

    def send(self, *messages: str) -> None:
        """Lines through `publisher send` in the publisher's container."""
        command = ["docker", "compose", "exec", "-T", "publisher", "python", "-m", "publisher", "send", "notifications"]
        text = "".join(f"{message}\n" for message in messages)
        subprocess.run(
            command, cwd=ROOT, env=self.env, input=text, text=True, check=True, timeout=60, capture_output=True
        )

    def reach_all(self, *messages: str, within: float = 30) -> None:
        """Sends messages and waits until each subscriber has logged them."""
        self.send(*messages)
        for subscriber in self.containers("subscriber"):
            eventually(lambda name=subscriber: set(messages) <= set(self.data(name)), within)

    def wait_live(self, count: int = 1) -> None:
        """Until each subscriber has subscribed that often since its start."""
        for name in self.containers("subscriber"):
            eventually(lambda n=name: len(self.events(n, "subscribed")) >= count, 30)


def running(layers: str, subscribers: int, name: str = "", **settings: str) -> Iterator[Stack]:
    """A stack of its own; `name` tells it from others with the same layers."""
    if subprocess.run(["docker", "version"], capture_output=True, check=False).returncode:
        missing("no container engine in reach")
    stack = Stack(layers, name)
    try:
        stack.make("up", SUBSCRIBERS=str(subscribers), **settings)
        yield stack
    finally:
        stack.compose("down", "--volumes", "--timeout", "3")
        # Compose's own --rmi leaves images that have a name in the Compose file, as ours have.
        label = f"label=com.docker.compose.project={stack.project}"
        if ours := stack.run("docker", "image", "ls", "--quiet", "--filter", label):
            stack.run("docker", "rmi", "--force", *set(ours.split()))
