"""Attacks: how one is tried, and the table of their results."""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from abuse.bystander import Bystander, Window
from abuse.stack import AbuseStack
from run.child import Trouble

SERVED_WITHIN = 2.0
"""Seconds that a client of the API may wait for an answer while others attack."""
WITHIN = 180


class Fell(Exception):
    """An attack succeeded; the text says in what."""


def check(held: bool, figure: str) -> None:  # noqa: FBT001 # called like an assert
    """Raise Fell with the figure unless the stack held."""
    if not held:
        raise Fell(figure)


class Target(NamedTuple):
    """The stack that is attacked, and whether in full or with a few of each kind."""

    stack: AbuseStack
    full: bool

    def some(self, full: int, few: int) -> int:
        """Return how many attempts to make."""
        return full if self.full else few

    def port(self, name: str) -> int:
        return self.stack.ports[name]


class Attack(NamedTuple):
    """An attack. `run` tries it: it returns a figure, or raises Fell, Trouble or OSError. With `outage` it stops Redis,
    so that messages may be late meanwhile, but none may be lost.
    """

    what: str
    run: Callable[[Target], str]
    outage: bool = False


class Row(NamedTuple):
    """The result of an attack: its `figure`, and what is `wrong`. `served` is the longest time in seconds that the
    API's client waited for an answer; `window` lasts until messages flowed again.
    """

    attack: Attack
    figure: str
    wrong: list[str]
    served: float
    window: Window


def attempt(attack: Attack, target: Target, bystander: Bystander) -> Row:
    """Try an attack, then check that every container lives and that the honest client was served."""
    stack, before, began = target.stack, target.stack.states(), time.time()
    stack.within(WITHIN)
    wrong: list[str] = []
    try:
        figure = attack.run(target)
    except (Fell, Trouble, OSError) as error:
        figure, wrong = "", [str(error) or type(error).__name__]
    longest = bystander.longest_wait(began)
    wrong += stack.fallen(before)
    if not attack.outage:
        wrong += bystander.trouble(began)[:1]
        if bystander.given_up:
            wrong.append("the API's client gave up: " + " ".join(bystander.trouble(began)[-1:]))
        if longest > SERVED_WITHIN:
            wrong.append(f"the API's client waited for {longest:.1f} s")
    try:
        since = time.time()
        stack.until(lambda: stack.flows(since), "messages reach every subscriber again")
    except Trouble as trouble:
        wrong.append(str(trouble))
    wrong += tracebacks(stack, began)
    if bystander.given_up:
        bystander.start()
    return Row(attack, figure, wrong, longest, Window(began, time.time()))


def tracebacks(stack: AbuseStack, since: float) -> list[str]:
    """Return the containers that logged an unexpected exception."""
    names = stack.of("publisher", "subscriber", "watcher", "gateway")
    return [
        f"{stack.short(name)} logged a traceback"
        for name in names
        if "Traceback (most" in stack.logs_since(name, since)
    ]


def table(rows: Sequence[Row], p99: Callable[[Window], float | None]) -> str:
    """Return a table of the attacks, whether the stack held, and figures; `p99` gives a window's latency in seconds."""
    width = max(len(row.attack.what) for row in rows)
    lines = [f"{'attack':<{width}}  {'':<4}  {'s':>5}  {'API ms':>6}  {'p99 ms':>6}  figure"]
    for row in rows:
        figures = f"{row.window.over - row.window.began:>5.1f}  {row.served * 1000:>6.0f}  {_ms(p99(row.window)):>6}"
        what = "; ".join([row.figure] * bool(row.figure) + row.wrong)
        lines.append(f"{row.attack.what:<{width}}  {'FELL' if row.wrong else 'held'}  {figures}  {what}")
    return "\n".join(lines) + (
        "\nAPI ms: the longest wait of a client of the API for an answer; p99 ms: of messages to three subscribers"
    )


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.0f}"
