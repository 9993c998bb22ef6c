"""Shows a live view of a stack: every replica with its state, rates, lag and latencies. `q` or Ctrl-C ends it.

python -m top [--once]     with --once, or if standard output is not a terminal, prints one table and ends

It shows what `scripts/run/stack feed` prints. That finds the stack, with or without containers, and is restarted
whenever it ends, so the stack may come and go.
"""

import argparse
import os
import select
import signal
import subprocess
import sys
import termios
import threading
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue

import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from fanout.cli.roster import Line
from fanout.service.visible import escape
from run import ROOT
from run.child import Child
from run.table import coloured, printed
from top.view import Board, screen

AGAIN, TICK, FIRST_WITHIN, WIDE = 1.0, 0.25, 20.0, 200
LOOK_AGAIN = 5
"""Lines without Redis after which the feed is restarted, since another stack may be running by now."""
_decode = msgspec.json.Decoder(Line).decode


def feed(news: "SimpleQueue[Line | str]") -> None:
    """Put the lines of the feed into `news`, without end; when the feed ends, its last output."""
    while True:
        # The feed ends with its standard input, so it ends when this process does.
        child = Child(str(ROOT / "scripts/run/stack"), "feed", stdin=subprocess.PIPE, stderr=subprocess.STDOUT)
        words, away = "", 0
        while not child.ended and away < LOOK_AGAIN:
            for text in child.read():
                if text.startswith("{"):
                    line = _decode(text)
                    away = 0 if line.view else away + 1
                    news.put(line)
                else:
                    words = text.strip() or words
        child.signal(signal.SIGKILL)
        code = child.wait()
        if away < LOOK_AGAIN:
            news.put(words or f"the feed ended with {code}")
            time.sleep(AGAIN)


def once(console: Console, news: "SimpleQueue[Line | str]") -> int:
    """Print the first view, or why there is none; return the exit code."""
    try:
        line = news.get(timeout=FIRST_WITHIN)
    except Empty:
        line = f"no answer within {FIRST_WITHIN:g} s"
    if isinstance(line, str) or not line.view:
        why = f"the stack cannot be reached: {line}" if isinstance(line, str) else f"Redis is away: {line.cause}"
        print(f"top: {escape(why)}", file=sys.stderr)
        return 1
    board = Board()
    board.take(line)
    print(printed(screen(board, console.width, sys.maxsize), colour=coloured()))
    return 0


def watch(console: Console, news: "SimpleQueue[Line | str]") -> int:
    """Show the board until `q` or a signal; return the exit code."""
    board = Board()
    with _keys() as quits, Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            while not news.empty():
                if isinstance(line := news.get(), Line):
                    board.take(line)
                else:
                    board.fail("The stack cannot be reached", line)
            live.update(Group(screen(board, *console.size), Text("\nq ends this view", "dim")), refresh=True)
            if quits():
                return 0


@contextmanager
def _keys() -> Iterator[Callable[[], bool]]:
    """Turn echo off; yield a function that waits a moment and returns whether q was typed or the terminal is gone."""
    keyboard = [sys.stdin.fileno()] * sys.stdin.isatty()
    before = [(number, termios.tcgetattr(number)) for number in keyboard]
    for number in keyboard:
        tty.setcbreak(number)
    try:
        yield lambda: any(
            os.read(ready, 100) in {b"", b"q", b"Q"} for ready in select.select(keyboard, [], [], TICK)[0]
        )
    finally:
        for number, mode in before:
            termios.tcsetattr(number, termios.TCSADRAIN, mode)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--once", action="store_true", help="print one table and end")
    options = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDE)
    show = once if options.once or not console.is_interactive else watch
    news: SimpleQueue[Line | str] = SimpleQueue()
    threading.Thread(target=feed, args=[news], daemon=True).start()
    try:
        return show(console, news)
    except KeyboardInterrupt:
        return 0 if show is watch else 130


if __name__ == "__main__":
    sys.exit(main())
