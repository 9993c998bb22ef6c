"""The subscriber's settings."""

from dataclasses import dataclass

from fanout.environment import Environment
from fanout.service.own_code import check_name
from fanout.service.settings import ServiceSettings, read_service
from fanout.settings import SubscriptionSettings, read_subscription


@dataclass(frozen=True, kw_only=True)
class SubscriberSettings(ServiceSettings):
    """The subscriber's settings: what it subscribes to, and the handler that it calls."""

    what: SubscriptionSettings
    handler: str


def read(env: Environment) -> SubscriberSettings:
    """Read the subscriber's settings from the environment.

    Raises:
        SettingError: a variable is invalid.
    """
    common = read_service(env, "subscriber")
    handler = env.text("HANDLER")
    if handler:
        check_name("HANDLER", handler, "handlers.mine:handle")
    return SubscriberSettings(
        **vars(common),
        what=read_subscription(env),
        handler=handler,
    )
