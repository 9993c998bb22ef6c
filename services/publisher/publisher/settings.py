"""The publisher's settings."""

from dataclasses import dataclass, fields

from fanout.environment import Environment
from fanout.errors import SettingError
from fanout.settings import HistorySettings, Settings, read_history, read_settings


@dataclass(frozen=True, kw_only=True)
class PublisherSettings(Settings):
    channel: str
    publish_interval: float
    publish_rate: float
    publish_count: int
    http_host: str
    http_port: int
    history: HistorySettings


def read(env: Environment) -> PublisherSettings:
    """The publisher's settings from the environment.

    Raises:
        SettingError: a variable is not what is allowed.
    """
    common = read_settings(env, "publisher")
    channels = env.channels("CHANNEL", "notifications")
    if len(channels) != 1:
        raise SettingError("CHANNEL", env.text("CHANNEL"), "one channel name")
    return PublisherSettings(
        **{item.name: getattr(common, item.name) for item in fields(common)},
        channel=channels[0],
        publish_interval=env.duration("PUBLISH_INTERVAL", "5s", 0, 86400 * 365),
        publish_rate=env.number("PUBLISH_RATE", 0.0, 0, 10_000_000),
        publish_count=env.integer("PUBLISH_COUNT", 0, 0, 10**15),
        http_host=env.text("HTTP_HOST", "127.0.0.1"),
        http_port=env.integer("HTTP_PORT", 3000, 0, 65535),
        history=read_history(env),
    )
