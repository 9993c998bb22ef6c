"""Attacks a separate stack in every way we know, and reports what held: python -m abuse [--short] [--only WORD ...].

Starts the production layers with gateway and metrics, three subscribers and one to all channels as a separate Docker
Compose project, and ends them in every case. Exits with 0 if the stack held every attack, no message was lost or late,
and memory went back.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence

from abuse import http, operators, redis_, streams
from abuse.attack import Attack, Row, Target, attempt, table
from abuse.bystander import LATEST, Bystander, Heard, Verdict, Window, judge
from abuse.raw import crowd, request
from abuse.stack import AbuseStack
from chaos.stack import say, standing

KINDS = {"Redis": redis_.ATTACKS, "HTTP": http.ATTACKS, "streams": streams.ATTACKS, "operators": operators.ATTACKS}
ENDED_WITHIN, QUIET = 180, 2.0
A_MINUTE = 65
"""Seconds after which a publisher's ring is as full as it gets, and holds no older events."""
SETTLED_WITHIN = 30
GROWTH = 1.2
USERS = 20_000
"""Channels that are used before the attacks, since Python's allocator never gives back memory of small objects."""


def chosen(words: Sequence[str]) -> list[tuple[str, Attack]]:
    """Return the attacks whose kind or text contains one of these words; all attacks if there are no words."""
    everything = [(kind, attack) for kind, attacks in KINDS.items() for attack in attacks]
    return [
        (kind, attack)
        for kind, attack in everything
        if not words or any(word.lower() in f"{kind}: {attack.what}".lower() for word in words)
    ]


def run(stack: AbuseStack, options: argparse.Namespace) -> int:
    """Do the run, on a stack that the caller ends; return the exit code."""
    say("building and starting ...")
    stack.start()
    bystander = Bystander(stack.ports["publisher"])
    try:
        target, attacks = Target(stack, full=not options.short), chosen(options.only)
        say("messages flow; using both APIs as usual ...")
        began = time.time()
        stack.within(ENDED_WITHIN)
        asyncio.run(use(target))
        used = Window(began, time.time())
        before = {} if options.short else rest(stack)
        rows: list[Row] = []
        for n, (kind, attack) in enumerate(attacks, 1):
            say(f"[{n}/{len(attacks)}] {kind}: {attack.what} ...")
            rows.append(attempt(attack, target, bystander))
            say(f"        FELL: {'; '.join(rows[-1].wrong)}" if rows[-1].wrong else f"        held: {rows[-1].figure}")
        grown = {} if options.short else settle(stack, before)
    finally:
        bystander.close()
    say("stopping, and reading the logs ...")
    heard = finish(stack)
    outages = [used, *(row.window for row in rows if row.attack.outage)]
    verdict = judge(bystander.accepted, heard, outages, stack.flowing_since)
    received = [one for one in heard.values() if one.received]
    print(f"\n{table(rows, lambda window: max((one.p99(window) or 0.0 for one in received), default=None))}\n")
    p99 = ", ".join(f"{name} {p99 * 1000:.0f} ms" if p99 else f"{name} none" for name, p99 in verdict.p99.items())
    print(f"meanwhile {verdict.accepted} messages of honest clients were accepted: lost {verdict.lost}, ", end="")
    print(
        f"duplicates {verdict.duplicates}, out of order {verdict.disorder}; p99 {p99} (must be < {LATEST * 1000:.0f})"
    )
    for name, (then, now) in grown.items():
        print(f"memory of {stack.short(name)}: {then / 2**20:.0f} MB before, {now / 2**20:.0f} MB after")
    fell = [row for row in rows if row.wrong]
    large = [name for name, (then, now) in grown.items() if now > then * GROWTH]
    good = not fell and verdict.well and not large
    say("all held" if good else f"NOT good: {len(fell)} fell, {len(large)} containers grew, {_wrong(verdict)}")
    return 0 if good else 1


def _wrong(verdict: Verdict) -> str:
    return "messages arrived as they must" if verdict.well else "messages did not arrive as they must"


async def use(target: Target) -> None:
    """Use the ports as on a busy day, so that the memory measured before is not that of unused services."""
    for name in http.APIS:
        await http.post_all(target.port(name), [("abuse", b"x" * 1000)] * target.some(2000, 200), 30)
    users = [(f"abuse-user-{n}", b"x" * 100) for n in range(target.some(USERS, 200))]
    await http.post_all(target.port("publisher"), users, 60)
    stream = request("GET", "/channels/notifications/events?since=earliest")
    async with crowd(target.port("gateway"), target.some(300, 30), lambda connection: connection.send(stream)):
        await asyncio.sleep(2)
    followers = [
        await streams.subscriber(target.port("gateway"), first, 100) for first in range(0, target.some(900, 0), 100)
    ]
    if followers:  # meanwhile Redis is restarted, as for a new version
        began, stack = time.time(), target.stack
        await asyncio.to_thread(stack.docker, "restart", *stack.of("redis"))
        await asyncio.to_thread(stack.until, lambda: stack.flows(began), "messages reach every subscriber again")
    for follower in followers:
        follower.close()


def rest(stack: AbuseStack) -> dict[str, int]:
    """Return each container's memory after a minute's rest and a clean-up as described in compose/README.md."""
    say("resting for a minute, then deleting made-up channels and measuring memory ...")
    time.sleep(A_MINUTE)
    stack.within(ENDED_WITHIN)
    stack.clean_up()
    return stack.memory()


def settle(stack: AbuseStack, before: dict[str, int]) -> dict[str, tuple[int, int]]:
    """Return each container's memory before and after the attacks; wait a little longer if any has grown much."""
    now, end = rest(stack), time.monotonic() + SETTLED_WITHIN
    while any(now[name] > then * GROWTH for name, then in before.items()) and time.monotonic() < end:
        time.sleep(2)
        now = stack.memory()
    return {name: (then, now[name]) for name, then in before.items()}


def finish(stack: AbuseStack) -> dict[str, Heard]:
    """Stop the publisher, then the subscribers once they have everything; return what each container has logged."""
    stack.within(ENDED_WITHIN)
    stack.compose("stop", "publisher")
    time.sleep(QUIET)
    stack.compose("stop", "subscriber")
    names = [*stack.publishers, *stack.subscribers]
    return {stack.short(name): Heard.read(stack.logs_since(name, 0).splitlines()) for name in names}


def main() -> int:
    """Run what the arguments ask for and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="abuse", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--short", action="store_true", help="a few of each kind")
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="only attacks whose line has such a word")
    options = parser.parse_args()
    if not chosen(options.only):
        parser.error(f"--only: no attack has any of these words: {' '.join(options.only)}")
    return standing(
        "fanout-abuse-",
        lambda folder: AbuseStack(folder, "2s" if options.short else "10s"),
        lambda stack: run(stack, options),
    )


if __name__ == "__main__":
    sys.exit(main())
