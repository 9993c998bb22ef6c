"""The contenders: how their processes are started, and what their lines look like."""

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent.parent
ROOT = SCRIPTS.parent
PRODUCT = ROOT / ".venv/bin/python"
"""The product runs in its own environment with its own pinned packages; the peers run in the benchmark's."""
NODE_MODULES = Path("/usr/share/nodejs")
"""Where Debian's package node-redis puts it."""
RECEIVED = b'"message_received"'
BEGUN = b'"event":"started"'
CONNECTED = b'"event":"connected"'


@dataclass(frozen=True)
class Program:
    """A command with its environment; `line` and `mark` are what `Child` takes.

    PORT in the command stands for the port of Redis; SOCKET there, and in the environment, for its Unix socket.
    """

    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    line: bytes = b""
    mark: bytes = b""

    def having(self, **settings: object) -> "Program":
        """The same with further settings in its environment."""
        return replace(self, env={**self.env, **{name: str(value) for name, value in settings.items()}})

    def by_socket(self) -> "Program":
        """The same over Redis's Unix socket."""
        command = tuple("SOCKET" if word == "PORT" else word for word in self.command)
        return replace(self.having(REDIS_URL="unix://SOCKET"), command=command)


def subscriber(instance: int = 1) -> Program:
    """Fanout's subscriber as its users run it."""
    return _product("subscriber", "subscriber", INSTANCE=f"bench-{instance}", line=RECEIVED, mark=CONNECTED)


def publisher() -> Program:
    """Fanout's publisher as its users run it, without a greeting now and then, and without a log line an event."""
    program = _product("publisher", "publisher", INSTANCE="bench-publisher", mark=BEGUN)
    return program.having(PUBLISH_INTERVAL=0, HTTP_PORT=0, LOG_MESSAGES="none")


def writer(*arguments: object) -> Program:
    """Fanout's library in a program of the benchmark."""
    words = tuple(map(str, arguments))
    return _product(
        "publisher", "bench.fanout_publish", *words, INSTANCE="bench-writer", mark=BEGUN, LOG_MESSAGES="none"
    )


def peer(name: str, *arguments: object, **settings: object) -> Program:
    """A peer of the folder `peers`."""
    words = ("-m", f"bench.peers.{name}", "PORT", *map(str, arguments))
    return Program((sys.executable, *words), {"PYTHONPATH": str(SCRIPTS)}, RECEIVED, BEGUN).having(**settings)


def node(*arguments: object) -> Program:
    """node-redis."""
    words = ("node", str(SCRIPTS / "bench/peers/node_redis.js"), "PORT", *map(str, arguments))
    return Program(words, {"NODE_PATH": str(NODE_MODULES), "NODE_ENV": "production"}, RECEIVED, BEGUN)


def have_node() -> bool:
    """Whether node-redis can run here."""
    return shutil.which("node") is not None and (NODE_MODULES / "redis").is_dir()


def redis_benchmark() -> str | None:
    """The load generator that comes with the server, if it is on PATH."""
    return shutil.which("redis-benchmark") or shutil.which("valkey-benchmark")


def _product(service: str, module: str, *words: str, line: bytes = b"", mark: bytes = b"", **env: str) -> Program:
    path = ":".join(map(str, (ROOT / "services/fanout", ROOT / "services" / service, SCRIPTS)))
    return Program((str(PRODUCT), "-m", module, *words), {"PYTHONPATH": path, "LOG_FORMAT": "json", **env}, line, mark)
