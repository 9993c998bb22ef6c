"""A bound on the bytes of history that are read at once, however large the entries turn out to be."""

import asyncio

from fanout.settings import Timings

LARGEST_BYTES = 8 * 2**20
ALL_BYTES = 32 * 2**20


class Pages:
    """Room for the pages that all catch-ups of a subscription read at once. Each entry counts as a largest message."""

    def __init__(self, message_bytes: int, timings: Timings) -> None:
        self._message_bytes, self._timings = message_bytes, timings
        self._free = ALL_BYTES
        self._returned = asyncio.Event()

    @property
    def smallest(self) -> int:
        """How many entries the first page has."""
        return self._timings.first_page

    @property
    def largest(self) -> int:
        """How many entries a page may have."""
        return max(self.smallest, min(self._timings.largest_page, LARGEST_BYTES // self._message_bytes))

    def take(self, count: int) -> bool:
        """Take the room of a page of `count` entries if there is enough; return whether there was."""
        size = self._size(count)
        if size > self._free:
            return False
        self._free -= size
        return True

    async def wait(self, count: int) -> None:
        """Take the room of a page of `count` entries as soon as there is enough. The caller must hold none."""
        while not self.take(count):
            self._returned.clear()
            await self._returned.wait()

    def give_back(self, count: int) -> None:
        """Give back the room of a page of `count` entries."""
        self._free += self._size(count)
        self._returned.set()

    def _size(self, count: int) -> int:
        return min(count * self._message_bytes, ALL_BYTES)
