"""Channel names and patterns: what is allowed."""

MAX_CHANNEL = 255
CHANNEL_RULE = f"1 to {MAX_CHANNEL} bytes of UTF-8 without control characters, commas and braces"


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
