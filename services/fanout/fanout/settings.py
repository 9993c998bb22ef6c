"""Settings of all services: read once at the start, frozen."""

import re
from dataclasses import dataclass, field
from typing import NamedTuple

from redis.asyncio.connection import ConnectKwargs, parse_url

from fanout.environment import Environment
from fanout.errors import SettingError
from fanout.instance import instance_name


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What every service needs to know. Durations in seconds, sizes in bytes."""

    redis: ConnectKwargs = field(repr=False)
    instance: str
    max_event: int
    backoff_first: float
    backoff_cap: float
    dead_after: float
    shutdown_grace: float
    log_messages: float
    heartbeat_file: str


@dataclass(frozen=True, kw_only=True)
class HistorySettings:
    """What a publisher has Redis remember: up to `size` events a channel (0: none), for `ttl` seconds.

    `fsync`: accepted means on disk. `plain`: bare text in place of the event.
    """

    size: int
    ttl: float
    fsync: bool
    plain: bool


def read_history(env: Environment) -> HistorySettings:
    """A publisher's history settings.

    Raises:
        SettingError: a variable, or their combination, is not allowed.
    """
    size = env.integer("HISTORY_SIZE", 100_000, 0, 100_000_000)
    plain = env.choice("WIRE_FORMAT", "cloudevents", "cloudevents", "plain") == "plain"
    fsync = env.choice("DURABILITY", "memory", "memory", "fsync") == "fsync"
    if plain and size:
        raise SettingError("WIRE_FORMAT", "plain", "cloudevents while there is a history (HISTORY_SIZE=0 turns it off)")
    if fsync and not size:
        raise SettingError("DURABILITY", "fsync", "memory where there is no history (HISTORY_SIZE=0)")
    ttl = env.duration("HISTORY_TTL", "24h", 1, 86400 * 365)
    return HistorySettings(size=size, ttl=ttl, fsync=fsync, plain=plain)


class StartFrom(NamedTuple):
    """START_FROM: `earliest`, or that many seconds ago; `now` is 0."""

    earliest: bool
    age: float


@dataclass(frozen=True, kw_only=True)
class SubscriptionSettings:
    """What to subscribe to and where to begin: `start_from` is START_FROM, `producers` how many are told apart.

    `save`: positions are saved under the instance's name, so that its next process goes on from there.
    """

    channels: tuple[str, ...]
    patterns: tuple[str, ...]
    start_from: StartFrom
    queue_size: int
    producers: int
    history: bool
    save: bool = True


def read_start_from(env: Environment) -> StartFrom:
    """Where to begin.

    Raises:
        SettingError: it is not now, earliest or an age.
    """
    value = env.text("START_FROM", "now")
    if value in {"now", "earliest"}:
        return StartFrom(earliest=value == "earliest", age=0.0)
    age = env.duration("START_FROM", "", 0.001, 86400 * 365, also="now, earliest, or ")
    return StartFrom(earliest=False, age=age)


def read_subscription(env: Environment) -> SubscriptionSettings:
    """A subscriber's settings.

    Raises:
        SettingError: a variable is not what is allowed.
    """
    patterns = env.channels("PATTERNS", what="glob patterns")
    return SubscriptionSettings(
        channels=env.channels("CHANNELS", "" if patterns else "notifications"),
        patterns=patterns,
        start_from=read_start_from(env),
        queue_size=env.integer("QUEUE_SIZE", 100_000, 1, 10_000_000),
        producers=env.integer("PRODUCERS", 100_000, 1, 10_000_000),
        history=env.integer("HISTORY_SIZE", 1, 0, 100_000_000) > 0,
    )


def read_settings(env: Environment, service: str) -> Settings:
    """The settings that all services share.

    Raises:
        SettingError: a variable is not what is allowed.
    """
    first = env.duration("BACKOFF_FIRST", "0.05", 0.001, 60)
    return Settings(
        redis=_redis(env),
        instance=env.text("INSTANCE") or instance_name(service),
        max_event=env.size("MAX_EVENT", "64KiB", 256, 1_000_000),
        backoff_first=first,
        backoff_cap=env.duration("BACKOFF_CAP", str(max(1.0, first)), first, 3600),
        dead_after=env.duration("DEAD_AFTER", "5", 0.5, 3600),
        shutdown_grace=env.duration("SHUTDOWN_GRACE", "5", 0, 3600),
        log_messages=env.fraction("LOG_MESSAGES", "all"),
        heartbeat_file=env.text("HEARTBEAT_FILE"),
    )


def _redis(env: Environment) -> ConnectKwargs:
    url = env.secret("REDIS_URL", "redis://localhost:6379/0")
    allowed = "redis://, rediss:// or unix:// with host, port and database, such as redis://localhost:6379/0"
    shown = re.sub(r"//.*@", "//***@", url)
    try:
        kwargs = parse_url(url)
    except ValueError:
        raise SettingError("REDIS_URL", shown, allowed) from None
    database = re.fullmatch(r"rediss?://[^/?#]*(/(\d{1,4})?)?(\?.*)?|unix://.*", url, re.DOTALL)
    if not database or not (kwargs.get("host") or kwargs.get("path")) or re.search(r"\s", url):
        raise SettingError("REDIS_URL", shown, allowed)
    if password := env.secret("REDIS_PASSWORD"):
        kwargs["password"] = password
    return kwargs
