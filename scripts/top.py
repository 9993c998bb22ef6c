"""A live view of a stack: every replica with its state, rates, lag and latencies. `q` or Ctrl-C ends it.

top.py [--once]     --once, or a standard output that is no terminal: prints one table and ends

What it shows comes from `scripts/stack feed`, which finds the stack, with containers or without, and is started again
whenever it ends; so the stack may come and go meanwhile.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path

import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from presence_feed import Line
from top_view import Board, screen

STACK = Path(__file__).resolve().parent / "stack"
AGAIN, TICK, FIRST_WITHIN, WIDE = 1.0, 1.0, 20.0, 200
LOOK_AGAIN = 5
"""After so many lines without Redis the feed is started again."""
_decode = msgspec.json.Decoder(Line).decode


async def news() -> AsyncGenerator[Line | str, None]:
    """The lines of the feed, without end; where it ended, its last words."""
    while True:
        feed = await asyncio.create_subprocess_exec(
            STACK,
            "feed",
            stdin=asyncio.subprocess.PIPE,  # its end is the feed's
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for us alone
            limit=2**24,
        )
        words, away = "", 0
        try:
            assert feed.stdout
            async for text in feed.stdout:
                if not text.startswith(b"{"):
                    words = text.decode(errors="replace").strip() or words
                    continue
                line = _decode(text)
                yield line
                away = 0 if line.view else away + 1
                if away == LOOK_AGAIN:  # maybe another stack runs by now
                    break
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(feed.pid, signal.SIGKILL)
            code = await feed.wait()
        if away < LOOK_AGAIN:
            yield words or f"the feed ended with {code}"
            await asyncio.sleep(AGAIN)


async def once(console: Console) -> int:
    """Prints the first view, or why there is none; returns the exit code."""
    board = Board()
    try:
        async with asyncio.timeout(FIRST_WITHIN), contextlib.aclosing(news()) as lines:
            line = await anext(lines)
    except TimeoutError:
        line = f"no news within {FIRST_WITHIN:g} s"
    if isinstance(line, str) or not line.view:
        why = f"the stack is not there: {line}" if isinstance(line, str) else f"Redis is away: {line.cause}"
        print(f"top.py: {why}", file=sys.stderr)
        return 1
    board.take(line)
    with console.capture() as capture:
        console.print(screen(board, console.width, sys.maxsize))
    print("\n".join(text.rstrip() for text in capture.get().splitlines()))
    return 0


async def watch(console: Console) -> int:
    """Shows the board until `q` or a signal; returns the exit code."""
    board, changed, done = Board(), asyncio.Event(), asyncio.Event()

    async def follow() -> None:
        async with contextlib.aclosing(news()) as lines:
            async for line in lines:
                if isinstance(line, Line):
                    board.take(line)
                else:
                    board.fail("The stack is not there", line)
                changed.set()

    def end() -> None:
        done.set()
        changed.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, end)
    with _keys(end), Live(console=console, screen=True, auto_refresh=False) as live:
        following = asyncio.create_task(follow())
        while not done.is_set() and not following.done():
            live.update(Group(screen(board, *console.size), Text("\nq ends this view", "dim")), refresh=True)
            changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), TICK)
        following.cancel()
        await asyncio.wait([following])
    if not following.cancelled():
        following.result()
    return 0


@contextlib.contextmanager
def _keys(end: Callable[[], None]) -> Iterator[None]:
    """Calls `end` at `q`, for as long as the block runs; what else is typed is not shown."""
    if not sys.stdin.isatty():
        yield
        return
    import termios
    import tty

    loop, before = asyncio.get_running_loop(), termios.tcgetattr(sys.stdin)

    def read() -> None:
        typed = os.read(sys.stdin.fileno(), 100)
        if not typed or typed in {b"q", b"Q"}:
            end()

    tty.setcbreak(sys.stdin)
    loop.add_reader(sys.stdin, read)
    try:
        yield
    finally:
        loop.remove_reader(sys.stdin)
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--once", action="store_true", help="print one table and end")
    options = parser.parse_args()
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDE)
    try:
        return asyncio.run(once(console) if options.once or not console.is_interactive else watch(console))
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
