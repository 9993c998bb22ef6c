"""Reads and checks REDIS_URL and REDIS_PASSWORD. No error shows any part of their values."""

import os
import re
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from redis.asyncio.connection import SSLConnection, parse_url

from fanout.environment import Environment
from fanout.errors import SecretError

DEFAULT = "redis://localhost:6379/0"
ALLOWED = "redis://, rediss:// or unix:// with host, port and database, such as redis://localhost:6379/0"
ESCAPED = "; in a password, characters such as / ? # @ % are written %2F %3F %23 %40 %25"
ANYWHERE = ("db", "username", "password")
TLS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
TLS = (
    *TLS_FILES,
    *("ssl_ca_path", "ssl_ca_data", "ssl_password", "ssl_cert_reqs", "ssl_check_hostname", "ssl_min_version"),
    *("ssl_ciphers", "ssl_include_verify_flags", "ssl_exclude_verify_flags"),
)
BOOLEANS = ("true", "false", "yes", "no", "1", "0")


class Address:
    """The address of Redis and the login.

    `accepted` says that Redis has accepted the login before; if it then refuses it, the password is being changed.
    """

    def __init__(self, env: Environment) -> None:
        """Check the address, and raise SettingError if REDIS_URL or REDIS_PASSWORD is invalid."""
        self._env = env
        self.accepted = False
        self.options()

    def options(self) -> dict[str, Any]:
        """Return the arguments of redis-py's connection. Files are read again, since the password may have changed.

        Raises:
            SettingError: REDIS_URL or REDIS_PASSWORD has become invalid.
        """
        url = self._env.secret("REDIS_URL", DEFAULT).strip()
        options = _parsed(url)
        if password := self._env.secret("REDIS_PASSWORD"):
            options["password"] = password
        return options


def _parsed(url: str) -> dict[str, Any]:
    try:
        split = urlsplit(url)
        port = split.port
        given = parse_qsl(split.query, keep_blank_values=True)
    except ValueError:
        raise _wrong("cannot be read") from None
    if split.scheme not in ("redis", "rediss", "unix") or not url.startswith(f"{split.scheme}://"):
        raise SecretError("REDIS_URL", "has another scheme", ALLOWED)
    if re.search(r"[\s#]", url) or port == 0:
        raise _wrong("cannot be read")
    if not (split.path if split.scheme == "unix" else split.hostname):
        raise _wrong("names no server")
    if split.scheme != "unix" and not re.fullmatch(r"/?|/\d{1,4}", split.path):
        raise _wrong("has a path that is not a database number")
    for name, value in given:
        _check_parameter(name, value, tls=split.scheme == "rediss", shown="@" not in split.query)
    try:
        options: dict[str, Any] = dict(parse_url(url))
    except ValueError as error:
        named = [name for name, _ in given if f"'{name}'" in str(error)]
        if named:
            raise _invalid(named[0], "a value that redis-py accepts") from None
        raise SecretError("REDIS_URL", "cannot be read", "an address that redis-py accepts") from None
    if split.scheme == "rediss":
        _check_tls(options)
    return options


def _check_parameter(name: str, value: str, *, tls: bool, shown: bool) -> None:
    known = (*ANYWHERE, *(TLS if tls else ()))
    if name not in known:
        if not shown or not value or not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name):  # it may be part of a password
            raise _wrong("has an unknown parameter")
        why = "is only for rediss://" if name in TLS else "is unknown"
        more = "" if tls else f" (with rediss:// also {', '.join(TLS)})"
        raise SecretError(
            f"the parameter {name} in REDIS_URL",
            why,
            f"one of {', '.join(known)}{more}; DEAD_AFTER and INSTANCE set timeouts and the connection's name",
        )
    right = ""
    if not value:
        right = "a value"
    elif name == "db" and not re.fullmatch(r"\d{1,4}", value, re.ASCII):
        right = "a number"
    elif name == "ssl_cert_reqs" and value not in ("none", "optional", "required"):
        right = "none, optional or required"
    elif name == "ssl_check_hostname" and value.lower() not in BOOLEANS:
        right = "true or false"
    # Not Path's is_file and is_dir: they raise if a folder above cannot be searched.
    elif name in TLS_FILES and not (os.path.isfile(value) and os.access(value, os.R_OK)):  # noqa: PTH113
        right = "a file that can be read"
    elif name == "ssl_ca_path" and not os.path.isdir(value):  # noqa: PTH112
        right = "a folder"
    if right:
        raise _invalid(name, right)


def _check_tls(options: dict[str, Any]) -> None:
    """Check that redis-py can make a TLS context from the parameters."""
    given = [name for name in TLS if name in options]
    if "ssl_certfile" not in options and (alone := {"ssl_keyfile", "ssl_password"} & options.keys()):
        raise SecretError(f"the parameter {min(alone)} in REDIS_URL", "stands alone", "together with ssl_certfile")
    try:
        kind: Any = options["connection_class"]
        connection: SSLConnection = kind(**{name: value for name, value in options.items() if name in TLS})
        connection.ssl_context.get()
    except Exception as error:
        reason = getattr(error, "reason", None) or type(error).__name__
        wrong = f"has {', '.join(given)}, from which no TLS context can be made ({reason})"
        raise SecretError("REDIS_URL", wrong, "an address whose TLS parameters fit together") from None


def _invalid(parameter: str, allowed: str) -> SecretError:
    return SecretError(f"the parameter {parameter} in REDIS_URL", "is invalid", allowed)


def _wrong(how: str) -> SecretError:
    return SecretError("REDIS_URL", how, ALLOWED + ESCAPED)
