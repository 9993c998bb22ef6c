"""Follows the log of the stack that runs: a readable line for each that a process writes, whatever comes and goes.

logs.py     SERVICE=subscriber  LEVEL=warning  EVENT=caught_up,connect*  CHANNEL=orders  RAW=1  TAIL=100  FOLLOW=1

SERVICE, EVENT and CHANNEL take several, separated by commas, and globs; SERVICE also takes a replica, subscriber-2.
LEVEL is that level and above. TAIL is how many lines of the past are shown of each replica, of those that the filters
let through; `all` is all. FOLLOW=0 ends after them. RAW=1 prints the JSON as it is, and what is no JSON to standard
error. Needs nothing but Python and, for containers, Docker.
"""

import argparse
import os
import select
import signal
import stat
import sys
from pathlib import Path
from typing import TextIO

sys.path.append(str(Path(__file__).resolve().parent.parent / "services/fanout"))

import local
from fanout.environment import Environment
from fanout.errors import SettingError
from log_options import Options, read_options
from log_printer import Printer, say
from log_sources import ComposeLog, LocalLog
from log_view import LEVELS, Format
from replicas import Replica, Trouble, containers, processes

POLL_EVERY = 0.1


def follow(source: ComposeLog | LocalLog, printer: Printer, output: TextIO) -> bool:
    """Until the log ends, or nobody reads the output any more; returns whether it was the log."""
    poll = select.poll()
    if stat.S_ISFIFO(mode := os.fstat(output.fileno()).st_mode) or stat.S_ISSOCK(mode):
        poll.register(output.fileno(), 0)  # tells when the reader is gone, also while there is nothing to write
    if source.fileno is not None:
        poll.register(source.fileno, select.POLLIN)
    while not source.ended:
        ready = [number for number, _ in poll.poll(POLL_EVERY * 1000)]
        if output.fileno() in ready:
            return False
        if source.fileno is None or source.fileno in ready:
            printer.take(source.read())
        printer.settle()
    printer.finish()
    return True


def run(options: Options, replicas: list[Replica], *, local_log: bool) -> int:
    """Prints the log; returns the exit code."""
    output = sys.stdout
    colour = output.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    form = Format(colour=colour, names=[one.name for one in replicas if options.filter.of(one.name)])

    def write(text: str) -> None:
        output.buffer.write(text.encode(errors="backslashreplace"))
        output.buffer.flush()

    filters = options.filter
    names = {one.name for one in replicas if one.running and filters.of(one.name)}
    printer = Printer(options, write, form, set() if local_log else names, in_order=local_log)
    filtered = filters.events or filters.channels or LEVELS[filters.level] > LEVELS["debug"]
    if local_log:
        source: ComposeLog | LocalLog = LocalLog(at_end=options.tail == 0, follow=options.follow and bool(replicas))
    else:
        services = sorted({one.service for one in replicas if filters.of(one.name)}) if filters.services else []
        tail = "all" if options.tail is None or (filtered and options.tail) else str(options.tail)
        source = ComposeLog(services, replicas, tail, follow=options.follow)
    try:
        if not follow(source, printer, output):
            raise BrokenPipeError
    finally:
        code = source.close()
    if options.follow and replicas and not code:
        say("nothing runs any more")
    return code


def containers_if_any() -> list[Replica]:
    """The containers of the project; without Docker none, if there is another log to be shown.

    Raises:
        Trouble: Docker does not say.
    """
    try:
        return containers()
    except Trouble:
        if not local.LOG.exists():
            raise
        return []


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.default_int_handler)
    try:
        runs = processes()
        replicas = runs or containers_if_any()
        ended = not replicas and local.LOG.exists()
        if not replicas and not ended:
            raise Trouble("nothing runs; make up starts the stack")
        options = read_options(Environment(os.environ), replicas)
        if ended:
            say("the stack does not run; this is its last log")
        return run(options, replicas, local_log=bool(runs) or ended)
    except (SettingError, Trouble) as error:
        say(str(error))
        return 2 if isinstance(error, SettingError) else 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing is left to be flushed into it
        return 0
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
