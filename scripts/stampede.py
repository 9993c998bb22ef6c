"""Many subscribers that were away come back at once, each far behind: what does the live traffic notice of it?

stampede.py [--subscribers 50] [--backlog 20000] [--rate 200] [--processes 5]

Runs a Redis of its own. Exits with 0 if each of them got everything, once and in order; ends all that it started.
"""

import argparse
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

from local import ROOT
from loopback import free_port, server_program

sys.path.extend(str(ROOT / "services" / part) for part in ("fanout", "subscriber"))

from fanout import logs
from fanout.environment import Environment
from fanout.health import Heartbeat
from fanout.lifecycle import until
from fanout.subscription import Subscription
from fanout.threads import EventLoop
from subscriber.settings import read

LIMIT, LAST_WITHIN, CALM = 180, 20, 5.0
PUBLISHER, GROUP = (sys.executable, "-m", "publisher"), (sys.executable, __file__, "--group")
SIGNALS = (signal.SIGALRM, signal.SIGTERM, signal.SIGINT)
Program = subprocess.Popen[str]


class Subscriber:
    """A life of a name: what it got of each producer (count, last, out of order), and its live latencies."""

    def __init__(self, name: str) -> None:
        settings = read(Environment({"REDIS_URL": os.environ["REDIS_URL"], "INSTANCE": name}))
        self.name, self.subscription = name, Subscription(settings, settings.what, Heartbeat(""))
        self.got: dict[str, list[int]] = {}
        self.latencies: list[tuple[float, float]] = []

    async def run(self, stop: asyncio.Event) -> None:
        """As the subscriber's __main__ has it."""
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
        """Whether it is live, whole again, or has so many events, as the word wants it."""
        if word.isdigit():
            return sum(count for count, _, _ in self.got.values()) >= int(word)
        return word == "end" or bool(self.subscription.state == "live" and (word == "begin" or self.latencies))


async def group(names: list[str]) -> None:
    """A process with some subscribers: does what standard input says, and answers with how they are."""
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
        state = [[one.name, list(one.got.values()), one.latencies[:1], one.subscription.lost] for one in subscribers]
        print(json.dumps([state, subscribers[0].latencies]), file=answers, flush=True)


class Programs:
    """All that runs, each in a session of its own, so that Ctrl-C is ours alone."""

    def __init__(self, rate: float) -> None:
        self.all: list[Program] = []
        self.port = str(free_port(0))
        path = os.pathsep.join(str(ROOT / "services" / part) for part in ("fanout", "publisher"))
        self.env = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self.env |= {"REDIS_URL": f"redis://127.0.0.1:{self.port}/0", "PYTHONPATH": path, "PUBLISH_RATE": str(rate)}
        self.env |= {"LOG_MESSAGES": "none", "LOG_FORMAT": "json", "HTTP_PORT": "0"}

    def start(self, *command: str) -> Program:
        pipe = subprocess.PIPE
        self.all.append(Program(command, env=self.env, start_new_session=True, stdin=pipe, stdout=pipe, text=True))
        return self.all[-1]

    def close(self) -> None:
        for program in self.all:
            program.terminate()
        for program in self.all:
            with contextlib.suppress(subprocess.TimeoutExpired):
                program.wait(3)
            program.kill()


def tell(groups: list[Program], word: str | int) -> list[Any]:
    """Tells all of them, and returns what they answer when all have done it."""
    for one in groups:
        with contextlib.suppress(BrokenPipeError):
            print(word, file=one.stdin, flush=True)
    answers = [one.stdout.readline() for one in groups if one.stdout]
    return [json.loads(answer) for answer in answers] if all(answers) else sys.exit("stampede.py: a process has ended")


def accepted(publisher: Program, text: str | None = None) -> int:
    """How many events Redis has accepted from a publisher, once that has ended."""
    last = json.loads(publisher.communicate(text)[0].splitlines()[-1])
    return int(last["accepted"]) if last["event"] == "stopped" else sys.exit(f"stampede.py: a publisher says {last}")


def measure(programs: Programs, folder: str, many: int, backlog: int, processes: int) -> bool:
    """Everything, in its order; whether each got everything once."""
    server = (server_program(), str(ROOT / "docker/redis/redis.conf"), "--port", programs.port, "--bind", "127.0.0.1")
    programs.start(*server, "--dir", folder, "--loglevel", "warning")  # the subscribers wait until it answers
    names = [f"away-{n + 1}" for n in range(many)]
    crowd = [programs.start(*GROUP, *names[n::processes]) for n in range(min(many, processes))]
    tell(crowd, "begin")
    tell(crowd, "end")
    missed = accepted(programs.start(*PUBLISHER, "send", "notifications"), f"{'x' * 150}\n" * backlog)
    observer = [programs.start(*GROUP, "observer")]
    tell(observer, "begin")
    publisher = programs.start(*PUBLISHER)
    print(f"{many} subscribers in {len(crowd)} processes, each {missed:,} events behind, come back at once", flush=True)
    time.sleep(CALM)
    began = time.time()
    tell(crowd, "begin")
    whole = max(one[2][0][0] for states, _ in tell(crowd, "whole") for one in states)
    time.sleep(CALM)
    publisher.terminate()
    live = accepted(publisher)
    tell(crowd, missed + live)
    tell(observer, live)
    time.sleep(0.5)  # for what comes twice
    ((seen,), latencies) = tell(observer, 0)[0]
    print(f"\n{'live latency':<14}{'events':>8}{'p50 ms':>10}{'p99 ms':>10}{'max ms':>10}")
    for title, since, end in (("before", 0.0, began), ("meanwhile", began, whole), ("after", whole, math.inf)):
        ages = sorted(age for at, age in latencies if since <= at - age / 1000 < end) or [math.nan]
        figures = (ages[len(ages) // 2], ages[len(ages) * 99 // 100], ages[-1])
        print(f"{title:<14}{len(ages):>8,}" + "".join(f"{figure:>10.1f}" for figure in figures))
    seconds, cores = whole - began, os.cpu_count()
    print(f"\nall have it all after {seconds:.1f} s: {many * missed / seconds:,.0f} events/s ({cores} processors)")
    wanted = sorted([[missed, missed, 0], [live, live, 0]])
    wrong = [one for states, _ in tell(crowd, 0) for one in states if sorted(one[1]) != wanted or one[3]]
    wrong += [seen] * (seen[1] != [[live, live, 0]] or seen[3] != 0)
    for one in wrong[:5]:
        print(f"not {wanted} (count, last, out of order of each producer; first live one; lost): {one}")
    if not wrong:
        print(f"each got the {missed:,} events that it had missed and {live:,} live ones, once and in order")
    return not wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("subscribers", 50), ("backlog", 20_000), ("rate", 200), ("processes", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--group", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    signal.alarm(LIMIT)
    if options.group:
        asyncio.Runner(loop_factory=EventLoop).run(group(options.group))
        return 0
    for number in SIGNALS:
        signal.signal(number, lambda number, _: sys.exit(f"stampede.py: stopped by {signal.Signals(number).name}"))
    with tempfile.TemporaryDirectory(prefix="fanout-stampede-") as folder:
        programs = Programs(options.rate)
        try:
            return not measure(programs, folder, options.subscribers, options.backlog, options.processes)
        finally:
            for number in SIGNALS:
                signal.signal(number, signal.SIG_IGN)
            programs.close()


if __name__ == "__main__":
    sys.exit(main())
