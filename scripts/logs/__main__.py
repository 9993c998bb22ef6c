"""Follows the log of the running stack in readable form, while replicas come and go.

make logs     SERVICE=subscriber  LEVEL=warning  EVENT=caught_up,connect*  CHANNEL=orders  RAW=1  TAIL=100  FOLLOW=1

SERVICE, EVENT and CHANNEL accept several values, separated by commas, and globs; SERVICE also accepts a replica, such
as subscriber-2. LEVEL shows that level and above. TAIL is how many past lines that pass the filters are shown of each
replica, or `all`; FOLLOW=0 ends after them. RAW=1 prints JSON lines unchanged, and other lines to standard error.
"""

import os
import select
import signal
import stat
import sys
from typing import TextIO

from fanout.environment import Environment
from fanout.errors import SettingError
from logs.options import Options, read_options
from logs.printer import Printer, say
from logs.sources import ComposeLog, LocalLog
from logs.view import LEVELS, Format
from run import folder
from run.child import Trouble
from run.replicas import Replica, containers, processes

POLL_EVERY = 0.1


def follow(source: ComposeLog | LocalLog, printer: Printer, output: TextIO) -> bool:
    """Print until the log ends or the reader of the output is gone; return whether the log has ended."""
    poll = select.poll()
    if stat.S_ISFIFO(mode := os.fstat(output.fileno()).st_mode) or stat.S_ISSOCK(mode):
        poll.register(output.fileno(), 0)  # reports that the reader is gone, even while there is nothing to write
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
    """Print the log; return the exit code."""
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
        say("nothing is running any more")
    return code


def containers_if_any() -> list[Replica]:
    """Return the containers of the project; none if Docker does not answer but there is a log file to show.

    Raises:
        Trouble: Docker does not answer.
    """
    try:
        return containers()
    except Trouble:
        if not folder.LOG.exists():
            raise
        return []


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.default_int_handler)
    try:
        runs = processes()
        replicas = runs or containers_if_any()
        ended = not replicas and folder.LOG.exists()
        if not replicas and not ended:
            raise Trouble("nothing is running; make up starts the stack")
        options = read_options(Environment(os.environ), replicas)
        if ended:
            say("the stack is not running; this is its last log")
        return run(options, replicas, local_log=bool(runs) or ended)
    except (SettingError, Trouble) as error:
        say(str(error))
        return 2 if isinstance(error, SettingError) else 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the flush at exit does not fail
        return 0
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
