"""Clients of the gateway, as small as they get: thousands of them must not be what is measured."""

import asyncio
import json
import sys
import time
from typing import Any, cast

UPGRADE = (
    "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Heard:
    """What all clients received: of each client and channel the last number, and the latencies."""

    def __init__(self) -> None:
        self.last: dict[tuple[int, str], int] = {}
        self.latencies: list[float] = []
        self.subscribed = self.wrong = 0

    def take(self, client: int, message: dict[str, Any]) -> None:
        """Note a message."""
        number, at = message["data"]
        place = (client, message["channel"])
        self.wrong += number != self.last.get(place, 0) + 1
        self.last[place] = number
        if not message.get("catch_up"):
            self.latencies.append((time.time() - at) * 1000)


class WebSocket(asyncio.Protocol):
    """A client with a WebSocket, as small as it gets: thousands of them must not be what is measured."""

    def __init__(self, number: int, heard: Heard) -> None:
        self.number, self.heard = number, heard
        self.buffer, self.open = b"", False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(UPGRADE.encode())

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if not self.open:
            _, end, self.buffer = self.buffer.partition(b"\r\n\r\n")
            self.open = bool(end)
        while self.open and len(self.buffer) >= 2:
            size, start = self.buffer[1], 2
            if size == 126:
                size, start = int.from_bytes(self.buffer[2:4], "big"), 4
            if len(self.buffer) < start + size:
                break
            kind, payload = self.buffer[0] & 15, self.buffer[start : start + size]
            self.buffer = self.buffer[start + size :]
            if kind == 9:
                self.transport.write(bytes([0x8A, 0x80 | size, 0, 0, 0, 0]) + payload)
            elif kind == 1:
                self.take(json.loads(payload))

    def take(self, answer: dict[str, Any]) -> None:
        """Note an answer."""
        if "message" in answer:
            self.heard.take(self.number, answer["message"])
        elif "subscribed" in answer:
            self.heard.subscribed += 1
        elif "error" in answer:
            sys.exit(f"crowd: the gateway says {answer}")

    def tell(self, **command: str) -> None:
        """Send a command."""
        text = json.dumps(command).encode()
        self.transport.write(bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text)


class Stream(asyncio.Protocol):
    """A client of Server-Sent Events."""

    def __init__(self, number: int, channel: str, heard: Heard) -> None:
        self.number, self.channel, self.heard, self.buffer = number, channel, heard, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        request = f"GET /channels/{self.channel}/events HTTP/1.0\r\nHost: localhost\r\n\r\n"
        cast(asyncio.Transport, transport).write(request.encode())

    def data_received(self, data: bytes) -> None:
        *lines, self.buffer = (self.buffer + data).split(b"\n")
        for line in lines:
            if line.startswith(b"data: "):
                self.heard.take(self.number, json.loads(line[6:]))
            self.heard.subscribed += line.startswith(b"retry:")
