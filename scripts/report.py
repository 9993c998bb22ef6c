"""Publishes probe messages through the publisher's HTTP API, reads every subscriber's log, and says who received what.

report.py [--json]     COUNT=20  RATE=20  CHANNEL=notifications  WITHIN=30s  JSON=1

RATE is messages a second, as far as the API answers that fast, one after the other. WITHIN is how long a message may
take to be accepted, and the last one to reach everybody. Exits with 0 if every replica received all that was accepted,
once and in order, with 1 if not, or if not everything was accepted, and with 2 if there is nothing to report of.
Needs nothing but Python and, for containers, Docker.
"""

import argparse
import json
import os
import secrets
import signal
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "services/fanout"))

from fanout.environment import Environment
from fanout.errors import SettingError
from replicas import Replica, Trouble, replicas
from report_probes import Probes
from report_result import Order, Result, compare
from report_view import Paint, as_json, show
from report_watch import Watch, follow, some


def read_order(env: Environment) -> Order:
    """Raises SettingError for a value that is not allowed."""
    channels = env.channels("CHANNEL", "notifications")
    if len(channels) != 1:
        raise SettingError("CHANNEL", env.text("CHANNEL"), "one channel name")
    return Order(
        secrets.token_hex(3),
        channels[0],
        env.integer("COUNT", 20, 1, 100_000),
        env.number("RATE", 20, 0.01, 10_000),
        env.duration("WITHIN", "30s", 1, 3600),
    )


def why_not(one: Replica, channel: str) -> str:
    """Why a subscriber's log cannot show who received what; empty if it can."""
    messages, level = one.setting("LOG_MESSAGES") or "all", one.setting("LOG_LEVEL") or "info"
    channels = [name.strip() for name in (one.setting("CHANNELS") or "notifications").split(",")]
    if messages != "all":
        return f"LOG_MESSAGES is '{messages}', so the log has not a line for every message: LOG_MESSAGES=all make up"
    if level in ("warning", "error"):
        return f"LOG_LEVEL is '{level}', so the log has no message lines: LOG_LEVEL=info make up"
    if one.setting("LOG_FORMAT") == "console":
        return "LOG_FORMAT is 'console', so the log is not for programs: LOG_FORMAT=json make up"
    if channel not in channels and not one.setting("PATTERNS"):
        return f"CHANNELS is '{','.join(channels)}', so it does not hear {channel}: make report CHANNEL={channels[0]}"
    return ""


def check(there: Sequence[Replica], channel: str) -> None:
    """Raises Trouble if nothing can be reported."""
    subscribers = [one for one in there if one.service == "subscriber" and one.running]
    if not there:
        raise Trouble("nothing runs; make up starts the stack")
    if not subscribers:
        raise Trouble("no subscriber runs; make scale SUBSCRIBERS=3 starts three")
    if not any(one.service == "publisher" and one.running for one in there):
        raise Trouble("no publisher runs, so nobody takes messages; make ps shows what does")
    reasons: dict[str, list[str]] = defaultdict(list)
    for one in subscribers:
        if reason := why_not(one, channel):
            reasons[reason].append(one.name)
    if reasons:
        raise Trouble("; ".join(f"{some(names)}: {reason}" for reason, names in reasons.items()))


def report(order: Order) -> Result:
    """The whole report.

    Raises:
        Trouble: there is nothing to report of.
    """
    there = replicas()
    check(there, order.channel)
    for one in there:
        if not one.running and one.service not in ("subscriber", "publisher"):
            print(f"report: {one.name} does not run: {one.state}", file=sys.stderr)
    watch = Watch(there, order)
    watch.wait_until_ready()
    probes = Probes([one for one in there if one.service == "publisher" and one.running], order)
    try:
        follow(watch, probes)
    finally:
        probes.close()
    rows, unanswered = compare(probes.accepted, watch.heard, watch.later, watch.notes())
    return Result(order, probes.accepted, probes.failed, rows, unanswered, watch.absent())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    env = Environment(os.environ)
    try:
        as_text = env.choice("JSON", "0", "0", "1") == "0" and not asked.json
        result = report(read_order(env))
    except (SettingError, Trouble) as error:
        print(f"report: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    try:
        print(show(result, Paint(colour=colour)) if as_text else json.dumps(as_json(result), indent=2), flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing is left to be flushed into it
    return 0 if result.well else 1


if __name__ == "__main__":
    sys.exit(main())
