"""Failed attempts to log in: how many an address may make, and what the log says of them."""

import ipaddress
import math
import time
from collections import OrderedDict

import structlog

from fanout.service.login.refusals import TooManyAttempts

BURST = 50
PER_SECOND = 5.0
MOST_ADDRESSES = 10_000
LINES_PER_SECOND = 5.0
"""Log lines for failed attempts, from all addresses together; the next line says how many were left out."""


class Bucket:
    """A token bucket: `burst` at once, and then so many a second."""

    __slots__ = ("_at", "_burst", "_left", "_rate")

    def __init__(self, burst: float, rate: float) -> None:
        self._burst, self._rate, self._left, self._at = burst, rate, burst, time.monotonic()

    @property
    def left(self) -> float:
        """How many are left at present."""
        now = time.monotonic()
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        return self._left

    @property
    def full(self) -> bool:
        """Whether nothing was taken for long."""
        return self.left >= self._burst

    def take(self) -> bool:
        """Take one; return whether there was one."""
        if self.left < 1:
            return False
        self._left -= 1
        return True

    def wait(self) -> int:
        """Return after how many seconds one can be taken."""
        return max(1, math.ceil((1 - self.left) / self._rate))


class Attempts:
    """Counts failed attempts by address, of at most MOST_ADDRESSES: those that failed last."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()
        self._lines = Bucket(LINES_PER_SECOND, LINES_PER_SECOND)
        self._silent = 0

    def __len__(self) -> int:
        return len(self._buckets)

    def check(self, address: str) -> None:
        """Check that an address may try: before anything is spent on what it sends.

        Raises:
            TooManyAttempts: it has failed too often of late.
        """
        bucket = self._buckets.get(network(address))
        if bucket and bucket.left < 1:
            raise TooManyAttempts(bucket.wait())

    def failed(self, address: str, cause: str) -> None:
        """Count a failed attempt and log it, unless too many are logged just now."""
        name = network(address)
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = Bucket(BURST, PER_SECOND)
            self._make_room()
        bucket.take()
        self._buckets.move_to_end(name)
        if self._lines.take():
            more = {"not_logged": self._silent} if self._silent else {}
            structlog.get_logger().warning("login_failed", client=address, cause=cause, **more)
            self._silent = 0
        else:
            self._silent += 1

    def _make_room(self) -> None:
        while len(self._buckets) > MOST_ADDRESSES or (
            len(self._buckets) > 1 and next(iter(self._buckets.values())).full
        ):
            self._buckets.popitem(last=False)


def network(address: str) -> str:
    """Return what counts as one address: of IPv6 the first 64 bits, since who has one there has them all."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if found.version == 4:
        return address
    return str(ipaddress.ip_network((int(found) >> 64 << 64, 64)))
