"""Channel names, and the keys of a channel's history. All keys of a channel are in one Redis Cluster slot."""

MAX_CHANNEL = 255
CHANNEL_RULE = f"1 to {MAX_CHANNEL} bytes of UTF-8 without control characters, commas and braces"
CHANNEL_TTL = 30 * 86400
"""Seconds after which the keys of a channel that nobody uses any more are gone."""


def check_channel(name: str) -> str:
    """Returns a channel name or glob pattern as it is.

    A comma separates names in settings, and a brace would break the Redis Cluster hash tag of the channel's keys.

    Raises:
        ValueError: the name is not allowed; the message says what is.
    """
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        size = 0
    if not 1 <= size <= MAX_CHANNEL or any(c in ",{}" or ord(c) < 32 or 127 <= ord(c) < 160 for c in name):
        raise ValueError(f"a channel name is {CHANNEL_RULE}")
    return name


def history(channel: str) -> str:
    """The stream of a channel's events; with a glob pattern for the channel, the pattern of such keys."""
    return f"fanout:{{{channel}}}:history"


def channel_of(key: str) -> str:
    """The channel of a history's key."""
    return key[len("fanout:{") : -len("}:history")]


def producer(channel: str, name: str) -> str:
    """The last seq that was accepted from a producer."""
    return f"fanout:{{{channel}}}:producer:{name}"


def position(channel: str, subscriber: str) -> str:
    """Where a subscriber is in a channel's history."""
    return f"fanout:{{{channel}}}:position:{subscriber}"


def pattern(pattern: str, subscriber: str) -> str:
    """That a subscriber has begun with a glob pattern; no position, since a pattern may read like a channel's name."""
    return f"fanout:{{{pattern}}}:pattern:{subscriber}"


def request(channel: str, key: str) -> str:
    """What an Idempotency-Key became."""
    return f"fanout:{{{channel}}}:request:{key}"


PRESENT = "fanout:presence"
"""The set of the names of the processes that keep a presence record."""


def presence(instance: str) -> str:
    """The presence record of a process."""
    return f"fanout:presence:{instance}"
