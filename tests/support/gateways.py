"""What tests of the gateway share: requests, frames by hand, and what the process weighs."""

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from support.service import Service


def url(service: Service) -> str:
    return str(service.wait_for("started")[0]["http"])


def address(service: Service) -> tuple[str, int]:
    host, _, port = url(service).removeprefix("http://").rpartition(":")
    return host, int(port)


def post(service: Service, data: str, channel: str = "n") -> dict[str, Any]:
    status, answer = request(f"{url(service)}/channels/{channel}/messages", data.encode())
    assert status == 202, answer
    return dict(answer)


def request(address: str, body: bytes | None = None, method: str | None = None, **headers: str) -> tuple[int, Any]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    asked = urllib.request.Request(address, data=body, method=method, headers=named)
    try:
        with urllib.request.urlopen(asked, timeout=15) as answer:
            text = answer.read()
            return answer.status, json.loads(text) if text else answer.headers
    except urllib.error.HTTPError as error:
        with error:
            text = error.read()
            return error.code, json.loads(text) if text else error.headers


def handshake(path: str, **headers: str) -> bytes:
    named = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return (
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{named}"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def masked(text: bytes) -> bytes:
    return bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text


def memory(service: Service) -> float:
    """Its resident memory in kB."""
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    return float(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))
