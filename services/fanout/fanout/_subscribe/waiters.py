"""Callers that wait until a channel is live."""

import asyncio

from fanout.errors import FanoutError


class Waiters:
    """Lets callers wait until a channel is live, also across outages."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Future[None]] = {}

    async def wait(self, channel: str) -> None:
        """Wait until a channel is live.

        Raises:
            FanoutError: it never will be.
        """
        future = self._waiting.get(channel)
        if future is None:
            future = self._waiting[channel] = asyncio.get_running_loop().create_future()
        await asyncio.shield(future)

    def settle(self, channel: str, error: FanoutError | None = None) -> None:
        """Say that a channel is live, or why it never will be."""
        future = self._waiting.pop(channel, None)
        if future is None or future.done():
            return
        if error:
            future.set_exception(error)
            future.exception()  # so that asyncio does not complain if its callers have given up
        else:
            future.set_result(None)

    def end(self, error: FanoutError) -> None:
        """Say that no channel will be live any more."""
        for channel in list(self._waiting):
            self.settle(channel, error)
