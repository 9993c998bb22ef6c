"""The gateway's settings."""

import re
from dataclasses import dataclass, fields

from fanout.environment import Environment
from fanout.errors import SettingError
from fanout.settings import HistorySettings, Settings, read_history, read_settings


@dataclass(frozen=True, kw_only=True)
class GatewaySettings(Settings):
    """`origins` may use it from a browser beside its own; `client_buffer` in bytes."""

    http_host: str
    http_port: int
    origins: tuple[str, ...]
    max_clients: int
    max_channels: int
    client_buffer: int
    history: HistorySettings


def read(env: Environment) -> GatewaySettings:
    """The gateway's settings from the environment.

    Raises:
        SettingError: a variable is not what is allowed.
    """
    common = read_settings(env, "gateway")
    return GatewaySettings(
        **{item.name: getattr(common, item.name) for item in fields(common)},
        http_host=env.text("HTTP_HOST", "127.0.0.1"),
        http_port=env.integer("HTTP_PORT", 8080, 0, 65535),
        origins=_origins(env.text("ORIGINS")),
        max_clients=env.integer("MAX_CLIENTS", 10_000, 1, 1_000_000),
        max_channels=env.integer("MAX_CHANNELS", 1000, 1, 100_000),
        client_buffer=env.size("CLIENT_BUFFER", "1MiB", 65536, 2**30),
        history=read_history(env),
    )


def _origins(value: str) -> tuple[str, ...]:
    names = tuple(name.strip().rstrip("/").lower() for name in value.split(",") if name.strip())
    if not all(name == "*" or re.fullmatch(r"https?://[^\s/?#@]+", name) for name in names):
        raise SettingError("ORIGINS", value, "* for all, or origins such as https://example.org separated by commas")
    return names
