"""Runs the stack without containers: an embedded Redis, a publisher and subscribers as processes of this machine.

python -m run.local up SUBSCRIBERS [--gateway] [--detach]     start; logs stream with a prefix, as Compose prints them
python -m run.local scale SUBSCRIBERS | down | ps | port
"""

import argparse
import os
import signal
import sys
import time
from contextlib import suppress

from run import folder
from run.child import Child
from run.folder import LOG, RUN, WANTED, Taken
from run.supervisor import STOPPED_WITHIN, Supervisor
from run.tail import follow

HEALTHY_WITHIN, KILLED_WITHIN = 60.0, 5.0
NOT_HERE = ("REDIS_URL", "REDIS_URL_FILE", "REDIS_PASSWORD", "REDIS_PASSWORD_FILE")
"""Settings that this stack cannot use: it starts its own Redis, without a password."""


def up(subscribers: int, *, gateway: bool, detach: bool) -> int:
    """Start the supervisor; print the log until it ends or, with `detach`, return when all processes are healthy."""
    if found := [name for name in NOT_HERE if os.environ.get(name)]:
        say(f"{', '.join(found)} must not be set without containers: that stack starts its own Redis without password")
        return 2
    RUN.mkdir(exist_ok=True, parents=True)
    command = [sys.executable, "-m", "run.local", "supervise", str(subscribers), *["--gateway"] * gateway]
    with (RUN / "errors").open("wb") as errors:
        child = Child(*command, stderr=errors.fileno(), tied=0 if detach else signal.SIGHUP)
    if detach:
        return healthy(child, subscribers + 2 + gateway)
    follow(child)
    return ended(child)


def supervise(subscribers: int, *, gateway: bool) -> int:
    """Run the stack until a signal ends it."""
    try:
        lock = folder.lock()
    except Taken as error:
        say(str(error))
        return 1
    WANTED.write_text(str(subscribers))
    if failed := Supervisor(lock).run(gateway=gateway):
        say(failed)
        return 1
    return 0


def ended(child: Child) -> int:
    """Print why the supervisor has ended, unless it succeeded; return the exit code."""
    if code := child.wait():
        print((RUN / "errors").read_text() or f"local: it ended with {code}\n", end="", file=sys.stderr)
    return code if code >= 0 else 128 - code


def healthy(child: Child, many: int) -> int:
    """Wait until that many processes are healthy; return the exit code."""
    deadline = time.monotonic() + HEALTHY_WITHIN
    rows: list[tuple[str, int, str]] = []
    while time.monotonic() < deadline and child.process.poll() is None:
        found = folder.state()
        rows = folder.ps(found) if found.get("supervisor") == child.process.pid else []
        if len(rows) == many and all(row[2] in ("healthy", "running") for row in rows):
            print(f"{len(rows)} processes are healthy; make logs shows their logs, make down ends them")
            return 0
        time.sleep(0.1)
    if child.process.returncode is not None:
        return ended(child) or 1
    not_yet = [f"{name} is {health}" for name, _, health in rows if health not in ("healthy", "running")]
    say(f"not healthy within {HEALTHY_WITHIN:.0f} s: {', '.join(not_yet) or 'not all processes have started'}")
    print(LOG.read_text()[-2000:], file=sys.stderr)
    return 1


def down() -> int:
    """End the running stack, or the rest of one, and wait for that; its data are kept."""
    if not folder.locked():
        return 0
    found = folder.noted()
    pids = [found["supervisor"], *found["processes"].values()] if found else []
    for number in (signal.SIGTERM, signal.SIGCONT):
        kill(pids[:1], number)
    if not folder.locked(STOPPED_WITHIN + 3):
        return 0
    say(f"killing processes that do not end: {', '.join(['the supervisor', *found.get('processes', ())])}")
    kill(pids, signal.SIGKILL)
    if not folder.locked(KILLED_WITHIN):
        return 0
    say(f"some process still holds {folder.LOCK}; fuser {folder.LOCK} shows which")
    return 1


def kill(pids: list[int], number: int) -> None:
    """Send a signal to those of the processes that still run."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def say(text: str) -> None:
    print(f"local: {text}", file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["up", "supervise", "scale", "down", "ps", "port"])
    parser.add_argument("subscribers", type=int, nargs="?", default=1)
    parser.add_argument("--gateway", action="store_true")
    parser.add_argument("--detach", action="store_true")
    options = parser.parse_args()
    if options.command == "up":
        return up(options.subscribers, gateway=options.gateway, detach=options.detach)
    if options.command == "supervise":
        return supervise(options.subscribers, gateway=options.gateway)
    if options.command == "down":
        return down()
    if not (found := folder.state()):
        sys.exit("local: the stack is not running; make up starts it")
    if options.command == "scale":
        WANTED.write_text(str(options.subscribers))
    elif options.command == "ps":
        print("\n".join(f"{name:<14} {pid:>7}  {health}" for name, pid, health in folder.ps(found)))
    else:
        print(found["redis_port"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
