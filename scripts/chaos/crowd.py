"""Opens 100,000 channels on one gateway, and measures what they weigh and how soon a message is there.

Runs its own Redis, which it kills once, and its own gateway. Exits with 0 if every client received every message of its
channels, once and in order; ends all that it started.
"""

import asyncio
import gc
import json
import os
import random
import signal
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from chaos.crowd_clients import Heard, Stream, WebSocket
from fanout import Publisher
from fanout.environment import Environment
from fanout.service import logs
from fanout.service.event_loop import EventLoop
from run import ROOT
from run.child import Child
from run.loopback import free_port, server_program
from run.table import coloured, ms, printed, table

SOCKETS, CHANNELS_EACH, STREAMS = 1000, 100, 5000
RATE = 1000
LATENCY_OVER = 20.0
CHURN_RATE = 20_000 / 60
CHURN_SOCKETS = 100


class Crowd:
    """The gateway, its Redis and its clients."""

    def __init__(self, folder: str) -> None:
        self.port, self.http = free_port(0), free_port(0)
        path = os.pathsep.join(str(ROOT / part) for part in ("services/fanout", "services/gateway"))
        self.env = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self.env |= {"REDIS_URL": self.url, "PYTHONPATH": path, "LOG_FORMAT": "json", "HTTP_PORT": str(self.http)}
        self.env |= {"INSTANCE": "gateway", "MAX_CHANNELS": "200000"}
        conf = str(ROOT / "docker/redis/redis.conf")
        server = (server_program(), conf, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", folder)
        self.server = (*server, "--maxmemory", "2gb", "--loglevel", "warning")  # every channel gets a history
        self.redis = Child(*self.server, env=self.env)
        self.gateway = Child(sys.executable, "-m", "gateway", env=self.env)
        self.heard = Heard()
        self.lives = 0
        loop = asyncio.get_running_loop()
        loop.add_reader(self.gateway.fileno, self.read_log)
        self.sockets: list[WebSocket] = []
        self.sent: dict[str, int] = {}

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def memory(self) -> int:
        """The gateway's resident memory in MB."""
        status = Path(f"/proc/{self.gateway.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) // 1000

    async def open(self, publisher: Publisher) -> None:
        """Connect all clients, and wait until each is subscribed."""
        loop = asyncio.get_running_loop()
        await publisher.publish("begin", 0)
        await self.until(self.there, "the gateway answers")
        for number in range(SOCKETS):
            made = await loop.create_connection(partial(WebSocket, number, self.heard), "127.0.0.1", self.http)
            self.sockets.append(made[1])
            await asyncio.sleep(0.002)
            for n in range(CHANNELS_EACH):
                self.sockets[-1].tell(subscribe=f"user:{number}:{n}")
        await self.until(lambda: self.heard.subscribed >= SOCKETS * CHANNELS_EACH, "all are subscribed")
        for number in range(STREAMS):
            channel = f"user:{number % SOCKETS}:0"
            stream = partial(Stream, SOCKETS + number, channel, self.heard)
            await loop.create_connection(stream, "127.0.0.1", self.http)
        await self.until(lambda: self.heard.subscribed >= SOCKETS * CHANNELS_EACH + STREAMS, "all streams are open")

    async def publish(self, publisher: Publisher, seconds: float) -> None:
        """Publish RATE messages a second on random channels."""
        began, count = time.monotonic(), 0
        while (now := time.monotonic() - began) < seconds:
            while count < now * RATE:
                channel = f"user:{random.randrange(SOCKETS)}:{random.randrange(CHANNELS_EACH)}"
                self.sent[channel] = self.sent.get(channel, 0) + 1
                publisher.put(channel, [self.sent[channel], time.time()])
                count += 1
            await asyncio.sleep(0.001)

    async def churn(self, seconds: float) -> None:
        """Open and close CHURN_RATE channels a second besides."""
        began, count = time.monotonic(), 0
        loop = asyncio.get_running_loop()
        made = [
            await loop.create_connection(partial(WebSocket, -1 - n, self.heard), "127.0.0.1", self.http)
            for n in range(CHURN_SOCKETS)
        ]
        while (now := time.monotonic() - began) < seconds:
            while count < now * CHURN_RATE:
                _, socket = made[count % CHURN_SOCKETS]
                if count >= CHURN_SOCKETS:
                    socket.tell(unsubscribe=f"passing:{count - CHURN_SOCKETS}")
                socket.tell(subscribe=f"passing:{count}")
                count += 1
            await asyncio.sleep(0.01)
        for transport, _ in made:
            transport.close()

    def missing(self) -> int:
        """Return how many messages have not arrived yet."""
        last = self.heard.last
        wanted = [((int(channel.split(":")[1]), channel), count) for channel, count in self.sent.items()]
        wanted += [
            ((SOCKETS + n, channel), self.sent[channel])
            for n in range(STREAMS)
            if (channel := f"user:{n % SOCKETS}:0") in self.sent
        ]
        return sum(count - last.get(place, 0) for place, count in wanted)

    def read_log(self) -> None:
        """Count how often the gateway has become live, and show what goes wrong there."""
        for line in self.gateway.read():
            entry = json.loads(line)
            self.lives += entry["event"] == "live"
            if entry["level"] in {"error", "critical"}:
                print(line, flush=True)
        if self.gateway.ended:
            sys.exit("crowd: the gateway has ended")

    def there(self) -> bool:
        """Return whether the gateway accepts connections."""
        status = Path(f"/proc/{self.gateway.process.pid}/net/tcp").read_text()
        return f":{self.http:04X} 00000000:0000 0A" in status

    async def until(self, done: Any, what: str, within: float = 180.0) -> None:
        """Wait for something, or end."""
        deadline = time.monotonic() + within
        while not done():
            if time.monotonic() > deadline:
                sys.exit(f"crowd: {what}: not within {within:g} s")
            await asyncio.sleep(0.02)

    def latencies(self) -> list[str]:
        found, self.heard.latencies = sorted(self.heard.latencies) or [0.0], []
        return [ms(found[len(found) // 2]), ms(found[len(found) * 99 // 100]), ms(found[-1])]


async def measure(folder: str, minutes: float) -> bool:
    """Do the whole measurement; return whether every message arrived once."""
    crowd = Crowd(folder)
    rows: list[list[str]] = []

    def note(what: str, count: str, latencies: list[str]) -> None:
        rows.append([what, count, *latencies, f"{crowd.memory:,} MB"])
        print(f"{what}: {crowd.memory:,} MB", flush=True)

    try:
        async with Publisher(crowd.url, max_channels=200_000) as publisher:
            began = time.monotonic()
            await crowd.open(publisher)
            note("open", f"{time.monotonic() - began:.1f} s", ["", "", ""])
            await crowd.publish(publisher, LATENCY_OVER)
            await crowd.until(lambda: not crowd.missing(), "all messages are there")
            note(f"{RATE:,} messages/s", f"{sum(crowd.sent.values()):,}", crowd.latencies())
            publishing = asyncio.create_task(crowd.publish(publisher, LATENCY_OVER))
            await asyncio.sleep(LATENCY_OVER / 4)
            crowd.redis.signal(signal.SIGKILL)
            await asyncio.to_thread(crowd.redis.end, 5)
            killed, lives = time.monotonic(), crowd.lives
            crowd.redis = Child(*crowd.server, env=crowd.env)
            await crowd.until(lambda: crowd.lives > lives, "the gateway is live again")
            took = time.monotonic() - killed
            await publishing
            await crowd.until(lambda: not crowd.missing(), "all messages are there")
            note("Redis killed, live again", f"{took:.1f} s", crowd.latencies())
            for minute in range(round(minutes)):
                await asyncio.gather(crowd.churn(60), crowd.publish(publisher, 60))
                await crowd.until(lambda: not crowd.missing(), "all messages are there")
                note(f"channels come and go, minute {minute + 1}", f"{60 * CHURN_RATE:,.0f}", crowd.latencies())
            connections = await connections_of(publisher)
        titles = (f"{SOCKETS * CHANNELS_EACH:,} channels", "", "p50 ms", "p99 ms", "max ms", "gateway's memory")
        print("\n" + printed(table(titles, rows), colour=coloured()))
        print(f"\n{connections} connections to Redis; {SOCKETS:,} WebSockets, {STREAMS:,} streams")
        total = sum(crowd.sent.values())
        if crowd.heard.wrong:
            print(f"{crowd.heard.wrong} of {total:,} messages came twice, out of order or not at all")
        else:
            print(f"each client received its part of {total:,} messages, once and in order")
        return not crowd.heard.wrong
    finally:
        asyncio.get_running_loop().remove_reader(crowd.gateway.fileno)
        for child in (crowd.gateway, crowd.redis):
            child.signal(signal.SIGTERM)
            child.end(5)


async def connections_of(publisher: Publisher) -> int:
    """Return how many connections to Redis the gateway has."""
    assert publisher.redis
    clients = await publisher.redis.call("CLIENT", "LIST")
    return sum(b" name=gateway " in line for line in clients.splitlines())


def main() -> int:
    minutes = float(os.environ.get("MINUTES", "1"))
    gc.disable()  # its pauses would be measured as the gateway's
    logs.configure(Environment({"LOG_LEVEL": "error"}), "publisher", "crowd")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: sys.exit(f"crowd: stopped by {signal.Signals(number).name}"))
    with tempfile.TemporaryDirectory(prefix="fanout-crowd-") as folder:
        return not asyncio.Runner(loop_factory=EventLoop).run(measure(folder, minutes))


if __name__ == "__main__":
    sys.exit(main())
