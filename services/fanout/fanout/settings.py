"""The library's settings: read once, then frozen."""

import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from fanout._redis.address import Address
from fanout.environment import Environment
from fanout.errors import SettingError

HISTORY_SIZE = PRODUCERS = 100_000
BATCH_EVENTS = 256
BATCH_BYTES = 64 * 1024
"""Of a message of several events: no more than one event may have, so that readers reckon with one bound."""
MEMORY = 192 * 2**20


@dataclass(frozen=True, kw_only=True)
class Timings:
    """Intervals in seconds, and sizes of history pages in entries.

    Attributes:
        ask_every: how often a publisher asks Redis what it holds.
        tick: how often a subscription saves its positions and looks for silent channels.
        first_idle: how long a channel must be silent before it is checked first.
        longest_idle: the longest interval between two checks of a silent channel.
        patience: how long a message that is in the history may take to arrive live.
        first_page: how many entries the first page of a catch-up has.
        largest_page: how many entries a page has at most.
    """

    ask_every: float = 3.0
    tick: float = 1.0
    first_idle: float = 3.0
    longest_idle: float = 60.0
    patience: float = 1.0
    first_page: int = 16
    largest_page: int = 1000


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings that a publisher and a subscription share. Durations are in seconds, sizes in bytes.

    `instance` is the name of this process, `log_messages` the fraction of messages that are logged.
    """

    redis: Address
    instance: str
    max_event: int
    backoff_first: float
    backoff_cap: float
    dead_after: float
    shutdown_grace: float
    log_messages: float
    timings: Timings = Timings()

    @property
    def largest_message(self) -> int:
        """Bytes that a message, of one event or several, has at most, but for its place."""
        return max(self.max_event, BATCH_BYTES)


@dataclass(frozen=True, kw_only=True)
class HistorySettings:
    """What a publisher keeps in Redis, and where it may publish.

    Attributes:
        size: events that a channel's history holds at most; 0 turns history off.
        ttl: seconds until an entry of the history expires.
        fsync: whether an event is accepted only when it is on disk.
        plain: whether to publish bare text instead of CloudEvents.
        batch_events: events that travel in one message at most.
        memory: bytes of this process's memory for events that wait for Redis and events that Redis may still lose.
        bytes: bytes that a channel's history holds at most.
        max_channels: channels that may be open at once.
        channels_allowed: glob patterns of the channels on which it may publish.
    """

    size: int = HISTORY_SIZE
    ttl: float = 86400.0
    fsync: bool = False
    plain: bool = False
    batch_events: int = BATCH_EVENTS
    memory: int = MEMORY
    bytes: int = 64 * 2**20
    max_channels: int = 10_000
    channels_allowed: tuple[str, ...] = ("*",)

    def allows(self, channel: str) -> bool:
        """Return whether CHANNELS_ALLOWED includes the channel."""
        return any(fnmatchcase(channel, glob) for glob in self.channels_allowed)


def read_history(env: Environment, memory: int = MEMORY) -> HistorySettings:
    """Read a publisher's history settings; `memory` is how many bytes its events may take in this process.

    Raises:
        SettingError: a variable or a combination of them is invalid.
    """
    size = env.integer("HISTORY_SIZE", HISTORY_SIZE, 0, 100_000_000)
    plain = env.choice("WIRE_FORMAT", "cloudevents", "cloudevents", "plain") == "plain"
    fsync = env.choice("DURABILITY", "memory", "memory", "fsync") == "fsync"
    if plain and size:
        raise SettingError("WIRE_FORMAT", "plain", "cloudevents while there is a history (HISTORY_SIZE=0 turns it off)")
    if fsync and not size:
        raise SettingError("DURABILITY", "fsync", "memory where there is no history (HISTORY_SIZE=0)")
    ttl = env.duration("HISTORY_TTL", "24h", 1, 86400 * 365)
    return HistorySettings(
        size=size,
        ttl=ttl,
        fsync=fsync,
        plain=plain,
        batch_events=env.integer("BATCH_EVENTS", BATCH_EVENTS, 1, 10_000),
        memory=memory,
        bytes=env.size("HISTORY_BYTES", "64MiB", 65536, 2**40),
        max_channels=env.integer("MAX_CHANNELS", 10_000, 1, 1_000_000),
        channels_allowed=env.channels("CHANNELS_ALLOWED", "*", what="glob patterns"),
    )


@dataclass(frozen=True)
class StartFrom:
    """START_FROM: `earliest`, or an age in seconds; `now` is the age 0."""

    earliest: bool
    age: float

    def __str__(self) -> str:
        return "earliest" if self.earliest else f"{self.age:g}s" if self.age else "now"


EARLIEST = StartFrom(earliest=True, age=0.0)


@dataclass(frozen=True, kw_only=True)
class SubscriptionSettings:
    """What to subscribe to and where to start.

    Attributes:
        channels: names of channels.
        patterns: glob patterns of channels.
        start_from: where the first start of this name begins.
        queue_size: messages that may wait for the handler.
        producers: how many producers are remembered to recognise duplicates.
        history: whether publishers keep history.
        save: whether to save positions under the instance's name, so that its next process goes on from there.
    """

    channels: tuple[str, ...]
    patterns: tuple[str, ...]
    start_from: StartFrom
    queue_size: int
    producers: int
    history: bool
    save: bool = True


def read_start_from(env: Environment) -> StartFrom:
    """Read START_FROM.

    Raises:
        SettingError: it is not now, earliest or an age.
    """
    value = env.text("START_FROM", "now")
    if value in {"now", "earliest"}:
        return StartFrom(earliest=value == "earliest", age=0.0)
    age = env.duration("START_FROM", "", 0.001, 86400 * 365, also="now, earliest, or ")
    return StartFrom(earliest=False, age=age)


def read_subscription(env: Environment) -> SubscriptionSettings:
    """Read a subscription's settings.

    Raises:
        SettingError: a variable is invalid.
    """
    patterns = env.channels("PATTERNS", what="glob patterns")
    history = env.integer("HISTORY_SIZE", HISTORY_SIZE, 0, 100_000_000)
    return SubscriptionSettings(
        channels=env.channels("CHANNELS", "" if patterns else "notifications"),
        patterns=patterns,
        start_from=read_start_from(env),
        queue_size=env.integer("QUEUE_SIZE", 100_000, 1, 10_000_000),
        # With fewer, messages that are sent again after a rollback would count as new.
        producers=env.integer(
            "PRODUCERS", max(PRODUCERS, history), max(1, history), 100_000_000, also="no fewer than HISTORY_SIZE: "
        ),
        history=history > 0,
    )


def process_name() -> str:
    """Return a name that no other process has."""
    return f"{socket.gethostname()}-{secrets.token_hex(4)}"


def read_settings(env: Environment, name: Callable[[], str] = process_name, *, log_messages: str = "none") -> Settings:
    """Read the settings that a publisher and a subscription share.

    Args:
        env: where to read them.
        name: makes the name of this process if INSTANCE is not set.
        log_messages: the default of LOG_MESSAGES.

    Raises:
        SettingError: a variable is invalid.
    """
    first = env.duration("BACKOFF_FIRST", "0.05", 0.001, 60)
    return Settings(
        redis=Address(env),
        instance=env.text("INSTANCE") or name(),
        max_event=env.size("MAX_EVENT", "64KiB", 256, 1_000_000),
        backoff_first=first,
        backoff_cap=env.duration("BACKOFF_CAP", str(max(1.0, first)), first, 3600),
        dead_after=env.duration("DEAD_AFTER", "5", 0.5, 3600),
        shutdown_grace=env.duration("SHUTDOWN_GRACE", "5", 0, 3600),
        log_messages=env.fraction("LOG_MESSAGES", log_messages),
    )
