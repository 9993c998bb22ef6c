"""Many subscribers that were away come back at once, each far behind: what does the live traffic notice of it?

stampede.py [--subscribers 50] [--backlog 20000] [--rate 200] [--processes 5] [--nice 0]

Runs a Redis of its own. Exits with 0 if each of them got everything, once and in order; ends all that it started.
"""

import argparse
import asyncio
import contextlib
import json
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

import redis

from local import ROOT, free_port, server_program

sys.path[:0] = [str(ROOT / "services" / part) for part in ("fanout", "subscriber")]

from fanout import logs
from fanout.health import Heartbeat
from fanout.message import Message
from fanout.settings import Environment
from fanout.subscription import Subscription
from fanout.threads import EventLoop
from subscriber.settings import read

LIMIT, STARTED_WITHIN, LAST_WITHIN, CALM = 180, 20, 20, 5.0
PADDING = "x" * 150
Tally = dict[str, tuple[int, int, int]]


class Trouble(Exception):
    """Why there is no result."""


class Subscriber:
    """One name, in several lives: what it got of each producer (count, last, out of order), and when it was live."""

    def __init__(self, name: str, url: str) -> None:
        self.settings = read(Environment({"INSTANCE": name, "REDIS_URL": url}))
        self.got: Tally = {}
        self.whole_at, self.lost = 0.0, 0
        self.latencies: list[tuple[float, float]] = []
        self.live = asyncio.Event()

    def take(self, message: Message, now: float) -> None:
        count, last, disorder = self.got.get(message.source, (0, 0, 0))
        self.got[message.source] = (count + 1, int(message.id), disorder + (int(message.id) != last + 1))
        if not message.catch_up:  # everything that it missed was delivered before this one
            self.whole_at = self.whole_at or now
            self.latencies.append((now, message.age_ms(now) or 0.0))

    async def run(self, stop: asyncio.Event) -> None:
        """One life, as the subscriber's __main__ has it."""

        async def deliver() -> None:
            async for batch in subscription.inbox.batches():
                for message in batch:
                    self.take(message, time.time())
                subscription.inbox.handled = len(batch)

        async with Subscription(self.settings, self.settings.what, Heartbeat("")) as subscription:
            work = [asyncio.create_task(deliver()), subscription.task, asyncio.create_task(stop.wait())]
            while subscription.state != "live" and not subscription.task.done():
                await asyncio.sleep(0.01)
            self.live.set()
            done, _ = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            work[0].cancel()
            self.lost += subscription.lost


def group(pipe: Connection, names: list[str], url: str, nice: int) -> None:
    """A process with some subscribers: `begin` a life, `end` it, wait until they are `whole` or have so many, `tell`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.alarm(LIMIT)
    os.nice(nice)
    logs.configure(Environment({"LOG_LEVEL": "error", "LOG_FORMAT": "json"}), "subscriber", names[0])
    with asyncio.Runner(loop_factory=EventLoop) as runner, contextlib.suppress(EOFError):
        runner.run(obey(pipe, [Subscriber(name, url) for name in names]))


async def obey(pipe: Connection, subscribers: list[Subscriber]) -> None:
    while True:
        match await asyncio.to_thread(pipe.recv):
            case "begin":
                stop = asyncio.Event()
                life = [asyncio.create_task(one.run(stop)) for one in subscribers]
                await asyncio.gather(*(one.live.wait() for one in subscribers))
            case "end":
                stop.set()
                await asyncio.gather(*life)
            case "whole":
                while not all(one.whole_at for one in subscribers):
                    await asyncio.sleep(0.01)
            case int(count):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LAST_WITHIN):
                        while any(sum(n for n, _, _ in one.got.values()) < count for one in subscribers):
                            await asyncio.sleep(0.01)
        pipe.send([(one.settings.instance, one.got, one.whole_at, one.lost, one.latencies) for one in subscribers])


class Run:
    """All that runs; `close` ends it."""

    def __init__(self, options: argparse.Namespace, folder: str) -> None:
        self.options, self.log = options, (Path(folder) / "log").open("wb")
        self.port = free_port(0)
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.programs: list[subprocess.Popen[bytes]] = []
        self.groups: list[tuple[multiprocessing.process.BaseProcess, Connection]] = []

    def redis(self) -> None:
        conf = str(ROOT / "docker/redis/redis.conf")
        self.start([server_program(), conf, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", folder])
        for _ in range(STARTED_WITHIN * 20):
            with contextlib.suppress(redis.RedisError), redis.Redis(port=self.port, socket_timeout=1) as client:
                client.ping()
                return
            time.sleep(0.05)
        raise Trouble("Redis does not answer")

    def start(self, command: list[str], **pipes: Any) -> subprocess.Popen[bytes]:
        """Starts a program in a session of its own: Ctrl-C is ours."""
        path = os.pathsep.join(str(ROOT / "services" / part) for part in ("fanout", "publisher"))
        own = {
            "REDIS_URL": self.url,
            "PYTHONPATH": path,
            "LOG_MESSAGES": "none",
            "LOG_FORMAT": "json",
            "HTTP_PORT": "0",
        }
        pipes = {"stdin": subprocess.DEVNULL, "stdout": self.log} | pipes
        kept = {name: value for name, value in os.environ.items() if not name.startswith("REDIS_")}
        self.programs.append(
            subprocess.Popen(
                command, env=kept | own | {"PUBLISH_RATE": str(self.options.rate)}, start_new_session=True, **pipes
            )
        )
        return self.programs[-1]

    def subscribers(self, names: list[str], nice: int = 0) -> Connection:
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(
            target=group, args=(theirs, names, self.url, nice), daemon=True
        )
        process.start()
        theirs.close()
        self.groups.append((process, ours))
        return ours

    def close(self) -> None:
        for process, pipe in self.groups:
            pipe.close()
            process.terminate()
        for program in reversed(self.programs):
            program.terminate()
        for process, _ in self.groups:
            process.join(3)
            process.kill()
        for program in reversed(self.programs):
            try:
                program.wait(3)
            except subprocess.TimeoutExpired:
                program.kill()
                program.wait()
        self.log.close()


def tell(pipes: list[Connection], what: str | int) -> list[tuple[str, Tally, float, int, list[tuple[float, float]]]]:
    """Tells all of them, waits until all have done it, and returns what they say of their subscribers."""
    try:
        for pipe in pipes:
            pipe.send(what)
        return [one for pipe in pipes for one in pipe.recv()]
    except (EOFError, OSError):
        raise Trouble("a process with subscribers has ended") from None


def measure(run: Run) -> bool:
    """Everything, in its order; whether each got everything once."""
    options, publisher = run.options, [sys.executable, "-m", "publisher"]
    run.redis()
    names = [f"away-{n + 1}" for n in range(options.subscribers)]
    crowd = [run.subscribers(names[n :: options.processes], options.nice) for n in range(options.processes)]
    tell(crowd, "begin")
    tell(crowd, "end")
    send = run.start([*publisher, "send", "notifications"], stdin=subprocess.PIPE)
    send.communicate("".join(f"{n} {PADDING}\n" for n in range(options.backlog)).encode(), timeout=LIMIT)
    if send.returncode:
        raise Trouble(f"the backlog could not be published: exit code {send.returncode}")
    observer = [run.subscribers(["observer"])]
    tell(observer, "begin")
    live = run.start(publisher, stdout=subprocess.PIPE)
    print(
        f"{options.subscribers} subscribers in {options.processes} processes, each {options.backlog:,} events behind, "
        f"come back at once;\n{options.rate} events/s go on meanwhile, to one that was never away "
        f"({os.cpu_count()} processors for all of it)\n",
        flush=True,
    )
    time.sleep(CALM)
    began = time.time()
    tell(crowd, "begin")
    whole = max(at for _, _, at, _, _ in tell(crowd, "whole"))
    time.sleep(CALM)
    live.terminate()
    last = json.loads(live.communicate(timeout=STARTED_WITHIN)[0].splitlines()[-1])
    if last["event"] != "stopped":
        raise Trouble(f"the publisher did not end well: {last}")
    made = last["accepted"]
    tell(crowd, options.backlog + made)
    ((_, got, _, lost, latencies),) = tell(observer, made)
    time.sleep(0.5)  # for what comes twice
    print(f"{'live latency':<14}{'events':>8}{'p50 ms':>10}{'p99 ms':>10}{'max ms':>10}")
    published = [(at - age / 1000, age) for at, age in latencies]
    for title, since, until in (("before", 0.0, began), ("meanwhile", began, whole), ("after", whole, math.inf)):
        ages = sorted(age for at, age in published if since <= at < until) or [math.nan]
        figures = (ages[len(ages) // 2], ages[len(ages) * 99 // 100], ages[-1])
        print(f"{title:<14}{len(ages):>8,}" + "".join(f"{figure:>10.1f}" for figure in figures))
    seconds = whole - began
    rate = options.subscribers * options.backlog / seconds
    print(f"\nall {options.subscribers} were live and had everything after {seconds:.1f} s ({rate:,.0f} events/s)")
    both = sorted([(options.backlog, options.backlog, 0), (made, made, 0)])
    wrong = [
        f"{one[0]}: {one[1]}, {one[3]} lost" for one in tell(crowd, 0) if sorted(one[1].values()) != both or one[3]
    ]
    wrong += [f"observer: {got}, {lost} lost"] * (list(got.values()) != [(made, made, 0)] or lost > 0)
    if wrong:
        print("not everything once and in order (producer: count, last, out of order):", *wrong[:5], sep="\n  ")
    else:
        print(f"each got {options.backlog:,} events that it had missed and {made:,} live ones, once and in order")
    return not wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("subscribers", 50), ("backlog", 20_000), ("rate", 200), ("processes", 5), ("nice", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    options.processes = min(options.processes, options.subscribers)

    def give_up(number: int, _frame: object) -> NoReturn:
        raise Trouble(f"not done within {LIMIT} s" if number == signal.SIGALRM else "ended by a signal")

    for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, give_up)
    signal.alarm(LIMIT)
    with tempfile.TemporaryDirectory(prefix="fanout-stampede-") as folder:
        run = Run(options, folder)
        try:
            return 0 if measure(run) else 1
        except (Trouble, subprocess.TimeoutExpired) as trouble:
            print(f"stampede.py: {trouble}", file=sys.stderr)
            return 1
        finally:
            for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            run.close()


if __name__ == "__main__":
    sys.exit(main())
