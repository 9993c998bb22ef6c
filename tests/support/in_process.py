"""Publishers and subscribers in the process of the test."""

import asyncio
import dataclasses
import random
from typing import Any

from fanout import Publisher, Subscription
from fanout._subscribe.catch_up import Outcome
from fanout.environment import Environment
from fanout.message import Message
from fanout.settings import HistorySettings, Settings, SubscriptionSettings, Timings, read_settings, read_subscription

CHANNELS = ("one", "two")
CALM = Timings()
HURRY = Timings(ask_every=0.05, tick=0.05, first_idle=0.1, longest_idle=0.4, patience=0.3, first_page=3, largest_page=6)
"""What happens every few seconds happens every few hundredths of one."""


def settings(port: int, name: str, timings: Timings = CALM, **more: str) -> Settings:
    env = {
        "REDIS_URL": f"redis://127.0.0.1:{port}/0",
        "INSTANCE": name,
        "BACKOFF_FIRST": "5ms",
        "BACKOFF_CAP": "20ms",
        "LOG_MESSAGES": "none",
        "DEAD_AFTER": "2",
        "SHUTDOWN_GRACE": "5",
    }
    return dataclasses.replace(read_settings(Environment(env | more)), timings=timings)


class PublisherHere:
    def __init__(self, name: str, proxy_port: int, history: HistorySettings) -> None:
        self.name = name
        self.publisher = Publisher(settings(proxy_port, name, HURRY, SHUTDOWN_GRACE="0"), history=history)
        self.made: list[tuple[str, str, asyncio.Future[Any]]] = []
        self.dead = False

    def publish(self, count: int) -> None:
        for n in range(count):
            channel = CHANNELS[n % len(CHANNELS)]
            data = f"{self.name}-{len(self.made)}"
            self.made.append((channel, data, self.publisher.enqueue(channel, data)))


class Recorder(Subscription):
    """A subscription that notes what each catch-up found."""

    def __init__(self, settings: Settings, what: SubscriptionSettings) -> None:
        super().__init__(settings, what=what)
        self.outcomes: list[Outcome] = []
        self.begun = False
        saved = self._sessions.channels._saved
        saved.load, self._load = self._noting_load, saved.load
        outcomes = self._sessions.outcomes
        outcomes.report, self._report = self._noting_report, outcomes.report

    async def _noting_load(self, *args: Any) -> Any:
        records = await self._load(*args)
        self.begun |= None in records
        return records

    def _noting_report(self, channel: str, why: str, outcome: Outcome, took: float) -> None:
        self.outcomes.append(outcome)
        self._report(channel, why, outcome, took)


class SubscriberHere:
    """One name; each life is a subscription object, as each process would be."""

    def __init__(self, name: str, port: int, *, living: bool = False, **env: str) -> None:
        self.name, self.port, self.env = name, port, env
        self.living = living  # its channels are added while it runs
        self.adding: list[asyncio.Task[None]] = []
        self.lives: list[list[Message]] = []
        self.outcomes: list[Outcome] = []
        self.subscription: Recorder | None = None
        self.subscriptions: list[Recorder] = []

    async def start(self) -> None:
        env = {"CHANNELS": ",".join(CHANNELS), "START_FROM": "earliest"} | self.env
        what = read_subscription(Environment(env))
        if self.living:
            what = dataclasses.replace(what, channels=())
        self.subscription = Recorder(settings(self.port, self.name, HURRY, SHUTDOWN_GRACE="0"), what)
        self.subscriptions.append(self.subscription)
        await self.subscription.__aenter__()
        self.lives.append([])
        self.outcomes = self.subscription.outcomes = [*self.outcomes]
        self.consumer = asyncio.create_task(self._consume(self.subscription, self.lives[-1]))
        if self.living:
            self.adding = [asyncio.create_task(self.subscription.subscribe(channel)) for channel in CHANNELS]

    async def _consume(self, subscription: Recorder, delivered: list[Message]) -> None:
        async for batch in subscription.inbox.batches():
            for message in batch:
                delivered.append(message)
                subscription.inbox.handled += 1
                if random.random() < 0.1:
                    await asyncio.sleep(0)

    async def stop(self, *, crash: bool) -> None:
        assert self.subscription
        for task in self.adding:
            task.cancel()
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
