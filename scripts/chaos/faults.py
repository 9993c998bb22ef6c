"""The faults that can be injected into a running stack, and a random schedule of them.

A fault does its damage, undoes it, and returns when it was over, in seconds since 1970. That is when Redis logged that
it accepts connections, if Redis was down; else just before the command that undid the fault, so that durations measured
from there are at most too long.
"""

import random
from collections.abc import Callable
from typing import NamedTuple

from chaos.stack import Stack
from run.child import Trouble

PUBLISHERS, SUBSCRIBERS = 2, 3
BURST = "".join(f"{n} {'x' * 3000}\n" for n in range(3000))
BLOCK = "/tmp/block"  # noqa: S108 # see services/subscriber/handlers/chaos.py


class Fault(NamedTuple):
    """A fault of the schedule: the replica that it hits, counted from 0, and how long it lasts."""

    kind: str
    replica: int
    seconds: float

    def __str__(self) -> str:
        return KINDS[self.kind].text.format(n=self.replica + 1, s=self.seconds)

    def inject(self, stack: Stack) -> float:
        """Do the damage and undo it; return when it was over."""
        return KINDS[self.kind].inject(stack, self)

    def publisher(self, stack: Stack) -> str:
        """Return the short name of the publisher that it hits, or nothing."""
        return stack.short(stack.publishers[self.replica]) if self.kind == "publisher-cut" else ""


def redis_kill(stack: Stack, fault: Fault) -> float:
    return stack.redis_accepts(stack.hold(fault.seconds, [["kill", stack.redis]], [["start", stack.redis]]))


def redis_restart(stack: Stack, _fault: Fault) -> float:
    return stack.redis_accepts(stack.hold(0, [], [["restart", stack.redis]]))


def redis_pause(stack: Stack, fault: Fault) -> float:
    return stack.hold(fault.seconds, [["pause", stack.redis]], [["unpause", stack.redis]])


def redis_cut(stack: Stack, fault: Fault) -> float:
    return stack.cut(stack.redis, "redis", fault.seconds)


def script_flush(stack: Stack, _fault: Fault) -> float:
    return stack.hold(0, [], [["exec", stack.redis, "redis-cli", "SCRIPT", "FLUSH"]])


def publisher_cut(stack: Stack, fault: Fault) -> float:
    return stack.cut(stack.publishers[fault.replica], "publisher", fault.seconds)


def subscriber_cut(stack: Stack, fault: Fault) -> float:
    return stack.cut(stack.subscribers[fault.replica], "subscriber", fault.seconds)


def subscriber_kill(stack: Stack, fault: Fault) -> float:
    name = stack.subscribers[fault.replica]
    return stack.hold(fault.seconds, [["kill", name]], [["start", name]])


def handler_block(stack: Stack, fault: Fault) -> float:
    name = stack.subscribers[fault.replica]
    return stack.hold(fault.seconds, [["exec", name, "touch", BLOCK]], [["exec", name, "rm", BLOCK]])


def overflow(stack: Stack, fault: Fault) -> float:
    """Publish a burst while one subscriber is paused and Redis allows subscribers hardly any output buffer."""
    limit, name = "client-output-buffer-limit", stack.subscribers[fault.replica]
    usual, before = stack.redis_cli("CONFIG", "GET", limit)[-1], stack.disconnected()
    stack.redis_cli("CONFIG", "SET", limit, "pubsub 32kb 16kb 1")
    stack.docker("pause", name)
    send = ("python", "-m", "publisher", "send", "notifications")
    stack.bursts += stack.docker("exec", "-i", stack.publishers[0], *send, text=BURST).splitlines()
    over = stack.hold(fault.seconds, [], [["unpause", name]])
    stack.redis_cli("CONFIG", "SET", limit, usual)
    if stack.disconnected() == before:
        raise Trouble("no output buffer overflowed")
    return over


class Kind(NamedTuple):
    """A kind of fault: its description, the function that injects it, and the least and most seconds that it lasts."""

    text: str
    inject: Callable[[Stack, Fault], float]
    least: float = 0
    most: float = 0


KINDS = {
    "redis-kill": Kind("Redis killed, started after {s:.1f} s", redis_kill, 2, 2),
    "redis-restart": Kind("Redis restarted", redis_restart),
    "redis-pause": Kind("Redis paused for {s:.1f} s", redis_pause, 7, 7),
    "redis-cut": Kind("Redis cut off for {s:.1f} s", redis_cut, 3, 7),
    "script-flush": Kind("SCRIPT FLUSH", script_flush),
    "publisher-cut": Kind("publisher {n} cut off for {s:.1f} s", publisher_cut, 3, 7),
    "subscriber-cut": Kind("subscriber {n} cut off for {s:.1f} s", subscriber_cut, 3, 7),
    "subscriber-kill": Kind("subscriber {n} killed, started after {s:.1f} s", subscriber_kill, 0, 3),
    "handler-block": Kind("handler of subscriber {n} blocks for {s:.1f} s", handler_block, 12, 18),
    "overflow": Kind("output buffer of subscriber {n} overflows", overflow, 1, 3),
}


def schedule(kinds: list[str], count: int, chance: random.Random) -> list[Fault]:
    """Draw that many faults in random order; every kind occurs once before any is repeated."""
    drawn = chance.sample(kinds, min(count, len(kinds)))
    drawn += [chance.choice(kinds) for _ in range(count - len(drawn))]
    chance.shuffle(drawn)
    faults = []
    for kind in drawn:
        replica = chance.randrange(PUBLISHERS if kind == "publisher-cut" else SUBSCRIBERS)
        faults.append(Fault(kind, replica, round(chance.uniform(KINDS[kind].least, KINDS[kind].most), 1)))
    return faults
