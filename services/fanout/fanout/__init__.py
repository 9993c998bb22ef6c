"""Notifications over Redis Pub/Sub that survive production: every accepted event reaches every subscriber."""

from fanout._event.cloudevent import CloudEvent
from fanout._publish.batch import Accepted
from fanout._publish.publisher import Publisher
from fanout._subscribe.subscription import Subscription
from fanout.errors import (
    ChannelNotAllowed,
    ChannelRefused,
    EventTooLarge,
    FanoutError,
    InDoubt,
    KeyReused,
    NameTaken,
    NotAccepted,
    RefusedByRedis,
    SettingError,
    TooManyChannels,
    Undelivered,
)
from fanout.message import Message
from fanout.settings import Settings, StartFrom
from fanout.statistics import PublisherStatistics, SubscriptionStatistics

__version__ = "1.0.0.dev0"

__all__ = [
    "Accepted",
    "ChannelNotAllowed",
    "ChannelRefused",
    "CloudEvent",
    "EventTooLarge",
    "FanoutError",
    "InDoubt",
    "KeyReused",
    "Message",
    "NameTaken",
    "NotAccepted",
    "Publisher",
    "PublisherStatistics",
    "RefusedByRedis",
    "SettingError",
    "Settings",
    "StartFrom",
    "Subscription",
    "SubscriptionStatistics",
    "TooManyChannels",
    "Undelivered",
    "__version__",
]
