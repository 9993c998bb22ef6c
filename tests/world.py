"""Publishers and subscribers of this process around a real Redis that can be rolled back, and what they must agree on."""

import asyncio
import random
import threading
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import structlog

from fanout import catch_up, position, sender, subscription
from fanout.catch_up import Outcome
from fanout.environment import Environment
from fanout.health import Heartbeat
from fanout.message import Message
from fanout.position import Progress
from fanout.settings import HistorySettings, Settings, read_settings, read_subscription
from fanout.subscription import Subscription
from fanout.writer import Writer
from proxy import Fault, Proxy
from redis_server import RedisServer

T = TypeVar("T")
CHANNELS = ("one", "two")
REST = 20.0


def silence(_logger: Any, _method: str, _fields: Any) -> Any:
    raise structlog.DropEvent


def hurry() -> None:
    """Makes what happens every few seconds happen every few hundredths of one."""
    structlog.configure(processors=[silence])
    sender.ASK_EVERY = 0.05
    position.FIRST_IDLE = subscription.FIRST_IDLE = 0.1
    subscription.LONGEST_IDLE = 0.4
    subscription.TICK = 0.05
    subscription.PATIENCE = 0.3
    catch_up.FIRST_PAGE = 3
    catch_up.LARGEST_PAGE = 6


def settings(port: int, name: str) -> Settings:
    env = {
        "REDIS_URL": f"redis://127.0.0.1:{port}/0",
        "INSTANCE": name,
        "BACKOFF_FIRST": "5ms",
        "BACKOFF_CAP": "20ms",
        "LOG_MESSAGES": "none",
        "DEAD_AFTER": "2",
    }
    return read_settings(Environment(env), "test")


class Publisher:
    def __init__(self, name: str, proxy_port: int, history: HistorySettings) -> None:
        self.name = name
        self.writer = Writer(settings(proxy_port, name), history, Heartbeat(""))
        self.made: list[tuple[str, str, asyncio.Future[Any]]] = []
        self.dead = False

    def publish(self, count: int) -> None:
        for n in range(count):
            channel = CHANNELS[n % len(CHANNELS)]
            data = f"{self.name}-{len(self.made)}"
            self.made.append((channel, data, self.writer.enqueue(channel, data)))


class Recorder(Subscription):
    """A subscription that notes what each catch-up found."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.outcomes: list[Outcome] = []
        self.begun = False
        saved = self._channels._saved
        saved.load, self._load = self._noting_load, saved.load

    async def _noting_load(self, *args: Any) -> Any:
        record = await self._load(*args)
        self.begun |= record is None
        return record

    def _report(self, progress: Progress, why: str, outcome: Outcome, began: float) -> None:
        self.outcomes.append(outcome)
        super()._report(progress, why, outcome, began)


class Subscriber:
    """One name; each life is a subscription object, as each process would be."""

    def __init__(self, name: str, port: int, **env: str) -> None:
        self.name, self.port, self.env = name, port, env
        self.lives: list[list[Message]] = []
        self.outcomes: list[Outcome] = []
        self.subscription: Recorder | None = None
        self.subscriptions: list[Recorder] = []

    async def start(self) -> None:
        env = {"CHANNELS": ",".join(CHANNELS), "START_FROM": "earliest"} | self.env
        self.subscription = Recorder(settings(self.port, self.name), read_subscription(Environment(env)), Heartbeat(""))
        self.subscriptions.append(self.subscription)
        await self.subscription.__aenter__()
        self.lives.append([])
        self.outcomes = self.subscription.outcomes = [*self.outcomes]
        self.consumer = asyncio.create_task(self._consume(self.subscription, self.lives[-1]))

    async def _consume(self, subscription: Recorder, delivered: list[Message]) -> None:
        async for batch in subscription.inbox.batches():
            for message in batch:
                delivered.append(message)
                subscription.inbox.handled += 1
                if random.random() < 0.1:
                    await asyncio.sleep(0)

    async def stop(self, *, crash: bool) -> None:
        assert self.subscription
        if crash:
            self.subscription.task.cancel()
            await asyncio.wait([self.subscription.task])
            self.consumer.cancel()
        else:
            self.subscription.inbox.close()
            await asyncio.wait([self.consumer])
            await self.subscription.__aexit__(None, None, None)

    @property
    def begun(self) -> int:
        """How many lives found no record of an earlier one; after the first, a rollback or FLUSHALL took it."""
        return sum(life.begun for life in self.subscriptions)

    @property
    def lost(self) -> int:
        return sum(outcome.lost for outcome in self.outcomes)

    @property
    def exact(self) -> bool:
        return all(outcome.exact for outcome in self.outcomes)


class World:
    """One server, two publishers and three subscribers, each behind a proxy of its own. Calls return when done."""

    def __init__(self, folder: Path) -> None:
        hurry()
        self.folder = folder
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.server = RedisServer(
            folder,
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
            "--aof-use-rdb-preamble",
            "no",
            "--auto-aof-rewrite-percentage",
            "0",
        )
        self.server.start()
        self.other: RedisServer | None = None
        self.proxies = [Proxy(self.server.port) for _ in range(5)]
        self.ports = [self.do(proxy.start()) for proxy in self.proxies]
        self.history = HistorySettings(size=100_000, ttl=3600, fsync=False, plain=False)
        self.epoch = 0

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def begin(self) -> None:
        """A new run on an empty server."""
        self.epoch += 1
        for proxy in self.proxies:
            proxy.target = self.server.port
        self.server.client().flushall()
        self.kept = self._aof().stat().st_size
        self.trimmed = self.flushed = self.untrimmed = False
        self.publishers = [self._publisher(i) for i in range(2)]
        self.dead: list[Publisher] = []
        self.subscribers = [Subscriber(f"s{i}-{self.epoch}", self.ports[2 + i]) for i in range(3)]
        for subscriber in self.subscribers:
            self.do(subscriber.start())
        self.wait_subscribed()

    def wait_subscribed(self) -> None:
        deadline = time.monotonic() + REST
        while any(s.subscription.reconnects < 0 for s in self.subscribers if s.subscription):
            assert time.monotonic() < deadline, "a subscriber does not subscribe"
            time.sleep(0.002)

    def _publisher(self, slot: int) -> Publisher:
        self.births = getattr(self, "births", 0) + 1

        async def start() -> Publisher:
            publisher = Publisher(f"p{self.births}", self.ports[slot], self.history)
            await publisher.writer.__aenter__()
            return publisher

        return self.do(start())

    def _aof(self) -> Path:
        return max((self.folder / "appendonlydir").glob("*.incr.aof"), key=lambda path: int(path.name.split(".")[-3]))

    # what may happen

    def publish(self, slot: int, count: int) -> None:
        async def publish() -> None:
            self.publishers[slot].publish(count)

        self.do(publish())

    def settle(self) -> None:
        """Lets everything go on for a moment."""
        time.sleep(0.01)

    def fault(self, slot: int, fault: Fault) -> None:
        async def set_fault() -> None:
            if fault == "cut":
                self.proxies[slot].cut()
            else:
                self.proxies[slot].fault = fault

        self.do(set_fault())

    def keep(self) -> None:
        """What is there now is on disk: no rollback goes behind it."""
        self.kept = self._aof().stat().st_size

    def roll_back(self, part: float) -> None:
        """kill -9, and an AOF that ends earlier than it did."""
        self.untrimmed = self.trimmed  # what was reported as gone may be there again
        self.server.kill()
        path = self._aof()
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.truncate(self.kept + int((size - self.kept) * part))
        self.server.start()
        self.kept = min(self.kept, self._aof().stat().st_size)

    def restart_subscriber(self, slot: int, *, crash: bool) -> None:
        async def restart() -> None:
            await self.subscribers[slot].stop(crash=crash)
            await self.subscribers[slot].start()

        self.do(restart())

    def replace_publisher(self, slot: int) -> None:
        """The process dies; another takes its place."""

        async def kill() -> None:
            old = self.publishers[slot]
            old.writer.task.cancel()
            await asyncio.wait([old.writer.task])

        self.do(kill())
        self.dead.append(self.publishers[slot])
        self.publishers[slot] = self._publisher(slot)

    def script_flush(self) -> None:
        self.server.client().script_flush()

    def flush_all(self) -> None:
        self.flushed = True
        self.server.client().flushall()

    def trim(self, keep: int) -> None:
        self.trimmed = True
        for channel in CHANNELS:
            self.server.client().xtrim(f"fanout:{{{channel}}}:history", maxlen=keep, approximate=False)

    # what must hold

    def rest(self) -> list[str]:
        """Brings everything to rest; what is wrong then, in words."""
        for proxy in self.proxies:
            proxy.fault = None
        deadline = time.monotonic() + REST
        for publisher in self.publishers:
            try:
                self.do(asyncio.wait_for(publisher.writer.flush(), REST))
            except TimeoutError:
                writer = publisher.writer
                ended = writer.task.exception() if writer.task.done() else "lives"
                return [
                    f"{publisher.name} does not flush: {writer.waiting} wait, connected {bool(writer.sender.redis)}, {ended!r}"
                ]
        wrong = self.wrong()
        while wrong and time.monotonic() < deadline and not any("twice" in line or "order" in line for line in wrong):
            time.sleep(0.02)
            wrong = self.wrong()
        return wrong

    def end(self) -> None:
        async def stop() -> None:
            for subscriber in self.subscribers:
                await subscriber.stop(crash=True)
            for publisher in self.publishers:
                publisher.writer.task.cancel()
                await asyncio.wait([publisher.writer.task])

        self.do(stop())

    def close(self) -> None:
        for proxy in self.proxies:
            self.do(proxy.stop())
        self.server.stop()
        self.do(self._cancel_all())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    async def _cancel_all(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def wrong(self) -> list[str]:
        held: set[str] = set()
        for channel in CHANNELS:
            for _, fields in self.server.client().xrange(f"fanout:{{{channel}}}:history"):
                held.add(fields[b"event"].decode().split('"data":"')[1].split('"')[0])
        return [line for subscriber in self.subscribers for line in self._verdict(subscriber, held)]

    def _verdict(self, subscriber: Subscriber, held: set[str]) -> list[str]:
        wrong, missing = [], 0
        for life in subscriber.lives:
            names = [(m.source, m.id) for m in life]
            if len(names) != len(set(names)):
                wrong.append(f"{subscriber.name} delivered an event twice in one life")
            by_source: dict[str, list[int]] = {}
            for message in life:
                by_source.setdefault(message.source, []).append(int(message.id))
            if any(seqs != sorted(seqs) for seqs in by_source.values()):
                wrong.append(f"{subscriber.name} has events out of order")
        got = {message.data for life in subscriber.lives for message in life}
        for publisher in self.publishers + self.dead:
            expected = {data for _, data, _ in publisher.made}
            if (
                publisher.dead or publisher in self.dead
            ):  # what Redis forgot and nobody can send again is nobody's to deliver
                expected &= held
            if subscriber.begun > 1 or self.flushed:  # what was deleted by hand is promised to nobody
                expected &= held
            missing += len(expected - got)
        task = subscriber.subscription.task
        if task.done():
            wrong.append(f"{subscriber.name} has ended: {task.exception()!r}")
        if missing > subscriber.lost and ((subscriber.exact and not self.flushed) or not self.trimmed):
            wrong.append(f"{subscriber.name} misses {missing}, reports {subscriber.lost}")
        if (
            missing < subscriber.lost
            and subscriber.exact
            and not (self.flushed or self.untrimmed)
            and len(subscriber.lives) == 1
            and not self.dead
        ):
            wrong.append(f"{subscriber.name} misses only {missing}, reports {subscriber.lost}")
        return wrong
