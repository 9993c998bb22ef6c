"""The stack without containers: an embedded Redis, a publisher and subscribers as processes of this machine.

local.py up [--subscribers N] [--gateway] [--detach]     start; logs stream with a prefix, as Compose prints them
local.py scale N | down | ps | logs
"""

import argparse
import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import time
from logging.handlers import RotatingFileHandler
from pathlib import Path

from loopback import free_port, server_program

ROOT = Path(__file__).resolve().parent.parent
RUN = Path(os.environ.get("FANOUT_RUN", ROOT / ".run"))
STATE, WANTED, LOG = RUN / "state.json", RUN / "subscribers", RUN / "log"
COLOURS = [36, 33, 32, 35, 34, 96, 93, 92]
HEALTHY_WITHIN, STOPPED_WITHIN, FRESH = 60.0, 12.0, 10.0


class Stack:
    """The processes, and where their lines go."""

    def __init__(self) -> None:
        RUN.mkdir(exist_ok=True)
        (RUN / "data").mkdir(exist_ok=True)
        self.processes: dict[str, asyncio.subprocess.Process] = {}
        self.pumps: set[asyncio.Task[None]] = set()
        self.redis_port = free_port(int(os.environ.get("REDIS_PORT") or 6379))
        self.stop = asyncio.Event()
        self.highest = 0
        self.file = logging.getLogger("stack")
        self.file.setLevel(logging.INFO)
        self.file.addHandler(RotatingFileHandler(LOG, maxBytes=10_000_000, backupCount=3))

    async def start(self, name: str, *command: str) -> None:
        """Starts one process in a session of its own, so that Ctrl-C reaches it through us alone, and once."""
        service = name.rsplit("-", 1)[0]
        heartbeat = RUN / f"{name}.heartbeat"
        heartbeat.unlink(missing_ok=True)
        own = {
            "REDIS_URL": f"redis://127.0.0.1:{self.redis_port}/0",
            "INSTANCE": f"fanout-{name}",
            "HEARTBEAT_FILE": str(heartbeat),
            "PYTHONPATH": os.pathsep.join([str(ROOT / "services/fanout"), str(ROOT / "services" / service)]),
            "LOG_FORMAT": os.environ.get("LOG_FORMAT", "json"),
            "HTTP_PORT": http_port(service),
        }
        process = await asyncio.create_subprocess_exec(
            *command,
            env=os.environ | own,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            limit=2**20,
            cwd=RUN,
        )
        self.processes[name] = process
        self.save()
        pump = asyncio.create_task(self.pump(name, process))
        self.pumps.add(pump)
        pump.add_done_callback(self.pumps.discard)

    async def pump(self, name: str, process: asyncio.subprocess.Process) -> None:
        colour = COLOURS[sum(map(ord, name)) % len(COLOURS)]
        prefix = f"{name:<13} | "
        shown = f"\033[{colour}m{prefix}\033[0m" if sys.stdout.isatty() else prefix
        assert process.stdout
        async for raw in process.stdout:
            line = raw.decode(errors="replace").rstrip("\n")
            self.file.info(prefix + line)
            print(shown + line, flush=True)
        code = await process.wait()
        print(f"{shown}exited with code {code}", flush=True)
        if self.processes.get(name) is process:
            del self.processes[name]
            self.save()
            if not self.processes or name == "redis-1":
                self.stop.set()

    def save(self) -> None:
        state: dict[str, object] = {"supervisor": os.getpid(), "redis_port": self.redis_port}
        state["processes"] = {name: process.pid for name, process in self.processes.items()}
        STATE.write_text(json.dumps(state))

    async def end(self, name: str) -> None:
        process = self.processes.pop(name, None)
        if process and process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), STOPPED_WITHIN)
            except TimeoutError:
                process.kill()
        self.save()

    async def keep_scale(self) -> None:
        """Starts and ends subscribers as the file of `scale` says."""
        while True:
            wanted = int(WANTED.read_text() or 0)
            for n in range(1, wanted + 1):
                if f"subscriber-{n}" not in self.processes and n > self.highest:
                    await self.start(f"subscriber-{n}", sys.executable, "-m", "subscriber")
            for n in range(wanted + 1, self.highest + 1):
                await self.end(f"subscriber-{n}")
            self.highest = wanted
            await asyncio.sleep(0.3)

    async def run(self, *, gateway: bool) -> None:
        """Everything, until a signal or the end of Redis."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.on_signal)
        port = str(self.redis_port)
        conf = str(ROOT / "docker/redis/redis.conf")
        redis = [server_program(), conf, "--port", port, "--bind", "127.0.0.1", "--dir", str(RUN / "data")]
        await self.start("redis-1", *redis)
        await self.start("publisher-1", sys.executable, "-m", "publisher")
        if gateway:
            await self.start("gateway-1", sys.executable, "-m", "gateway")
        scaling = asyncio.create_task(self.keep_scale())
        await self.stop.wait()
        scaling.cancel()
        await asyncio.gather(*(self.end(name) for name in list(self.processes) if name != "redis-1"))
        await self.end("redis-1")
        if self.pumps:
            await asyncio.wait(self.pumps, timeout=2)
        STATE.unlink(missing_ok=True)

    def on_signal(self) -> None:
        if self.stop.is_set():
            for process in self.processes.values():
                process.kill()
            os._exit(130)
        print("Stopping ... (Ctrl-C again kills)", flush=True)
        self.stop.set()


def http_port(service: str) -> str:
    """Where a service listens, by the same variables as in Compose."""
    if service == "gateway":
        return os.environ.get("GATEWAY_PORT") or "8080"
    return os.environ.get("HTTP_PORT") or os.environ.get("API_PORT") or "3000"


def state() -> dict[str, object] | None:
    """What the running stack says of itself; None where none runs."""
    try:
        found: dict[str, object] = json.loads(STATE.read_text())
        os.kill(int(str(found["supervisor"])), 0)
    except (OSError, ValueError, KeyError):
        return None
    return found


def health(name: str) -> str:
    """As a container's healthcheck would say it."""
    try:
        age = time.time() - (RUN / f"{name}.heartbeat").stat().st_mtime
    except OSError:
        return "starting"
    return "healthy" if age < FRESH else "unhealthy"


def ps(found: dict[str, object]) -> list[tuple[str, int, str]]:
    """Name, process ID and health of each process."""
    processes = found["processes"]
    assert isinstance(processes, dict)
    return [(name, pid, "running" if name == "redis-1" else health(name)) for name, pid in sorted(processes.items())]


def detach(subscribers: int, *, gateway: bool) -> int:
    """Starts the stack in the background; returns when all of it is healthy."""
    with open(os.devnull, "r+b") as null, (RUN / "errors").open("wb") as errors:
        command = [sys.executable, __file__, "up", "--subscribers", str(subscribers), *["--gateway"] * gateway]
        child = subprocess.Popen(command, stdin=null, stdout=null, stderr=errors, start_new_session=True)
    deadline = time.monotonic() + HEALTHY_WITHIN
    rows: list[tuple[str, int, str]] = []
    while time.monotonic() < deadline and child.poll() is None:
        rows = ps(found) if (found := state()) else []
        if len(rows) == subscribers + 2 + gateway and all(row[2] in ("healthy", "running") for row in rows):
            print(f"{len(rows)} processes are healthy; make logs shows what they say, make down ends them")
            return 0
        time.sleep(0.1)
    print(
        f"local.py: not healthy: {rows}",
        (RUN / "errors").read_text(),
        LOG.read_text()[-2000:],
        sep="\n",
        file=sys.stderr,
    )
    return 1


def down() -> int:
    """Ends the running stack and waits for that; its data stay."""
    if not (found := state()):
        return 0
    supervisor = int(str(found["supervisor"]))
    os.kill(supervisor, signal.SIGTERM)
    deadline = time.monotonic() + STOPPED_WITHIN + 3
    while state() and time.monotonic() < deadline:
        time.sleep(0.1)
    if state():
        print(f"local.py: process {supervisor} does not end", file=sys.stderr)
        return 1
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up")
    up.add_argument("--subscribers", type=int, default=1)
    up.add_argument("--gateway", action="store_true")
    up.add_argument("--detach", action="store_true")
    commands.add_parser("scale").add_argument("subscribers", type=int)
    for name in ("down", "ps", "logs", "port"):
        commands.add_parser(name)
    options = parser.parse_args()
    found = state()
    if options.command == "down":
        return down()
    if options.command == "up":
        if found:
            sys.exit("local.py: the stack runs already; make down ends it")
        RUN.mkdir(exist_ok=True)
        WANTED.write_text(str(options.subscribers))
        if options.detach:
            return detach(options.subscribers, gateway=options.gateway)
        asyncio.run(start(gateway=options.gateway))
        return 0
    if not found:
        sys.exit("local.py: the stack does not run; make up starts it")
    if options.command == "scale":
        WANTED.write_text(str(options.subscribers))
    elif options.command == "ps":
        print("\n".join(f"{name:<14} {pid:>7}  {health}" for name, pid, health in ps(found)))
    elif options.command == "port":
        print(found["redis_port"])
    else:
        os.execvp("tail", ["tail", "-n", "+1", "-F", str(LOG)])
    return 0


async def start(*, gateway: bool) -> None:
    await Stack().run(gateway=gateway)


if __name__ == "__main__":
    sys.exit(main())
