"""Breaks a running stack in every way we know, and counts messages that are lost, duplicated or out of order.

python -m chaos --faults 20 --seed 7 [--rate 200] [--kinds redis-kill,overflow] [--set NAME=VALUE ...] [--json FILE]

Starts Redis, 2 publishers and 3 subscribers as a separate Docker Compose project, and ends them in every case. Exits
with 0 if every message that Redis accepted reached every subscriber, once and in order; else with 1, and examples.
"""

import argparse
import json
import os
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from chaos.faults import KINDS, PUBLISHERS, SUBSCRIBERS, Fault, schedule
from chaos.ledger import Ledger, Log, Row, Window
from chaos.stack import LOGGING, Stack, say, standing
from run import ROOT
from run.child import Trouble
from run.table import coloured, printed, table

STARTED_WITHIN, FAULT_WITHIN, ENDED_WITHIN = 600, 60, 180
CALM, QUIET = 2.0, 8.0
MARGIN, EXAMPLES, NOTES = 1.0, 5, 12


def start(stack: Stack) -> None:
    """Build and start everything, publishers last, so that no message is sent before all have subscribed.

    Raises:
        Trouble: it does not start, or messages do not flow.
    """
    stack.within(STARTED_WITHIN)
    say("building and starting ...")
    stack.run("scripts/run/up")
    stack.built = True
    stack.find()
    stack.until(lambda: all(stack.tail(name, 50, "subscribed") for name in stack.subscribers), "all have subscribed")
    began = time.time()
    scales = ("--scale", f"publisher={PUBLISHERS}", "--scale", f"subscriber={SUBSCRIBERS}")
    stack.compose("up", "--detach", "--no-recreate", *scales)
    stack.find()
    stack.within(FAULT_WITHIN)
    stack.until(lambda: stack.flows(began), "messages of every publisher reach every subscriber")
    say(f"messages flow in {stack.project}")


def inflict(stack: Stack, faults: list[Fault]) -> Iterator[Window]:
    """Inject one fault after the other, each followed by calm; stop after one from which messages do not recover."""
    for n, fault in enumerate(faults, 1):
        stack.within(FAULT_WITHIN)
        say(f"[{n}/{len(faults)}] {fault}")
        began = time.time()
        try:
            over = fault.inject(stack)
            say("        over")
            stack.until(partial(stack.flows, over), "messages of every publisher reach every subscriber again")
        except Trouble as trouble:
            say(f"        {trouble}")
            yield Window(str(fault), fault.kind, began, None)
            return
        say(f"        calm again, {time.time() - over:.1f} s later")
        yield Window(str(fault), fault.kind, began, over, fault.publisher(stack))
        time.sleep(CALM)


def finish(stack: Stack) -> tuple[Ledger, Counter[str]]:
    """Stop the load, then the subscribers once they are quiet; compare the logs, and count noteworthy lines.

    Raises:
        Trouble: the subscribers are never quiet, or a container does not stop.
    """
    stack.within(ENDED_WITHIN)
    stack.release()
    say("stopping the publishers, then the subscribers when they are quiet ...")
    stack.compose("stop", "publisher")
    newest, since = None, 0.0

    def quiet() -> bool:
        nonlocal newest, since
        now = [stack.tail(name, 200, "message_received")[-1:] for name in stack.subscribers]
        if now != newest:
            newest, since = now, time.monotonic()
        return time.monotonic() - since > QUIET

    stack.until(quiet, "the subscribers are quiet")
    stack.compose("stop", "subscriber")
    say("reading the logs ...")
    names = [*stack.publishers, *stack.subscribers]
    logs = {stack.short(name): Log(stack.docker("logs", name).splitlines()) for name in names} | {
        "burst": Log(stack.bursts)
    }
    notes = sum((log.notes for log in logs.values()), Counter[str]())
    notes += Counter(f"exit code {code}" for name in names if (code := stack.exit_code(name)))
    received = {stack.short(name): logs[stack.short(name)].received for name in stack.subscribers}
    return Ledger({name: log.accepted for name, log in logs.items()}, received), notes


def report(rows: list[Row], ledger: Ledger, notes: Counter[str], median: float | None) -> None:
    """Print the table, the totals and examples of what went wrong."""
    lines = [
        [str(n or ""), fault, "-" if seconds is None else f"{seconds:.3f}", *map(str, counts)]
        for n, (fault, seconds, *counts) in enumerate(rows)
    ]
    total = ["", "total", "", *(str(sum(column)) for column in list(zip(*rows, strict=True))[2:])]
    head = ("", "fault", "seconds", "caught up", "lost", "duplicates", "repeated", "disorder")
    print("\n" + printed(table(head, [*lines, total], left=(1,)), colour=coloured()))
    print(
        "\nseconds: from the end of the fault until every subscriber had a message accepted after it."
        "\nIf Redis restarted, that is its line 'Ready to accept connections', as dated by Docker; else just before"
        "\nthe command that undid the fault."
        "\nlost, duplicates, disorder: must be 0. repeated: received again after the subscriber itself was killed."
    )
    received = ", ".join(f"{len(events)} by {name}" for name, events in ledger.received.items())
    print(f"\naccepted: {len(ledger.accepted)}; received: {received}", end="")
    print(f"; received, but the publisher was never told that they were accepted: {ledger.unconfirmed}")
    if median is not None:
        print(f"Redis killed for 2 s: {median:.3f} s (median) from accepting connections to a message everywhere")
    for note, count in notes.most_common(NOTES):
        print(f"logged: {count} x {note}")
    for what, findings in (("lost", ledger.lost), ("duplicate", ledger.duplicates), ("disorder", ledger.disorder)):
        for at, (source, number), subscriber in sorted(findings)[:EXAMPLES]:
            print(f"{what}: {source} {number} at {subscriber}, {datetime.fromtimestamp(at, UTC):%H:%M:%S.%f}")


def run(stack: Stack, options: argparse.Namespace, faults: list[Fault]) -> int:
    """Do the run, on a stack that the caller ends; return the exit code."""
    start(stack)
    windows = list(inflict(stack, faults))
    ledger, notes = finish(stack)
    rows = ledger.rows(windows, MARGIN)
    killed = [row.seconds for row, window in zip(rows[1:], windows, strict=True) if window.kind == "redis-kill"]
    median = statistics.median(known) if (known := [seconds for seconds in killed if seconds is not None]) else None
    report(rows, ledger, notes, median)
    wrong = len(ledger.duplicates) + len(ledger.disorder) + sum(row.seconds is None for row in rows[1:])
    good = not wrong and bool(ledger.lost) == options.expect_loss
    if options.json:
        result = vars(options) | {"ok": good, "redis_kill_median_s": median, "accepted": len(ledger.accepted)}
        result |= {"unconfirmed": ledger.unconfirmed, "notes": notes, "rows": [row._asdict() for row in rows]}
        options.json.write_text(json.dumps(result, indent=2, default=str) + "\n")
    say("OK" if good else f"FAILED: lost {len(ledger.lost)}, wrong otherwise {wrong}")
    return 0 if good else 1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--faults", type=int, default=len(KINDS), help="how many; each kind occurs once before any is repeated"
    )
    parser.add_argument("--kinds", default=",".join(KINDS), help="which kinds: %(default)s")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="the same seed draws the same faults")
    parser.add_argument("--rate", type=float, default=200, help="messages a second of each publisher")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the services")
    parser.add_argument(
        "--expect-loss", action="store_true", help="for a run without history: succeed if messages are lost"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the result to this file")
    options = parser.parse_args()
    if unknown := set(options.kinds.split(",")) - KINDS.keys():
        parser.error(f"--kinds: no such kind: {', '.join(sorted(unknown))}")
    base = (ROOT / "compose/base.yaml").read_text()
    for setting in options.set:
        name, equals, _ = setting.partition("=")
        if not equals:
            parser.error(f"--set: {setting} is not NAME=VALUE")
        if f" {name}:" not in base:
            say(f"note: compose/base.yaml does not pass {name} on, so it has no effect")
    return options


def main() -> int:
    """Run what the arguments ask for and return the exit code."""
    options = arguments()
    faults = schedule(options.kinds.split(","), options.faults, random.Random(options.seed))
    say(
        f"seed {options.seed}: {len(faults)} faults, {PUBLISHERS} publishers of {options.rate:g} messages a second each"
    )
    settings = {
        "LAYERS": "",
        "RUNTIME": "compose",
        "DETACH": "1",
        "SUBSCRIBERS": str(SUBSCRIBERS),
        "PUBLISH_RATE": f"{options.rate:g}",
        "LOG_FORMAT": "json",
        "HANDLER": "handlers.chaos:handle",
        # Ten seconds of load: a catch-up after an outage fits; a blocked handler makes it overflow.
        "QUEUE_SIZE": str(int(options.rate * PUBLISHERS * 10) or 1),
    }
    settings |= dict(setting.split("=", 1) for setting in options.set)
    layer = {"services": {"redis": LOGGING, "publisher": LOGGING | {"scale": 0}, "subscriber": LOGGING}}
    return standing(
        "fanout-chaos-",
        lambda folder: Stack(f"fanout-chaos-{os.getpid()}", settings, folder, layer),
        lambda stack: run(stack, options, faults),
    )


if __name__ == "__main__":
    sys.exit(main())
