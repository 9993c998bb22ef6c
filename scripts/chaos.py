"""Breaks a running stack in every way we know and counts what each subscriber missed, had twice or had out of order.

chaos.py --faults 20 --seed 7 [--rate 200] [--kinds redis-kill,overflow] [--set NAME=VALUE ...] [--json FILE]

Starts Redis, 2 publishers and 3 subscribers with Docker Compose as a project of their own; ends them in every case.
Exits with 0 if all that Redis accepted reached every subscriber, once and in order; else with 1, and names examples.
"""

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import FrameType

from chaos_faults import KINDS, PUBLISHERS, SUBSCRIBERS, Fault, schedule
from chaos_stack import ROOT, Stack, Trouble
from ledger import Ledger, Log, Row, Window

STARTED_WITHIN, FAULT_WITHIN, ENDED_WITHIN = 600, 60, 180
CALM, QUIET = 2.0, 8.0
MARGIN, EXAMPLES, NOTES = 1.0, 5, 12
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
COLUMNS = "{:>3}  {:<46} {:>9} {:>9} {:>6} {:>10} {:>8} {:>8}"


def say(text: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S} {text}", flush=True)


def start(stack: Stack) -> None:
    """Builds and starts everything, publishers last: who has not subscribed yet has lost nothing.

    Raises:
        Trouble: it does not start, or messages do not flow.
    """
    stack.within(STARTED_WITHIN)
    say("building and starting ...")
    stack.run("scripts/up")
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
    """One fault after the other, each followed by calm; ends with the one after which messages do not flow again."""
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
    """Stops the load, then the subscribers once they are quiet; compares the logs, and counts what is worth a note.

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
    logs = {stack.short(name): read(stack, name) for name in names} | {"burst": Log(stack.bursts)}
    notes = sum((log.notes for log in logs.values()), Counter[str]())
    notes += Counter(f"exit code {code}" for name in names if (code := stack.exit_code(name)))
    received = {stack.short(name): logs[stack.short(name)].received for name in stack.subscribers}
    return Ledger({name: log.accepted for name, log in logs.items()}, received), notes


def read(stack: Stack, container: str) -> Log:
    """A container's whole log, line by line."""
    command = ["docker", "logs", container]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=stack.env, text=True) as logs:
        assert logs.stdout
        return Log(logs.stdout)


def report(rows: list[Row], ledger: Ledger, notes: Counter[str], median: float | None) -> None:
    """Prints the table, the totals and examples of what went wrong."""
    print("\n" + COLUMNS.format("", "fault", "seconds", "caught up", "lost", "duplicates", "repeated", "disorder"))
    for n, (fault, seconds, *counts) in enumerate(rows):
        print(COLUMNS.format(n or "", fault, "-" if seconds is None else f"{seconds:.3f}", *counts))
    print(COLUMNS.format("", "total", "", *(sum(column) for column in list(zip(*rows, strict=True))[2:])))
    print(
        "\nseconds: from the end of the fault until every subscriber had a message accepted after it."
        "\nThe end: Redis's line 'Ready to accept connections', as dated by Docker, where Redis started anew; else just"
        "\nbefore the command that undid the fault."
        "\nlost, duplicates, disorder: must be 0. repeated: came again after the subscriber itself had been killed."
    )
    received = ", ".join(f"{len(events)} by {name}" for name, events in ledger.received.items())
    print(f"\naccepted: {len(ledger.accepted)}; received: {received}", end="")
    print(f"; received, but the publisher never learnt that it was accepted: {ledger.unconfirmed}")
    if median is not None:
        print(f"Redis killed for 2 s: {median:.3f} s (median) from accepting connections to a message everywhere")
    for note, count in notes.most_common(NOTES):
        print(f"noted: {count} x {note}")
    for what, findings in (("lost", ledger.lost), ("duplicate", ledger.duplicates), ("disorder", ledger.disorder)):
        for at, (source, number), subscriber in sorted(findings)[:EXAMPLES]:
            print(f"{what}: {source} {number} at {subscriber}, {datetime.fromtimestamp(at, UTC):%H:%M:%S.%f}")


def run(stack: Stack, options: argparse.Namespace, faults: list[Fault]) -> int:
    """The run itself, on a stack that somebody else ends; returns the exit code."""
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
        told = vars(options) | {"good": good, "redis_kill_median_s": median, "accepted": len(ledger.accepted)}
        told |= {"unconfirmed": ledger.unconfirmed, "notes": notes, "rows": [row._asdict() for row in rows]}
        options.json.write_text(json.dumps(told, indent=2, default=str) + "\n")
    say("good" if good else f"NOT good: lost {len(ledger.lost)}, wrong otherwise {wrong}")
    return 0 if good else 1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--faults", type=int, default=len(KINDS), help="how many; each kind comes once before any again"
    )
    parser.add_argument("--kinds", default=",".join(KINDS), help="of which kinds: %(default)s")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="draws the same faults again")
    parser.add_argument("--rate", type=float, default=200, help="messages a second of each publisher")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the services")
    parser.add_argument(
        "--expect-loss", action="store_true", help="for a run without history: good means some are lost"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="writes the result there, too")
    options = parser.parse_args()
    if unknown := set(options.kinds.split(",")) - KINDS.keys():
        parser.error(f"--kinds: no such kind: {', '.join(sorted(unknown))}")
    base = (ROOT / "compose/base.yaml").read_text()
    for setting in options.set:
        name, equals, _ = setting.partition("=")
        if not equals:
            parser.error(f"--set: {setting} is not NAME=VALUE")
        if f" {name}:" not in base:
            say(f"note: compose/base.yaml does not pass {name} on, so it changes nothing")
    return options


def on_signal(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


def end(stack: Stack) -> None:
    """Takes everything down; signals do not hold it up."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    say("taking everything down ...")
    try:
        stack.down()
    except Trouble as trouble:
        say(f"some of {stack.project} is left: {trouble}")


def main() -> int:
    """Runs what the arguments ask for; returns the exit code."""
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
        # Ten seconds of load: what comes after an outage has room; a handler that blocks lets it overflow.
        "QUEUE_SIZE": str(int(options.rate * PUBLISHERS * 10) or 1),
    }
    settings |= dict(setting.split("=", 1) for setting in options.set)
    for number in SIGNALS:
        signal.signal(number, on_signal)
    with tempfile.TemporaryDirectory(prefix="fanout-chaos-") as folder:
        stack = Stack(f"fanout-chaos-{os.getpid()}", settings, Path(folder))
        try:
            return run(stack, options, faults)
        except (Trouble, ValueError) as error:
            say(f"given up: {error}")
            return 1
        finally:
            end(stack)


if __name__ == "__main__":
    sys.exit(main())
