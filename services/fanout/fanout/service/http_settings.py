"""Settings of a service's HTTP port."""

import ipaddress
import re
from dataclasses import dataclass

from fanout.environment import Environment
from fanout.errors import SettingError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, kw_only=True)
class HttpSettings:
    """Where the port is, and who may use how much of it.

    Attributes:
        host: the address to listen on.
        port: the port to listen on; 0 is any free one.
        origins: origins of other pages that may use it from a browser.
        hosts: further names under which it is reached.
        proxies: addresses of trusted proxies, which name their client in X-Forwarded-For.
        per_address: connections that one client may have; 0 is no limit.
        request_timeout: seconds within which a request must be complete.
        request_buffer: bytes of incomplete requests that may be held in all.
        audit: whether to log each message that is posted.
    """

    host: str
    port: int
    origins: tuple[str, ...]
    hosts: tuple[str, ...]
    proxies: tuple[Network, ...]
    per_address: int
    request_timeout: float
    request_buffer: int
    audit: bool

    def client(self, peer: str, forwarded: str) -> str:
        """Return a client's address: the last of X-Forwarded-For and the peer that is not a trusted proxy's."""
        for name in reversed([part.strip() for part in forwarded.split(",")]):
            if not name or not self.trusts(peer):
                break
            peer = name
        return peer

    def trusts(self, address: str) -> bool:
        """Return whether an address belongs to a trusted proxy."""
        try:
            return bool(self.proxies) and any(ipaddress.ip_address(address) in network for network in self.proxies)
        except ValueError:
            return False


def read_http(env: Environment, port: int) -> HttpSettings:
    """Read the settings of the HTTP port, whose default is `port`.

    Raises:
        SettingError: a variable is invalid.
    """
    return HttpSettings(
        host=env.text("HTTP_HOST", "127.0.0.1"),
        port=env.integer("HTTP_PORT", port, 0, 65535),
        origins=_origins(env.text("ORIGINS")),
        hosts=_hosts(env.text("ALLOWED_HOSTS")),
        proxies=_networks(env.text("TRUSTED_PROXIES")),
        per_address=env.integer("MAX_PER_ADDRESS", 0, 0, 1_000_000),
        request_timeout=env.duration("REQUEST_TIMEOUT", "10s", 0.1, 3600),
        request_buffer=env.size("REQUEST_BUFFER", "16MiB", 2**20, 2**34),
        audit=env.choice("AUDIT", "off", "on", "off") == "on",
    )


def _names(value: str) -> tuple[str, ...]:
    return tuple(name.strip().lower() for name in value.split(",") if name.strip())


def _origins(value: str) -> tuple[str, ...]:
    names = tuple(name.rstrip("/") for name in _names(value))
    if not all(name == "*" or re.fullmatch(r"https?://[^\s/?#@]+", name) for name in names):
        raise SettingError("ORIGINS", value, "* for all, or origins such as https://example.org separated by commas")
    return names


def _hosts(value: str) -> tuple[str, ...]:
    names = _names(value)
    if not all(name == "*" or re.fullmatch(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?", name) for name in names):
        raise SettingError("ALLOWED_HOSTS", value, "* for all, or names such as app.example.org separated by commas")
    return names


def _networks(value: str) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(name) for name in _names(value))
    except ValueError:
        allowed = "addresses or networks such as 10.0.0.0/8 separated by commas"
        raise SettingError("TRUSTED_PROXIES", value, allowed) from None
