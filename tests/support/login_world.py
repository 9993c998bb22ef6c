"""A service with a login, and requests to it: each from an address of its own, so that none is kept waiting for another."""

import itertools
import json
from collections.abc import Iterable
from typing import Any

from support.http_client import Answer, Raw
from support.issuer import Issuer, bearer
from support.service import Service

LOGIN = {"TRUSTED_PROXIES": "127.0.0.1", "METRICS_PORT": "off"}
"""Settings that take the address of a client from X-Forwarded-For."""
_numbers = itertools.count()


def somewhere() -> str:
    """An address that nobody has had before."""
    number = next(_numbers)
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def ask(
    service: Service, method: str, path: str, headers: Iterable[tuple[str, str]] = (), body: bytes = b"", by: str = ""
) -> Answer:
    """One request, with these headers to the letter; of an endless answer only the head."""
    lines = [("Host", "localhost"), ("X-Forwarded-For", by or somewhere()), ("Content-Length", str(len(body)))]
    head = "".join(f"{name}: {value}\r\n" for name, value in (*lines, *headers))
    with Raw(service) as raw:
        raw.send(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body)
        return raw.answer()


def stream_status(service: Service, path: str, headers: Iterable[tuple[str, str]] = ()) -> int:
    return ask(service, "GET", path, headers).status


def challenge(answer: Answer) -> str:
    return answer.headers.get("www-authenticate", "")


def post_as(service: Service, token: str, data: Any = "x", channel: str = "n") -> Answer:
    return ask(service, "POST", f"/channels/{channel}/messages", bearer(token).items(), json.dumps(data).encode())


def is_served(service: Service, issuer: Issuer) -> bool:
    """Whether who has a good token gets what it permits."""
    return post_as(service, issuer.token()).status == 202
