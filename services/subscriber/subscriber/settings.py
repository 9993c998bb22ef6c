"""The subscriber's settings."""

import re
from dataclasses import dataclass, fields

from fanout.errors import SettingError
from fanout.settings import Environment, Settings, read_settings


@dataclass(frozen=True, kw_only=True)
class SubscriberSettings(Settings):
    channels: tuple[str, ...]
    patterns: tuple[str, ...]
    handler: str
    queue_size: int


def read(env: Environment) -> SubscriberSettings:
    """The subscriber's settings from the environment.

    Raises:
        SettingError: a variable is not what is allowed.
    """
    common = read_settings(env, "subscriber")
    patterns = env.channels("PATTERNS", what="glob patterns")
    channels = env.channels("CHANNELS", "" if patterns else "notifications")
    handler = env.text("HANDLER")
    if handler and not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*", handler):
        raise SettingError("HANDLER", handler, "module:function, such as handlers.mine:handle")
    return SubscriberSettings(
        **{item.name: getattr(common, item.name) for item in fields(common)},
        channels=channels,
        patterns=patterns,
        handler=handler,
        queue_size=env.integer("QUEUE_SIZE", 100_000, 1, 10_000_000),
    )
