"""Supervises the processes of the stack without containers: starts them, logs their output, and ends them.

When the supervisor ends, they end too; if it is killed, the kernel sends them a signal.
"""

import logging
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from logging.handlers import RotatingFileHandler

from logs.lines import parse
from run import ROOT, folder
from run.child import Child
from run.folder import LOG, RUN, WANTED
from run.loopback import free_port, server_kind, server_program
from run.replicas import service_of

STOPPED_WITHIN = 12.0
LOOK_EVERY = 0.3
LAST_WORDS = 30
LOGGED_BY = ("LOG_MESSAGES", "LOG_LEVEL", "LOG_FORMAT", "CHANNELS", "PATTERNS")
"""The settings that determine what is in the log."""
FOREIGN_DATA = re.compile(
    "can't handle rdb format|bad file format|fatal error loading|unrecoverable error", re.IGNORECASE
)


class Supervisor:
    """The processes by name, and the log of their lines."""

    def __init__(self, lock: int) -> None:
        """Make a supervisor with the file descriptor from `folder.lock`."""
        self.lock = lock
        self.children: dict[str, Child] = {}
        self.selector = selectors.DefaultSelector()
        self.redis_port = free_port(int(os.environ.get("REDIS_PORT") or 6379))
        self.stop = False
        self.highest = 0
        self.http: dict[str, str] = {}
        self.last: deque[str] = deque(maxlen=LAST_WORDS)
        self.failed = ""
        files = RotatingFileHandler(LOG, maxBytes=10_000_000, backupCount=3, encoding="utf-8")
        if LOG.stat().st_size:
            files.doRollover()  # a separate log for each run
        self.log = logging.getLogger("stack")
        self.log.setLevel(logging.INFO)
        self.log.addHandler(files)

    def run(self, *, gateway: bool) -> str:
        """Run everything until a signal or the end of Redis; return what went wrong, or empty text."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self.on_signal)
        self.start("redis-1", *redis_command(self.redis_port))
        for service in ("publisher", "gateway")[: 1 + gateway]:
            self.start(f"{service}-1", sys.executable, "-m", service)
        while self.children and not self.stop:
            self.keep_scale()
            self.pump()
        self.end([name for name in self.children if name != "redis-1"])
        self.end(["redis-1"])
        folder.STATE.unlink(missing_ok=True)
        return self.failed

    def on_signal(self, number: int, _: object) -> None:
        """End everything in order; at a second signal end it at once."""
        if self.stop and number != signal.SIGHUP:
            for child in self.children.values():
                child.signal(signal.SIGKILL)
            os._exit(130)
        self.stop = True

    def start(self, name: str, *command: str) -> None:
        """Start a process."""
        service = service_of(name)
        heartbeat = RUN / f"{name}.heartbeat"
        heartbeat.unlink(missing_ok=True)
        data = RUN / f"{service}-data"
        data.mkdir(exist_ok=True)
        own = {
            "REDIS_URL": f"redis://127.0.0.1:{self.redis_port}/0",
            "INSTANCE": f"fanout-{name}",
            "HEARTBEAT_FILE": str(heartbeat),
            "DATA_DIR": str(data),
            "PYTHONPATH": os.pathsep.join([str(ROOT / "services/fanout"), str(ROOT / "services" / service)]),
            "LOG_FORMAT": os.environ.get("LOG_FORMAT", "json"),
            "HTTP_PORT": http_port(service),
        }
        child = Child(
            *command,
            env=os.environ | own,
            folder=RUN,
            stderr=subprocess.STDOUT,
            tied=signal.SIGTERM,
            pass_fds=[self.lock],
        )
        self.children[name] = child
        self.selector.register(child.fileno, selectors.EVENT_READ, name)
        self.save()

    def pump(self) -> None:
        """Log the output of the processes and note which have ended; wait a moment for both."""
        for key, _ in self.selector.select(LOOK_EVERY):
            name, child = key.data, self.children[key.data]
            for line in child.read():
                self.log.info("%-13s | %s", name, line)
                if name == "redis-1":
                    self.last.append(line)
                if '"event":"started"' in line and "http" in (entry := parse(line) or {}):
                    self.http[name] = entry["http"]
                    self.save()
            if child.ended:
                self.has_ended(name, child)

    def has_ended(self, name: str, child: Child) -> None:
        self.selector.unregister(child.fileno)
        code = child.wait()
        end = f"exited with code {code if code >= 0 else 128 - code}"  # as Compose prints it
        self.log.info("%-13s | %s", name, end)
        del self.children[name]
        self.save()
        if name == "redis-1":
            self.stop = True
            self.failed = f"{name} {end}{why(self.last)}" if code else ""

    def end(self, names: Sequence[str]) -> None:
        """End processes and return when they have ended; log their output meanwhile."""
        for name in names:
            if name in self.children:
                self.children[name].signal(signal.SIGTERM)
        deadline = time.monotonic() + STOPPED_WITHIN
        while left := [self.children[name] for name in names if name in self.children]:
            if time.monotonic() > deadline:
                for child in left:
                    child.signal(signal.SIGKILL)
            self.pump()

    def keep_scale(self) -> None:
        """Start and end subscribers to match the number in the file that `scale` writes."""
        wanted = int(WANTED.read_text() or 0)
        for n in range(self.highest + 1, wanted + 1):
            self.start(f"subscriber-{n}", sys.executable, "-m", "subscriber")
        more, self.highest = range(wanted + 1, self.highest + 1), wanted
        self.end([f"subscriber-{n}" for n in more])

    def save(self) -> None:
        state: dict[str, object] = {"supervisor": os.getpid(), "redis_port": self.redis_port}
        state["processes"] = {name: child.process.pid for name, child in self.children.items()}
        state |= {"http": self.http, "settings": {name: os.environ.get(name, "") for name in LOGGED_BY}}
        folder.write_state(state)


def redis_command(port: int) -> list[str]:
    """Return the command of Redis, with a data folder that only this kind and major version of server writes to."""
    program = server_program()
    data = RUN / "data" / server_kind(program)
    data.mkdir(parents=True, exist_ok=True)
    conf = str(ROOT / "docker/redis/redis.conf")
    return [program, conf, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(data)]


def why(last: Sequence[str]) -> str:
    """Return the reason of Redis's end, from its last lines."""
    if any(FOREIGN_DATA.search(line) for line in last):
        return (
            f": it cannot read the data in {RUN / 'data'}, which are damaged or were written by another version; "
            f"run that version, move them away, or delete them (make clean)"
        )
    return f": {last[-1]}" if last else ""


def http_port(service: str) -> str:
    """Return a service's HTTP port, from the same variables as in Compose."""
    if service == "gateway":
        return os.environ.get("GATEWAY_PORT") or "8080"
    return os.environ.get("HTTP_PORT") or os.environ.get("API_PORT") or "3000"
