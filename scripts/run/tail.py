"""`make up` without containers: prints the stack's log until it ends, and ends the stack if the reader is gone."""

import errno
import os
import select
import signal
import sys
import threading
import time

from logs.sources import LogFile
from run import folder
from run.child import Child

COLOURS = (36, 33, 32, 35, 34, 96, 93, 92)
LOOK_EVERY = 0.1
FLUSHED_WITHIN = 1.0


def follow(child: Child) -> None:
    """Print the log; return when the stack has ended and its log is printed, as far as it is read."""

    def stop(number: int, _: object) -> None:
        if number == signal.SIGINT and sys.stderr.isatty():
            print("Stopping ... (Ctrl-C again kills)", file=sys.stderr)
        child.signal(signal.SIGTERM if number in (signal.SIGINT, signal.SIGTERM) else signal.SIGHUP)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        # Python itself ignores SIGPIPE; nohup ignores SIGHUP on purpose.
        if number == signal.SIGPIPE or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, stop)
    while child.process.poll() is None and folder.state().get("supervisor") != child.process.pid:
        time.sleep(LOOK_EVERY / 2)
    if child.process.poll() is None:
        # In a thread: a stopped terminal (Ctrl-S) or a pager at its first page may block writes for any time.
        printing = threading.Thread(target=_print, args=(child, LogFile(folder.LOG)), daemon=True)
        printing.start()
        while child.process.poll() is None:
            time.sleep(LOOK_EVERY / 2)
        printing.join(FLUSHED_WITHIN)


def _print(child: Child, log: LogFile) -> None:
    """Print until the stack has ended; end the stack if the reader is gone."""
    colour, output, poll = sys.stdout.isatty(), sys.stdout.fileno(), select.poll()
    poll.register(output, 0)
    ended = False
    while not ended:
        ended = child.process.poll() is not None
        text = "".join(_line(name, line, colour=colour) for name, line in log.read()).encode()
        try:
            while text:
                text = text[os.write(output, text) :]
        except OSError as error:
            if error.errno in (errno.EPIPE, errno.EIO):  # EIO: the terminal was closed
                break
            # Other errors (a full disk) are no reason to end; the line is in the log file too.
        if not ended and poll.poll(LOOK_EVERY * 1000):  # the reader is gone, even if there is nothing to write
            break
    child.signal(signal.SIGHUP)


def _line(name: str, line: str, *, colour: bool) -> str:
    prefix = f"{name:<13} |"
    if colour:
        prefix = f"\033[{COLOURS[sum(map(ord, name)) % len(COLOURS)]}m{prefix}\033[0m"
    return f"{prefix} {line}\n"
