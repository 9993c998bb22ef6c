"""Decides under which names a service may be reached, and which web pages may use it from a browser."""

import ipaddress
import socket
from collections.abc import Iterable, Mapping

from fanout.service.http_body import Refused

PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, traceparent",
    "Access-Control-Max-Age": "600",
}
_PORTS = {"http": 80, "https": 443}


class Origins:
    """Checks requests by their Host and Origin headers.

    Allowed hosts are `hosts`, the names of this machine and all IP addresses: not a name that somebody else points here
    (DNS rebinding). A request without an Origin was not sent by a browser for a page of another site. `*` allows all.
    """

    def __init__(self, origins: Iterable[str], hosts: Iterable[str], instance: str) -> None:
        self._origins = set(origins)
        self._hosts = {
            name.lower() for name in (*hosts, "localhost", "publisher", "gateway", instance, socket.gethostname())
        }

    def check(self, headers: Mapping[str, str]) -> None:
        """Check that a request uses a known host and comes from an allowed page.

        Raises:
            Refused: 403 it does not.
        """
        host, origin = headers.get("host"), headers.get("origin")
        if host is not None and not self._known_host(host):
            raise Refused(403, f"{host[:255]!r} is not a name of this service; ALLOWED_HOSTS can add it")
        if origin is not None and not _same_origin(origin, host or "") and not self._allowed(origin):
            raise Refused(403, f"pages of {origin[:255]} may not use this service; ORIGINS can allow them")

    def preflight(self, method: str, headers: Mapping[str, str]) -> bool:
        """Return whether a request is a browser's preflight request, to be answered by 204 with PREFLIGHT."""
        return method == "OPTIONS" and "access-control-request-method" in headers

    def headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Return the headers that let a page of an allowed origin read the answer."""
        origin = headers.get("origin")
        if origin is None or _same_origin(origin, headers.get("host", "")) or not self._allowed(origin):
            return {"Vary": "Origin"}
        return {"Vary": "Origin", "Access-Control-Allow-Origin": origin}

    def _allowed(self, origin: str) -> bool:
        return "*" in self._origins or origin.lower() in self._origins

    def _known_host(self, host: str) -> bool:
        name, _ = _split_host(host.lower(), 0)
        return name in self._hosts or "*" in self._hosts or name.endswith(".localhost") or _is_address(name)


def _same_origin(origin: str, host: str) -> bool:
    """Compare only host and port: behind a proxy that does TLS the scheme differs."""
    scheme, _, rest = origin.lower().partition("://")
    port = _PORTS.get(scheme, 0)
    return bool(rest) and _split_host(rest, port) == _split_host(host.lower(), port)


def _split_host(text: str, port: int) -> tuple[str, int]:
    """Split a host into name and port, by default `port`; an invalid port stays in the name, so that none matches."""
    name, colon, number = text.rpartition(":")
    if not colon or name.endswith(":") or "]" in number:
        return text, port
    return (name, int(number)) if number.isascii() and number.isdigit() and len(number) <= 5 else (text, port)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True
