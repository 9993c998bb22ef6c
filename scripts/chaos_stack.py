"""The containers of a chaos run: started, looked at, cut off and taken down, each within a deadline."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from subprocess import PIPE
from typing import Any

from log_lines import moment, parse

ROOT = Path(__file__).resolve().parent.parent
FRESH_MS = 1000.0


class Trouble(Exception):
    """A command failed, or something did not happen in time."""


class Stack:
    """The containers of one Compose project. What runs past `deadline` (see `within`) is Trouble."""

    def __init__(self, project: str, settings: dict[str, str], folder: Path) -> None:
        """`folder` takes a layer of our own."""
        # The logs are what is compared: with the usual 3 times 10 MB a run of minutes would lose their beginning.
        logging = {"logging": {"driver": "json-file", "options": {"max-size": "500m", "max-file": "3"}}}
        services = {"redis": logging, "publisher": logging | {"scale": 0}, "subscriber": logging}
        (folder / "chaos.yaml").write_text(json.dumps({"services": services}))
        files = f"compose/base.yaml:{folder}/chaos.yaml"
        self.env = os.environ | settings | {"COMPOSE_PROJECT_NAME": project, "COMPOSE_FILE": files}
        self.project = project
        self.bursts: list[str] = []
        self.built = False
        self.within(60)

    def within(self, seconds: float) -> None:
        """What follows has that long."""
        self.deadline = time.monotonic() + seconds

    def run(self, *command: str, text: str = "") -> str:
        """A command's output. Ctrl-C reaches it through us alone.

        Raises:
            Trouble: it failed, or did not end in time.
        """
        left = max(1.0, self.deadline - time.monotonic())
        with subprocess.Popen(
            command, cwd=ROOT, env=self.env, stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True, start_new_session=True
        ) as process:
            try:
                output, errors = process.communicate(text, timeout=left)
            except BaseException as error:
                # All of it, and no sooner back: a plugin of Docker's builds and starts on after its parent's end.
                os.killpg(process.pid, signal.SIGTERM)
                with suppress(subprocess.TimeoutExpired):
                    process.communicate(timeout=10)
                if isinstance(error, subprocess.TimeoutExpired):
                    raise Trouble(f"{' '.join(command)} did not end within {left:.0f} s") from None
                raise
        if process.returncode:
            raise Trouble(f"{' '.join(command)} ended with {process.returncode}:\n{output[-3000:]}{errors[-3000:]}")
        return output

    def docker(self, *arguments: str, text: str = "") -> str:
        return self.run("docker", *arguments, text=text)

    def compose(self, *arguments: str) -> str:
        """Through lib.sh, which knows where Compose is."""
        return self.run("sh", "-euc", 'root=.; . scripts/lib.sh; compose "$@"', "compose", *arguments)

    def containers(self, service: str = "", *options: str) -> list[str]:
        label = f"label=com.docker.compose.service={service}" if service else "label=com.docker.compose.service"
        project = f"label=com.docker.compose.project={self.project}"
        found = self.docker("ps", "-a", "--filter", project, "--filter", label, "--format", "{{.Names}}", *options)
        return sorted(found.split())

    def short(self, container: str) -> str:
        return container.removeprefix(f"{self.project}-")

    def exit_code(self, container: str) -> int:
        return int(self.docker("inspect", "--format", "{{.State.ExitCode}}", container))

    def release(self) -> None:
        """Lets paused containers go on: nothing else can be done to them."""
        for name in self.containers("", "--filter", "status=paused"):
            self.docker("unpause", name)

    def down(self) -> None:
        """Removes containers, networks, data and images of this project."""
        self.within(120)
        if not self.built:
            time.sleep(3)  # the engine names an image yet, though who asked for it is gone
        self.release()
        self.compose("down", "--volumes", "--remove-orphans", "--rmi", "local", "--timeout", "3")

    def find(self) -> None:
        """Notes which containers there are."""
        self.publishers, self.subscribers = self.containers("publisher"), self.containers("subscriber")
        (self.redis,) = self.containers("redis")

    def tail(self, container: str, lines: int, event: str) -> list[dict[str, Any]]:
        """Those of a container's newest lines that tell of one event."""
        found = map(parse, self.docker("logs", "--tail", str(lines), container).splitlines())
        return [entry for entry in found if entry and entry["event"] == event]

    def redis_cli(self, *arguments: str) -> list[str]:
        return self.docker("exec", self.redis, "redis-cli", *arguments).splitlines()

    def let_go(self) -> int:
        """How many clients Redis has let go since its start, since their output buffers were full."""
        told = (line.partition(":") for line in self.redis_cli("INFO", "stats"))
        return sum(int(value) for name, _, value in told if name == "client_output_buffer_limit_disconnections")

    def until(self, condition: Callable[[], Any], what: str, pause: float = 0.3) -> None:
        """Waits for a condition.

        Raises:
            Trouble: it does not come true in time.
        """
        while not condition():
            if time.monotonic() > self.deadline:
                raise Trouble(f"not in time: {what}")
            time.sleep(pause)

    def flows(self, since: float) -> bool:
        """Whether every subscriber has new messages of every publisher, live ones and without delay, since then."""
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
        """When Redis said that it accepts connections, as Docker dated that line."""
        found: list[float] = []

        def ready() -> bool:
            lines = self.docker("logs", "--timestamps", "--since", f"{since:.6f}", self.redis).splitlines()
            dated = (line.partition(" ") for line in lines if "Ready to accept connections" in line)
            found.extend(datetime.fromisoformat(date).timestamp() for date, _, _ in dated)
            return bool(found)

        self.until(ready, "Redis accepts connections", 0.1)
        return found[-1]

    def hold(self, seconds: float, damage: list[list[str]], repair: list[list[str]]) -> float:
        """Runs Docker commands, waits, runs those that undo them; returns when the latter began."""
        for command in damage:
            self.docker(*command)
        time.sleep(seconds)
        over = time.time()
        for command in repair:
            self.docker(*command)
        return over

    def cut(self, container: str, alias: str, seconds: float) -> float:
        """Takes a container off its networks for a while; returns what `hold` does."""
        networks = json.loads(self.docker("inspect", "--format", "{{json .NetworkSettings.Networks}}", container))
        off = [["network", "disconnect", network, container] for network in networks]
        return self.hold(
            seconds, off, [["network", "connect", "--alias", alias, network, container] for network in networks]
        )
