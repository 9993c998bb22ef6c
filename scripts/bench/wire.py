"""Messages as bytes, made so cheaply that whoever receives them is the one that is measured."""

import contextlib
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

CHANNEL = "notifications"
EVENT_BYTES = 200
FIRST_ID = 1_000_001
"""Numbers of seven digits, so that all events of a run have one length."""
WINDOW = 20_000
CHUNK = 500


class RunError(Exception):
    """A run did not come to its end; the message says what was seen of it."""


def text(size: int = EVENT_BYTES) -> str:
    """That many characters."""
    return ("The quick brown fox jumps over the lazy dog. " * (size // 45 + 1))[:size]


class Events:
    """CloudEvents of EVENT_BYTES bytes as Fanout's publisher with HISTORY_SIZE=0 makes them, one source an object."""

    def __init__(self) -> None:
        self._source = f"/{CHANNEL}/{secrets.token_hex(8)}"
        self._next = FIRST_ID

    def published(self, count: int) -> bytes:
        """The next events, each as a PUBLISH command."""
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        head = f'{{"specversion":"1.0","type":"notification","source":"{self._source}","id":"%d","time":"{now}"'
        event = f'{head},"datacontenttype":"text/plain","data":"'
        event += text(EVENT_BYTES - len(event) - len('"}') + len("%d") - len(str(FIRST_ID))) + '"}'
        words = f"*3\r\n$7\r\nPUBLISH\r\n${len(CHANNEL)}\r\n{CHANNEL}\r\n${EVENT_BYTES}\r\n{event}\r\n".encode()
        numbers = range(self._next, self._next + count)
        self._next += count
        return words * count % tuple(numbers)


@contextlib.contextmanager
def feeder(port: int) -> Iterator[socket.socket]:
    """A connection whose commands the server does not answer."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"CLIENT REPLY OFF\r\n")
        yield connection


def feed(connection: socket.socket, events: Events, count: int, done: Callable[[], int], within: float) -> float:
    """Publishes `count` events, never more than WINDOW ahead of `done()`; returns when it began (monotonic).

    Raises:
        RunError: `done()` stands still.
    """
    began = time.monotonic()
    sent, before = 0, done()
    while sent < count:
        if time.monotonic() > began + within:
            raise RunError(f"{done() - before} of {sent} messages within {within:g} s")
        if sent - (done() - before) > WINDOW - CHUNK:
            time.sleep(0.0005)
            continue
        size = min(CHUNK, count - sent)
        connection.sendall(events.published(size))
        sent += size
    return began
