"""Publishes probe messages over the publisher's HTTP API, reads every subscriber's log, and reports who received what.

make report     COUNT=20  RATE=20  CHANNEL=notifications  WITHIN=30s  JSON=1

RATE is messages a second, or as many as the API answers one after the other. WITHIN is how long a message may take to
be accepted, and the last one to reach every replica. Exits with 0 if every replica received all messages, once and in
order; with 1 if not, or if not all were accepted; and with 2 if there is nothing to report on.
"""

import json
import os
import secrets
import signal
import sys
from collections import defaultdict
from collections.abc import Sequence

from fanout.environment import Environment
from fanout.errors import SettingError
from fanout.service.visible import escape
from report.probes import Probes
from report.result import Order, Result, compare
from report.view import as_json, show
from report.watch import Watch, follow, some
from run.child import Trouble
from run.replicas import Replica, replicas
from run.table import coloured


def read_order(env: Environment) -> Order:
    """Read the options. Raises SettingError for an invalid value."""
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
    """Return why a subscriber's log cannot show what it received; empty if it can."""
    messages, level = one.setting("LOG_MESSAGES") or "all", one.setting("LOG_LEVEL") or "info"
    channels = [name.strip() for name in (one.setting("CHANNELS") or "notifications").split(",")]
    if messages != "all":
        return f"LOG_MESSAGES is '{messages}', so not every message is logged: LOG_MESSAGES=all make up"
    if level in ("warning", "error"):
        return f"LOG_LEVEL is '{level}', so messages are not logged: LOG_LEVEL=info make up"
    if one.setting("LOG_FORMAT") == "console":
        return "LOG_FORMAT is 'console', so programs cannot read the log: LOG_FORMAT=json make up"
    if channel not in channels and not one.setting("PATTERNS"):
        return f"CHANNELS is '{','.join(channels)}', so it misses {channel}: make report CHANNEL={channels[0]}"
    return ""


def check(there: Sequence[Replica], channel: str) -> None:
    """Check that a report is possible; raise Trouble if not."""
    subscribers = [one for one in there if one.service == "subscriber" and one.running]
    if not there:
        raise Trouble("nothing is running; make up starts the stack")
    if not subscribers:
        raise Trouble("no subscriber is running; make scale SUBSCRIBERS=3 starts three")
    if not any(one.service == "publisher" and one.running for one in there):
        raise Trouble("no publisher is running to accept messages; make ps shows what is")
    reasons: dict[str, list[str]] = defaultdict(list)
    for one in subscribers:
        if reason := why_not(one, channel):
            reasons[reason].append(one.name)
    if reasons:
        raise Trouble("; ".join(f"{some(names)}: {reason}" for reason, names in reasons.items()))


def report(order: Order) -> Result:
    """Publish the messages and compare.

    Raises:
        Trouble: there is nothing to report on.
    """
    there = replicas()
    check(there, order.channel)
    for one in there:
        if not one.running and one.service not in ("subscriber", "publisher"):
            print(f"report: {one.name} is not running: {one.state}", file=sys.stderr)
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
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    env = Environment(os.environ)
    try:
        as_text = env.choice("JSON", "0", "0", "1") == "0"
        result = report(read_order(env))
    except (SettingError, Trouble) as error:
        print(f"report: {escape(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    try:
        print(show(result, colour=coloured()) if as_text else json.dumps(as_json(result), indent=2), flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the flush at exit does not fail
    return 0 if result.ok else 1


if __name__ == "__main__":
    sys.exit(main())
