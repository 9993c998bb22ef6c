"""A bare HTTP/1.1 client: sends exactly the bytes that it is given."""

import json
import socket
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

from support.service import Service


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def detail(self) -> str:
        return str(self.json["detail"])


class Raw:
    """A connection to a service."""

    def __init__(self, service: Service, within: float = 20) -> None:
        parts = urlsplit(service.wait_for("started")[0]["http"])
        self.socket = socket.create_connection((parts.hostname, parts.port), timeout=within)
        self._file = self.socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answer(self) -> Answer:
        """The next answer; its headers' names in small letters. Raises ConnectionError if the service hung up."""
        status = self._file.readline().split()
        if not status:
            raise ConnectionError("closed without an answer")
        headers = {}
        while line := self._file.readline().strip():
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        body = self._file.read(int(headers.get("content-length", "0")))
        return Answer(int(status[1]), headers, body)

    def closed(self) -> bool:
        """Waits for the service to hang up."""
        try:
            return self._file.read(1) == b""
        except ConnectionError:
            return True


def ask(service: Service, method: str, path: str, body: bytes = b"", **headers: Any) -> Answer:
    """One request on a connection of its own; `_` in a header's name stands for `-`."""
    fields = {"host": "localhost", "content-length": len(body), "connection": "close"} | {
        name.replace("_", "-").lower(): value for name, value in headers.items()
    }
    lines = [f"{name}: {value}" for name, value in fields.items() if value is not None]
    with Raw(service) as raw:
        raw.send("\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode("latin-1") + body)
        return raw.answer()


def post(service: Service, body: bytes, channel: str = "n", **headers: Any) -> Answer:
    """Publishes a body."""
    return ask(service, "POST", f"/channels/{channel}/messages", body, **headers)


def ready(service: Service) -> Service:
    """The service, once it is connected to Redis."""
    service.wait_for("connected")
    return service
