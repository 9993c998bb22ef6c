"""The limit of the server: raw sockets whose bytes are only counted. `log` prints a word a message, `count` the end.

python -m bench.peers.sink PORT log | count CONNECTIONS EVENTS

Both count what the variable WORD says, for an event each: a message may hold several.
"""

import json
import os
import selectors
import socket
import sys
import time

from bench.programs import RECEIVED
from bench.wire import CHANNEL

WORD = os.environ.get("WORD", "\r\nmessage\r\n").encode()
CHUNK = 256 * 1024


class Connection:
    """A subscribed socket."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.sendall(f"SUBSCRIBE {CHANNEL}\r\n".encode())
        self._rest = b""

    def take(self) -> int:
        """Reads once; how many events have begun with that."""
        chunk = self.socket.recv(CHUNK)
        if not chunk:
            sys.exit("closed by the server")
        # A word may be cut by the end of a chunk, so the end of one stands before the next; it is too short to count.
        data = self._rest + chunk
        self._rest = data[-len(WORD) + 1 :]
        return data.count(WORD)


def log(port: int) -> None:
    """As many lines as messages, until it is stopped."""
    connection = Connection(port)
    line = RECEIVED + b"\n"
    while True:
        os.write(1, line * connection.take())


def count(port: int, connections: int, events: int) -> None:
    """The moment (monotonic) at which each connection has had its events."""
    selector = selectors.DefaultSelector()
    for _ in range(connections):
        one = Connection(port)
        selector.register(one.socket, selectors.EVENT_READ, one)
    missing = connections * events
    while missing > 0:
        for key, _ in selector.select():
            missing -= key.data.take()
    print(json.dumps({"ended": time.monotonic()}), flush=True)


if __name__ == "__main__":
    given, mode, *numbers = sys.argv[1:]
    if mode == "log":
        log(int(given))
    else:
        count(int(given), *map(int, numbers))
