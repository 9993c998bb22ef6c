"""The containers of a chaos or abuse run: starts, inspects, disconnects and removes them, each within a deadline."""

import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from logs.lines import moment, parse
from run.child import COMPOSE, Trouble, output
from run.replicas import short

FRESH_MS = 1000.0
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Runs compare the logs: with the usual limit of 3 times 10 MB their beginning would be gone after minutes.
LOGGING = {"logging": {"driver": "json-file", "options": {"max-size": "500m", "max-file": "3"}}}


S = TypeVar("S", bound="Stack")


def say(text: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S} {text}", flush=True)


def standing(prefix: str, make: Callable[[Path], S], run: Callable[[S], int]) -> int:
    """Run something on a separate stack, which is taken down in every case; return the exit code.

    `make` gets a folder for the stack's files.
    """
    for number in SIGNALS:
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix=prefix) as folder:
        stack = make(Path(folder))
        try:
            return run(stack)
        except (Trouble, ValueError, OSError) as error:
            say(f"given up: {error}")
            return 1
        finally:
            for number in SIGNALS:
                signal.signal(number, signal.SIG_IGN)
            say("taking everything down ...")
            try:
                stack.down()
            except Trouble as trouble:
                say(f"parts of {stack.project} are left: {trouble}")


class Stack:
    """The containers of one Compose project. Commands that exceed the deadline (see `within`) raise Trouble."""

    def __init__(
        self, project: str, settings: dict[str, str], folder: Path, layer: dict[str, Any], below: tuple[str, ...] = ()
    ) -> None:
        """Make the project; `layer`, written to `folder`, goes on top of base and of the layers named in `below`."""
        (folder / "own.yaml").write_text(json.dumps(layer))
        files = ":".join([*(f"compose/{name}.yaml" for name in ("base", *below)), f"{folder}/own.yaml"])
        self.env = os.environ | settings | {"COMPOSE_PROJECT_NAME": project, "COMPOSE_FILE": files}
        self.project = project
        self.bursts: list[str] = []
        self.built = False
        self.within(60)

    def within(self, seconds: float) -> None:
        """Set the deadline for all that follows to that many seconds from now."""
        self.deadline = time.monotonic() + seconds

    def run(self, *command: str, text: str = "") -> str:
        """Run a command and return its output. Raises Trouble if it fails or does not end in time."""
        return output(*command, text=text, within=max(1.0, self.deadline - time.monotonic()), env=self.env)

    def docker(self, *arguments: str, text: str = "") -> str:
        return self.run("docker", *arguments, text=text)

    def compose(self, *arguments: str) -> str:
        return self.run(*COMPOSE, *arguments)

    def containers(self, service: str = "", *options: str) -> list[str]:
        label = f"label=com.docker.compose.service={service}" if service else "label=com.docker.compose.service"
        project = f"label=com.docker.compose.project={self.project}"
        found = self.docker("ps", "-a", "--filter", project, "--filter", label, "--format", "{{.Names}}", *options)
        return sorted(found.split())

    def short(self, container: str) -> str:
        return short(container, self.project)

    def exit_code(self, container: str) -> int:
        return int(self.docker("inspect", "--format", "{{.State.ExitCode}}", container))

    def release(self) -> None:
        """Unpause paused containers, since nothing else can be done to them."""
        for name in self.containers("", "--filter", "status=paused"):
            self.docker("unpause", name)

    def down(self) -> None:
        """Remove containers, networks, data and images of this project."""
        self.within(120)
        if not self.built:
            time.sleep(3)  # the engine may still be tagging an image of a build that was aborted
        self.release()
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "3")
        # Compose's --rmi keeps images that are named in the Compose file, as ours are.
        ours = self.docker("image", "ls", "--quiet", "--filter", f"label=com.docker.compose.project={self.project}")
        if ours:
            self.docker("rmi", "--force", *set(ours.split()))

    def find(self) -> None:
        """Find the containers of the project."""
        self.publishers, self.subscribers = self.containers("publisher"), self.containers("subscriber")
        (self.redis,) = self.containers("redis")

    def tail(self, container: str, lines: int, event: str) -> list[dict[str, Any]]:
        """Return those of a container's last lines that log the given event."""
        found = map(parse, self.docker("logs", "--tail", str(lines), container).splitlines())
        return [entry for entry in found if entry and entry["event"] == event]

    def redis_cli(self, *arguments: str) -> list[str]:
        return self.docker("exec", self.redis, "redis-cli", *arguments).splitlines()

    def disconnected(self) -> int:
        """Return how many clients Redis has disconnected since its start because their output buffers were full."""
        fields = (line.partition(":") for line in self.redis_cli("INFO", "stats"))
        return sum(int(value) for name, _, value in fields if name == "client_output_buffer_limit_disconnections")

    def until(self, condition: Callable[[], Any], what: str, pause: float = 0.3) -> None:
        """Wait for a condition.

        Raises:
            Trouble: it does not become true in time.
        """
        while not condition():
            if time.monotonic() > self.deadline:
                raise Trouble(f"not in time: {what}")
            time.sleep(pause)

    def flows(self, since: float) -> bool:
        """Return whether every subscriber has received live messages of every publisher, without delay, since then."""
        published = [self.tail(name, 50, "message_published") for name in self.publishers]
        sources = {entries[-1]["source"] for entries in published if entries and moment(entries[-1]) > since}
        return len(sources) == len(self.publishers) and all(
            sources <= {
                entry.get("source")
                for entry in self.tail(name, 500, "message_received")
                if moment(entry) > since and not entry.get("catch_up") and (entry.get("latency_ms") or 0) < FRESH_MS
            }
            for name in self.subscribers
        )  # fmt: skip

    def redis_accepts(self, since: float) -> float:
        """Wait until Redis logs that it accepts connections; return when, as dated by Docker."""
        found: list[float] = []

        def ready() -> bool:
            lines = self.docker("logs", "--timestamps", "--since", f"{since:.6f}", self.redis).splitlines()
            dated = (line.partition(" ") for line in lines if "Ready to accept connections" in line)
            found.extend(datetime.fromisoformat(date).timestamp() for date, _, _ in dated)
            return bool(found)

        self.until(ready, "Redis accepts connections", 0.1)
        return found[-1]

    def hold(self, seconds: float, damage: list[list[str]], repair: list[list[str]]) -> float:
        """Run Docker commands, wait, and run those that undo them; return when the latter began."""
        for command in damage:
            self.docker(*command)
        time.sleep(seconds)
        over = time.time()
        for command in repair:
            self.docker(*command)
        return over

    def cut(self, container: str, alias: str, seconds: float) -> float:
        """Disconnect a container from its networks for a while; return what `hold` does."""
        networks = json.loads(self.docker("inspect", "--format", "{{json .NetworkSettings.Networks}}", container))
        off = [["network", "disconnect", network, container] for network in networks]
        return self.hold(
            seconds, off, [["network", "connect", "--alias", alias, network, container] for network in networks]
        )
