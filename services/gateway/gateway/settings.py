"""The gateway's settings."""

from dataclasses import dataclass

from fanout.environment import Environment
from fanout.service.http_settings import HttpSettings, read_http
from fanout.service.login.settings import LoginSettings, read_login
from fanout.service.memory_limit import share
from fanout.service.settings import ServiceSettings, read_service
from fanout.settings import HistorySettings, read_history

MEMORY_PART = 1 / 8
"""Share of the container's memory for events that are published through the gateway."""


@dataclass(frozen=True, kw_only=True)
class GatewaySettings(ServiceSettings):
    """The gateway's settings.

    Attributes:
        http: the HTTP port.
        login: who may do what.
        max_clients: connections that stay open at once.
        max_channels: channels that are open at once.
        client_channels: channels that one client may follow.
        client_buffer: bytes that may be queued for one client.
        api_docs: whether the description of the API is served.
        history: the history settings of what it publishes.
    """

    http: HttpSettings
    login: LoginSettings
    max_clients: int
    max_channels: int
    client_channels: int
    client_buffer: int
    api_docs: bool
    history: HistorySettings


def read(env: Environment) -> GatewaySettings:
    """Read the gateway's settings from the environment.

    Raises:
        SettingError: a variable is invalid.
    """
    common = read_service(env, "gateway")
    return GatewaySettings(
        **vars(common),
        http=read_http(env, 8080),
        login=read_login(env),
        max_clients=env.integer("MAX_CLIENTS", 10_000, 1, 1_000_000),
        max_channels=env.integer("MAX_CHANNELS", 100_000, 1, 10_000_000),
        client_channels=env.integer("CLIENT_CHANNELS", 100, 1, 100_000),
        client_buffer=env.size("CLIENT_BUFFER", "4MiB", 65536, 2**30),
        api_docs=env.choice("API_DOCS", "on", "on", "off") == "on",
        history=read_history(env, share(MEMORY_PART)),
    )
