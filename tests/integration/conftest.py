from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from redis_server import RedisServer
from service import Service


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path).start()
    yield server
    server.stop()


@pytest.fixture
def start(server: RedisServer) -> Iterator[Callable[..., Service]]:
    """Starts services against the server; ends what a test leaves behind."""
    services: list[Service] = []

    def start(name: str, *arguments: str, stdin: bytes | None = None, **settings: object) -> Service:
        services.append(Service(name, *arguments, stdin=stdin, **({"REDIS_URL": server.url} | settings)))
        return services[-1]

    yield start
    for service in services:
        if service.process.poll() is None:
            service.process.kill()
            service.ended()
        service.process.stdout.close()
