"""Channel names and Redis keys. All keys of a channel are in one Redis Cluster slot."""

import hashlib

MAX_CHANNEL = 255
CHANNEL_RULE = f"1 to {MAX_CHANNEL} bytes of UTF-8 without control characters, commas and braces"
RESERVED = "__"
"""The prefix of channels on which servers publish by themselves. Only patterns with this prefix match them."""
REQUEST_TTL = 86400
"""Seconds for which Redis remembers what an Idempotency-Key became."""
OWN_ID_TTL = 600
"""Likewise of an event's own source and id: every such event takes 250 bytes for that long."""
CHANNEL_TTL = 30 * 86400
"""Seconds until the keys of an unused channel expire."""


def check_channel(name: str) -> str:
    """Return a channel name or glob pattern unchanged, if it is valid.

    A comma separates names in settings, and a brace would break the Redis Cluster hash tag of the channel's keys.

    Raises:
        ValueError: the name is invalid; the message says what is allowed.
    """
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        size = 0
    if not 1 <= size <= MAX_CHANNEL or any(c in ",{}" or ord(c) < 32 or 127 <= ord(c) < 160 for c in name):
        raise ValueError(f"a channel name is {CHANNEL_RULE}")
    return name


def check_open_to_all(name: str) -> str:
    """Check a name that a client chose: like `check_channel`, but names that begin with `__` are reserved for Redis.

    Raises:
        ValueError: the name is invalid; the message says what is allowed.
    """
    if name.startswith("__"):
        raise ValueError("channel names that begin with __ are reserved")
    return check_channel(name)


def history(channel: str) -> str:
    """Return the key of a channel's history; for a glob pattern, the pattern of such keys."""
    return f"fanout:{{{channel}}}:history"


def head(channel: str) -> str:
    """Return the key that says where a channel's history ends, and the random name that its events carry."""
    return f"fanout:{{{channel}}}:head"


def marks(channel: str) -> str:
    """Return the key of the places, oldest first, up to which a channel's history is trimmed."""
    return f"fanout:{{{channel}}}:marks"


def channel_of(key: str) -> str:
    """Return the channel to which a history's key belongs."""
    return key[len("fanout:{") : -len("}:history")]


def producer(channel: str, name: str) -> str:
    """Return the key that holds the last seq accepted from a producer."""
    return f"fanout:{{{channel}}}:producer:{name}"


def position(channel: str, subscriber: str) -> str:
    """Return the key of a subscriber's position in a channel's history."""
    return f"fanout:{{{channel}}}:position:{subscriber}"


def pattern(pattern: str, subscriber: str) -> str:
    """Return the key that records that a subscriber has started with a glob pattern.

    It is not a position's key, since a pattern can look like a channel name.
    """
    return f"fanout:{{{pattern}}}:pattern:{subscriber}"


def request(channel: str, key: str) -> str:
    """Return the key that holds the result of an Idempotency-Key, which is hashed because it may be any text."""
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return f"fanout:{{{channel}}}:request:{digest}"


def probe(name: str) -> str:
    """Return the Pub/Sub channel that shows whether a subscriber's two connections reach the same server."""
    return f"fanout:probe:{name}"


def presence(channel: str) -> str:
    """Return the key of the clients that are on a channel: how many connections each member has, over all gateways."""
    return f"fanout:{{{channel}}}:presence"


def presence_at(channel: str, gateway: str) -> str:
    """Return the key of the same at one gateway."""
    return f"fanout:{{{channel}}}:presence:{gateway}"


def gateway_channels(gateway: str) -> str:
    """Return the key of the channels on which a gateway has members."""
    return f"fanout:gateway:{gateway}:channels"


GATEWAYS = "fanout:gateways"
"""Until when each gateway is alive unless it says so again."""

FORMAT = "fanout:format"
"""The format of events and keys that publishers write, a number."""

ROSTER = "fanout:presence"
"""The set of the names of all processes that keep a record in the roster."""


def roster_record(instance: str | bytes) -> bytes:
    """Return the key of a process's record in the roster."""
    return b"fanout:presence:" + (instance if isinstance(instance, bytes) else instance.encode())
