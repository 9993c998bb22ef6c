"""Lets many subscribers, each far behind, come back at once, and measures the latency of live traffic meanwhile.

Runs its own Redis. Exits with 0 if each subscriber received everything, once and in order; ends all that it started.
"""

import asyncio
import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any

from fanout import Subscription
from fanout.environment import Environment
from fanout.service import logs
from fanout.service.event_loop import EventLoop
from fanout.service.lifecycle import until
from run import ROOT
from run.child import Child
from run.loopback import free_port, server_program
from run.table import coloured, ms, printed, table
from subscriber.settings import read

MANY, BACKLOG, RATE, PROCESSES = 50, 20_000, 200, 5
LIMIT, LAST_WITHIN, CALM = 180, 20, 5.0
PUBLISHER, GROUP = (sys.executable, "-m", "publisher"), (sys.executable, "-m", "chaos.stampede")
SIGNALS = (signal.SIGALRM, signal.SIGTERM, signal.SIGINT)
PATHS = ("scripts", "services/fanout", "services/publisher", "services/subscriber")


class Subscriber:
    """A subscriber: what it received of each producer (count, last, out of order), and its live latencies."""

    def __init__(self, name: str) -> None:
        settings = read(Environment({"REDIS_URL": os.environ["REDIS_URL"], "INSTANCE": name}))
        self.name, self.subscription = name, Subscription(settings, what=settings.what)
        self.got: dict[str, list[int]] = {}
        self.latencies: list[tuple[float, float]] = []

    async def run(self, stop: asyncio.Event) -> None:
        """Run as the subscriber service does."""
        async with self.subscription as subscription:
            work = asyncio.create_task(self.deliver(subscription))
            await until(stop, work, subscription.task)
            subscription.inbox.close()
            await work

    async def deliver(self, subscription: Subscription) -> None:
        async for batch in subscription.inbox.batches():
            now = time.time()
            for message in batch:
                count, last, disorder = self.got.get(message.source, (0, 0, 0))
                self.got[message.source] = [count + 1, int(message.id), disorder + (int(message.id) != last + 1)]
                if not message.catch_up:  # all that it missed was delivered before this one
                    self.latencies.append((now, message.age_ms(now) or 0.0))
            subscription.inbox.handled = len(batch)

    def has_done(self, word: str) -> bool:
        """Return whether it is live ("begin"), has caught up ("whole"), or has received that many events (a number)."""
        if word.isdigit():
            return sum(count for count, _, _ in self.got.values()) >= int(word)
        return word == "end" or bool(self.subscription.state == "live" and (word == "begin" or self.latencies))


async def group(names: list[str]) -> None:
    """Run some subscribers in this process: execute commands from standard input, and answer with their state."""
    answers, sys.stdout = sys.stdout, sys.stderr
    logs.configure(Environment({"LOG_LEVEL": "error", "LOG_FORMAT": "json"}), "subscriber", names[0])
    while word := (await asyncio.to_thread(sys.stdin.readline)).strip():
        if word == "begin":
            stop = asyncio.Event()
            subscribers = [Subscriber(name) for name in names]
            lives = [asyncio.create_task(one.run(stop)) for one in subscribers]
        elif word == "end":
            stop.set()
            await asyncio.gather(*lives)
        deadline = time.monotonic() + (LAST_WITHIN if word.isdigit() else LIMIT)
        while time.monotonic() < deadline and not all(one.has_done(word) for one in subscribers):
            await asyncio.sleep(0.01)
            for life in lives:
                if life.done():
                    life.result()
        state = [
            [one.name, list(one.got.values()), one.latencies[:1], one.subscription.statistics().lost]
            for one in subscribers
        ]
        print(json.dumps([state, subscribers[0].latencies]), file=answers, flush=True)


class Program(Child):
    """A process that is controlled through its standard input."""

    def tell(self, text: str, *, last: bool = False) -> None:
        """Write to its standard input, and close that after the last text."""
        assert self.process.stdin
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(text.encode())
            self.process.stdin.flush()
        if last:
            self.process.stdin.close()

    def answer(self) -> Any:
        """Return the next line that it prints, parsed as JSON."""
        while not self.ended:
            if lines := self.read():
                return json.loads(lines[-1])
        sys.exit("stampede: a process has ended")

    def accepted(self, text: str = "") -> int:
        """Wait for the end of a publisher; return how many events Redis has accepted from it."""
        self.tell(text, last=True)
        lines: list[str] = []
        while not self.ended:
            lines += self.read()
        last = json.loads(lines[-1])
        return int(last["accepted"]) if last["event"] == "stopped" else sys.exit(f"stampede: a publisher says {last}")


class Programs:
    """All processes of the run."""

    def __init__(self) -> None:
        self.all: list[Program] = []
        self.port = str(free_port(0))
        path = os.pathsep.join(str(ROOT / part) for part in PATHS)
        self.env = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self.env |= {"REDIS_URL": f"redis://127.0.0.1:{self.port}/0", "PYTHONPATH": path, "PUBLISH_RATE": str(RATE)}
        self.env |= {"LOG_MESSAGES": "none", "LOG_FORMAT": "json", "HTTP_PORT": "0"}

    def start(self, *command: str) -> Program:
        self.all.append(Program(*command, env=self.env, stdin=subprocess.PIPE))
        return self.all[-1]

    def close(self) -> None:
        for program in self.all:
            program.signal(signal.SIGTERM)
        for program in self.all:
            program.end(3)


def tell(groups: list[Program], word: str | int) -> list[Any]:
    """Send a command to all groups; return their answers when all have executed it."""
    for one in groups:
        one.tell(f"{word}\n")
    return [one.answer() for one in groups]


def measure(programs: Programs, folder: str) -> bool:
    """Do the whole measurement; return whether each subscriber received everything once."""
    server = (server_program(), str(ROOT / "docker/redis/redis.conf"), "--port", programs.port, "--bind", "127.0.0.1")
    programs.start(*server, "--dir", folder, "--loglevel", "warning")  # the subscribers wait until it answers
    names = [f"away-{n + 1}" for n in range(MANY)]
    crowd = [programs.start(*GROUP, *names[n::PROCESSES]) for n in range(PROCESSES)]
    tell(crowd, "begin")
    tell(crowd, "end")
    missed = programs.start(*PUBLISHER, "send", "notifications").accepted(f"{'x' * 150}\n" * BACKLOG)
    observer = [programs.start(*GROUP, "observer")]
    tell(observer, "begin")
    publisher = programs.start(*PUBLISHER)
    print(f"{MANY} subscribers in {len(crowd)} processes, each {missed:,} events behind, come back at once", flush=True)
    time.sleep(CALM)
    began = time.time()
    tell(crowd, "begin")
    whole = max(one[2][0][0] for states, _ in tell(crowd, "whole") for one in states)
    time.sleep(CALM)
    publisher.signal(signal.SIGTERM)
    live = publisher.accepted()
    tell(crowd, missed + live)
    tell(observer, live)
    time.sleep(0.5)  # for duplicates
    ((seen,), latencies) = tell(observer, 0)[0]
    lines: list[list[str]] = []
    for title, since, end in (("before", 0.0, began), ("meanwhile", began, whole), ("after", whole, math.inf)):
        ages = sorted(age for at, age in latencies if since <= at - age / 1000 < end) or [math.nan]
        figures = (ages[len(ages) // 2], ages[len(ages) * 99 // 100], ages[-1])
        lines.append([title, f"{len(ages):,}", *map(ms, figures)])
    print("\n" + printed(table(("live latency", "events", "p50 ms", "p99 ms", "max ms"), lines), colour=coloured()))
    seconds, cores = whole - began, os.cpu_count()
    print(f"\nall have caught up after {seconds:.1f} s: {MANY * missed / seconds:,.0f} events/s ({cores} processors)")
    wanted = sorted([[missed, missed, 0], [live, live, 0]])
    wrong = [one for states, _ in tell(crowd, 0) for one in states if sorted(one[1]) != wanted or one[3]]
    wrong += [seen] * (seen[1] != [[live, live, 0]] or seen[3] != 0)
    for one in wrong[:5]:
        print(f"not {wanted} (count, last, out of order of each producer; first live one; lost): {one}")
    if not wrong:
        print(f"each received the {missed:,} events that it had missed and {live:,} live ones, once and in order")
    return not wrong


def main() -> int:
    signal.alarm(LIMIT)
    if names := sys.argv[1:]:
        asyncio.Runner(loop_factory=EventLoop).run(group(names))
        return 0
    for number in SIGNALS:
        signal.signal(number, lambda number, _: sys.exit(f"stampede: stopped by {signal.Signals(number).name}"))
    with tempfile.TemporaryDirectory(prefix="fanout-stampede-") as folder:
        programs = Programs()
        try:
            return not measure(programs, folder)
        finally:
            for number in SIGNALS:
                signal.signal(number, signal.SIG_IGN)
            programs.close()


if __name__ == "__main__":
    sys.exit(main())
