"""Which channels a glob pattern matches, as Redis decides it."""

import functools
import re

from fanout.keys import RESERVED


def matches(pattern: str, channel: str) -> bool:
    """Return whether a subscription to the pattern brings what is published on the channel."""
    if channel.startswith(RESERVED) and not pattern.startswith(RESERVED):
        return False
    return bool(_compiled(pattern).fullmatch(channel.encode(errors="replace")))


@functools.lru_cache(maxsize=1000)
def _compiled(pattern: str) -> re.Pattern[bytes]:
    rest, found = pattern.encode(), b""
    while rest:
        first, rest = rest[:1], rest[1:]
        if first == b"*":
            found += b"" if found.endswith(b".*") else b".*"
        elif first == b"?":
            found += b"."
        elif first == b"[":
            one, rest = _one_of(rest)
            found += one
        else:
            if first == b"\\" and rest:
                first, rest = rest[:1], rest[1:]
            found += re.escape(first)
    return re.compile(found, re.DOTALL)


def _one_of(rest: bytes) -> tuple[bytes, bytes]:
    """Return the expression for what follows a `[`, and what follows its `]`."""
    others = rest[:1] == b"^"
    rest = rest[others:]
    allowed: set[int] = set()
    while rest and rest[:1] != b"]":
        if rest[:1] == b"\\" and len(rest) > 1:
            allowed.add(rest[1])
            rest = rest[2:]
        elif rest[1:2] == b"-" and len(rest) > 2:
            low, high = sorted((rest[0], rest[2]))
            allowed.update(range(low, high + 1))
            rest = rest[3:]
        else:
            allowed.add(rest[0])
            rest = rest[1:]
    members = b"".join(re.escape(bytes([one])) for one in sorted(set(range(256)) - allowed if others else allowed))
    return b"[" + members + b"]" if members else b"(?!)", rest[1:]
