from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.event_source import EventSource
from support.gateways import url
from support.redis_server import RedisServer
from support.service import Service


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


@pytest.fixture(params=["publisher", "gateway"])
def name(request: pytest.FixtureRequest) -> str:
    """A service that has an HTTP API for messages; the test runs with each."""
    return str(request.param)


@pytest.fixture
def unharmed(start: Callable[..., Service]) -> Iterator[Callable[..., Service]]:
    """Starts services, none of which may meet with something unforeseen."""
    services: list[Service] = []

    def begin(name: str, *arguments: str, **settings: object) -> Service:
        services.append(start(name, *arguments, **settings))
        return services[-1]

    yield begin
    for service in services:
        assert not [line for line in service.lines if line["event"] in {"crashed", "NO JSON"} or "exception" in line]


@pytest.fixture
def connect() -> Iterator[Callable[..., EventSource]]:
    """Opens event streams; closes what a test leaves open."""
    open_ones: list[EventSource] = []

    def connect(service: Service, path: str = "/channels/n/events", **headers: str) -> EventSource:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        open_ones.append(EventSource(url(service) + path, **named))
        return open_ones[-1]

    yield connect
    for one in open_ones:
        one.close()
