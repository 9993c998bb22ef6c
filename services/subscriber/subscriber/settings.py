"""The subscriber's settings."""

import re
from dataclasses import dataclass, fields

from fanout.environment import Environment
from fanout.errors import SettingError
from fanout.settings import Settings, SubscriptionSettings, read_settings, read_subscription


@dataclass(frozen=True, kw_only=True)
class SubscriberSettings(Settings):
    what: SubscriptionSettings
    handler: str


def read(env: Environment) -> SubscriberSettings:
    """The subscriber's settings from the environment.

    Raises:
        SettingError: a variable is not what is allowed.
    """
    common = read_settings(env, "subscriber")
    handler = env.text("HANDLER")
    if handler and not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*", handler):
        raise SettingError("HANDLER", handler, "module:function, such as handlers.mine:handle")
    return SubscriberSettings(
        **{item.name: getattr(common, item.name) for item in fields(common)},
        what=read_subscription(env),
        handler=handler,
    )
