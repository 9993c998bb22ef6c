"""A client of Server-Sent Events that keeps what it is given, as a browser's EventSource would read it."""

import contextlib
import http.client
import json
import socket
import threading
from typing import Any
from urllib.parse import urlsplit

from support.waiting import eventually


class EventSource:
    def __init__(self, url: str, **headers: str) -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        self._connection.connect()
        self._socket = self._connection.sock  # the connection lets go of it where the answer says that it is the last
        self._connection.request("GET", f"{parts.path}?{parts.query}", headers=headers)
        self._response = self._connection.getresponse()
        self.status, self.headers = self._response.status, self._response.headers
        self.events: list[tuple[str, str, Any]] = []  # id, event, data
        self.comments = 0
        self.lines: list[bytes] = []
        self.retry = self.last_id = ""
        self.ended = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        fields: dict[str, str] = {}
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError, AttributeError):
            while line := self._response.readline():
                self.lines.append(line)
                name, _, value = line.decode().rstrip("\n").partition(":")
                value = value.removeprefix(" ")
                if line == b"\n":
                    self.last_id = fields.get("id", self.last_id)
                    if "data" in fields:
                        event = (fields.get("id", ""), fields.get("event", ""), json.loads(fields["data"]))
                        self.events.append(event)
                    fields = {}
                elif not name:
                    self.comments += 1
                elif name == "retry":
                    self.retry = value
                else:
                    assert name not in fields
                    fields[name] = value
        self.ended = True

    def of(self, kind: str) -> list[Any]:
        return [data for _, event, data in list(self.events) if event == kind]

    def data(self) -> list[Any]:
        return [message["data"] for message in self.of("message")]

    def wait_for(self, count: int, kind: str = "message", within: float = 20) -> list[Any]:
        try:
            eventually(lambda: len(self.of(kind)) >= count, within, 0.02)
        except AssertionError:
            raise AssertionError(f"no {count} x {kind}; ended: {self.ended}; {self.events[-5:]}") from None
        return self.of(kind)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._connection.close()
        self._response.close()
