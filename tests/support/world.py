"""Publishers and subscribers of this process around a real Redis that can be rolled back, and what they must agree on."""

import asyncio
import contextlib
import dataclasses
import json
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import redis
import structlog

from fanout.settings import HistorySettings
from support.entries import events_of, retained, streamname
from support.in_process import CHANNELS, PublisherHere, SubscriberHere
from support.proxy import Fault, Proxy
from support.redis_server import RedisServer
from support.verdict import verdict

T = TypeVar("T")
Event = dict[str, Any]
STRANGE: list[Callable[[Event], Event]] = [
    lambda _: {},
    lambda event: {"streamprev": event["streamid"], "streamid": "evil", "id": "1000000000000000"},
    lambda event: {"streamprev": event["streamid"], "streamname": "another", "streamid": "9-9", "id": "1000000000000"},
    lambda _: {"streamid": None, "id": "1000000000000000"},
    lambda _: {"streamid": "9-9", "id": "1000000000000000"},
    lambda _: {"source": "/elsewhere", "streamid": "9-9"},
]
BATCHES = (256, 3, 1, 2)
REST = 20.0


def silence(_logger: Any, _method: str, _fields: Any) -> Any:
    raise structlog.DropEvent


class World:
    """One server, two publishers and three subscribers, each behind a proxy of its own. Calls return when done."""

    def __init__(self, folder: Path) -> None:
        self.log = structlog.get_config()
        structlog.configure(processors=[silence])
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
        self.client = self.server.client()
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
        self.client.flushall()
        self.kept = self._aof().stat().st_size
        self.trimmed = self.flushed = self.untrimmed = self.doubled = False
        self.publishers = [self._publisher(i) for i in range(2)]
        self.dead: list[PublisherHere] = []
        self.subscribers = [
            SubscriberHere(f"s0-{self.epoch}", self.ports[2], living=self.epoch % 2 == 0),
            SubscriberHere(f"s1-{self.epoch}", self.ports[3], living=self.epoch % 4 < 2, QUEUE_SIZE="7"),
            SubscriberHere(f"s2-{self.epoch}", self.ports[4], CHANNELS="", PATTERNS="*"),
        ]
        for subscriber in self.subscribers:
            self.do(subscriber.start())
        self.wait_subscribed()

    def wait_subscribed(self) -> None:
        deadline = time.monotonic() + REST
        while any(s.subscription.reconnects < 0 for s in self.subscribers if s.subscription):
            assert time.monotonic() < deadline, "a subscriber does not subscribe"
            time.sleep(0.002)

    def _publisher(self, slot: int) -> PublisherHere:
        self.births = getattr(self, "births", 0) + 1

        async def start() -> PublisherHere:
            history = dataclasses.replace(self.history, batch_events=BATCHES[self.births % len(BATCHES)])
            publisher = PublisherHere(f"p{self.births}", self.ports[slot], history)
            await publisher.publisher.__aenter__()
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
            old.publisher.task.cancel()
            await asyncio.wait([old.publisher.task])

        self.do(kill())
        self.dead.append(self.publishers[slot])
        self.publishers[slot] = self._publisher(slot)

    def stranger(self, channel: int, kind: int) -> None:
        """Somebody publishes what looks like an event of ours."""
        name = CHANNELS[channel]
        client = self.client
        with contextlib.suppress(redis.RedisError):
            last = client.xrevrange(f"fanout:{{{name}}}:history", count=1)
            if not last or not events_of(last[0][1]):
                return
            [(streamid, fields)] = last
            event = events_of(fields)[-1] | {"data": "stranger", "streamid": streamid.decode()}
            event |= {"streamseq": fields[b"streamseq"].decode(), "streamprev": "1-1"}
            event["streamname"] = streamname(client, name)
            client.publish(name, json.dumps(event | STRANGE[kind](event)))

    def add_by_hand(self, channel: int) -> None:
        with contextlib.suppress(redis.RedisError):
            self.client.xadd(f"fanout:{{{CHANNELS[channel]}}}:history", {"event": "by hand", "streamseq": "abc"})

    def forget_producers(self) -> None:
        """Somebody deletes what Redis knows of the publishers, which then send again what stands in the history."""
        self.doubled = True  # what is trimmed of that is reported as gone, though it was delivered before
        client = self.client
        for key in client.scan_iter("fanout:*:producer:*"):
            client.delete(key)

    def refuse_writes(self, refuse: bool) -> None:
        """Its memory is full, or no longer."""
        self.client.config_set("maxmemory", int(refuse))

    def script_flush(self) -> None:
        self.client.script_flush()

    def flush_all(self) -> None:
        self.flushed = True
        self.client.flushall()

    def trim(self, keep: int) -> None:
        self.trimmed = True
        for channel in CHANNELS:
            self.client.xtrim(f"fanout:{{{channel}}}:history", maxlen=keep, approximate=False)

    # what must hold

    def rest(self) -> list[str]:
        """Brings everything to rest; what is wrong then, in words."""
        for proxy in self.proxies:
            proxy.fault = None
        self.refuse_writes(refuse=False)
        deadline = time.monotonic() + REST
        for publisher in self.publishers:
            try:
                self.do(asyncio.wait_for(publisher.publisher.flush(), REST))
            except TimeoutError:
                task = publisher.publisher.task
                ended = task.exception() if task.done() else "lives"
                return [
                    (
                        f"{publisher.name} does not flush: {publisher.publisher.statistics().waiting} wait, "
                        f"connected {bool(publisher.publisher.redis)}, {ended!r}"
                    )
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
                publisher.publisher.task.cancel()
                await asyncio.wait([publisher.publisher.task])

        self.do(stop())

    def close(self) -> None:
        for proxy in self.proxies:
            self.do(proxy.stop())
        self.server.stop()
        self.do(self._cancel_all())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()
        structlog.configure(**self.log)

    async def _cancel_all(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def wrong(self) -> list[str]:
        held = {event["data"] for channel in CHANNELS for event in retained(self.client, channel)}
        return [line for subscriber in self.subscribers for line in verdict(self, subscriber, held)]
