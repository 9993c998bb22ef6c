"""Settings from environment variables: read once, checked at once, frozen."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from redis.asyncio.connection import ConnectKwargs, parse_url

from fanout.errors import SettingError
from fanout.instance import instance_name
from fanout.keys import CHANNEL_RULE, check_channel

_DURATION = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "": 1}
_SIZE = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


class Environment:
    """Reads variables one by one. A variable that is set but empty counts as not set.

    Every method raises SettingError for a value that is not allowed.
    """

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables

    def text(self, name: str, default: str = "") -> str:
        return self._variables.get(name, "").strip() or default

    def secret(self, name: str, default: str = "") -> str:
        """The variable, or what stands in the file that NAME_FILE names (Compose secrets)."""
        path = self.text(f"{name}_FILE")
        if not path:
            return self.text(name, default)
        if self.text(name):
            raise SettingError(f"{name}_FILE", path, f"left out while {name} is set")
        try:
            return Path(path).read_text().strip()
        except (OSError, ValueError) as error:
            raise SettingError(f"{name}_FILE", path, f"a file with text that can be read ({error})") from None

    def choice(self, name: str, default: str, *allowed: str) -> str:
        value = self.text(name, default)
        if value not in allowed:
            raise SettingError(name, value, "one of " + ", ".join(allowed))
        return value

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        value = self.text(name)
        if not value:
            return default
        if not re.fullmatch(r"\d{1,18}", value, re.ASCII) or not low <= int(value) <= high:
            raise SettingError(name, value, f"a whole number from {low} to {high}")
        return int(value)

    def number(self, name: str, default: float, low: float, high: float) -> float:
        value = self.text(name)
        return self._within(name, value, value, f"a number from {low:g} to {high:g}", low, high) if value else default

    def duration(self, name: str, default: str, low: float, high: float, *, also: str = "") -> float:
        """Seconds; written with a unit (500ms, 5s, 10m, 24h, 30d) or without. `also` names what else is allowed."""
        value = self.text(name, default)
        allowed = f"{also}a duration from {low:g} to {high:g} seconds, such as 500ms, 5s or 10m"
        return self._scaled(name, value, allowed, _DURATION, low, high)

    def size(self, name: str, default: str, low: int, high: int) -> int:
        """Bytes; written with a unit (64KiB, 1MB) or without."""
        value = self.text(name, default)
        allowed = f"a size from {low} to {high} bytes, such as 65536, 64KiB or 1MB"
        return int(self._scaled(name, value, allowed, _SIZE, low, high))

    def channels(self, name: str, default: str = "", *, what: str = "channel names") -> tuple[str, ...]:
        """Names separated by commas, each once, in the order given."""
        value = self.text(name, default)
        names = [part.strip() for part in value.split(",") if part.strip()]
        try:
            return tuple(dict.fromkeys(check_channel(part) for part in names))
        except ValueError:
            raise SettingError(name, value, f"{what} separated by commas, each {CHANNEL_RULE}") from None

    def fraction(self, name: str, default: str) -> float:
        """`all` is 1, `none` is 0, and 1/100 is one in a hundred."""
        value = self.text(name, default)
        if value in ("all", "none"):
            return 1.0 if value == "all" else 0.0
        if match := re.fullmatch(r"1/([1-9]\d{0,8})", value, re.ASCII):
            return 1 / int(match[1])
        raise SettingError(name, value, "all, none, or a part such as 1/100")

    def _scaled(
        self, name: str, value: str, allowed: str, units: Mapping[str, float], low: float, high: float
    ) -> float:
        match = re.fullmatch(r"([0-9.]+)\s*([A-Za-z]*)", value)
        unit = (units.get(match[2]) or units.get(match[2].upper())) if match else None
        if not match or not unit:
            raise SettingError(name, value, allowed)
        return self._within(name, value, match[1], allowed, low, high, unit)

    @staticmethod
    def _within(name: str, value: str, digits: str, allowed: str, low: float, high: float, unit: float = 1) -> float:
        try:
            number = float(digits) * unit
        except ValueError:
            number = math.nan
        if not low <= number <= high:
            raise SettingError(name, value, allowed)
        return number


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
    """What to subscribe to and where to begin: `start_from` is START_FROM, `producers` how many are told apart."""

    channels: tuple[str, ...]
    patterns: tuple[str, ...]
    start_from: StartFrom
    queue_size: int
    producers: int
    history: bool


def read_subscription(env: Environment) -> SubscriptionSettings:
    """A subscriber's settings.

    Raises:
        SettingError: a variable is not what is allowed.
    """
    patterns = env.channels("PATTERNS", what="glob patterns")
    start_from = env.text("START_FROM", "now")
    age = 0.0
    if start_from not in {"now", "earliest"}:
        age = env.duration("START_FROM", "", 0.001, 86400 * 365, also="now, earliest, or ")
    return SubscriptionSettings(
        channels=env.channels("CHANNELS", "" if patterns else "notifications"),
        patterns=patterns,
        start_from=StartFrom(earliest=start_from == "earliest", age=age),
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
