"""The publisher's settings."""

from dataclasses import dataclass

from fanout.environment import Environment
from fanout.errors import SettingError
from fanout.service.http_settings import HttpSettings, read_http
from fanout.service.login.settings import LoginSettings, read_login
from fanout.service.memory_limit import share
from fanout.service.own_code import check_name
from fanout.service.settings import ServiceSettings, read_service
from fanout.settings import HistorySettings, read_history

MEMORY_PART = 1 / 2
"""Share of the container's memory for events that wait for Redis or that Redis may still lose."""


@dataclass(frozen=True, kw_only=True)
class PublisherSettings(ServiceSettings):
    """The publisher's settings: its own sources, its HTTP port, and the history that it keeps."""

    channel: str
    source: str
    publish_interval: float
    publish_rate: float
    publish_count: int
    http: HttpSettings
    login: LoginSettings
    max_connections: int
    api_docs: bool
    history: HistorySettings


def read(env: Environment) -> PublisherSettings:
    """Read the publisher's settings from the environment.

    Raises:
        SettingError: a variable is invalid.
    """
    common = read_service(env, "publisher")
    channels = env.channels("CHANNEL", "notifications")
    if len(channels) != 1:
        raise SettingError("CHANNEL", env.text("CHANNEL"), "one channel name")
    history = read_history(env, share(MEMORY_PART))
    if not history.allows(channels[0]):
        raise SettingError("CHANNEL", channels[0], "one of CHANNELS_ALLOWED")
    source = env.text("SOURCE")
    if source:
        check_name("SOURCE", source, "sources.mine:events")
    rate = env.number("PUBLISH_RATE", 0.0, 0, 10_000_000)
    if source and rate:
        raise SettingError("PUBLISH_RATE", rate, "0 while SOURCE is set")
    return PublisherSettings(
        **vars(common),
        channel=channels[0],
        source=source,
        publish_interval=env.duration("PUBLISH_INTERVAL", "5s", 0, 86400 * 365),
        publish_rate=rate,
        publish_count=env.integer("PUBLISH_COUNT", 0, 0, 10**15),
        http=read_http(env, 3000),
        login=read_login(env),
        max_connections=env.integer("MAX_CONNECTIONS", 1000, 1, 1_000_000),
        api_docs=env.choice("API_DOCS", "on", "on", "off") == "on",
        history=history,
    )
